"""Vertices back from a motion map exactly as TexTalker's own script reads them, for comparison with its results.

Its maps are drawn on a grid of size - 1 texels and read on one of size, so what is read lies up to a texel to the lower
right of where it was written; and black is taken for background. `BakeTable.sample` is the right way.
"""

import numpy as np
from numpy.typing import NDArray

from parlante.core import Topology

BACKGROUND = 0.01
"""A texel with every channel below this counts as background."""


def read_offsets(values: NDArray[np.floating], topology: Topology) -> NDArray[np.float64]:
    """Map (H, H, C) -> value of each vertex (V, C).

    Bilinear at column u * H and row (1 - v) * H with weights that vanish beyond the last row and column. A 2 x 2 block
    that touches the background is moved, fractions kept, in growing squares row by row until it does not. A vertex with
    several uv corners takes the mean of those that are not exactly zero.
    """
    size, channels = len(values), values.shape[2]
    pairs = np.unique(np.stack([topology.triangles.ravel(), topology.uv_triangles.ravel()], -1), axis=0)
    vertex, corner = pairs[:, 0], pairs[:, 1]
    uv = topology.uv[corner].astype(np.float64)
    column, row = np.mod(uv[:, 0], 1.0) * size, np.mod(1.0 - uv[:, 1], 1.0) * size
    x0, y0 = np.floor(column).astype(np.int64), np.floor(row).astype(np.int64)
    x1, y1 = np.minimum(x0 + 1, size - 1), np.minimum(y0 + 1, size - 1)
    weight = (
        (y1 - row) * (x1 - column),
        (y1 - row) * (column - x0),
        (row - y0) * (x1 - column),
        (row - y0) * (column - x0),
    )
    filled = (values >= BACKGROUND).any(-1)
    x0, y0, x1, y1 = _moved(np.asarray(filled), x0, y0, x1, y1)
    places = ((y0, x0), (y0, x1), (y1, x0), (y1, x1))
    read = sum(w[:, None] * values[place].astype(np.float64) for w, place in zip(weight, places, strict=True))
    counted = (read != 0).any(-1)
    total = np.zeros((topology.num_vertices, channels))
    np.add.at(total, vertex[counted], read[counted])
    count = np.bincount(vertex[counted], minlength=topology.num_vertices)
    return total / np.maximum(count, 1)[:, None]


def _moved(filled: NDArray[np.bool_], *corners: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Blocks x0, y0, x1, y1 moved off the background; those that find no place stay."""
    size = len(filled)
    x0, y0, x1, y1 = (c.copy() for c in corners)
    lost = np.flatnonzero(~(filled[y0, x0] & filled[y0, x1] & filled[y1, x0] & filled[y1, x1]))
    for radius in range(1, size):
        if not len(lost):
            break
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1) if abs(dy) == radius else (-radius, radius):
                xs, ys = (x0[lost] + dx, x1[lost] + dx), (y0[lost] + dy, y1[lost] + dy)
                inside = (xs[0] >= 0) & (ys[0] >= 0) & (xs[1] < size) & (ys[1] < size)
                at = [np.clip(c, 0, size - 1) for c in (*xs, *ys)]
                good = (
                    inside & filled[at[2], at[0]] & filled[at[2], at[1]] & filled[at[3], at[0]] & filled[at[3], at[1]]
                )
                found = lost[good]
                for corner, moved in ((x0, xs[0]), (x1, xs[1]), (y0, ys[0]), (y1, ys[1])):
                    corner[found] = moved[good]
                lost = lost[~good]
                if not len(lost):
                    break
            if not len(lost):
                break
    return [x0, y0, x1, y1]
