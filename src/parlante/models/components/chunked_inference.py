"""Chunked inference for models that depend on their own past, over recordings of any length.

Every block starts a new session with a warm-up of 2 s, and is cross-faded with what the block before says beyond its
end. A model thus never runs much longer than in training, and an hour costs as much per second as a minute.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

Push = Callable[[Tensor], Tensor]

PIECE = 30
"""Frames decoded at a time."""
BLOCK, WARM_UP, FADE = 600, 60, 10
"""Frames: a block; the warm-up before it; the cross-fade, which the block before says beyond its end."""


def in_chunks(begin: Callable[[], Push], features: Callable[[int, int], Tensor], frames: int) -> Iterator[Tensor]:
    """Frames 0..`frames`, (n, ...) at a time.

    begin() starts a session and returns what takes features and answers their frames (n, ...). features(start, count)
    are those of frames `start` to `start + count`.
    """
    tail: Tensor | None = None  # what the last block says beyond its end
    for start in range(0, frames, BLOCK):
        stop = min(start + BLOCK, frames)
        push = begin()
        if start:
            push(features(start - WARM_UP, WARM_UP))
        for at in range(start, stop, PIECE):
            made = push(features(at, min(PIECE, stop - at)))
            if tail is not None:
                count = min(len(tail), len(made))
                rise = torch.arange(1, count + 1) / (FADE + 1)
                rise = rise.view(-1, *[1] * (made.ndim - 1)).to(made)
                made = torch.cat([torch.lerp(tail[:count], made[:count], rise), made[count:]])
                tail = None
            yield made
        if stop < frames:
            tail = push(features(stop, min(FADE, frames - stop)))
