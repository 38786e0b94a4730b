"""The loop behind `keys.reduce_keys`."""

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def longest_lines(values: NDArray[np.float64], tolerance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rows to keep of (T, K), so that straight lines between them pass every row within `tolerance` (K,).

    From each key the next is the farthest row whose line lies inside the cone that the rows between leave open
    (Reumann and Witkam's corridor with fixed ends, as in the swinging-door method).
    """
    count, width = values.shape
    kept = np.empty(count, np.int64)
    kept[0] = 0
    size = 1
    low, high = np.empty(width), np.empty(width)
    anchor = 0
    while anchor < count - 1:
        low[:] = -np.inf
        high[:] = np.inf
        best = anchor + 1
        for row in range(anchor + 1, count):
            span = row - anchor
            inside, open_ = True, True
            for k in range(width):
                rise = values[row, k] - values[anchor, k]
                slope = rise / span
                if slope < low[k] or slope > high[k]:
                    inside = False
                low[k] = max(low[k], (rise - tolerance[k]) / span)
                high[k] = min(high[k], (rise + tolerance[k]) / span)
                if low[k] > high[k]:
                    open_ = False
            if inside:
                best = row
            if not open_:
                break
        kept[size] = best
        size += 1
        anchor = best
    return kept[:size]
