"""One picture for a mesh and the parts added to it: the user's above, untouched, the parts' strip below.

Exporters and the renderer know one texture a mesh. Only while parts are shown do the user's v coordinates shrink
towards the top of the picture; what is stored, and what is shown without parts, is the user's own layout.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parlante.core import Topology

_PLAIN = (212, 170, 148)
"""sRGB of skin where the user gave no texture."""
_LEAST = 512


class Dressed(NamedTuple):
    """What is drawn and written."""

    topology: Topology
    albedo: NDArray[np.uint8] | None
    wrinkle_table: NDArray[np.float32] | None


def dress(
    topology: Topology,
    own: int,
    albedo: NDArray[np.uint8] | None,
    strip: NDArray[np.uint8] | None,
    table: NDArray[np.float32] | None,
) -> Dressed:
    """Join the user's picture (H, W, 3) and the parts' strip (h, w, 3); without a strip all stays as it is.

    own: how many of the vertices are the user's. table: see `wrinkle_table`; it grows by rows that change nothing.
    """
    if strip is None:
        return Dressed(topology, albedo, table)
    mine = albedo
    if mine is None:
        mine = np.full((_LEAST, _LEAST, 3), _PLAIN, np.uint8)
    while min(mine.shape[:2]) < _LEAST:  # each texel as a block of texels: a tiny picture would blur the eyes
        mine = np.repeat(np.repeat(mine, 2, 0), 2, 1)
    height, width = mine.shape[:2]
    low = round(strip.shape[0] * width / strip.shape[1])
    scaled: Any = Image.fromarray(strip).resize((width, low), Image.Resampling.LANCZOS)
    picture = np.concatenate([mine, np.asarray(scaled)])
    corners = np.unique(topology.uv_triangles[(topology.triangles >= own).all(1)])
    ours = np.zeros(len(topology.uv), bool)
    ours[corners] = True
    uv = topology.uv.copy()
    total = height + low
    uv[:, 1] = np.where(ours, uv[:, 1] * low, uv[:, 1] * height + low) / total
    if table is not None:
        more = round(len(table) * low / height)
        table = np.concatenate([table, np.full((more, *table.shape[1:]), np.nan, np.float32)])
    return Dressed(replace(topology, uv=uv), picture, table)
