"""The cached decoder against torch's own layers and explicit masks; fused feedback; the compiled loop; long clips."""

import pytest
import torch
from torch import nn

from parlante.models.components import causal_decoder as causal
from parlante.models.components import kv_cache
from parlante.models.components.causal_decoder import CausalDecoder, memory_mask, periodic_positions, temporal_bias
from parlante.models.components.incremental_decoder import Rollout, fuse_feedback
from parlante.models.cpu import accelerate

both_alignments = pytest.mark.parametrize("steps", [1, 2, 3])
every_span = pytest.mark.parametrize("span", [None, 1, 5, 11, 600])


def tiny(steps: int, **more: int | None) -> tuple[CausalDecoder, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    decoder = CausalDecoder(16, 3, period=4, steps_per_frame=steps, **more).double().eval()
    return decoder, torch.randn(2, 11, 16).double(), torch.randn(2, 11 * steps, 16).double()


def by_hand(decoder: CausalDecoder, tokens: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    """torch's decoder layer under the two masks, as published."""
    frames, heads = tokens.shape[1], decoder.heads
    bias = temporal_bias(frames, decoder.period, heads, decoder.span).to(tokens).repeat(len(tokens), 1, 1)
    hidden = memory_mask(frames, memory.shape[1], decoder.steps_per_frame)
    for layer in decoder.layers:
        tokens = nn.TransformerDecoderLayer.forward(layer, tokens, memory, tgt_mask=bias, memory_mask=hidden)
    return tokens


@every_span
@both_alignments
def test_all_frames_at_once_and_one_by_one(steps, span, monkeypatch):
    decoder, tokens, memory = tiny(steps, span=span)
    with torch.no_grad():
        slow = by_hand(decoder, tokens, memory)
        torch.testing.assert_close(decoder(tokens, memory), slow)
        monkeypatch.setattr(causal, "BLOCK", 4)
        torch.testing.assert_close(decoder(tokens, memory), slow)
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            cache, encoded = decoder.start(2, capacity=3), decoder.encode_memory(memory)
            stepped = [decoder.step(tokens[:, t], encoded, t, cache) for t in range(11)]
            torch.testing.assert_close(torch.stack(stepped, 1), slow)


@every_span
@both_alignments
def test_the_compiled_loop_is_the_loop(steps, span, monkeypatch):
    """In pieces, in several runs, with items that end early."""
    monkeypatch.setattr(accelerate, "BLOCK", 4)
    decoder, tokens, memory = tiny(steps, span=span)
    feedback = torch.randn(16, 16).double() / 4, torch.randn(16).double()
    lengths, done = torch.tensor([9, 4]), []
    with torch.no_grad():
        for enabled in (False, True):
            monkeypatch.setattr(accelerate, "ENABLED", enabled)
            rollout = Rollout(decoder, tokens[:, 0], feedback)
            first = rollout.advance(memory[:, : 2 * steps])
            done.append(torch.cat([first, rollout.advance(memory[:, 2 * steps :], lengths=lengths)], 1))
    torch.testing.assert_close(done[1][0], done[0][0])
    torch.testing.assert_close(done[1][1, :6], done[0][1, :6])
    assert not done[1][1, 6:].any()


def test_a_clip_within_the_span_is_not_touched_by_it(monkeypatch):
    monkeypatch.setattr(causal, "BLOCK", 4)
    results = []
    for span in (None, 11, 600):
        decoder, tokens, memory = tiny(2, span=span)
        weight, offset = torch.eye(16).double(), torch.zeros(16).double()
        with torch.no_grad():
            results.append([decoder(tokens, memory)])
            for compiled in (True, False):
                monkeypatch.setattr(accelerate, "ENABLED", compiled)
                results[-1].append(Rollout(decoder, tokens[:, 0], (weight, offset)).advance(memory))
    for spanned in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(spanned, results[0], strict=True))


def test_a_past_of_any_length_takes_the_same_room(monkeypatch):
    """Pushed singly or many at once; with all of the past in view, room grows."""
    monkeypatch.setattr(accelerate, "BLOCK", 64)
    for module in (causal, kv_cache):
        monkeypatch.setattr(module, "uneven", lambda frames: frames)
    decoder, _, _ = tiny(1, span=20)
    weight, offset = torch.eye(16).double(), torch.zeros(16).double()
    memory = torch.randn(1, 1000, 16).double()

    def room(pieces: list[int]) -> int:
        rollout, first, most = Rollout(decoder, memory[:, 0], (weight, offset)), 0, 0
        for frames in pieces:
            rollout.advance(memory[:, first : first + frames])
            first += frames
            most = max(most, rollout.cache.keys.shape[-1], rollout.cache.values.shape[-1])
        assert rollout.cache.length == first
        return most

    with torch.no_grad():
        assert room([1] * 300) == 64, "the capacity at the start is enough for two spans"
        assert room([1000]) == room([3, 500, 1, 496]) == 19 + 64
        decoder.span = None
        assert room([1] * 300) == 512


@pytest.mark.parametrize("span", [None, 1, 4])
@both_alignments
def test_rewinding_forgets(steps, span):
    decoder, tokens, memory = tiny(steps, span=span)
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            encoded, cache = decoder.encode_memory(memory), decoder.start(2)
            first = [decoder.step(tokens[:, t], encoded, t, cache) for t in range(6)]
            if gradients and span == 4:
                with pytest.raises(ValueError, match=r"2\.\.6"):  # frames 0 and 1 are gone
                    cache.rewind(4)
                continue
            cache.rewind(2)
            again = [decoder.step(tokens[:, t], encoded, t, cache) for t in range(2, 6)]
            torch.testing.assert_close(torch.stack(first[2:]), torch.stack(again))
            with pytest.raises(ValueError, match=r"\.\.6"):
                cache.rewind(7)


def test_what_was_reserved_can_be_rewound(monkeypatch):
    """Room is made for several frames, they are tried, and tried again: the frames before them are still there."""
    for module in (causal, kv_cache):
        monkeypatch.setattr(module, "uneven", lambda frames: frames)
    decoder, tokens, memory = tiny(1, span=3)
    with torch.no_grad():
        wanted, encoded, cache = decoder(tokens, memory), decoder.encode_memory(memory), decoder.start(2, capacity=4)
        for first in range(0, 11, 4):
            frames = range(first, min(first + 4, 11))
            cache.reserve(len(frames))
            for t in frames:
                decoder.step(tokens[:, 10 - t], encoded, t, cache)
            cache.rewind(first)
            for t in frames:
                torch.testing.assert_close(decoder.step(tokens[:, t], encoded, t, cache), wanted[:, t])
        assert cache.origin > 0
        with pytest.raises(ValueError, match=rf"{cache.origin}\.\.11"):
            cache.rewind(cache.origin + 1)


def test_bias_of_one_head():
    bias = temporal_bias(7, 3, 4)
    assert bias[0, 6].tolist() == [-0.5] + [-0.25] * 3 + [0.0] * 3
    assert torch.isinf(bias[0, 2, 3:]).all()
    assert bias[3, 6, 0] == -2.0 / 256
    near = temporal_bias(7, 3, 4, span=2)
    assert torch.equal(near.isfinite(), torch.ones(7, 7).tril().triu(-1).bool().expand(4, 7, 7))
    assert torch.equal(near[near.isfinite()], bias[near.isfinite()])


def test_positions_repeat():
    table = periodic_positions(0, 23, 8, 5)
    torch.testing.assert_close(table[5:10], table[:5])
    torch.testing.assert_close(periodic_positions(7, 4, 8, 5), table[7:11])
    angle = torch.arange(5.0)[:, None] * 10000.0 ** (-torch.arange(0, 8, 2) / 8)
    torch.testing.assert_close(table[:5, 0::2], angle.sin())
    torch.testing.assert_close(table[:5, 1::2], angle.cos())


def test_fused_feedback_is_the_composition():
    torch.manual_seed(0)
    decode, encode = nn.Linear(8, 60).double(), nn.Linear(60, 8).double()
    matrix, offset = fuse_feedback(decode, encode)
    y = torch.randn(5, 8).double()
    torch.testing.assert_close(y @ matrix.T + offset, encode(decode(y)))
    decode = nn.Linear(8, 60, bias=False).double()
    matrix, offset = fuse_feedback(decode, encode)
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

    fast = Rollout(decoder, code, fuse_feedback(decode, encode)).advance(memory)
    wanted = slow()
    torch.testing.assert_close(fast, wanted)
    weights = torch.randn_like(fast)
    leaves = [code, *decoder.parameters(), *encode.parameters()]
    ours = torch.autograd.grad((fast * weights).sum(), leaves)
    theirs = torch.autograd.grad((wanted * weights).sum(), leaves)
    for mine, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, their)


def test_fused_feedback_is_kept_until_a_weight_changes():
    torch.manual_seed(0)
    decode, encode = nn.Linear(8, 60), nn.Linear(60, 8)
    with torch.no_grad():
        kept = fuse_feedback(decode, encode)
        assert fuse_feedback(decode, encode)[0] is kept[0]
        changes = {
            "written": lambda: encode.bias.add_(1.0),
            "loaded": lambda: decode.load_state_dict(nn.Linear(8, 60).state_dict()),
            "moved": lambda: (decode.double(), encode.double()),
            "replaced": lambda: setattr(encode, "weight", nn.Parameter(torch.randn(8, 60).double())),
            "another": lambda: setattr(encode, "bias", None),
        }
        for how, change in changes.items():
            change()
            matrix, offset = fuse_feedback(decode, encode)
            y = torch.randn(5, 8).to(matrix)
            torch.testing.assert_close(y @ matrix.T + offset, encode(decode(y)), msg=how)
            assert fuse_feedback(decode, encode)[1] is offset
    assert fuse_feedback(decode, encode)[0].requires_grad
    optimiser = torch.optim.Adam([*decode.parameters(), *encode.parameters()], lr=0.1)
    fuse_feedback(decode, encode)[0].square().sum().backward()
    with torch.no_grad():
        before = fuse_feedback(decode, encode)[0]
        optimiser.step()
        assert not torch.equal(fuse_feedback(decode, encode)[0], before)
