"""The cached decoder against torch's own layers and explicit masks; folding; long clips."""

import math

import pytest
import torch
from torch import nn

from parlante.models.blocks import causal
from parlante.models.blocks.autoregression import Rollout, fold
from parlante.models.blocks.causal import CausalDecoder, memory_mask, periodic_positions, temporal_bias

both_alignments = pytest.mark.parametrize("steps", [1, 2, 3])


def tiny(steps: int, **more: int) -> tuple[CausalDecoder, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    decoder = CausalDecoder(16, 3, period=4, steps_per_frame=steps, **more).double().eval()
    return decoder, torch.randn(2, 11, 16).double(), torch.randn(2, 11 * steps, 16).double()


def by_hand(decoder: CausalDecoder, tokens: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """torch's decoder layer under the two masks, as published."""
    frames, heads = tokens.shape[1], decoder.heads
    bias = temporal_bias(frames, decoder.period, heads).to(tokens).repeat(len(tokens), 1, 1)
    hidden = memory_mask(frames, memory.shape[1], decoder.steps_per_frame)
    for layer in decoder.layers:
        tokens = nn.TransformerDecoderLayer.forward(layer, tokens, memory, tgt_mask=bias, memory_mask=hidden)
    return tokens


@both_alignments
def test_all_frames_at_once_and_one_by_one(steps, monkeypatch):
    decoder, tokens, memory = tiny(steps)
    with torch.no_grad():
        slow = by_hand(decoder, tokens, memory)
        torch.testing.assert_close(decoder(tokens, memory), slow)
        monkeypatch.setattr(causal, "BLOCK", 4)
        torch.testing.assert_close(decoder(tokens, memory), slow)
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            state, heard = decoder.start(2, capacity=3), decoder.hear(memory)
            stepped = [decoder.step(tokens[:, t], heard, t, state) for t in range(11)]
            torch.testing.assert_close(torch.stack(stepped, 1), slow)


@both_alignments
def test_rewinding_forgets(steps):
    decoder, tokens, memory = tiny(steps)
    with torch.no_grad():
        heard, state = decoder.hear(memory), decoder.start(2)
        first = [decoder.step(tokens[:, t], heard, t, state) for t in range(6)]
        state.rewind(2)
        again = [decoder.step(tokens[:, t], heard, t, state) for t in range(2, 6)]
    torch.testing.assert_close(torch.stack(first[2:]), torch.stack(again))
    with pytest.raises(ValueError, match=r"0\.\.6"):
        state.rewind(7)


def test_bias_of_one_head():
    bias = temporal_bias(7, 3, 4)
    assert bias[0, 6].tolist() == [-0.5] + [-0.25] * 3 + [0.0] * 3
    assert torch.isinf(bias[0, 2, 3:]).all()
    assert bias[3, 6, 0] == -2.0 / 256


def test_positions_repeat():
    table = periodic_positions(0, 23, 8, 5)
    torch.testing.assert_close(table[5:10], table[:5])
    torch.testing.assert_close(periodic_positions(7, 4, 8, 5), table[7:11])
    angle = torch.arange(5.0)[:, None] * 10000.0 ** (-torch.arange(0, 8, 2) / 8)
    torch.testing.assert_close(table[:5, 0::2], angle.sin())
    torch.testing.assert_close(table[:5, 1::2], angle.cos())


def test_fold_is_the_composition():
    torch.manual_seed(0)
    decode, encode = nn.Linear(8, 60).double(), nn.Linear(60, 8).double()
    matrix, offset = fold(decode, encode)
    y = torch.randn(5, 8).double()
    torch.testing.assert_close(y @ matrix.T + offset, encode(decode(y)))
    decode = nn.Linear(8, 60, bias=False).double()
    matrix, offset = fold(decode, encode)
    torch.testing.assert_close(y @ matrix.T + offset, encode(decode(y)))


def test_short_memory_is_refused():
    decoder, tokens, memory = tiny(2)
    with pytest.raises(ValueError, match="22 memory steps, got 20"):
        decoder(tokens, memory[:, :20])


def test_gradients_of_the_loop():
    """A differentiable rollout has the gradient of the published loop, which runs the whole prefix every time."""
    decoder, _, memory = tiny(2)
    decode, encode = nn.Linear(16, 30).double(), nn.Linear(30, 16).double()
    code = torch.randn(2, 16).double().requires_grad_()

    def slow() -> torch.Tensor:
        tokens = code[:, None]
        for t in range(11):
            hidden = decoder(tokens + periodic_positions(0, t + 1, 16, 4), memory)
            tokens = torch.cat([tokens, encode(decode(hidden[:, -1:])) + code[:, None]], 1)
        return hidden

    fast = Rollout(decoder, code, fold(decode, encode)).advance(memory)
    wanted = slow()
    torch.testing.assert_close(fast, wanted)
    weights = torch.randn_like(fast)
    leaves = [code, *decoder.parameters(), *encode.parameters()]
    ours = torch.autograd.grad((fast * weights).sum(), leaves)
    theirs = torch.autograd.grad((wanted * weights).sum(), leaves)
    for mine, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, their)


@pytest.mark.parametrize("loud", [False, True], ids=["even", "one loud frame"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_a_fading_head_looks_as_far_as_it_must(loud, dtype):
    """Long after the fast heads have stopped looking back, every frame still comes out as with all of the past."""
    pytest.importorskip("numba")
    decoder, frames = tiny(1)[0].to(dtype), 900
    decoder.period = 1
    tokens, memory = torch.randn(2, 2, frames, 16, dtype=dtype)[:, :1]
    if loud:  # a frame whose keys outweigh the fading: it stays in sight
        with torch.no_grad():
            decoder.layers[0].self_attn.in_proj_weight[:32] *= 6.0
        tokens[:, 20] *= 20.0
    with torch.no_grad():
        heard, state = decoder.hear(memory), decoder.start(1)
        stepped = torch.stack([decoder.step(tokens[:, t], heard, t, state) for t in range(frames)], 1)
        assert decoder.compiled(state)
        wanted = decoder(tokens, memory)
    torch.testing.assert_close(stepped, wanted, rtol=0, atol=1e-11 if dtype == torch.float64 else 1e-5)


def test_reach_is_safe_and_finite():
    """Whatever the logits within the norms, what lies beyond the reach weighs less than rounding; half would not do."""
    kernel = pytest.importorskip("parlante.models.blocks.causal_kernel")
    period, unit = 3, 2.0**-53
    for slope in (0.25, 0.0625):
        for norm in (0.0, 1.0, 5.0):
            query = torch.full((4,), norm / 2.0, dtype=torch.float64).numpy()
            reach = kernel._reach(query, 1.0, slope, period, math.log(1 + 1 / unit))
            age = torch.arange(20_000, dtype=torch.float64).div(period, rounding_mode="floor")
            worst = torch.exp(torch.where(age < reach // period, -norm, norm) - slope * age)
            assert worst[reach:].sum() / worst[:reach].sum() < unit
            assert worst[reach // 2 :].sum() / worst[: reach // 2].sum() > unit


def test_fold_is_kept_until_a_weight_changes():
    torch.manual_seed(0)
    decode, encode = nn.Linear(8, 60), nn.Linear(60, 8)
    with torch.no_grad():
        kept = fold(decode, encode)
        assert fold(decode, encode)[0] is kept[0]
        changes = {
            "written": lambda: encode.bias.add_(1.0),
            "loaded": lambda: decode.load_state_dict(nn.Linear(8, 60).state_dict()),
            "moved": lambda: (decode.double(), encode.double()),
            "replaced": lambda: setattr(encode, "weight", nn.Parameter(torch.randn(8, 60).double())),
            "another": lambda: setattr(encode, "bias", None),
        }
        for how, change in changes.items():
            change()
            matrix, offset = fold(decode, encode)
            y = torch.randn(5, 8).to(matrix)
            torch.testing.assert_close(y @ matrix.T + offset, encode(decode(y)), msg=how)
            assert fold(decode, encode)[1] is offset
    assert fold(decode, encode)[0].requires_grad
    optimiser = torch.optim.Adam([*decode.parameters(), *encode.parameters()], lr=0.1)
    fold(decode, encode)[0].square().sum().backward()
    with torch.no_grad():
        before = fold(decode, encode)[0]
        optimiser.step()
        assert not torch.equal(fold(decode, encode)[0], before)
