"""Speech front ends against the authors' own: convolutions, changes of rate, transformer, normalisation."""

import pytest
import torch
from golden import GoldenCase, cases
from torch import Tensor

from parlante.audio.rates import RateRule, change_rate
from parlante.audio.speech import SpeechEncoder, infer_config, normalise

FRONT_ENDS = ("audio_frontend", "emotion_frontend", "audio_normalisation")
RULES = {"vocaset": RateRule(kind="aligned", fps=30.0), "BIWI": RateRule(kind="pairs", steps_per_frame=2)}
STYLE = RateRule(kind="aligned", fps=60.0)


def encoder(case: GoldenCase, rule: RateRule, dtype: torch.dtype) -> SpeechEncoder:
    network = dict(case.golden.sizes["encoder"])
    network["model_type"] = network.pop("architecture")
    state = case.golden.part("state")
    inferred = infer_config(state, heads=network["num_attention_heads"])
    inferred.pop("model_type")
    assert {k: inferred[k] for k in inferred.keys() & network.keys()} == {
        k: network[k] for k in inferred.keys() & network.keys()
    }
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
        return {name.removeprefix("audio_"): network.hear(audio) for name, audio in given.items()}
    if case.name == "interpolation":
        return interpolation(case, dtype)
    assert case.name == "normalise", f"{case}: unknown"
    return {"input_values": normalise(given["wave"])}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("case", cases("*", lambda golden: golden.path.stem.startswith(FRONT_ENDS)))
@torch.no_grad()
def test_front_end(case, dtype):
    case.compare(ours(case, dtype), dtype)
