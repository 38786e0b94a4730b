"""TexTalker's way from sound to features: padding, twice the frame rate, halved after the transformer."""

import pytest
import torch
import torch.nn.functional as F
from comparison import close

from parlante.audio.encoders.convolve import pad_edges
from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.audio.rates import RateRule

SQUEEZED = RateRule(kind="centred", fps=60.0, steps_per_frame=2, keep_fps=30.0)


@pytest.mark.parametrize("rest", [0, 1, 30, 79, 80, 81, 319])
def test_padding(parity, rest):
    case = parity("textalker/audio")
    audio = case.part("in")[f"pad_{rest}"]
    ours = pad_edges(audio)
    assert torch.equal(ours, case.part("out")[f"pad_{rest}"])


@pytest.mark.parametrize("clip", ["exact", "double", "slightly_long", "far_too_long", "short"])
@torch.no_grad()
def test_features(parity, clip):
    case = parity("textalker/audio")
    state = case.part("state")
    network = {k: v for k, v in case.sizes["hubert_config"].items() if k not in ("output_attentions",)}
    weights = {k.removeprefix("audio_encoder."): v for k, v in state.items() if k.startswith("audio_encoder.")}
    encoder = SpeechEncoder.from_config(network, SQUEEZED, state=weights, normalise=False, pad=True)
    frames = case.sizes["frames"][clip]
    hidden = encoder(case.part("in")[f"{clip}/audio"], frames)
    close(hidden, case.part("out")[f"{clip}/hidden"])
    halved = hidden.unflatten(1, (frames, 2)).mean(2)
    projected = F.linear(halved, state["audio_feature_map.weight"], state["audio_feature_map.bias"])
    close(projected, case.part("out")[f"{clip}/feature"])
