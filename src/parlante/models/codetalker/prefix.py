"""The last frame of everything said so far: what CodeTalker feeds back to itself.

The released loop decodes the whole prefix of codes anew for every frame and keeps the last frame. Nothing in that
decoder is causal (instance norm over the prefix, attention without a mask), so the cost grows with the square of the
length, and no cache is exact. `Prefix` does it exactly (`refresh=0`), or freezes the past:

- the convolution and the sums behind instance norm are carried along, which loses nothing;
- of the Transformer only the newest frame runs; it looks at keys and values which older frames got when *they* were
  new, or at the last refresh;
- whenever the prefix has grown by the share `refresh`, all keys and values are computed anew. These refreshes form a
  geometric series, so the work per frame stays the same: about 1 / refresh + 2 frames.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from parlante.models.codetalker.autoencoder import KERNEL, Attention, InstanceNorm, MotionDecoder, TimeConv

ALWAYS_ANEW = 32
"""Prefixes up to this length are decoded exactly in any case."""


class Frames:
    """A sequence that grows along one axis, doubling its room when it must."""

    def __init__(self, axis: int) -> None:
        self.axis, self.room = axis, torch.empty(0)

    def write(self, first: int, values: Tensor) -> Tensor:
        """Put `values` at `first`; returns everything up to their end."""
        axis, end = self.axis, first + values.shape[self.axis]
        if self.room.ndim == 1 or self.room.shape[axis] < end:
            shape = list(values.shape)
            shape[axis] = max(64, 2 * end)
            grown = values.new_empty(shape)
            if first:
                grown.narrow(axis, 0, first).copy_(self.room.narrow(axis, 0, first))
            self.room = grown
        self.room.narrow(axis, first, end - first).copy_(values)
        return self.room.narrow(axis, 0, end)


class Prefix:
    """Decode codes as they come. Equal for all items of a batch: none has ended before another.

    refresh: growth of the prefix after which the past is computed anew; 0: at each frame, as released. tail: frames at
    the end that are always computed anew and returned. Not differentiable.
    """

    def __init__(self, decoder: MotionDecoder, *, refresh: float, tail: int = 1) -> None:
        if decoder.config.halvings:
            raise ValueError("codes slower than the frames cannot be fed back frame by frame; halvings must be 0")
        if not refresh >= 0 or tail < 1:
            raise ValueError(f"refresh must be at least 0 and tail at least 1, got {refresh} and {tail}")
        first = cast(TimeConv, decoder.expander[0])
        self.decoder, self.refresh, self.tail = decoder, refresh, tail
        self.length = 0
        self._conv = (first[0], first[1], cast(InstanceNorm, first[2]))
        self._recent: Tensor | None = (
            None  # (B, C, <= 5) last inputs of the convolution, two copies of the first before
        )
        self._convolved = Frames(2)  # (B, C, T)
        self._sum: Tensor | float = 0.0  # (B, C) over frames that no longer change, double precision
        self._squares: Tensor | float = 0.0
        self._past = [(Frames(2), Frames(2)) for _ in decoder.decoder_transformer.blocks()]
        self._refreshed = 0

    def push(self, latent: Tensor) -> Tensor:
        """Code vectors of the next frame (B, groups * code_dim) -> hidden (B, n, C) of the last n <= `tail` frames.

        The first frame cannot be normalised alone: it is doubled, as in the released loop, and since two equal frames
        normalise to zero, its answer depends on nothing.
        """
        x, mean, scale = self._convolve(self.decoder.widen(latent)[..., None])
        self.length += 1
        if self.length == 1:
            return self.decoder.hidden(torch.stack([latent, latent], 1))[:, :1]
        exact = not self.refresh or self.length <= ALWAYS_ANEW
        anew = exact or self.length >= self._refreshed * (1 + self.refresh)
        if anew:
            self._refreshed = self.length
        first = 0 if anew else max(0, self.length - self.tail)
        return self._attend(self.decoder.embed(self._conv[2].scaled(x[..., first:], mean, scale)), first)

    def _convolve(self, new: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """new (B, C, 1) -> convolution of the prefix (B, C, T), its mean and its reciprocal deviation (B, C, 1)."""
        half = KERNEL // 2
        recent = new.expand(-1, -1, half + 1) if self._recent is None else torch.cat([self._recent, new], 2)
        self._recent = recent = recent[..., -KERNEL:]
        conv, activation, norm = self._conv
        y = activation(conv(F.pad(recent, (0, half), "replicate")))  # (B, C, <= 3): those whose surroundings changed
        frames = self.length + 1
        everything = self._convolved.write(frames - y.shape[2], y)
        exact = y.double()
        mean = (self._sum + exact.sum(2)) / frames
        var = ((self._squares + exact.square().sum(2)) / frames - mean.square()).clamp(min=0)
        if y.shape[2] > half:  # the oldest of them is final
            self._sum = self._sum + exact[..., 0]
            self._squares = self._squares + exact[..., 0].square()
        return everything, mean.to(y.dtype)[..., None], (var + norm.eps).rsqrt().to(y.dtype)[..., None]

    def _attend(self, x: Tensor, first: int) -> Tensor:
        """Run the Transformer on frames `first`.. x (B, T - first, C); only the tail leaves its final block."""
        for number, (attend, think) in enumerate(self.decoder.decoder_transformer.blocks()):
            attention = attend.fn
            assert isinstance(attention, Attention)
            q, k, v = attention.project(attend.norm(x))
            if self.refresh:
                keys, values = self._past[number]
                k, v = keys.write(first, k), values.write(first, v)
            if number + 1 == len(self._past):
                q, x = q[:, :, -self.tail :], x[:, -self.tail :]
            x = x + attention.look(q, k, v)
            x = x + think(x)
        return x


def frames_per_step(refresh: float, tail: int = 1) -> float:
    """Frames that the Transformer decodes for each new one, in the long run; infinite for the released loop."""
    return tail + (1 + refresh) / refresh if refresh else math.inf
