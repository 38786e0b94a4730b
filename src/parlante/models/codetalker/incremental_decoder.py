"""The last frame of everything said so far: what CodeTalker feeds back to itself.

The released loop decodes the whole prefix of codes anew for every frame and keeps the last frame. Nothing in that
decoder is causal (instance norm over the prefix, attention without a mask), so the cost grows with the square of the
length, and no cache is exact. `Prefix` does it exactly (`refresh=0`), or freezes the past:

- the convolution and the sums behind instance norm are carried along, which loses nothing;
- of the Transformer only the newest frame runs; it looks at keys and values which older frames got when *they* were
  new, or at the last refresh;
- whenever the prefix has grown by the share `refresh`, keys and values of its last `WINDOW` frames are computed anew.
  These refreshes form a geometric series, so the work per frame stays the same: at most about 1 / refresh + 2 frames.

Attention reaches back over the `span` of stage 1 at most, so that neither a step nor a refresh grows without end.

With a frozen past each frame depends only on those before it, so some frames can be decoded at once (`ahead`) and some
of them kept (`keep`): each matrix is read once for all of them. `maps` in bytes quarter what is read (a rounding far
below the error of the frozen past).
"""

import functools
import math
import sys
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from parlante.models.codetalker.autoencoder import (
    KERNEL,
    Attention,
    InstanceNorm,
    MotionDecoder,
    TimeConv,
    position_rows,
)
from parlante.models.codetalker.rounded import RoundedBlocks, kernel
from parlante.models.components.kv_cache import Frames
from parlante.models.cpu.skinny_matmul import EXACT, Maps
from parlante.models.cpu.wide import Rougher, Rounded

ALWAYS_ANEW = 32
"""Prefixes up to this length are decoded anew in any case."""
WINDOW = 256
"""Frames at the end of a prefix that a refresh computes anew; what is older has seen so much that it hardly changes."""
HALF = KERNEL // 2


class Prefix:
    """Decode codes as they come. Equal for all items of a batch: none has ended before another.

    refresh: growth of the prefix after which the past is computed anew; 0: at each frame, as released. tail: frames at
    the end that are always computed anew and returned. maps: who multiplies, and by which convolution (`taps`); by
    default the weights as they are. Not differentiable.
    """

    def __init__(
        self,
        decoder: MotionDecoder,
        *,
        refresh: float,
        tail: int = 1,
        maps: Maps = EXACT,
        taps: Tensor | None = None,
    ) -> None:
        if decoder.config.halvings:
            raise ValueError("codes slower than the frames cannot be fed back frame by frame; halvings must be 0")
        if not refresh >= 0 or tail < 1:
            raise ValueError(f"refresh must be at least 0 and tail at least 1, got {refresh} and {tail}")
        first = cast(TimeConv, decoder.expander[0])
        self.decoder, self.refresh, self.tail = decoder, refresh, tail
        self.span = None if decoder.config.span is None else max(decoder.config.span, tail)
        self.length = 0
        self._conv = (first[0], first[1], cast(InstanceNorm, first[2]))
        self._maps, self._taps = maps, decoder.taps() if taps is None else taps
        self._recent: Tensor | None = None  # (B, KERNEL, KERNEL, C): what the last inputs give to each tap
        margin = None if self.span is None else self.span + tail + KERNEL
        self._convolved = Frames(1, margin)  # (B, T, C)
        self._sums: Tensor | None = None  # (2, B, C): x and x^2 over frames that no longer change, double precision
        self._past = [(Frames(2, margin), Frames(2, margin)) for _ in decoder.decoder_transformer.blocks()]
        self._rounded: RoundedBlocks | None = None  # instead of that past, with rounded maps
        self._position: Tensor | None = None
        self._refreshed = 0
        self._open: tuple[Tensor, Tensor] | None = None  # inputs and sums after each frame decoded ahead

    def push(self, latent: Tensor) -> Tensor:
        """Code vectors of the next frame (B, groups * code_dim) -> hidden (B, n, C) of the last n <= `tail` frames.

        The first frame cannot be normalised alone: it is doubled, as in the released loop, and since two equal frames
        normalise to zero, its answer depends on nothing.
        """
        answer = self.ahead(latent[:, None])[:, 0]
        self.keep(1)
        return answer

    def room(self) -> int:
        """How many frames can be decoded ahead at once: those up to the next one that computes the past anew."""
        if not self.refresh or self.length < max(ALWAYS_ANEW, self.tail, KERNEL):
            return 1
        return max(1, math.ceil(min(self._next_refresh(), sys.maxsize)) - 1 - self.length)

    def ahead(self, latent: Tensor) -> Tensor:
        """What `push` would answer to n <= `room()` frames one after the other, (B, n, groups * code_dim) ->
        (B, n, <= tail, C). Follow with `keep`."""
        count = latent.shape[1]
        if isinstance(self._maps, Rounded) and self._rounded is None:
            self._rounded = RoundedBlocks(self.decoder, self._maps, len(latent), self._convolved.span)
        if not 1 <= count <= self.room():
            raise ValueError(f"up to {self.room()} frames can be decoded ahead now, got {count}")
        if self.length == 0:
            self._convolve(latent)
            return self.decoder.hidden(latent.expand(-1, 2, -1))[:, None, :1]
        changed, mean, scale = self._convolve(latent)
        now = self.length + 1
        if count > 1 or (now > max(ALWAYS_ANEW, self.tail) and self.refresh and now < self._next_refresh()):
            return self._attend_ahead(self._embed(self._tails(changed), mean, scale, self._maps))
        self._refreshed = now
        first = 0 if self.span is None else max(0, now - self.span)
        start = max(first, now - max(WINDOW, self.tail)) if self.refresh else first
        self._convolved.write(now - changed.shape[2], changed[:, 0])
        frames, few = self._convolved.read(start, now)[:, None], now - start <= ALWAYS_ANEW
        maps = Rougher(self._maps) if isinstance(self._maps, Rounded) and not few else self._maps
        x = self._embed(frames, mean, scale, maps)[:, 0]
        if self._rounded is not None and few:
            seen = torch.ones(now - start, now - start, dtype=torch.bool)
            return self._rounded.block(x, start, torch.full((now - start,), first), seen)[:, None, -self.tail :]
        return self._attend_anew(x, start, first, maps)[:, None]

    def keep(self, frames: int) -> None:
        """Keep the first `frames` of those decoded ahead; the others are forgotten."""
        assert self._open is not None
        inputs, sums = self._open
        self._open = None
        self._recent, self._sums = inputs[:, frames : frames + KERNEL], sums[:, :, frames]
        self.length += frames

    def _next_refresh(self) -> float:
        """The length from which on everything is computed anew."""
        grown = self._refreshed if self.span is None else min(self._refreshed, self.span)
        return self._refreshed + self.refresh * grown

    def _convolve(self, latent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """latent (B, n, .) -> for each of n prefixes: its last <= 3 convolved frames, those that the newest one changed
        (B, n, <= 3, C), and mean and reciprocal deviation over all its frames, (B, n, C) each."""
        new = self.decoder.widen(latent, self._maps)
        count = new.shape[1]
        products = self._maps.linear(new, self._taps).unflatten(-1, (KERNEL, -1))  # (B, n, KERNEL, C)
        recent = products[:, :1].expand(-1, KERNEL, -1, -1) if self._recent is None else self._recent
        if self._rounded is not None and self.length >= KERNEL:
            return self._convolve_compiled(recent, products)
        inputs = torch.cat([recent, products], 1)  # (B, KERNEL + n, KERNEL, C)
        newest = torch.arange(KERNEL, KERNEL + count, device=new.device)[:, None, None]
        output, tap = torch.arange(-HALF, 1, device=new.device), torch.arange(-HALF, HALF + 1, device=new.device)
        place = torch.minimum(newest + output[:, None] + tap, newest)  # (n, 3, KERNEL): the newest frame is repeated
        conv, activation, norm = self._conv
        y = activation(inputs[:, place, tap + HALF].sum(3) + cast(Tensor, conv.bias))
        y = y[:, :, -min(HALF + 1, self.length + count) :]
        exact = torch.stack([y.double(), y.double().square()])  # (2, B, n, <= 3, C)
        final = exact[:, :, :, 0]
        if y.shape[2] <= HALF:  # none of them is final yet
            final = torch.zeros_like(final)
        sums = torch.zeros_like(final[:, :, 0]) if self._sums is None else self._sums
        before = torch.cat([sums[:, :, None], final], 2).cumsum(2)  # (2, B, n + 1, C): after 0..n frames
        frames = torch.arange(self.length + 1, self.length + count + 1, device=new.device)[:, None]
        mean, square = (before[:, :, :-1] + exact.sum(3)) / frames
        var = (square - mean.square()).clamp(min=0)
        self._open = inputs, before
        return y, mean.to(y), (var + norm.eps).rsqrt().to(y)

    def _convolve_compiled(self, recent: Tensor, products: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        assert self._sums is not None
        (batch, count, _, width), (conv, activation, norm) = products.shape, self._conv
        inputs = np.concatenate([recent.numpy(), products.numpy()], 1)
        before = np.empty((2, batch, count + 1, width))
        before[:, :, 0] = self._sums.numpy()
        changed = np.empty((batch, count, HALF + 1, width), np.float32)
        mean, scale = np.empty((2, batch, count, width), np.float32)
        given = cast(Tensor, conv.bias).detach().numpy(), np.float32(cast(nn.LeakyReLU, activation).negative_slope)
        kernel().convolve(inputs, *given, before, self.length, norm.eps, changed, mean, scale)
        self._open = torch.from_numpy(inputs), torch.from_numpy(before)
        return torch.from_numpy(changed), torch.from_numpy(mean), torch.from_numpy(scale)

    def _tails(self, changed: Tensor) -> Tensor:
        """changed (B, n, 3, C) -> convolved tails (B, n, tail, C) of the n prefixes."""
        count, older = changed.shape[1], self.tail - changed.shape[2]
        self._convolved.write(self.length - HALF, changed[:, :, 0])
        if older <= 0:
            return changed[:, :, -self.tail :]
        first = self.length + 1 - self.tail
        final = self._convolved.read(first, first + older + count - 1).unfold(1, older, 1)  # (B, n, C, older)
        return torch.cat([final.mT, changed], 2)

    def _embed(self, x: Tensor, mean: Tensor, scale: Tensor, maps: Maps) -> Tensor:
        """What the Transformer reads of convolved frames: x (B, n, t, C) of n prefixes, moments (B, n, C)."""
        norm, config = self._conv[2], self.decoder.config
        x = norm.scaled(x.mT, mean[..., None], scale[..., None]).mT
        x = maps.apply(self.decoder.decoder_linear_embedding.net, x)
        if self._position is None:
            self._position = position_rows(len(x), config.width, by_item=config.positions_by_item, like=x)[:, None]
        return x + self._position

    def _attend_anew(self, x: Tensor, start: int, first: int, maps: Maps) -> Tensor:
        """Run the Transformer on frames `start`.. x (B, t, C) of one prefix, which see those from `first` on; only the
        tail leaves its final block."""
        for number, (attend, think) in enumerate(self.decoder.decoder_transformer.blocks()):
            attention = cast(Attention, attend.fn)
            q, k, v = attention.project(attend.norm(x), maps)
            if self.refresh:
                k, v = self._write(number, start, first, k, v)
            if number + 1 == len(self._past):
                q, x = q[:, :, -self.tail :], x[:, -self.tail :]
            x = x + attention.look(q, k, v, maps=maps)
            x = x + think(x, maps)
        return x

    def _write(self, number: int, start: int, first: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep keys and values of frames `start`..; all from `first` on."""
        if self._rounded is not None:
            return self._rounded.write(number, start, first, k, v)
        keys, values = self._past[number]
        end = keys.write(start, k)
        values.write(start, v)
        return keys.read(first, end), values.read(first, end)

    def _attend_ahead(self, x: Tensor) -> Tensor:
        """Run the Transformer on the tails of n prefixes (B, n, tail, C), each before a frozen past.

        The oldest frame of a tail is not computed again, so its keys and values are the past of later prefixes.
        """
        count, tail = x.shape[1:3]
        frozen = self.length + 1 - tail  # frames whose keys and values are final
        oldest, near = self._visible(count, frozen)
        order, back = _past_first(count, tail)
        x = x.flatten(1, 2)[:, order.to(x.device)]
        if self._rounded is not None:
            x = self._rounded.block(x, frozen, oldest, near)
            return x[:, back.to(x.device)].unflatten(1, (count, tail))
        first, bias = int(oldest[0]), None
        if count > 1:
            seen = torch.cat([torch.arange(first, frozen) >= oldest[:, None], near], 1).to(x.device)
            bias = x.new_zeros(seen.shape).masked_fill(~seen, -math.inf)
        for number, (attend, think) in enumerate(self.decoder.decoder_transformer.blocks()):
            attention = cast(Attention, attend.fn)
            q, k, v = attention.project(attend.norm(x))
            x = x + attention.look(q, *self._write(number, frozen, first, k, v), bias)
            x = x + think(x)
        return x[:, back.to(x.device)].unflatten(1, (count, tail))

    def _visible(self, count: int, frozen: int) -> tuple[Tensor, Tensor]:
        """What the rows of `_attend_ahead` see: the oldest frame of the past of each (n * tail,), and which of these
        rows each one sees (n * tail, n * tail) bool.

        Rows are the oldest frames of all tails, then the others, prefix by prefix.
        """
        prefix, near = _families(count, self.tail)
        if self.span is None:
            return torch.zeros_like(prefix), near
        oldest = (prefix + (self.length - self.span + 1)).clamp(min=0)
        if self.length + count <= self.span:
            return oldest, near
        within = frozen + torch.arange(count) >= oldest[:, None]
        return oldest, torch.cat([near[:, :count] & within, near[:, count:]], 1)


@functools.cache
def _past_first(count: int, tail: int) -> tuple[Tensor, Tensor]:
    """Frames of n tails in the order of `Prefix._visible`, and the way back."""
    order = torch.arange(count * tail).view(count, tail)
    order = torch.cat([order[:, 0], order[:, 1:].flatten()])
    return order, order.argsort()


@functools.cache
def _families(count: int, tail: int) -> tuple[Tensor, Tensor]:
    """The prefix of each row, and which rows each one sees, whatever the span."""
    prefix = torch.arange(count)
    prefix = torch.cat([prefix, prefix.repeat_interleave(tail - 1)])
    becomes_past = torch.arange(len(prefix)) < count
    return prefix, (prefix[:, None] == prefix) | (becomes_past & (prefix < prefix[:, None]))


def frames_per_step(refresh: float, tail: int = 1) -> float:
    """Frames that the Transformer decodes for each new one, in the long run; infinite for the released loop."""
    return tail + (1 + refresh) / refresh if refresh else math.inf
