"""The loops behind `upsample`: weights of one doubling, and doubling a stripe with them."""

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True, fastmath=True)
def blend_weights(position: int, size: int, coarse: int) -> tuple[int, int, float]:
    """The two coarse texels about fine texel `position` (centres at halves) and the share of the second."""
    place = min(max((position + 0.5) * coarse / size - 0.5, 0.0), coarse - 1.0)
    first = min(int(place), coarse - 1)
    return first, min(first + 1, coarse - 1), np.float32(place - first)


@numba.njit(cache=True, nogil=True, fastmath=True)
def fill_weights(
    guide: NDArray[np.uint8],
    coarse: NDArray[np.uint8],
    island: NDArray[np.uint8],
    coarse_island: NDArray[np.uint8],
    likeness: NDArray[np.float32],
    foreign: float,
    start: int,
    stop: int,
    weights: NDArray[np.uint8],
) -> None:
    """Rows `start`..`stop` of `weights` (H, W, 4), summing to 255: tent times likeness of colour times island.

    guide (H, W, 3), coarse (h, w, 3); island (H, W) and coarse_island (h, w), or (1, 1) for none; likeness (1024,) of
    the squared colour distance / 64; foreign: factor of a coarse texel of another island.
    """
    height, width = guide.shape[:2]
    rows, columns = coarse.shape[:2]
    charted = island.shape[0] > 1
    share = np.empty(4, np.float32)
    for y in range(start, stop):
        y0, y1, fy = blend_weights(y, height, rows)
        for x in range(width):
            x0, x1, fx = blend_weights(x, width, columns)
            total = np.float32(0)
            for k in range(4):
                cy, cx = (y0 if k < 2 else y1), (x0 if k % 2 == 0 else x1)
                tent = ((1 - fy) if k < 2 else fy) * ((1 - fx) if k % 2 == 0 else fx)
                distance = 0
                for c in range(3):
                    apart = np.int32(guide[y, x, c]) - np.int32(coarse[cy, cx, c])
                    distance += apart * apart
                value = tent * likeness[min(distance >> 6, 1023)]
                if charted and island[y, x] != coarse_island[cy, cx] and island[y, x] != 0:
                    value *= foreign
                share[k] = value
                total += value
            left, largest = 255, 0
            for k in range(4):
                part = int(share[k] * np.float32(255) / total + np.float32(0.5))
                weights[y, x, k] = part
                left -= part
                if share[k] > share[largest]:
                    largest = k
            weights[y, x, largest] += np.uint8(left)


@numba.njit(cache=True, nogil=True, fastmath=True)
def double(
    coarse: NDArray[np.float32],
    offset: int,
    rows: int,
    weights: NDArray[np.uint8],
    height: int,
    start: int,
    fine: NDArray[np.float32],
) -> None:
    """Fill `fine` (n, W, 3), rows `start`.. of a map of `height` rows, from the coarse rows `offset`.. of `rows`.

    weights (n, W, 4) are those of the same fine rows.
    """
    width, columns = fine.shape[1], coarse.shape[1]
    for i in range(fine.shape[0]):
        y0, y1, _ = blend_weights(start + i, height, rows)
        y0 -= offset
        y1 -= offset
        for x in range(width):
            x0, x1, _ = blend_weights(x, width, columns)
            a = np.float32(weights[i, x, 0]) * np.float32(1 / 255)
            b = np.float32(weights[i, x, 1]) * np.float32(1 / 255)
            c = np.float32(weights[i, x, 2]) * np.float32(1 / 255)
            d = np.float32(weights[i, x, 3]) * np.float32(1 / 255)
            for k in range(3):
                fine[i, x, k] = (
                    a * coarse[y0, x0, k] + b * coarse[y0, x1, k] + c * coarse[y1, x0, k] + d * coarse[y1, x1, k]
                )


@numba.njit(cache=True, nogil=True, fastmath=True)
def colour(albedo: NDArray[np.uint8], ratio: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """out (n, W, 3) = albedo (n, W, 3) * ratio (n, W, 3), rounded half to even and clipped."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            for c in range(3):
                value = np.rint(np.float32(albedo[y, x, c]) * ratio[y, x, c])
                out[y, x, c] = np.uint8(min(max(value, np.float32(0)), np.float32(255)))


@numba.njit(cache=True, nogil=True, fastmath=True)
def normals(height: NDArray[np.float32], above: int, across: float, down: float, out: NDArray[np.uint8]) -> None:
    """out (n, W, 3), tangent-space normals as bytes, from heights (n and up to a row above and below, W).

    above: rows to spare above; across, down: reciprocal size of a texel, in the unit of heights. Central differences,
    one-sided at the border; x along u, y along v (upwards), z out of the skin.
    """
    count, width = out.shape[:2]
    for i in range(count):
        y = i + above
        y0, y1 = max(y - 1, 0), min(y + 1, height.shape[0] - 1)
        for x in range(width):
            x0, x1 = max(x - 1, 0), min(x + 1, width - 1)
            nx = -(height[y, x1] - height[y, x0]) * across / max(x1 - x0, 1)
            ny = (height[y1, x] - height[y0, x]) * down / max(y1 - y0, 1)
            scale = np.float32(127.5) / np.sqrt(nx * nx + ny * ny + 1)
            out[i, x, 0] = np.uint8(min(np.rint(nx * scale) + 128, 255))
            out[i, x, 1] = np.uint8(min(np.rint(ny * scale) + 128, 255))
            out[i, x, 2] = np.uint8(min(np.rint(scale) + 128, 255))


@numba.njit(cache=True, nogil=True, fastmath=True)
def fill_blur(
    guide: NDArray[np.uint8],
    island: NDArray[np.uint8],
    likeness: NDArray[np.float32],
    foreign: float,
    weights: NDArray[np.float32],
) -> None:
    """weights (h, w, 9), summing to one, row by row of the 3 x 3 texels about each: what endless doubling leaves of
    them, (1, 6, 1) / 8 along both axes, times likeness and island as in `fill_weights`; none beyond the border."""
    height, width = guide.shape[:2]
    charted = island.shape[0] > 1
    for y in range(height):
        for x in range(width):
            total = np.float32(0)
            for k in range(9):
                i, j = y + k // 3 - 1, x + k % 3 - 1
                weights[y, x, k] = 0
                if i < 0 or j < 0 or i >= height or j >= width:
                    continue
                distance = 0
                for c in range(3):
                    apart = np.int32(guide[y, x, c]) - np.int32(guide[i, j, c])
                    distance += apart * apart
                value = (6 if i == y else 1) * (6 if j == x else 1) * likeness[min(distance >> 6, 1023)]
                if charted and island[y, x] != island[i, j]:
                    value *= foreign
                weights[y, x, k] = value
                total += value
            weights[y, x] /= total


@numba.njit(cache=True, nogil=True, fastmath=True)
def add_missing(
    values: NDArray[np.float32], wanted: NDArray[np.float32], weights: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """out = values + wanted - blurred values, all (h, w, 3), with the weights of `fill_blur`."""
    height, width = values.shape[:2]
    for y in range(height):
        for x in range(width):
            for c in range(3):
                blurred = np.float32(0)
                for k in range(9):
                    i = min(max(y + k // 3 - 1, 0), height - 1)
                    j = min(max(x + k % 3 - 1, 0), width - 1)
                    blurred += weights[y, x, k] * values[i, j, c]
                out[y, x, c] = values[y, x, c] + wanted[y, x, c] - blurred


@numba.njit(cache=True, nogil=True)
def draw_islands(corners: NDArray[np.float32], numbers: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Write each triangle's number into `out` (h, w) where it covers the middle of a texel; the first one keeps it.

    corners (F, 3, 2): column and row, middles of texels at integers.
    """
    height, width = out.shape
    slack = np.float32(1e-5)
    for f in range(len(corners)):
        ax, ay = corners[f, 0]
        ux, uy = corners[f, 1, 0] - ax, corners[f, 1, 1] - ay
        vx, vy = corners[f, 2, 0] - ax, corners[f, 2, 1] - ay
        area = ux * vy - uy * vx
        if area == 0:
            continue
        x0 = max(int(np.ceil(corners[f, :, 0].min() - slack)), 0)
        x1 = min(int(np.floor(corners[f, :, 0].max() + slack)), width - 1)
        y0 = max(int(np.ceil(corners[f, :, 1].min() - slack)), 0)
        y1 = min(int(np.floor(corners[f, :, 1].max() + slack)), height - 1)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                px, py = np.float32(x) - ax, np.float32(y) - ay
                u, v = (px * vy - py * vx) / area, (ux * py - uy * px) / area
                if u >= -slack and v >= -slack and u + v <= 1 + slack and out[y, x] == 0:
                    out[y, x] = numbers[f]
