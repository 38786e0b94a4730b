"""Frames that are made when they are asked for."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError


class DamagedFrame(InputError):
    """A frame that cannot be read. `frame` is its number within the clip, from 0."""

    def __init__(self, frame: int, why: str) -> None:
        super().__init__(why)
        self.frame = frame


class LazyFrames:
    """(T, ...) frames that are made from rows (T, K) when sliced or converted to an array.

    frame_shape: of one frame; make: rows (n, K) -> frames (n, *frame_shape).
    """

    def __init__(
        self,
        rows: NDArray[Any],
        frame_shape: tuple[int, ...],
        dtype: Any,
        make: Callable[[NDArray[Any]], NDArray[Any]],
    ) -> None:
        self.rows = rows
        self.shape = (len(rows), *frame_shape)
        self.dtype = np.dtype(dtype)
        self.ndim = len(self.shape)
        self._make = make

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        frames, rest = (key[0], tuple(key[1:])) if isinstance(key, tuple) else (key, ())
        if frames is Ellipsis or frames is None:
            return np.asarray(np.asarray(self)[key])
        chosen = self.rows[frames]
        if chosen.ndim == 1:
            place: tuple[Any, ...] = (0, *rest)
            return np.asarray(self._make(chosen[None])[place])
        place = (slice(None), *rest)
        return np.asarray(self._make(chosen)[place])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._make(self.rows).astype(dtype or self.dtype, copy=False)

    def part(self, first: int, end: int) -> "LazyFrames":
        """Frames `first` to `end`, not made yet."""
        return LazyFrames(self.rows[first:end], self.shape[1:], self.dtype, self._make)


def lazy_frames(
    count: int, frame_shape: tuple[int, ...], dtype: Any, read: Callable[[int], NDArray[Any]]
) -> LazyFrames:
    """(count, ...) frames that are read one by one: `read(number)` -> (*frame_shape,), numbers from 0.

    Slicing raises DamagedFrame where `read` raises InputError.
    """

    def make(rows: NDArray[Any]) -> NDArray[Any]:
        frames = []
        for number in rows[:, 0].tolist():
            try:
                frame = read(number)
            except InputError as error:
                raise DamagedFrame(number, str(error)) from error
            if frame.shape != tuple(frame_shape):
                raise DamagedFrame(number, f"frame {number} is {frame.shape}, the others are {tuple(frame_shape)}")
            frames.append(frame)
        return np.stack(frames).astype(dtype) if frames else np.zeros((0, *frame_shape), dtype)

    return LazyFrames(np.arange(count)[:, None], frame_shape, dtype, make)


def lazy_part(frames: Any, first: int, end: int) -> Any:
    """Frames `first` to `end` of an array, which are made later where they are lazy."""
    return frames.part(first, end) if isinstance(frames, LazyFrames) else frames[first:end]
