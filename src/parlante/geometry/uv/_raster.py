"""The loops behind the bake table: which triangle owns a texel, and gathering by it."""

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def rasterise(
    corners: NDArray[np.float32], size: int, reference: bool
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Owner triangle (size, size), -1 outside, and barycentrics (size, size, 3) of every texel.

    corners (F, 3, 2) float32 in texel coordinates (x right, y down, texel centres at integers). Triangles go in file
    order and the first to reach a texel keeps it. With `reference`, the rule of face3d as TexTalker runs it: exact
    half-open edges, and no inside test within two texels of the border.
    """
    owner = np.full((size, size), -1, np.int32)
    weights = np.zeros((size, size, 3), np.float32)
    slack = np.float32(0.0) if reference else np.float32(1e-5)
    one = np.float32(1.0)
    for f in range(len(corners)):
        ax, ay = corners[f, 0, 0], corners[f, 0, 1]
        bx, by = corners[f, 1, 0], corners[f, 1, 1]
        cx, cy = corners[f, 2, 0], corners[f, 2, 1]
        x0 = max(int(np.ceil(min(ax, bx, cx))), 0)
        x1 = min(int(np.floor(max(ax, bx, cx))), size - 1)
        y0 = max(int(np.ceil(min(ay, by, cy))), 0)
        y1 = min(int(np.floor(max(ay, by, cy))), size - 1)
        ux, uy, vx, vy = cx - ax, cy - ay, bx - ax, by - ay
        uu, uv, vv = ux * ux + uy * uy, ux * vx + uy * vy, vx * vx + vy * vy
        area = uu * vv - uv * uv
        if area == 0 and not reference:
            continue
        inverse = one / area if area != 0 else np.float32(0.0)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                if owner[y, x] >= 0:
                    continue
                px, py = np.float32(x) - ax, np.float32(y) - ay
                pu, pv = ux * px + uy * py, vx * px + vy * py
                u = (vv * pu - uv * pv) * inverse
                v = (uu * pv - uv * pu) * inverse
                if reference:
                    border = x < 2 or y < 2 or x > size - 3 or y > size - 3
                    if not border and not (u >= 0 and v >= 0 and u + v < 1):
                        continue
                elif not (u >= -slack and v >= -slack and u + v <= one + slack):
                    continue
                owner[y, x] = f
                weights[y, x, 0] = one - u - v
                weights[y, x, 1] = v
                weights[y, x, 2] = u
    return owner, weights


@numba.njit(cache=True, nogil=True)
def extrapolate(
    owner: NDArray[np.int32],
    weights: NDArray[np.float32],
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    corners: NDArray[np.float32],
    reach: float,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Owner and barycentrics for the uncovered texels, from the covered texel at (rows, columns) nearest to each.

    Up to `reach` texels away the owner's plane is carried on (so that bilinear reading near a chart's edge stays
    linear); farther out the nearest texel's value is copied.
    """
    height, width = owner.shape
    filled, spread = owner.copy(), weights.copy()
    for y in range(height):
        for x in range(width):
            if owner[y, x] >= 0:
                continue
            sy, sx = rows[y, x], columns[y, x]
            f = owner[sy, sx]
            filled[y, x] = f
            spread[y, x] = weights[sy, sx]
            if (y - sy) ** 2 + (x - sx) ** 2 > reach * reach:
                continue
            ax, ay = corners[f, 0, 0], corners[f, 0, 1]
            ux, uy = corners[f, 2, 0] - ax, corners[f, 2, 1] - ay
            vx, vy = corners[f, 1, 0] - ax, corners[f, 1, 1] - ay
            area = ux * vy - uy * vx
            if area == 0:
                continue
            px, py = x - ax, y - ay
            u = min(max((px * vy - py * vx) / area, -1.0), 2.0)
            v = min(max((ux * py - uy * px) / area, -1.0), 2.0)
            if -1.0 <= 1 - u - v <= 2.0:
                spread[y, x, 0], spread[y, x, 1], spread[y, x, 2] = 1 - u - v, v, u
    return filled, spread


@numba.njit(cache=True, nogil=True, fastmath=True)
def gather(
    attributes: NDArray[np.float32], index: NDArray[np.int32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(B, V, C) attributes -> (B, N, C), each row mixed from three vertices: index (N, 3), weights (N, 3)."""
    batch, _, channels = attributes.shape
    out = np.empty((batch, len(index), channels), np.float32)
    for b in range(batch):
        if channels == 3:  # by far the most frequent; written out, it is twice as fast
            for n in range(len(index)):
                i, j, k = index[n, 0], index[n, 1], index[n, 2]
                wi, wj, wk = weights[n, 0], weights[n, 1], weights[n, 2]
                out[b, n, 0] = wi * attributes[b, i, 0] + wj * attributes[b, j, 0] + wk * attributes[b, k, 0]
                out[b, n, 1] = wi * attributes[b, i, 1] + wj * attributes[b, j, 1] + wk * attributes[b, k, 1]
                out[b, n, 2] = wi * attributes[b, i, 2] + wj * attributes[b, j, 2] + wk * attributes[b, k, 2]
            continue
        for n in range(len(index)):
            i, j, k = index[n, 0], index[n, 1], index[n, 2]
            wi, wj, wk = weights[n, 0], weights[n, 1], weights[n, 2]
            for c in range(channels):
                out[b, n, c] = wi * attributes[b, i, c] + wj * attributes[b, j, c] + wk * attributes[b, k, c]
    return out


@numba.njit(cache=True, nogil=True, fastmath=True)
def read(
    maps: NDArray[np.float32],
    texels: NDArray[np.int32],
    weights: NDArray[np.float32],
    starts: NDArray[np.int64],
    channels_last: bool,
) -> NDArray[np.float32]:
    """(B, H*W, C) or (B, C, H*W) maps -> (B, V, C): v mixes texels starts[v]..starts[v + 1] by their weights."""
    batch, channels = len(maps), maps.shape[2] if channels_last else maps.shape[1]
    vertices = len(starts) - 1
    out = np.zeros((batch, vertices, channels), np.float32)
    for b in range(batch):
        for v in range(vertices):
            for n in range(starts[v], starts[v + 1]):
                place, weight = texels[n], weights[n]
                if channels_last and channels == 3:
                    out[b, v, 0] += weight * maps[b, place, 0]
                    out[b, v, 1] += weight * maps[b, place, 1]
                    out[b, v, 2] += weight * maps[b, place, 2]
                elif channels_last:
                    for c in range(channels):
                        out[b, v, c] += weight * maps[b, place, c]
                else:
                    for c in range(channels):
                        out[b, v, c] += weight * maps[b, c, place]
    return out
