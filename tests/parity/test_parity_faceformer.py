"""FaceFormer against the authors' numbers: every case of every fixture found."""

import pytest
import torch
import torch.nn.functional as F
from feedback_parity import both_precisions, config_of, forward, masks, predict, whole_models
from golden import Golden, GoldenCase, cases, close_gradients, listed, models
from torch import Tensor

from parlante.models.faceformer import FaceFormer, FaceFormerConfig


def build(golden: Golden, dtype: torch.dtype) -> FaceFormer:
    model = FaceFormer(config_of(golden, FaceFormerConfig)).to(dtype).eval()
    model.load_state_dict(golden.state(dtype), strict=True)
    return model


def train(model: FaceFormer, case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    vertices, target = forward(model, case, dtype)
    loss = F.mse_loss(vertices, target)
    return {"loss": loss, "vertice_out": vertices, "target_frames": torch.tensor(target.shape[1])}


RUN = {"predict": predict, "forward": train, "masks": masks}


@pytest.mark.parametrize("case", cases("faceformer", whole_models))
@both_precisions
def test_case(case: GoldenCase, dtype: torch.dtype) -> None:
    assert case.mode in RUN, f"{case}: mode {case.mode!r} is not covered"
    case.compare(RUN[case.mode](build(case.golden, dtype), case, dtype), dtype)


@pytest.mark.parametrize("golden", models("faceformer", lambda g: "gradient_l2_forward_ar" in g.head))
def test_gradients(golden: Golden) -> None:
    model = build(golden, torch.float64)
    case = GoldenCase(golden, "forward_ar", golden.head["cases"]["forward_ar"])
    train(model, case, torch.float64)["loss"].backward()
    close_gradients({k: v.grad for k, v in model.named_parameters()}, golden.gradients("forward_ar"))


def test_every_listed_case_is_here() -> None:
    here = {(p.values[0].golden.path.stem, p.values[0].name) for p in cases("faceformer") if p.values[0] is not None}
    assert listed("faceformer") <= here
