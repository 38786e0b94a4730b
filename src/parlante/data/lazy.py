"""Frames that are made when they are asked for."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


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


def lazy_frames(
    numbers: NDArray[np.integer], frame_shape: tuple[int, ...], dtype: Any, read: Callable[[int], NDArray[Any]]
) -> LazyFrames:
    """(T, ...) frames that are read one by one: `read(number)` -> (*frame_shape,), for each of `numbers` (T,)."""

    def make(rows: NDArray[Any]) -> NDArray[Any]:
        frames = [read(int(number)) for number in rows[:, 0]]
        return np.stack(frames).astype(dtype) if frames else np.zeros((0, *frame_shape), dtype)

    return LazyFrames(np.asarray(numbers)[:, None], frame_shape, dtype, make)
