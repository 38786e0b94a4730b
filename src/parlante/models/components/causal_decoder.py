"""The decoder of FaceFormer and its heirs: biased causal self-attention, cross-attention to each frame's own speech.

Three ideas (Fan et al., "FaceFormer", CVPR 2022, section 3.2), shared by every autoregressive family here:

- positions repeat with a period, so that no clip is longer than those seen in training;
- self-attention is causal and fades by one step per period, more slowly in each further head (after ALiBi,
  Press et al. 2022), which lets it run past any training length;
- frame t attends only to the memory steps of its own moment, `steps_per_frame` of them.

Because a frame never sees the future, keys and values of the past can be kept: `step` costs one frame, not the prefix.
Because it sees no more than its `span` of frames, itself included, old ones can be dropped: a clip of any length takes
time in proportion to its frames, and a session the same memory for ever. The published code ends at 600 frames.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.models.components.kv_cache import EncodedMemory, KVCache, first_visible, uneven

SPAN = 600
"""Frames in the published bias and positional tables: as far back as any published model has ever looked."""
BLOCK = 512  # frames worked on at once: their queries share one piece of bias, their past one piece of storage


def attention_slopes(heads: int) -> list[float]:
    """How fast each head forgets: 2^(-8 (h + 1) / heads) for a power of two; other counts borrow from the next one."""
    if heads & (heads - 1) == 0:
        return [2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)]
    lower = 2 ** int(math.log2(heads))
    return attention_slopes(lower) + attention_slopes(2 * lower)[0::2][: heads - lower]


def bias_rows(first: int, last: int, period: int, heads: int, span: int | None = None) -> Tensor:
    """Bias of frames `first`..`last - 1` against all that any of them sees: `first_visible(first, span)`..`last - 1`.

    (heads, last - first, last - first_visible) float32; -inf in the future and beyond the span.
    """
    distance = torch.arange(first, last)[:, None] - torch.arange(first_visible(first, span), last)
    past = torch.tensor(attention_slopes(heads))[:, None, None] * -distance.div(period, rounding_mode="floor")
    hidden = distance < 0 if span is None else (distance < 0) | (distance >= span)
    return past.masked_fill(hidden, -math.inf)


def temporal_bias(frames: int, period: int, heads: int, span: int | None = None) -> Tensor:
    """Added to head h's logits: -slope_h * floor((i - j) / period) for i - span < j <= i, else -inf; (heads, T, T)."""
    return bias_rows(0, frames, period, heads, span)


def memory_mask(frames: int, steps: int, steps_per_frame: int) -> Tensor:
    """(T, S) bool, True = hidden: frame t attends to steps t * w .. t * w + w - 1. The rule, spelled out as a mask."""
    return torch.arange(steps).div(steps_per_frame, rounding_mode="floor") != torch.arange(frames)[:, None]


@functools.lru_cache(maxsize=32)
def _one_period(width: int, period: int) -> Tensor:
    frequency = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * (-math.log(10000.0) / width))
    angle = torch.arange(period, dtype=torch.float32)[:, None] * frequency
    table = torch.zeros(period, width)
    table[:, 0::2], table[:, 1::2] = angle.sin(), angle.cos()[:, : width // 2]
    return table


def periodic_positions(first: int, frames: int, width: int, period: int) -> Tensor:
    """Rows `first`.. of the periodic positional table, (frames, width) float32.

    pe[t, 2i] = sin(t' 10000^(-2i/width)), pe[t, 2i+1] = cos(same), t' = t mod period (FaceFormer, eq. 4). Evaluated
    in single precision whatever the model runs in: the published weights were trained with exactly these roundings.
    """
    with torch.device("cpu"):
        return _one_period(width, period)[torch.arange(first, first + frames) % period]


class CausalLayer(nn.TransformerDecoderLayer):
    """torch's post-norm decoder layer (ReLU), same parameter names; attention computed as the alignment allows."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, steps_per_frame: int) -> None:
        super().__init__(width, heads, hidden, dropout, batch_first=True)
        self.heads, self.rate, self.steps = heads, dropout, steps_per_frame

    def forward(self, x: Tensor, memory: Tensor, blocks: list[tuple[int, int, Tensor]]) -> Tensor:  # type: ignore[override]
        """x (B, T, D); memory (B, >= T * w, D); blocks as `CausalDecoder.forward` cuts them -> (B, T, D)."""
        x = self.norm1(x + self.dropout1(self._self_attention(x, blocks)))
        keys, values = self.encode_memory(memory, x.shape[1])
        x = self.norm2(x + self.dropout2(self.cross_attention(x, keys, values)))
        return self.norm3(x + self.dropout3(self._feed_forward(x)))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(F.relu(self.linear1(x))))

    def _self_attention(self, x: Tensor, blocks: list[tuple[int, int, Tensor]]) -> Tensor:
        q, k, v = (self._split(part) for part in self._project(x))
        rate = self.rate if self.training else 0.0
        done = [
            F.scaled_dot_product_attention(q[..., i:j, :], k[..., seen:j, :], v[..., seen:j, :], bias, dropout_p=rate)
            for i, j, bias in blocks
            for seen in [j - bias.shape[-1]]
        ]
        return self.self_attn.out_proj(torch.cat(done, -2).transpose(1, 2).flatten(-2))

    def _project(self, x: Tensor) -> tuple[Tensor, ...]:
        return F.linear(x, self.self_attn.in_proj_weight, self.self_attn.in_proj_bias).chunk(3, -1)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, T, D / heads)

    def encode_memory(self, memory: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Keys and values of cross-attention, (B, T, w, D) each; memory (B, >= T * w, D)."""
        width = memory.shape[-1]
        weight, bias = self.multihead_attn.in_proj_weight[width:], self.multihead_attn.in_proj_bias[width:]
        both = F.linear(memory[:, : frames * self.steps], weight, bias)
        key, value = both.unflatten(1, (frames, self.steps)).chunk(2, -1)
        return key, value

    def single_step_output(self, memory: Tensor) -> Tensor:
        """`cross_attention` where a frame has one step, whatever the query: memory (B, T, D) -> (B, T, D)."""
        attention, last = self.multihead_attn, slice(2 * memory.shape[-1], None)
        return attention.out_proj(F.linear(memory, attention.in_proj_weight[last], attention.in_proj_bias[last]))

    def cross_attention(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Each frame's attention over its own w steps: x (B, T, D), keys and values (B, T, w, D) -> (B, T, D).

        With one step softmax is 1, so the output is that step's value: query and key weights have no effect.
        """
        values = values.unflatten(-1, (self.heads, -1))  # (B, T, w, heads, D / heads)
        if self.steps == 1:
            share = values.new_ones(*values.shape[:-1], 1)
        else:
            width = x.shape[-1]
            attention = self.multihead_attn
            q = F.linear(x, attention.in_proj_weight[:width], attention.in_proj_bias[:width])
            q = q.unflatten(-1, (1, self.heads, -1)) / math.sqrt(width // self.heads)
            share = (q * keys.unflatten(-1, (self.heads, -1))).sum(-1, keepdim=True).softmax(-3)
        share = F.dropout(share, self.rate, self.training)
        return self.multihead_attn.out_proj((share * values).sum(-3).flatten(-2))

    def step(self, x: Tensor, memory: tuple[Tensor, ...], cache: KVCache, layer: int, bias: Tensor) -> Tensor:
        """One frame: x (B, D); memory as `EncodedMemory.of` a frame; bias (heads, visible) -> (B, D)."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in self._project(x))  # (B, heads, D / heads)
        keys, values = cache.append(layer, k, v)
        logits = q[..., None, :] @ keys / math.sqrt(q.shape[-1]) + bias[:, None]  # (B, heads, 1, visible)
        share = F.dropout(logits.softmax(-1), self.rate, self.training)
        attended = (values @ share.mT)[..., 0].flatten(-2)
        x = self.norm1(x + self.dropout1(self.self_attn.out_proj(attended)))
        if len(memory) == 1:
            speech = memory[0]
        else:
            keys, values = (part[:, None] for part in memory)
            speech = self.cross_attention(x[:, None], keys, values)[:, 0]
        x = self.norm2(x + self.dropout2(speech))
        return self.norm3(x + self.dropout3(self._feed_forward(x)))


class CausalDecoder(nn.Module):
    """A stack of `CausalLayer`s. Keys `layers.{i}.*` are those of torch's `TransformerDecoder`.

    Tokens already carry their positions (`periodic_positions`). `steps_per_frame` = w memory steps belong to a frame.
    Frame i attends to frames i - span + 1..i; none: to all before it.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        *,
        heads: int = 4,
        period: int,
        hidden: int | None = None,
        dropout: float = 0.1,
        steps_per_frame: int = 1,
        span: int | None = SPAN,
    ) -> None:
        if width % heads:
            raise ValueError(f"heads must divide width, got width={width} and heads={heads}")
        if span is not None and span < 1:
            raise ValueError(f"span must be at least 1 frame, or none for all of the past, got {span}")
        super().__init__()
        self.width, self.heads, self.period, self.steps_per_frame = width, heads, period, steps_per_frame
        self.span = span
        hidden = 2 * width if hidden is None else hidden
        self.layers = nn.ModuleList(CausalLayer(width, heads, hidden, dropout, steps_per_frame) for _ in range(layers))

    def frames_covered(self, steps: int) -> int:
        """Whole frames that `steps` memory steps cover."""
        return steps // self.steps_per_frame

    def forward(self, tokens: Tensor, memory: Tensor, lengths: Tensor | None = None) -> Tensor:
        """All frames at once (teacher forcing): tokens (B, T, D), memory (B, S, D) -> (B, T, D).

        lengths (B,): real frames of each item; frames past them come out as zero. Padding needs no mask, for it lies
        in the future of every real frame. Raises ValueError where the memory is too short for the tokens.
        """
        frames = tokens.shape[1]
        self._check(frames, memory)
        blocks = [
            (first, last, self.bias(first, last).to(tokens))
            for first, last in ((i, min(i + BLOCK, frames)) for i in range(0, frames, BLOCK))
        ]
        x = tokens
        for layer in self.layers:
            x = layer(x, memory, blocks)
        return x if lengths is None else zero_past(x, lengths)

    def bias(self, first: int, last: int) -> Tensor:
        """`bias_rows` of this decoder."""
        return bias_rows(first, last, self.period, self.heads, self.span)

    def encode_memory(self, memory: Tensor) -> EncodedMemory:
        """Cross-attention keys and values of memory (B, S, D), for the S // steps_per_frame frames it covers."""
        frames = self.frames_covered(memory.shape[1])
        if self.steps_per_frame == 1 and not self.training:
            outputs = [layer.single_step_output(memory) for layer in self.layers]  # type: ignore[operator]
            return EncodedMemory(torch.stack(outputs), None, None)
        pairs = [layer.encode_memory(memory, frames) for layer in self.layers]  # type: ignore[operator]
        return EncodedMemory(None, torch.stack([key for key, _ in pairs]), torch.stack([value for _, value in pairs]))

    def start(self, batch: int, capacity: int = 64) -> KVCache:
        """An empty past for `batch` items; it grows as needed. Differentiable if made while gradients are enabled."""
        like = self.layers[0].norm1.weight  # type: ignore[union-attr]
        shape = (len(self.layers), batch, self.heads, self.width // self.heads)
        differentiable = torch.is_grad_enabled()
        room = 0 if differentiable else uneven(capacity)
        keys, values = like.new_zeros(*shape, room), like.new_zeros(*shape, room)  # type: ignore[operator]
        return KVCache(keys, values, differentiable, self.span)

    def step(self, token: Tensor, memory: EncodedMemory, t: int, cache: KVCache) -> Tensor:
        """One frame after those in `cache`, with frame t of `memory`: token (B, D) -> (B, D); `cache` moves on."""
        cache.reserve(1)
        bias = self.bias(cache.length, cache.length + 1)[:, 0].to(token)
        x = token
        for number, layer in enumerate(self.layers):
            x = layer.step(x, memory.of(number, t), cache, number, bias)  # type: ignore[operator]
        cache.length += 1
        return x

    def _check(self, frames: int, memory: Tensor) -> None:
        if memory.shape[1] < frames * self.steps_per_frame:
            raise ValueError(
                f"{frames} frames need {frames * self.steps_per_frame} memory steps, got {memory.shape[1]}; "
                "cut the motion, or resample the speech features"
            )


def zero_past(x: Tensor, lengths: Tensor) -> Tensor:
    """x (B, T, ...) with everything from frame lengths[b] on set to zero."""
    real = torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]
    return x * real.reshape(*real.shape, *[1] * (x.ndim - 2)).to(x.dtype)
