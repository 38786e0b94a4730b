"""What the parity tests of FaceFormer and TalkingStyle share."""

import pytest
import torch
from golden import Golden, GoldenCase
from torch import Tensor

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.audio.rates import RateRule
from parlante.models.components.autoregressive_model import AutoregressiveConfig, AutoregressiveModel
from parlante.models.components.causal_decoder import memory_mask, periodic_positions, temporal_bias

both_precisions = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def steps_per_frame(golden: Golden) -> int:
    """What the originals derive from the data set's name."""
    return {"vocaset": 1, "BIWI": 2}[golden.dataset]


RULES = {"vocaset": RateRule(kind="aligned", fps=30.0), "BIWI": RateRule(kind="pairs", steps_per_frame=2)}
SPEECH = "audio_encoder."


def whole_models(golden: Golden) -> bool:
    """The fixture holds a model, fed with hidden states or with audio; front ends alone are test_parity_speech.py's."""
    return "vertice_dim" in golden.sizes


def given(case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    """The case's arguments; audio goes through the fixture's own tiny encoder and becomes hidden states."""
    arguments = case.arguments(dtype)
    if "audio" in arguments:
        about = dict(case.golden.sizes["encoders"]["content"])
        network = {"model_type": about.pop("architecture"), **about}
        stored = case.golden.part("state")
        state = {k.removeprefix(SPEECH): v for k, v in stored.items() if k.startswith(SPEECH)}
        encoder = SpeechEncoder.from_config(network, RULES[case.golden.dataset], state=state, normalise=False).to(dtype)
        frames = arguments["vertice"].shape[1] if "vertice" in arguments else None
        with torch.no_grad():
            arguments["hidden_states"] = encoder.eval()(arguments["audio"], frames)
    return arguments


def config_of(golden: Golden, config: type[AutoregressiveConfig]) -> AutoregressiveConfig:
    """The family's configuration at the fixture's sizes."""
    sizes = golden.sizes
    return config(
        motion_dim=sizes["vertice_dim"],
        audio_dim=sizes["audio_dim"],
        width=sizes["feature_dim"],
        period=sizes["period"],
        subjects=sizes["num_subjects"],
        layers=sizes["decoder_layers"],
        heads=sizes["decoder_heads"],
        steps_per_frame=steps_per_frame(golden),
        span=golden.span,
    )


def forward(model: AutoregressiveModel, case: GoldenCase, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Predicted and true vertices (B, T, M) of a training pass, teacher-forced or fed back."""
    arguments = given(case, dtype)
    template, code = arguments["template"][:, None], model.style_embedding(arguments["one_hot"])
    features, motion = arguments["hidden_states"], arguments["vertice"] - template
    if "_tf" in case.name:
        moved = model(features, motion, code, reference=True)
    else:
        assert "_ar" in case.name, f"{case}: neither teacher-forced nor autoregressive"
        steps = motion.shape[1] * model.config.steps_per_frame
        moved = model.rollout(features[:, :steps], code)
    return moved + template, arguments["vertice"][:, : moved.shape[1]]


def predict(model: AutoregressiveModel, case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    """Generation, for the given speaker or for all in turn; fed-back frames are the displacements themselves."""
    arguments = given(case, dtype)
    features, template = arguments["hidden_states"], arguments["template"]
    people = arguments["one_hot"] if "one_hot" in arguments else torch.eye(model.config.subjects, dtype=dtype)
    with torch.no_grad():
        code = model.style_embedding(people)
        motion = model.generate(features.expand(len(people), -1, -1), code)
        plain = plain_loop(model, features[:1], code[:1])
    fed_back = motion
    assert (plain - motion[:1]).abs().max() <= (1e-10 if dtype == torch.float64 else 1e-4)
    return {"vertice": motion + template[:, None], "fed_back": fed_back}


def plain_loop(model: AutoregressiveModel, features: Tensor, code: Tensor) -> Tensor:
    """The published loop: the whole prefix is decoded again for every frame. Slow, and the reference."""
    memory = model.audio_feature_map(features)
    tokens = code[:, None]
    motion = tokens[:, :0]
    steps = model.config.steps_per_frame
    for t in range(memory.shape[1] // steps):
        positions = periodic_positions(0, t + 1, model.config.width, model.config.period).to(tokens)
        hidden = model.transformer_decoder(tokens + positions, memory[:, : (t + 1) * steps])
        motion = model.decode(hidden)
        tokens = torch.cat([tokens, model.encode(motion[:, -1:]) + code[:, None]], 1)
    return motion


def masks(model: AutoregressiveModel, case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    """Temporal bias and alignment, at the stored sizes."""
    frames, steps = case.body["outputs"]["memory_mask"]["shape"]
    config = model.config
    return {
        "temporal_bias": temporal_bias(frames, config.period, config.heads).to(dtype),
        "memory_mask": memory_mask(frames, steps, config.steps_per_frame),
    }
