"""Linear maps of a few rows, and the decoder's frames given several at once."""

import pytest
import torch
from torch import nn

from parlante.models.components import causal_decoder as causal
from parlante.models.components.causal_decoder import CausalDecoder
from parlante.models.cpu import skinny_matmul as rows


@pytest.mark.parametrize("shape", [(1, 32), (5, 32), (2, 4, 32), (70, 32), (0, 32)])
def test_any_number_of_rows_gives_the_linear_map(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "WIDE", 1)
    torch.manual_seed(0)
    layer, x = nn.Linear(32, 20).double(), torch.randn(shape).double()
    torch.testing.assert_close(rows.apply(layer, x), layer(x))
    torch.testing.assert_close(rows.linear(x, layer.weight), nn.functional.linear(x, layer.weight))


@pytest.mark.parametrize("span", [None, 1, 5, 11, 600])
@pytest.mark.parametrize("steps", [1, 2, 3])
@torch.no_grad()
def test_frames_in_blocks_are_those_one_by_one(steps: int, span: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with wrong tokens that are then taken back, beside single steps, and while old frames are dropped."""
    torch.manual_seed(0)
    decoder = CausalDecoder(16, 3, period=4, steps_per_frame=steps, span=span).double().eval()
    tokens, memory = torch.randn(2, 40, 16).double(), torch.randn(2, 40 * steps, 16).double()
    wanted = decoder(tokens, memory)
    for compiled, widest in ((True, 512), (False, 512), (True, 8)):  # past the widest, cross-attention is folded
        monkeypatch.setattr(causal, "COMPILED", compiled)
        monkeypatch.setattr(causal, "WIDEST", widest)
        heard, state, done = decoder.hear(memory), decoder.start(2, capacity=3), []
        assert (heard.folded is not None) == (widest == 8 and steps > 1)
        for count in (1, 4, 7, 1, 16, 11):
            t = state.length
            decoder.block(torch.randn(2, count + 2, 16).double()[:, : 40 - t], heard, t, state)
            state.rewind(t)
            if count == 1:
                done.append(decoder.step(tokens[:, t], heard, t, state)[:, None])
            else:
                done.append(decoder.block(tokens[:, t : t + count], heard, t, state))
        torch.testing.assert_close(torch.cat(done, 1), wanted)
