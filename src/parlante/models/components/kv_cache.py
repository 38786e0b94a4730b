"""What the causal decoder keeps between frames: keys and values of its own past, and what it reads of the speech."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


def first_visible(frame: int, span: int | None) -> int:
    """The oldest frame that `frame` attends to."""
    return 0 if span is None else max(0, frame - span + 1)


@dataclass
class EncodedMemory:
    """What cross-attention needs of the memory, computed once for all frames. L layers, w steps a frame."""

    outputs: Tensor | None
    """(L, B, T, D): the layer's whole output, where a frame attends to a single step and nothing is dropped."""
    keys: Tensor | None
    """(L, B, T, w, D)."""
    values: Tensor | None
    """(L, B, T, w, D)."""

    @property
    def parts(self) -> list[Tensor]:
        """Whichever of these there are."""
        return [part for part in (self.outputs, self.keys, self.values) if part is not None]

    @property
    def num_frames(self) -> int:
        """Frames that can be decoded."""
        return self.parts[0].shape[2]

    def of(self, layer: int, frame: int) -> tuple[Tensor, ...]:
        """What a layer needs of a frame, (B, ...) each."""
        return tuple(part[layer, :, frame] for part in self.parts)


def uneven(frames: int) -> int:
    """At least `frames`, and such that rows of this length do not all start in the same place of the cache."""
    return frames // 32 * 32 + 48


class KVCache:
    """Keys and values of the newest frames, (L, B, H, D / H, capacity) each: frames lie side by side for reading.

    Frame n lies at place n - `origin`. Frames that no later one attends to are dropped when room is needed, all at
    once, so that with a span the capacity stays below 2 * span and a block of frames, unless more is reserved at once.
    """

    def __init__(self, keys: Tensor, values: Tensor, differentiable: bool, span: int | None = None) -> None:
        self.keys, self.values, self.span = keys, values, span
        self.length = 0
        """Frames so far."""
        self.origin = 0
        """The oldest frame still held."""
        self.differentiable = differentiable
        """Gradients are wanted: new frames are concatenated instead of written in place."""
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def rewind(self, length: int) -> None:
        """Forget all frames from `length` on; always possible for those that the last `reserve` made room for.

        Raises ValueError if there are no such frames, or if those that frame `length` would attend to were dropped.
        """
        oldest = first_visible(length, self.span)
        if not 0 <= length <= self.length or oldest < min(self.origin, length):
            raise ValueError(f"can rewind to frames {self.origin}..{self.length} with their span kept, not to {length}")
        self.length, self.origin = length, min(self.origin, length)
        held = length - self.origin
        self.pairs = [(k[..., :held], v[..., :held]) for k, v in self.pairs] if held else []

    def reserve(self, frames: int) -> None:
        """Make room for `frames` more: drop what they do not see, and where that is not enough, at least double."""
        held = self.length - self.origin
        if self.differentiable or held + frames <= self.keys.shape[-1]:
            return
        first = first_visible(self.length, self.span)
        kept = self.length - first
        needed = kept + max(kept, frames)
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = old.new_zeros(*old.shape[:-1], uneven(needed)) if needed > old.shape[-1] else old
            new[..., :kept] = old[..., held - kept : held].clone()
            setattr(self, name, new)
        self.origin = first

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, H, D / H) of the frame at `length`; returns the keys and values that it attends to, (B, H, D / H, n)
        each with n <= span."""
        first = first_visible(self.length, self.span)
        if self.differentiable:
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
        visible = slice(first - self.origin, place + 1)
        return self.keys[layer, ..., visible], self.values[layer, ..., visible]


class FrameBuffer:
    """A sequence that grows along one axis; what lies more than `span` frames back may be dropped."""

    def __init__(self, axis: int, span: int | None) -> None:
        self.axis, self.span = axis, span
        self.first = 0
        """The oldest frame held."""
        self.storage: Any = None

    def write(self, first: int, values: Tensor) -> int:
        """Put `values` at frame `first`, no later than the end; forgets what followed. Returns the end."""
        axis, count = self.axis, values.shape[self.axis]
        if self.storage is None:
            self.storage = values.narrow(axis, 0, 0)
        self._reserve(first, count)
        self.storage.narrow(axis, first - self.first, count).copy_(values)
        return first + count

    def read(self, first: int, last: int) -> Tensor:
        """Frames `first`..`last - 1`."""
        frames: Tensor = self.storage.narrow(self.axis, first - self.first, last - first)
        return frames

    def _reserve(self, first: int, count: int) -> None:
        axis = self.axis
        if self.storage.shape[axis] >= first + count - self.first:
            return
        kept = first - self.first if self.span is None else min(first - self.first, self.span)
        shape = list(self.storage.shape)
        shape[axis] = max(64, 2 * (kept + count))
        grown = self.storage.new_empty(shape)
        if kept:
            grown.narrow(axis, 0, kept).copy_(self.storage.narrow(axis, first - self.first - kept, kept))
        self.storage, self.first = grown, first - kept
