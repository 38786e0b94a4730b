"""FaceFormer and TalkingStyle against the authors' numbers: every case of every fixture found."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from feedback_parity import both_precisions, config_of, forward, masks, predict, whole_models
from golden import Golden, GoldenCase, cases, close_gradients, listed, models
from torch import Tensor

from parlante import losses
from parlante.models.components.autoregressive_model import AutoregressiveModel
from parlante.models.faceformer.model import FaceFormer, FaceFormerConfig
from parlante.models.talkingstyle.model import TalkingStyle, TalkingStyleConfig

FAMILIES: dict[str, tuple[Callable[[Any], AutoregressiveModel], Any]] = {
    "faceformer": (FaceFormer, FaceFormerConfig),
    "talkingstyle": (TalkingStyle, TalkingStyleConfig),
}


def build(golden: Golden, dtype: torch.dtype) -> AutoregressiveModel:
    kind, config = FAMILIES[golden.path.parent.name]
    model = kind(config_of(golden, config)).to(dtype).eval()
    model.load_state_dict(golden.state(dtype), strict=True)
    return model


def train(model: AutoregressiveModel, case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    """A training pass and its losses."""
    vertices, target = forward(model, case, dtype)
    out = {"vertice_out": vertices, "target_frames": torch.tensor(target.shape[1])}
    if isinstance(model, FaceFormer):
        return out | {"loss": F.mse_loss(vertices, target)}
    sizes = case.golden.sizes
    lips = torch.tensor(sizes["mouth_map"])  # vertex numbers, used as coordinates: the released quirk
    total, everything, mouth = losses.region_weighted_mse(vertices, target, lips, sizes["mouth_loss_ratio"])
    return out | {"loss": total, "all_loss": everything, "mouth_loss": mouth}


def styles(model: AutoregressiveModel, case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    """TalkingStyle's code of every speaker: together as the released code has it, or each alone."""
    assert isinstance(model, TalkingStyle)
    people = torch.eye(model.config.subjects, dtype=dtype)
    with torch.no_grad():
        if case.name.endswith("_batched"):
            return {"style": model.style_embedding(people, style_encoder_batched=True)}
        alone = torch.cat([model.style_embedding(one, style_encoder_batched=True) for one in people.split(1)])
        together = model.style_embedding(people)
    torch.testing.assert_close(alone, together)
    return {"style": together}


RUN: dict[str, Callable[[Any, GoldenCase, torch.dtype], dict[str, Tensor]]] = {
    "predict": predict,
    "forward": train,
    "masks": masks,
    "module": styles,
}


@pytest.mark.parametrize("case", [case for family in FAMILIES for case in cases(family, whole_models)])
@both_precisions
def test_case(case: GoldenCase, dtype: torch.dtype) -> None:
    assert case.mode in RUN, f"{case}: mode {case.mode!r} is not covered"
    case.compare(RUN[case.mode](build(case.golden, dtype), case, dtype), dtype)


@pytest.mark.parametrize(
    "golden", [one for family in FAMILIES for one in models(family, lambda g: "gradient_l2_forward_ar" in g.head)]
)
def test_gradients(golden: Golden) -> None:
    model = build(golden, torch.float64)
    case = GoldenCase(golden, "forward_ar", golden.head["cases"]["forward_ar"])
    train(model, case, torch.float64)["loss"].backward()
    close_gradients({k: v.grad for k, v in model.named_parameters()}, golden.gradients("forward_ar"))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_listed_case_is_here(family: str) -> None:
    here = {(p.values[0].golden.path.stem, p.values[0].name) for p in cases(family) if p.values[0] is not None}
    assert listed(family) <= here
