"""TalkingStyle against the authors' numbers: every case of every fixture found."""

import pytest
import torch
from feedback_parity import both_precisions, config_of, forward, masks, predict, whole_models
from golden import Golden, GoldenCase, cases, close_gradients, listed, models
from torch import Tensor

from parlante import losses
from parlante.models.talkingstyle import TalkingStyle, TalkingStyleConfig


def build(golden: Golden, dtype: torch.dtype) -> TalkingStyle:
    model = TalkingStyle(config_of(golden, TalkingStyleConfig)).to(dtype).eval()
    model.load_state_dict(golden.state(dtype), strict=True)
    return model


def train(model: TalkingStyle, case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    vertices, target = forward(model, case, dtype)
    sizes = case.golden.sizes
    listed = torch.tensor(sizes["mouth_map"])  # vertex numbers, used as coordinates: the released quirk
    total, everything, mouth = losses.region_weighted_mse(vertices, target, listed, sizes["mouth_loss_ratio"])
    return {
        "loss": total,
        "all_loss": everything,
        "mouth_loss": mouth,
        "vertice_out": vertices,
        "target_frames": torch.tensor(target.shape[1]),
    }


def styles(model: TalkingStyle, case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    """The code of every speaker: together as the released code has it, or each alone."""
    people = torch.eye(model.config.subjects, dtype=dtype)
    with torch.no_grad():
        if case.name.endswith("_batched"):
            return {"style": model.style_code(people, style_encoder_batched=True)}
        alone = torch.cat([model.style_code(one, style_encoder_batched=True) for one in people.split(1)])
        together = model.style_code(people)
    torch.testing.assert_close(alone, together)
    return {"style": together}


RUN = {"predict": predict, "forward": train, "masks": masks, "module": styles}


@pytest.mark.parametrize("case", cases("talkingstyle", whole_models))
@both_precisions
def test_case(case: GoldenCase, dtype: torch.dtype) -> None:
    assert case.mode in RUN, f"{case}: mode {case.mode!r} is not covered"
    case.compare(RUN[case.mode](build(case.golden, dtype), case, dtype), dtype)


@pytest.mark.parametrize("golden", models("talkingstyle", lambda g: "gradient_l2_forward_ar" in g.head))
def test_gradients(golden: Golden) -> None:
    model = build(golden, torch.float64)
    case = GoldenCase(golden, "forward_ar", golden.head["cases"]["forward_ar"])
    train(model, case, torch.float64)["loss"].backward()
    close_gradients({k: v.grad for k, v in model.named_parameters()}, golden.gradients("forward_ar"))


def test_every_listed_case_is_here() -> None:
    here = {(p.values[0].golden.path.stem, p.values[0].name) for p in cases("talkingstyle") if p.values[0] is not None}
    assert listed("talkingstyle") <= here
