"""Compiled loops for painting skin and for its dynamics."""

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(inline="always", fastmath=True)
def _from_segment(x: np.float32, y: np.float32, points: NDArray[np.float32], k: int) -> tuple[np.float32, np.float32]:
    """Squared distance of (x, y) to the segment of points k, k + 1, and where on it the nearest point lies, 0..1."""
    ax, ay = points[k, 0], points[k, 1]
    dx, dy = points[k + 1, 0] - ax, points[k + 1, 1] - ay
    px, py = x - ax, y - ay
    t = (px * dx + py * dy) / max(dx * dx + dy * dy, np.float32(1e-12))
    t = min(max(t, np.float32(0)), np.float32(1))
    ex, ey = px - t * dx, py - t * dy
    return ex * ex + ey * ey, t


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
        best = np.float32(limit * limit)
        for k in range(len(points) - 1):
            d, t = _from_segment(x, y, points, k)
            if d < best:
                best = d
                value[n] = values[k] * (1 - t) + values[k + 1] * t
        distance[n] = np.sqrt(best)
    return distance, value


@numba.njit(cache=True, nogil=True, fastmath=True)
def add_crease(
    picture: NDArray[np.float32],
    places: NDArray[np.float32],
    mask: NDArray[np.float32],
    points: NDArray[np.float32],
    depth: NDArray[np.float32],
    width: float,
) -> None:
    """Add one line (K, 2) of half width `width` and depth (K,) to picture (N,): a valley with raised shoulders."""
    limit = 4.5 * width
    x0, x1 = points[:, 0].min() - limit, points[:, 0].max() + limit
    y0, y1 = points[:, 1].min() - limit, points[:, 1].max() + limit
    for n in range(len(places)):
        x, y = places[n, 0], places[n, 1]
        if mask[n] == 0 or x < x0 or x > x1 or y < y0 or y > y1:
            continue
        best, strength = np.float32(limit * limit), np.float32(0)
        for k in range(len(points) - 1):
            d, t = _from_segment(x, y, points, k)
            if d < best:
                best, strength = d, depth[k] * (1 - t) + depth[k + 1] * t
        if strength > 0:
            r = np.sqrt(best) / width
            shoulder = (r - 2.1) / 1.1
            picture[n] += (np.exp(-r * r) - 0.24 * np.exp(-shoulder * shoulder)) * strength * mask[n]


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


@numba.njit(inline="always")
def _hash(key: np.uint32) -> np.float32:
    """A number in -1..1 that looks unrelated to its key."""
    h = np.uint32((key ^ (key >> np.uint32(15))) * np.uint32(0x2C1B3C6D))
    h = np.uint32((h ^ (h >> np.uint32(12))) * np.uint32(0x297A2D39))
    return np.float32(h >> np.uint32(16)) * np.float32(1 / 32767.5) - np.float32(1)


@numba.njit(cache=True, nogil=True, fastmath=True)
def fractal_noise(
    places: NDArray[np.float32], scale: NDArray[np.float32], octaves: int, seed: int
) -> NDArray[np.float32]:
    """Smooth noise (N,), about -1..1, at places (N, 3): value noise summed over octaves of halving size.

    scale (3,) is the size of the largest features along each axis, in the unit of places.
    """
    out = np.zeros(len(places), np.float32)
    amplitude, total = np.float32(1), np.float32(0)
    factor = np.float32(1)
    step = (np.float32(1) / scale).astype(np.float32)
    for octave in range(octaves):
        salt = np.uint32((seed * 0x9E3779B1 + octave * 0x85EBCA6B) & 0xFFFFFFFF)
        for n in range(len(places)):
            x = places[n, 0] * step[0] * factor + np.float32(137.3)
            y = places[n, 1] * step[1] * factor + np.float32(211.7)
            z = places[n, 2] * step[2] * factor + np.float32(173.9)
            fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
            x, y, z = x - fx, y - fy, z - fz
            x, y, z = x * x * (3 - 2 * x), y * y * (3 - 2 * y), z * z * (3 - 2 * z)
            x0 = np.uint32(np.int32(fx)) * np.uint32(73856093) + salt
            y0 = np.uint32(np.int32(fy)) * np.uint32(19349663)
            z0 = np.uint32(np.int32(fz)) * np.uint32(83492791)
            x1, y1, z1 = x0 + np.uint32(73856093), y0 + np.uint32(19349663), z0 + np.uint32(83492791)
            a = _hash(x0 ^ y0 ^ z0) * (1 - x) + _hash(x1 ^ y0 ^ z0) * x
            b = _hash(x0 ^ y1 ^ z0) * (1 - x) + _hash(x1 ^ y1 ^ z0) * x
            c = _hash(x0 ^ y0 ^ z1) * (1 - x) + _hash(x1 ^ y0 ^ z1) * x
            d = _hash(x0 ^ y1 ^ z1) * (1 - x) + _hash(x1 ^ y1 ^ z1) * x
            value = (a * (1 - y) + b * y) * (1 - z) + (c * (1 - y) + d * y) * z
            out[n] += amplitude * value
        total += amplitude * amplitude
        amplitude *= np.float32(0.6)
        factor *= np.float32(2)
    return out * np.float32(1.6) / np.sqrt(total)


@numba.njit(cache=True, nogil=True, fastmath=True)
def doubled(coarse: NDArray[np.float32], texels: NDArray[np.int64]) -> NDArray[np.float32]:
    """A picture (h, w) enlarged to (2h, 2w) bilinearly, at flat texel numbers (N,) of the large one."""
    height, width = coarse.shape
    out = np.empty(len(texels), np.float32)
    for n in range(len(texels)):
        row, column = texels[n] // (2 * width), texels[n] % (2 * width)
        y = min(max(np.float32(0.5) * row - np.float32(0.25), np.float32(0)), np.float32(height - 1.001))
        x = min(max(np.float32(0.5) * column - np.float32(0.25), np.float32(0)), np.float32(width - 1.001))
        r, c = int(y), int(x)
        y, x = y - r, x - c
        top = coarse[r, c] * (1 - x) + coarse[r, c + 1] * x
        low = coarse[r + 1, c] * (1 - x) + coarse[r + 1, c + 1] * x
        out[n] = top * (1 - y) + low * y
    return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def draw_strokes(
    canvas: NDArray[np.float32],
    points: NDArray[np.float32],
    radius: NDArray[np.float32],
    opacity: NDArray[np.float32],
) -> None:
    """Lay hairs over a coverage picture (H, W), in place, anti-aliased and tapering to their tips.

    points (S, K, 2) column and row along each hair, root first; radius, opacity (S,) in texels and 0..1.
    """
    height, width = canvas.shape
    for s in range(len(points)):
        count = points.shape[1]
        r0 = radius[s]
        x0 = max(int(points[s, :, 0].min() - r0 - 1), 0)
        x1 = min(int(points[s, :, 0].max() + r0 + 2), width - 1)
        y0 = max(int(points[s, :, 1].min() - r0 - 1), 0)
        y1 = min(int(points[s, :, 1].max() + r0 + 2), height - 1)
        if x1 - x0 > 80 or y1 - y0 > 80:  # a hair across a seam
            continue
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                best = np.float32(0)
                for k in range(count - 1):
                    ax, ay = points[s, k, 0], points[s, k, 1]
                    dx, dy = points[s, k + 1, 0] - ax, points[s, k + 1, 1] - ay
                    px, py = x - ax, y - ay
                    t = (px * dx + py * dy) / max(dx * dx + dy * dy, np.float32(1e-9))
                    t = min(max(t, np.float32(0)), np.float32(1))
                    ex, ey = px - t * dx, py - t * dy
                    r = r0 * (1 - np.float32(0.65) * (k + t) / (count - 1))
                    c = min(
                        max(r + np.float32(0.5) - np.sqrt(ex * ex + ey * ey), np.float32(0)), min(2 * r, np.float32(1))
                    )
                    if c > best:
                        best = c
                if best > 0:
                    canvas[y, x] = 1 - (1 - canvas[y, x]) * (1 - best * opacity[s])


@numba.njit(cache=True, nogil=True, fastmath=True)
def inside_polygon(places: NDArray[np.float32], polygon: NDArray[np.float32]) -> NDArray[np.float32]:
    """Signed distance (N,) of places (N, 2) to a closed polygon (K, 2): positive inside."""
    out = np.empty(len(places), np.float32)
    count = len(polygon)
    for n in range(len(places)):
        x, y = places[n, 0], places[n, 1]
        inside = False
        best = np.float32(1e9)
        for k in range(count):
            ax, ay = polygon[k, 0], polygon[k, 1]
            bx, by = polygon[(k + 1) % count, 0], polygon[(k + 1) % count, 1]
            dx, dy = bx - ax, by - ay
            px, py = x - ax, y - ay
            t = min(max((px * dx + py * dy) / max(dx * dx + dy * dy, np.float32(1e-12)), np.float32(0)), np.float32(1))
            ex, ey = px - t * dx, py - t * dy
            best = min(best, ex * ex + ey * ey)
            if (ay > y) != (by > y) and x < dx * (y - ay) / dy + ax:
                inside = not inside
        distance = np.sqrt(best)
        out[n] = distance if inside else -distance
    return out
