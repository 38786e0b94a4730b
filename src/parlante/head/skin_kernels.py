"""Compiled loops for painting skin and for its dynamics."""

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True, fastmath=True)
def polyline_distance(
    places: NDArray[np.float32],
    mask: NDArray[np.float32],
    points: NDArray[np.float32],
    values: NDArray[np.float32],
    limit: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distance of places (N, 2) to a polyline (K, 2), and the polyline's value (K,) at the nearest point.

    Beyond `limit`, or where mask (N,) is 0, the distance stays `limit` and the value 0.
    """
    distance = np.full(len(places), limit, np.float32)
    value = np.zeros(len(places), np.float32)
    x0, x1 = points[:, 0].min() - limit, points[:, 0].max() + limit
    y0, y1 = points[:, 1].min() - limit, points[:, 1].max() + limit
    for n in range(len(places)):
        x, y = places[n, 0], places[n, 1]
        if mask[n] == 0 or x < x0 or x > x1 or y < y0 or y > y1:
            continue
        best = limit * limit
        for k in range(len(points) - 1):
            ax, ay = points[k, 0], points[k, 1]
            dx, dy = points[k + 1, 0] - ax, points[k + 1, 1] - ay
            px, py = x - ax, y - ay
            t = (px * dx + py * dy) / max(dx * dx + dy * dy, np.float32(1e-12))
            t = min(max(t, np.float32(0)), np.float32(1))
            ex, ey = px - t * dx, py - t * dy
            d = ex * ex + ey * ey
            if d < best:
                best = d
                value[n] = values[k] * (1 - t) + values[k + 1] * t
        distance[n] = np.sqrt(best)
    return distance, value


@numba.njit(cache=True, nogil=True, fastmath=True)
def ratio_maps(
    activation: NDArray[np.float32],
    texels: NDArray[np.int32],
    index: NDArray[np.int32],
    weights: NDArray[np.float32],
    pattern: NDArray[np.float32],
    colour: NDArray[np.float32],
    size: int,
    as_wrinkle: bool,
) -> NDArray[np.float32]:
    """Log-ratio sum_k activation_k * pattern_k * colour_k at the listed texels; elsewhere unchanged.

    activation (T, K, R) at vertices; texels (N,) flat numbers; index, weights (N, 3) into R; pattern (N, K); colour
    (K, 2, 3), used [0] where the product is positive and [1] where negative. Returns (T, size, size, 3).
    """
    frames, layers, _ = activation.shape
    still = np.float32(np.tanh(0.5)) if as_wrinkle else np.float32(1.0)
    out = np.full((frames, size * size, 3), still, np.float32)
    for t in range(frames):
        for n in range(len(texels)):
            r = np.float32(0)
            g = np.float32(0)
            b = np.float32(0)
            moved = False
            for k in range(layers):
                p = pattern[n, k]
                if p == 0:
                    continue
                a = np.float32(0)
                for j in range(3):
                    a += weights[n, j] * activation[t, k, index[n, j]]
                a *= p
                if a == 0:
                    continue
                moved = True
                sign = 0 if a > 0 else 1
                r += a * colour[k, sign, 0]
                g += a * colour[k, sign, 1]
                b += a * colour[k, sign, 2]
            if moved:
                r, g, b = np.exp(r), np.exp(g), np.exp(b)
                if as_wrinkle:  # tanh(x / 2) = 1 - 2 / (e^x + 1)
                    r = 1 - 2 / (np.exp(r) + 1)
                    g = 1 - 2 / (np.exp(g) + 1)
                    b = 1 - 2 / (np.exp(b) + 1)
                out[t, texels[n], 0] = r
                out[t, texels[n], 1] = g
                out[t, texels[n], 2] = b
    return out.reshape(frames, size, size, 3)
