"""FaceDiffuser's denoiser, schedule, training loss and sampling loop against the published ones."""

import pytest
import torch
from comparison import close
from discover import holding

from parlante.audio.rates import RateRule, change_rate
from parlante.models.facediffuser.import_ import family_tensors, infer
from parlante.models.facediffuser.model import FaceDiffuser, FaceDiffuserConfig, cosine_table

FIXTURES = holding("facediffuser", "out/sample_skipped", "vocaset")
TOLERANCE = {torch.float32: 2e-5, torch.float64: 5e-6}
"""The stored outputs were computed in float32."""


@pytest.fixture(params=FIXTURES)
def case(request, parity):
    return parity(request.param)


def build(case, dtype=torch.float32) -> FaceDiffuser:
    """Sizes are read off the tensors, as an import would."""
    state = case.part("state")
    config = FaceDiffuserConfig(**infer(state))
    for name, wanted in {"motion_dim": "dim", "audio_dim": "hidden", "subjects": "subjects", "steps": "steps"}.items():
        assert getattr(config, name) == case.sizes[wanted], name
    model = FaceDiffuser(config)
    model.load_state_dict(family_tensors(state), strict=True)
    return model.eval().to(dtype)


def heard(case, audio: torch.Tensor, frames: int) -> torch.Tensor:
    """Two speech features a frame: pairs where the rates divide, else resampled."""
    fps = case.sizes["output_fps"]
    if case.sizes["input_fps"] % fps == 0:
        return change_rate(audio, RateRule(kind="pairs", steps_per_frame=2), frames)
    return change_rate(audio, RateRule(kind="aligned", fps=2.0 * fps, steps_per_frame=2), frames)


def inputs(case, dtype) -> dict[str, torch.Tensor]:
    return {key: value.to(dtype) if value.is_floating_point() else value for key, value in case.part("in").items()}


def test_tables(case):
    wanted = case.part("out")
    for steps in sorted({int(key.split("/")[0].removeprefix("table_")) for key in wanted if key.startswith("table_")}):
        for name, ours in cosine_table(steps)._asdict().items():
            close(ours, wanted[f"table_{steps}/{name}"], 1e-12)


@pytest.mark.parametrize("dtype", TOLERANCE)
@torch.no_grad()
def test_denoiser(case, dtype):
    model, given, wanted = build(case, dtype), inputs(case, dtype), case.part("out")
    code = model.style_embedding(given["one_hot"])
    for audio, answer in (("audio", "y"), ("short_audio", "y_short_audio")):
        features = heard(case, given[audio], given["x"].shape[1])
        noisy = given["x"][:, : features.shape[1] // 2]
        ours = model.estimate(noisy, features, given["time"], code, given["template"])
        close(ours, wanted[answer].to(dtype), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_training(case, dtype):
    model, given, wanted = build(case, dtype), inputs(case, dtype), case.part("out")
    clean, step, noise = given["x_start"], given["time"], given["train_noise"]
    close(model.add_noise(clean, step, noise), wanted["x_t"].to(dtype), TOLERANCE[dtype])
    motion = clean - given["template"][:, None]
    features = heard(case, given["audio"], clean.shape[1])
    code = model.style_embedding(given["one_hot"])
    answer = model(features, motion, code, template=given["template"], step=step, noise=noise)
    loss = torch.nn.functional.huber_loss(answer, motion)
    close(loss.detach(), wanted["training_loss"].to(dtype), TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("run", ["sample", "sample_skipped"])
def test_sampling(case, dtype, run):
    model, given, wanted = build(case, dtype), inputs(case, dtype), case.part("out")
    skip = case.sizes["skip_steps"] if run == "sample_skipped" else 0
    motion = model.generate(
        heard(case, given["audio"], given["x_T"].shape[1]),
        model.style_embedding(given["one_hot"]),
        template=given["template"],
        skip=skip,
        start=given["x_T"],
        noise=given["noise"][: case.sizes["steps"] - skip],
    )
    close(motion + given["template"][:, None], wanted[run].to(dtype), 2e-4 if dtype == torch.float32 else 2e-5)
