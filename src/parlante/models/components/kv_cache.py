"""What `causal.py`'s decoder keeps between frames: its own past, and what it hears."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def first_seen(frame: int, span: int | None) -> int:
    """The oldest frame that `frame` attends to."""
    return 0 if span is None else max(0, frame - span + 1)


@dataclass
class Heard:
    """What cross-attention needs of the memory, computed once for all frames. L layers, w steps a frame."""

    answers: Tensor | None
    """(L, B, T, D): the layer's whole answer, where a frame hears a single step and nothing is dropped."""
    keys: Tensor | None
    """(L, B, T, w, D)."""
    values: Tensor | None
    """(L, B, T, w, D)."""

    @property
    def parts(self) -> list[Tensor]:
        """Whichever of these there are."""
        return [part for part in (self.answers, self.keys, self.values) if part is not None]

    @property
    def frames(self) -> int:
        """Frames that can be decoded."""
        return self.parts[0].shape[2]

    def of(self, layer: int, frames: Any) -> tuple[Tensor, ...]:
        """What a layer needs of a frame, (B, ...) each, or of a slice of frames, (B, n, ...)."""
        return tuple(part[layer, :, frames] for part in self.parts)


def uneven(frames: int) -> int:
    """At least `frames`, and such that rows of this length do not all start in the same place of the cache."""
    return frames // 32 * 32 + 48


class State:
    """Keys and values of the newest frames, (L, B, H, D / H, capacity) each: frames lie side by side for reading.

    Frame n lies at place n - `origin`. Frames that no later one sees are dropped when room is needed, all at once, so
    that with a span the capacity stays below 2 * span and a block of frames, unless more room is reserved at once.
    """

    def __init__(self, keys: Tensor, values: Tensor, growing: bool, span: int | None = None) -> None:
        self.keys, self.values, self.span = keys, values, span
        self.length = 0
        """Frames so far."""
        self.origin = 0
        """The oldest frame still held."""
        self.growing = growing
        """Gradients are wanted: new frames are concatenated instead of written in place."""
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.packed: tuple[Any, ...] | None = None
        """The decoder's weights as the compiled steps read them."""
        self.falling: Any = None
        """Ages of the frames before the last place of the capacity, as the compiled steps read them."""

    def rewind(self, length: int) -> None:
        """Forget all frames from `length` on; always possible for those that the last `reserve` made room for.

        Raises ValueError if there are no such frames, or if those that frame `length` would see were dropped.
        """
        oldest = first_seen(length, self.span)
        if not 0 <= length <= self.length or oldest < min(self.origin, length):
            raise ValueError(f"can rewind to frames {self.origin}..{self.length} with their span kept, not to {length}")
        self.length, self.origin = length, min(self.origin, length)
        held = length - self.origin
        self.pairs = [(k[..., :held], v[..., :held]) for k, v in self.pairs] if held else []

    def reserve(self, frames: int) -> None:
        """Make room for `frames` more: drop what they do not see, and where that is not enough, at least double."""
        held = self.length - self.origin
        if self.growing or held + frames <= self.keys.shape[-1]:
            return
        first = first_seen(self.length, self.span)
        kept = self.length - first
        needed = kept + max(kept, frames)
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros(*old.shape[:-1], uneven(needed)) if needed > old.shape[-1] else old
            new[..., :kept] = old[..., held - kept : held].clone()
            setattr(self, name, new)
        self.origin = first

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, H, D / H) of the frame at `length`; returns what it sees, (B, H, D / H, <= span) keys and values."""
        first = first_seen(self.length, self.span)
        if self.growing:
            key, value = key[..., None], value[..., None]
            if layer < len(self.pairs):
                gone = self.pairs[layer][0].shape[-1] - (self.length - first)  # 1 once the span is full
                old = [x[..., gone:] for x in self.pairs[layer]]
                key, value = torch.cat([old[0], key], -1), torch.cat([old[1], value], -1)
            self.pairs[layer : layer + 1] = [(key, value)]
            self.origin = first
            return key, value
        place = self.length - self.origin
        self.keys[layer, ..., place], self.values[layer, ..., place] = key, value
        seen = slice(first - self.origin, place + 1)
        return self.keys[layer, ..., seen], self.values[layer, ..., seen]


class Frames:
    """A sequence that grows along one axis; what lies more than `span` frames back may be dropped."""

    def __init__(self, axis: int, span: int | None, empty: Tensor | None = None) -> None:
        self.axis, self.span = axis, span
        self.first = 0
        """The oldest frame held."""
        self.room = torch.empty(0) if empty is None else empty

    def reserve(self, first: int, count: int) -> int:
        """Make room for `count` frames from `first` on, no later than the end. The place of `first`."""
        axis = self.axis
        if self.room.shape[axis] < first + count - self.first:
            kept = first - self.first if self.span is None else min(first - self.first, self.span)
            shape = list(self.room.shape)
            shape[axis] = max(64, 2 * (kept + count))
            grown = self.room.new_empty(shape)
            if kept:
                grown.narrow(axis, 0, kept).copy_(self.room.narrow(axis, first - self.first - kept, kept))
            self.room, self.first = grown, first - kept
        return first - self.first

    def write(self, first: int, values: Tensor) -> int:
        """Put `values` at frame `first`, no later than the end; forgets what followed. Returns the end."""
        axis, count = self.axis, values.shape[self.axis]
        if self.room.ndim == 1:
            self.room = values.narrow(axis, 0, 0)
        place = self.reserve(first, count)
        self.room.narrow(axis, place, count).copy_(values)
        return first + count

    def read(self, first: int, last: int) -> Tensor:
        """Frames `first`..`last - 1`."""
        return self.room.narrow(self.axis, first - self.first, last - first)
