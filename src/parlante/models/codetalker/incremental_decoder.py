"""The last frame of everything said so far: what CodeTalker feeds back to itself.

The published loop decodes the whole prefix of codes anew for every frame and keeps the last frame. Nothing in that
decoder is causal (instance norm over the prefix, attention without a mask), so its cost grows with the square of the
length. `IncrementalMotionDecoder` gives the same numbers (`refresh=0`), or keeps the past in a cache:

- the convolution and the sums behind instance norm are carried along, which loses nothing;
- of the Transformer only the newest frame runs; it attends to keys and values that older frames got when *they* were
  new, or at the last refresh;
- whenever the prefix has grown by the share `refresh`, keys and values of its last `WINDOW` frames are computed anew.
  These refreshes form a geometric series, so the work per frame stays the same: at most about 1 / refresh + 2 frames.

Attention reaches back over the `span` of stage 1 at most, so that neither a step nor a refresh grows without end.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.models.codetalker.autoencoder import (
    KERNEL,
    Attention,
    InstanceNorm,
    MotionDecoder,
    TimeConv,
)
from parlante.models.components.kv_cache import FrameBuffer

ALWAYS_ANEW = 32
"""Prefixes up to this length are decoded anew in any case."""
WINDOW = 256
"""Frames at the end of a prefix that a refresh computes anew; what is older has seen so much that it hardly changes."""
HALF = KERNEL // 2


class IncrementalMotionDecoder:
    """Decode codes as they come. Equal for all items of a batch: none has ended before another. Not differentiable.

    refresh: growth of the prefix after which the past is computed anew; 0: at each frame, as published. tail: frames at
    the end that are always computed anew and returned.
    """

    def __init__(self, decoder: MotionDecoder, *, refresh: float, tail: int = 1) -> None:
        if decoder.config.halvings:
            raise ValueError("codes slower than the frames cannot be fed back frame by frame; halvings must be 0")
        if not refresh >= 0 or tail < 1:
            raise ValueError(f"refresh must be at least 0 and tail at least 1, got {refresh} and {tail}")
        first = cast(TimeConv, decoder.expander[0])
        self.decoder, self.refresh, self.tail = decoder, refresh, tail
        self.span = None if decoder.config.span is None else max(decoder.config.span, tail)
        self.length = 0
        self._conv, self._activation, self._norm = cast(nn.Conv1d, first[0]), first[1], cast(InstanceNorm, first[2])
        self._recent: Tensor | None = None  # (B, KERNEL, C): the last inputs of the convolution
        margin = None if self.span is None else self.span + tail + KERNEL
        self._convolved = FrameBuffer(1, margin)  # (B, T, C)
        self._sums: Tensor | float = 0.0  # (2, B, C): x and x^2 over frames that no longer change, double precision
        self._past = [(FrameBuffer(2, margin), FrameBuffer(2, margin)) for _ in decoder.decoder_transformer.blocks()]
        self._refreshed = 0

    def push(self, latent: Tensor) -> Tensor:
        """Code vectors of the next frame (B, groups * code_dim) -> hidden (B, n, C) of the last n <= `tail` frames.

        The first frame cannot be normalised alone: it is doubled, as in the published loop, and since two equal frames
        normalise to zero, its answer depends on nothing.
        """
        changed, mean, scale = self._convolve(latent)
        self.length = now = self.length + 1
        if now == 1:
            return self.decoder.hidden(latent[:, None].expand(-1, 2, -1))[:, :1]
        self._convolved.write(now - changed.shape[1], changed)
        first = 0 if self.span is None else max(0, now - self.span)
        start = self._computed_from(now, first)
        return self._attend(self._embed(self._convolved.read(start, now), mean, scale), start, first)

    def _computed_from(self, now: int, first: int) -> int:
        """The first of the `now` frames that the Transformer runs on; none of them attends to frames before `first`."""
        grown = self._refreshed if self.span is None else min(self._refreshed, self.span)
        if self.refresh and now > max(ALWAYS_ANEW, self.tail) and now < self._refreshed + self.refresh * grown:
            return now - self.tail
        self._refreshed = now
        return max(first, now - max(WINDOW, self.tail)) if self.refresh else first

    def _convolve(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """latent (B, .) -> the last n <= 3 convolved frames, which the new one changed, (B, n, C), and mean and
        reciprocal deviation (B, 1, C) over all frames."""
        new = self.decoder.widen(latent)[:, None]  # (B, 1, C)
        before = new.expand(-1, KERNEL, -1) if self._recent is None else self._recent
        self._recent = recent = torch.cat([before[:, 1:], new], 1)
        padded = torch.cat([recent, new.expand(-1, HALF, -1)], 1)  # the newest frame is repeated
        windows = padded.unfold(1, KERNEL, 1).flatten(2)  # (B, 3, C * KERNEL)
        y = self._activation(F.linear(windows, self._conv.weight.flatten(1), self._conv.bias))
        frames = self.length + 1
        y = y[:, -min(HALF + 1, frames) :]
        moments = torch.stack([y.double(), y.double().square()])  # (2, B, <= 3, C)
        mean, square = (self._sums + moments.sum(2)) / frames
        if y.shape[1] > HALF:  # no later frame changes the oldest of them
            self._sums = self._sums + moments[:, :, 0]
        scale = ((square - mean.square()).clamp(min=0) + self._norm.eps).rsqrt()
        return y, mean[:, None].to(y), scale[:, None].to(y)

    def _embed(self, x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        """What the Transformer reads of convolved frames x (B, t, C), by the moments (B, 1, C) of the prefix."""
        return self.decoder.embed(self._norm.scaled(x.mT, mean.mT, scale.mT))

    def _attend(self, x: Tensor, start: int, first: int) -> Tensor:
        """Run the Transformer on frames `start`.. x (B, t, C), which attend to those from `first` on; only the tail
        leaves its final block."""
        for number, (attend, think) in enumerate(self.decoder.decoder_transformer.blocks()):
            attention = cast(Attention, attend.fn)
            q, k, v = attention.project(attend.norm(x))
            if self.refresh:
                keys, values = self._past[number]
                end = keys.write(start, k)
                values.write(start, v)
                k, v = keys.read(first, end), values.read(first, end)
            if number + 1 == len(self._past):
                q, x = q[:, :, -self.tail :], x[:, -self.tail :]
            x = x + attention.look(q, k, v)
            x = x + think(x)
        return x
