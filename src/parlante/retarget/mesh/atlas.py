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
from parlante.head import load_head
from parlante.retarget.mesh.parts import EYES, LINING, MOUTH, TEXTURE_SHARE
from parlante.retarget.mesh.surface import ball_centre

_PLAIN = (212, 170, 148)
"""sRGB of skin where the user gave no texture."""
_LEAST = 512
_SEEN = np.radians(110.0)
"""As far round as our eyeballs are painted."""


class Baked(NamedTuple):
    """What is drawn and written."""

    topology: Topology
    albedo: NDArray[np.uint8] | None
    wrinkle_table: NDArray[np.float32] | None


def bake_parts(
    topology: Topology,
    own: int,
    albedo: NDArray[np.uint8] | None,
    strip: NDArray[np.uint8] | None,
    table: NDArray[np.float32] | None,
    neutral: NDArray[np.floating] | None = None,
) -> Baked:
    """Bake the user's picture (H, W, 3) and the parts' strip (h, w, 3); without a strip all stays as it is.

    own: how many of the vertices are the user's. table: see `wrinkle_table`; it grows by rows that change nothing.
    neutral (V, 3): needed where eyeballs of the user's have no picture; they then take ours.
    """
    if strip is None:
        return Baked(topology, albedo, table)
    stripped = (topology.triangles >= own).all(1)
    mine = albedo
    if mine is None:
        if neutral is not None:
            topology, looking = _with_own_parts(topology, own, neutral)
            stripped = stripped | looking
        mine = np.full((_LEAST, _LEAST, 3), _PLAIN, np.uint8)
    while min(mine.shape[:2]) < _LEAST:  # each texel as a block of texels: a tiny picture would blur the eyes
        mine = np.repeat(np.repeat(mine, 2, 0), 2, 1)
    height, width = mine.shape[:2]
    low = round(strip.shape[0] * width / strip.shape[1])
    scaled: Any = Image.fromarray(strip).resize((width, low), Image.Resampling.LANCZOS)
    picture = np.concatenate([mine, np.asarray(scaled)])
    corners = np.unique(topology.uv_triangles[stripped])
    ours = np.zeros(len(topology.uv), bool)
    ours[corners] = True
    uv = topology.uv.copy()
    total = height + low
    uv[:, 1] = np.where(ours, uv[:, 1] * low, uv[:, 1] * height + low) / total
    if table is not None:
        more = round(len(table) * low / height)
        table = np.concatenate([table, np.full((more, *table.shape[1:]), np.nan, np.float32)])
    return Baked(replace(topology, uv=uv), picture, table)


def _with_own_parts(topology: Topology, own: int, neutral: NDArray[np.floating]) -> tuple[Topology, NDArray[np.bool_]]:
    """The user's own eyeballs and mouth with corners of their own in the strip; and (F,) their triangles.

    Eyeballs are laid out as ours, as seen from the front: a texel's distance from the middle is the angle from straight
    ahead. Teeth, gums, tongue and lining take one texel of ours each.
    """
    uv, laid = [topology.uv], topology.uv_triangles.copy()
    looking = np.zeros(len(laid), bool)
    for name in EYES:
        inside = _own_triangles(topology, own, name)
        if not inside.any():
            continue
        number = np.unique(topology.triangles[inside])
        middle, per_radian = _iris_layout(name)
        arm = neutral[number] - ball_centre(neutral[number].astype(np.float64))
        across = np.linalg.norm(arm[:, :2], axis=1)
        angle = np.minimum(np.arctan2(across, arm[:, 2]), _SEEN)
        place = middle + per_radian * angle[:, None] * arm[:, :2] / np.maximum(across, 1e-9)[:, None]
        start = sum(map(len, uv))
        laid[inside] = start + np.searchsorted(number, topology.triangles[inside])
        uv.append((place / [1, TEXTURE_SHARE]).astype(np.float32))
        looking |= inside
    for name in (LINING, *MOUTH):
        inside = _own_triangles(topology, own, name)
        if not inside.any():
            continue
        laid[inside] = sum(map(len, uv))
        uv.append((_texel(name)[None] / [1, TEXTURE_SHARE]).astype(np.float32))
        looking |= inside
    return replace(topology, uv=np.concatenate(uv), uv_triangles=laid), looking


def _texel(name: str) -> NDArray[np.float64]:
    """(2,) in our texture: the middle of our lining, the front of our teeth, gums and tongue."""
    head = load_head()
    ours, face = head.topology, head.neutral(head.identity_names[0])
    corner = np.isin(ours.triangles, ours.regions[name]).all(1)
    uv, z = ours.uv[ours.uv_triangles[corner]].reshape(-1, 2), face[ours.triangles[corner], 2].ravel()
    return np.asarray(np.median(uv, axis=0) if name == LINING else uv[z.argmax()], np.float64)


def _own_triangles(topology: Topology, own: int, region: str) -> NDArray[np.bool_]:
    """(F,) triangles of the user's in a region."""
    held = np.zeros(topology.num_vertices, bool)
    if region in topology.regions:
        held[topology.regions[region]] = True
    held[own:] = False
    return np.asarray(held[topology.triangles].all(1))


def _iris_layout(name: str) -> tuple[NDArray[np.float64], float]:
    """Where the middle of our eyeball `name` lies in our texture, and how far from it an angle of one radian lies."""
    head = load_head()
    first, last = head.layout.ranges[name]
    corner = np.zeros(head.topology.num_vertices, np.int64)
    corner[head.topology.triangles] = head.topology.uv_triangles
    uv = head.topology.uv[corner[first:last]].astype(np.float64)
    who = head.identity_names[0]
    arm = head.neutral(who)[first:last] - head.anatomy(who).eyes[EYES.index(name)]
    angle = np.arctan2(np.linalg.norm(arm[:, :2], axis=1), arm[:, 2])
    middle = uv[angle.argmin()]
    apart = np.linalg.norm(uv - middle, axis=1)
    return middle, float((apart @ angle) / (angle @ angle))
