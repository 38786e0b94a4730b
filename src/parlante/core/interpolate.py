"""Between frames: curves that never overshoot."""

import numpy as np
from numpy.typing import NDArray


def monotone(
    values: NDArray[np.float32], low: NDArray[np.intp], high: NDArray[np.intp], fraction: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(M, K) monotone cubic interpolation of (N, K) between rows `low` and `high` = low + 1 at `fraction` (M,).

    Slopes by Fritsch and Butland (1984), as in scipy's PCHIP, flat at both ends.
    """
    if len(values) < 2:
        return values[low]
    step = np.diff(values.astype(np.float64), axis=0)
    before, after = step[:-1], step[1:]
    same = before * after > 0
    inner = np.where(same, 2 * before * after / np.where(same, before + after, 1.0), 0.0)
    slope = np.concatenate([step[:1] * 0, inner, step[-1:] * 0])
    t = fraction[:, None].astype(np.float64)
    a, b = values[low], values[high]
    cubic = (
        (2 * t**3 - 3 * t**2 + 1) * a
        + (t**3 - 2 * t**2 + t) * slope[low]
        + (3 * t**2 - 2 * t**3) * b
        + (t**3 - t**2) * slope[high]
    )
    return cubic.astype(np.float32)
