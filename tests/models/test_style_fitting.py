"""Styles fitted to clips, on tiny untrained models of the families that move the embedded head."""

from typing import Any

import pytest
import torch
from torch import Tensor

from parlante.models.registry import build
from parlante.models.style_fitting import StyleFitConfig, fit_style
from parlante.training.schemes.motion_scheme import lip_error

SIZES: dict[str, Any] = {"motion_dim": 6, "audio_dim": 4, "width": 16, "layers": 1, "subjects": 6}
AUTOREGRESSIVE = {"period": 30, "steps_per_frame": 1}
OWN: dict[str, dict[str, Any]] = {
    "faceformer": AUTOREGRESSIVE,
    "talkingstyle": AUTOREGRESSIVE,
    "ptalker": AUTOREGRESSIVE | {"emotion_dim": 4, "motion_convolutions": 1, "motion_layers": 1},
    "facediffuser": {"steps_per_frame": 1, "steps": 20, "sample_steps": 5, "kernel": 3},
}
LIPS = torch.randn(6, 9, generator=torch.Generator().manual_seed(3))


class Case:
    """A random model, and what it says in some style."""

    def __init__(self, family: str) -> None:
        torch.manual_seed(1)
        self.model: Any = build(family, SIZES | OWN[family]).eval().requires_grad_(False)
        for parameter in self.model.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        self.codes: Tensor = self.model.style_embedding(torch.eye(6))
        self.heard = [torch.randn(frames, 4) for frames in (40, 25)]

    def add_voice_style(self, code: Tensor, features: Tensor) -> Tensor:
        return code + self.model.AudioStyle(features) if hasattr(self.model, "AudioStyle") else code

    def say(self, code: Tensor) -> list[Tensor]:
        """(T, R) of every clip by itself; a denoiser from noise of its own."""
        own = {"generator": torch.Generator().manual_seed(7)} if hasattr(self.model, "final_layer") else {}
        return [self.model.generate(x[None], self.add_voice_style(code[None], x[None]), **own)[0] for x in self.heard]

    def clips(self, code: Tensor) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.heard, self.say(code), strict=True))

    def errors(self, truth: list[Tensor]) -> Tensor:
        """(N,) relative squared error of the known styles, one after the other."""
        whole = torch.cat(truth)
        parts = [(x - x.mean(0)).square().mean() for x in (whole, whole @ LIPS)]
        offs = [torch.cat(self.say(code)) - whole for code in self.codes]
        return torch.stack([(o.square().mean() / parts[0] + (o @ LIPS).square().mean() / parts[1]) / 2 for o in offs])


@pytest.mark.parametrize("family", OWN)
def test_known_styles_heard_together_are_chosen_as_one_by_one(family: str) -> None:
    case = Case(family)
    for k in (1, 4):
        clips = case.clips(case.codes[k] + 0.2 * (case.codes[k - 1] - case.codes[k]))
        fit = fit_style(
            case.model, case.codes, clips, LIPS, StyleFitConfig(steps=0, rounds=0), add_voice_style=case.add_voice_style
        )
        errors = case.errors([motion for _, motion in clips])
        assert fit.nearest == int(errors.argmin())
        if family != "facediffuser":  # which starts from noise of its own
            assert fit.errors["nearest"] == pytest.approx(float(errors.min()), rel=1e-3)


@pytest.mark.parametrize(("family", "share"), [("faceformer", 0.3), ("ptalker", 0.5), ("facediffuser", 0.5)])
def test_a_strangers_style_is_found(family: str, share: float) -> None:
    """A planted style between known ones explains other clips better than any of them. PTalker hears the voice, too."""
    case = Case(family)
    planted = 1.2 * case.codes[1] + 0.5 * case.codes[4] - 0.7 * case.codes[2]
    config = StyleFitConfig(steps=60, prior=1e-4)
    fit = fit_style(case.model, case.codes, case.clips(planted), LIPS, config, add_voice_style=case.add_voice_style)
    assert fit.errors["found"] < share * fit.errors["nearest"] < fit.errors["mean"]
    case.heard = [torch.randn(30, 4)]
    truth, found, nearest = (case.say(style)[0] for style in (planted, fit.embedding, case.codes[fit.nearest]))
    assert lip_error(found, truth, LIPS).mean() < 0.8 * lip_error(nearest, truth, LIPS).mean()


def test_what_is_found_is_never_worse_than_the_nearest_known_style() -> None:
    """Even where the search is led astray."""
    for family in ("faceformer", "facediffuser"):
        case = Case(family)
        wild = StyleFitConfig(steps=4, lr=30.0, nudge=9.0, rounds=1)
        fit = fit_style(case.model, case.codes, case.clips(case.codes[2]), LIPS, wild)
        assert fit.errors["found"] <= fit.errors["nearest"] and fit.nearest == 2


def test_without_clips_nothing_is_fitted() -> None:
    case = Case("faceformer")
    with pytest.raises(ValueError, match="clip"):
        fit_style(case.model, case.codes, [], LIPS)
