"""Wrinkle maps as the renderers take them: a ratio to multiply with and the slope of the skin it implies."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

UNCHANGED = 118
"""round(255 * tanh(1 / 2)): the stored byte that leaves the albedo as it is."""


def _table() -> NDArray[np.float32]:
    stored = np.clip(np.arange(256) / 255.0, 0.0, 1.0 - 1e-3)
    ratio = np.minimum(2.0 * np.arctanh(stored), 3.0)
    return (ratio / ratio[UNCHANGED]).astype(np.float32)


RATIO = _table()
"""(256,) ratio of each stored byte; exactly 1 at `UNCHANGED`."""


def wrinkle_ratio(wrinkle: NDArray[Any]) -> NDArray[np.float32]:
    """(h, w, 3) ratio from a wrinkle map: bytes hold round(255 * tanh(ratio / 2)), floats are the ratio itself.

    Raises ValueError for another shape or type.
    """
    if wrinkle.ndim != 3 or wrinkle.shape[-1] != 3:
        raise ValueError(f"a wrinkle map must be (h, w, 3), got {wrinkle.shape}")
    if wrinkle.dtype == np.uint8:
        return RATIO[wrinkle]
    if wrinkle.dtype.kind != "f":
        raise ValueError(f"a wrinkle map must be uint8 (stored) or floating (ratio), got {wrinkle.dtype}")
    return np.ascontiguousarray(wrinkle, dtype=np.float32)


@njit(cache=True, fastmath=True)
def wrinkle_slopes(ratio: Any, slopes: Any) -> None:
    """Fill `slopes` (h, w, 2) with d log(ratio) / du and / dv of the colour mean of `ratio` (h, w, 3).

    u and v run 0..1 over the map, v downwards; central differences, one-sided at the border.
    """
    rows, columns = ratio.shape[:2]
    height = np.empty((rows, columns), dtype=np.float32)
    for y in range(rows):
        for x in range(columns):
            mean = (ratio[y, x, 0] + ratio[y, x, 1] + ratio[y, x, 2]) * np.float32(1 / 3)
            height[y, x] = np.log(max(mean, np.float32(0.05)))
    for y in range(rows):
        up, down = max(y - 1, 0), min(y + 1, rows - 1)
        for x in range(columns):
            left, right = max(x - 1, 0), min(x + 1, columns - 1)
            slopes[y, x, 0] = (height[y, right] - height[y, left]) * np.float32(columns) / np.float32(right - left)
            slopes[y, x, 1] = (height[down, x] - height[up, x]) * np.float32(rows) / np.float32(down - up)
