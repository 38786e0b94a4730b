"""Wrinkle maps of our texture layout, read in the user's: one table of texels, made once."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from parlante.core import Topology
from parlante.geometry.uv import bake_table
from parlante.render.wrinkles import UNCHANGED
from parlante.retarget.mesh.surface import Nearest, Surface

_NEAR = 0.006


def wrinkle_table(
    mine: Topology, vertices: NDArray[np.floating], ours: Topology, registered: NDArray[np.floating],
    outer: NDArray[np.bool_], size: int,
) -> NDArray[np.float32]:  # fmt: skip
    """(size, size, 2) place in our texture (u, v up) of every texel of the user's; nan where no skin of ours lies.

    mine, vertices (U, 3): the user's mesh; ours, registered (V, 3): our head on it; outer (F,): our skin from outside.
    """
    table = bake_table(mine, size)
    covered = np.flatnonzero(table.covered.ravel())
    surface = Surface(vertices, mine.triangles)
    place = np.einsum("nk,nki->ni", table.weights[covered], vertices[table.index[covered]])
    normal = np.einsum("nk,nki->ni", table.weights[covered], surface.normals[table.index[covered]])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    distance, triangle, share = Nearest(Surface(registered, ours.triangles), outer)(place, normal, facing=0.3)
    uv = np.einsum("nk,nki->ni", share, ours.uv[ours.uv_triangles[triangle]])
    out = np.full((size * size, 2), np.nan, np.float32)
    out[covered] = np.where((distance < _NEAR)[:, None], uv, np.nan)
    return out.reshape(size, size, 2)


def carry_wrinkles(maps: NDArray[np.uint8], table: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Stored maps (T, h, w, 3) in our layout -> (T, H, W, 3) in the user's, for a table (H, W, 2); unchanged where
    we know nothing."""
    return np.asarray(_carry(np.ascontiguousarray(maps), np.ascontiguousarray(table), UNCHANGED))


@njit(cache=True, nogil=True)
def _carry(maps: Any, table: Any, unchanged: int) -> Any:  # pragma: no cover
    frames, height, width, _ = maps.shape
    rows, columns = table.shape[:2]
    out = np.full((frames, rows, columns, 3), unchanged, np.uint8)
    for y in range(rows):
        for x in range(columns):
            if np.isnan(table[y, x, 0]):
                continue
            column = min(max(table[y, x, 0] * width - 0.5, 0.0), width - 1.0)
            row = min(max((1 - table[y, x, 1]) * height - 0.5, 0.0), height - 1.0)
            c0, r0 = min(int(column), width - 2), min(int(row), height - 2)
            fx, fy = column - c0, row - r0
            for t in range(frames):
                for k in range(3):
                    top = maps[t, r0, c0, k] * (1 - fx) + maps[t, r0, c0 + 1, k] * fx
                    low = maps[t, r0 + 1, c0, k] * (1 - fx) + maps[t, r0 + 1, c0 + 1, k] * fx
                    out[t, y, x, k] = np.uint8(top * (1 - fy) + low * fy + 0.5)
    return out
