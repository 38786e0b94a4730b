"""Speech front ends against the authors' own: convolutions, changes of rate, transformer, normalisation."""

import json

import pytest
import torch
from golden import ROOT, GoldenCase, cases, listed
from torch import Tensor

from parlante.audio.encoders.transformers import SpeechEncoder, infer_config, normalise
from parlante.audio.encoders.weight_norm import to_new
from parlante.audio.rates import RateRule, change_rate

FRONT_ENDS = ("audio_frontend", "emotion_frontend", "audio_normalisation")
RULES = {"vocaset": RateRule(kind="aligned", fps=30.0), "BIWI": RateRule(kind="pairs", steps_per_frame=2)}
STYLE = RateRule(kind="aligned", fps=60.0)
CASES = cases("*", lambda golden: golden.path.stem.startswith(FRONT_ENDS))
FOUND = [parameter.values[0] for parameter in CASES]


def encoder(case: GoldenCase, rule: RateRule, dtype: torch.dtype) -> SpeechEncoder:
    network = dict(case.golden.sizes["encoder"])
    network["model_type"] = network.pop("architecture")
    state = case.golden.part("state")
    inferred = infer_config(state, heads=network["num_attention_heads"])
    shared = inferred.keys() & network.keys() - {"model_type"}
    assert {k: inferred[k] for k in shared} == {k: network[k] for k in shared}
    return SpeechEncoder.from_config(network, rule, state=state, normalise=False).to(dtype)


def interpolation(case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    """`to30_49`: 49 features to 30 per second; `fixed17_49`: to 17 frames."""
    given = case.arguments(dtype)
    results = {}
    for name in case.body["outputs"]:
        kind, length = name.split("_")
        x = given[f"interp_{length}"]
        fixed = kind.startswith("fixed")
        fps = 30.0 if fixed else float(kind.removeprefix("to"))
        frames = int(kind.removeprefix("fixed")) if fixed else None
        results[name] = change_rate(x, RateRule(kind="aligned", fps=fps), frames)
    return results


def ours(case: GoldenCase, dtype: torch.dtype) -> dict[str, Tensor]:
    given = case.arguments(dtype)
    if case.mode == "frontend":
        free = STYLE if case.golden.path.stem == "emotion_frontend" else RateRule()
        rule = RULES.get(case.call.get("dataset"), free)
        heard = encoder(case, rule, dtype)(given["audio"], frames=case.call.get("frame_num"))
        return {"last_hidden_state": heard}
    assert case.mode == "module", f"{case}: unknown mode {case.mode}"
    if case.name == "convolution_stack":
        network = encoder(case, RateRule(), dtype)
        return {name.removeprefix("audio_"): network.local_features(audio) for name, audio in given.items()}
    if case.name == "interpolation":
        return interpolation(case, dtype)
    assert case.name == "normalise", f"{case}: unknown"
    return {"input_values": normalise(given["wave"])}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_front_end(case, dtype):
    case.compare(ours(case, dtype), dtype)


RELEASED = {
    "faceformer_vocaset": ("audio_encoder.", "base", 12),
    "codetalker_stage2_biwi": ("audio_encoder.", "base", 12),
    "talkingstyle_vocaset": ("audio_encoder.", "large", 24),
    "ptalker_biwi_d128": ("audio_encoder.", "large", 24),
    "ptalker_vocaset_d128": ("AudioStyle.wav2vec2_emo.", "large", 12),
}


@pytest.mark.parametrize("name", RELEASED)
def test_released_sizes_are_inferred_and_match_key_by_key(name):
    path = ROOT / "keys" / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"no list of released weights {path}")
    prefix, layout, depth = RELEASED[name]
    shapes = json.loads(path.read_text())["shapes"]
    state = {k[len(prefix) :]: torch.empty(v, device="meta") for k, v in shapes.items() if k.startswith(prefix)}
    network = infer_config(state)
    width, heads = (1024, 16) if layout == "large" else (768, 12)
    assert (network["hidden_size"], network["num_attention_heads"], network["num_hidden_layers"]) == (
        width,
        heads,
        depth,
    )
    assert network["do_stable_layer_norm"] == network["conv_bias"] == (layout == "large")
    with torch.device("meta"):
        ours = SpeechEncoder.from_config(network).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in to_new(state).items()}


def test_every_listed_front_end_is_there():
    there = {(case.golden.head["fixture"], case.golden.head["model"], case.name) for case in FOUND if case is not None}
    for model in ("faceformer", "talkingstyle", "ptalker", "codetalker"):
        wanted = {(fixture, model, case) for fixture, case in listed(model) if fixture.startswith(FRONT_ENDS)}
        assert wanted <= there, f"not found: {sorted(wanted - there)}"
