"""The loop behind `ratio.apply_ratio`, compiled once."""

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True, fastmath=True)
def enlarge_and_apply(albedo: NDArray[np.uint8], logarithm: NDArray[np.float32]) -> NDArray[np.uint8]:
    """albedo (H, W, 3) times exp of the bilinearly enlarged log ratio (h, w, 3), clipped and rounded half to even."""
    height, width = albedo.shape[:2]
    rows, columns = logarithm.shape[:2]
    out = np.empty_like(albedo)
    line = np.empty((columns, 3), np.float32)
    left = np.empty(width, np.int32)
    share = np.empty(width, np.float32)
    for x in range(width):
        sx = min(max((x + 0.5) * columns / width - 0.5, 0.0), columns - 1.0)
        left[x] = min(int(sx), max(columns - 2, 0))
        share[x] = sx - left[x] if columns > 1 else 0.0
    step = 1 if columns > 1 else 0
    for y in range(height):
        sy = min(max((y + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
        y0 = min(int(sy), rows - 1)
        y1 = min(y0 + 1, rows - 1)
        fy = np.float32(sy - y0)
        flat = True
        for x in range(columns):
            for c in range(3):
                line[x, c] = logarithm[y0, x, c] * (1 - fy) + logarithm[y1, x, c] * fy
                flat = flat and line[x, c] == 0
        if flat:
            out[y] = albedo[y]
            continue
        for x in range(width):
            x0, fx = left[x], share[x]
            x1 = x0 + step
            for c in range(3):
                a, b = line[x0, c], line[x1, c]
                if a == 0 and b == 0:
                    out[y, x, c] = albedo[y, x, c]
                else:
                    value = np.float32(albedo[y, x, c]) * np.exp(a + (b - a) * fx)
                    out[y, x, c] = np.uint8(min(np.rint(value), np.float32(255)))
    return out
