"""Where light does not reach: folds of skin (once per head), the open mouth, the eyes under their lids (each frame)."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from parlante.render import shading
from parlante.render.soft import rasterise
from parlante.render.surface import Surface, vertex_normals

MAP = 192
"""Edge of the depth maps, texels."""
DIRECTIONS = 40
LIGHT_DIRECTIONS = 8
LIGHT_RADIUS = 0.35
"""Half width of the key light as seen from the head, as tan of an angle: a soft box."""
MOUTH_GAP = 0.004
"""Metres that the lips count as open even when closed: they are thin and let light through."""
NECK_FADE = 0.014
"""Metres above the cut of the neck over which the picture fades out."""
MOUTH_FLOOR = 0.12
"""Light that reaches everywhere in the mouth: through the cheeks and from wall to wall."""
GLOSS = {"scalp": 0.35, "brows": 0.5, "ears": 0.7, "neck": 0.7, "lips": 2.0}
"""Shine of regions of the skin; 1 elsewhere."""
CORNER, CORNER_GLOSS = 0.006, 0.15
"""Metres about the corners of the mouth over which the lips' shine fades, and what is left: folds finer than the depth
maps, in which a highlight would glint."""
LID_SHADOW = 0.0045
"""Metres below the upper lid over which its shadow fades."""


class Occlusion:
    """Keeps `surface.look` up to date."""

    def __init__(
        self, surface: Surface, neutral: NDArray[np.float32], view: NDArray[np.float64], poses: ArrayLike | None = None
    ) -> None:
        self._surface = surface
        ambient, key = visibility(surface, neutral, view)
        if poses is not None:
            for pose in np.asarray(poses, dtype=np.float32):
                more = visibility(surface, pose, view)
                ambient, key = np.maximum(ambient, more[0]), np.maximum(key, more[1])
        regions = surface.topology.regions
        gloss = np.ones(len(neutral), dtype=np.float32)
        for name, shine in GLOSS.items():
            gloss[np.asarray(regions.get(name, ()), dtype=np.int64)] = shine
        for name in ("mouth_left", "mouth_right"):
            if name in surface.topology.landmarks:
                away = np.linalg.norm(neutral - neutral[surface.topology.landmarks[name]], axis=1)
                gloss *= CORNER_GLOSS + (1 - CORNER_GLOSS) * np.clip(away / CORNER, 0, 1) ** 2
        self._base = np.stack([ambient, key, gloss, neck_fade(surface, neutral)], axis=1)
        surface.look[:] = self._base[surface.corner_vertex]
        used = {name for name in shading.REGION_MATERIAL if name in regions}
        inside = [np.asarray(regions[n]) for n in used if not n.startswith(("eyeball", "lashes"))]
        self._inside = np.unique(np.concatenate(inside)).astype(np.int64) if inside else np.zeros(0, np.int64)
        lips = [n for n in ("upper_lip_inner", "lower_lip_inner") if n in surface.topology.landmarks]
        self._lips = np.array([surface.topology.landmarks[n] for n in lips], dtype=np.int64)
        self._eyes = [_lid(surface, neutral, np.asarray(regions[n])) for n in used if n.startswith("eyeball")]

    def update(self, vertices: NDArray[np.float32]) -> None:
        """Renew what changes as the face moves: mouth and eyes. vertices: (V, 3) metres, without head pose."""
        if not len(self._inside) and not self._eyes:
            return
        look = self._base.copy()
        if len(self._inside) and len(self._lips) == 2:
            open_to_light = _mouth_light(vertices[self._inside], vertices[self._lips])
            look[self._inside, 0] = open_to_light
            look[self._inside, 1] = open_to_light**1.3
        for eye, lid in self._eyes:
            shade = np.zeros(len(eye), dtype=np.float32)
            _lid_shadow(vertices[eye], vertices[lid], shade)
            look[eye, 0] = look[eye, 1] = shade
        self._surface.look[:] = look[self._surface.corner_vertex]


def telling_poses(neutral: ArrayLike, vertices: ArrayLike, count: int = 5) -> NDArray[np.float32]:
    """(K, V, 3) at most `count` of the frames `vertices` (T, V, 3) that between them move most of the face furthest.

    Greedy: each pick is the frame that adds most to the largest displacement per vertex. Made for `sample_poses`.
    """
    frames = np.asarray(vertices, dtype=np.float32)
    moved = np.linalg.norm(frames - np.asarray(neutral, dtype=np.float32), axis=-1)
    reached = np.zeros(moved.shape[1], dtype=np.float32)
    picks: list[int] = []
    for _ in range(min(count, len(frames))):
        gain = np.maximum(moved - reached, 0.0).sum(axis=1)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        picks.append(best)
        reached = np.maximum(reached, moved[best])
    return frames[picks]


def visibility(
    surface: Surface, vertices: NDArray[np.float32], view: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How much of the sky and of the key light each vertex sees: two (V,) arrays, 0..1.

    Depth maps of the head from many directions, each vertex compared with the map: ambient visibility is the mean
    over the directions in front of its normal, weighted by the cosine.
    """
    points = np.ascontiguousarray(vertices @ view[:3, :3].T.astype(np.float32))
    triangles = np.ascontiguousarray(surface.topology.triangles.astype(np.int32))
    normals = np.zeros_like(points)
    vertex_normals(points, triangles, normals)
    # eyes, teeth and lashes must not darken the skin, nor may the mouth bag
    material = np.full(len(triangles), shading.SKIN, dtype=np.int32)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = float(np.linalg.norm(points - centre, axis=1).max())
    ambient, total = np.zeros(len(points)), np.zeros(len(points))
    for direction in _sphere(DIRECTIONS):
        weight = np.maximum(normals @ direction, 0.0)
        ambient += weight * _seen_from(points, normals, triangles, material, direction, centre, radius)
        total += weight
    key = np.zeros(len(points))
    for direction in _cone(np.asarray(shading.KEY), LIGHT_RADIUS, LIGHT_DIRECTIONS):
        key += _seen_from(points, normals, triangles, material, direction, centre, radius) / LIGHT_DIRECTIONS
    return (ambient / np.maximum(total, 1e-6)).astype(np.float32), key.astype(np.float32)


def _seen_from(
    points: Any, normals: Any, triangles: Any, material: Any, direction: Any, centre: Any, radius: float
) -> NDArray[np.float64]:
    """(V,) 1 where nothing lies between the vertex and a far light in `direction`, with a soft step."""
    helper = np.array([0.0, 1.0, 0.0]) if abs(direction[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    right = np.cross(helper, direction)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(direction, right), direction])
    local = (points - centre) @ axes.T
    screen = np.empty((len(points), 3), dtype=np.float32)
    screen[:, 0] = (local[:, 0] / radius * 0.5 + 0.5) * MAP
    screen[:, 1] = (0.5 - local[:, 1] / radius * 0.5) * MAP
    screen[:, 2] = local[:, 2] / radius + 2.0
    depth = np.zeros((MAP, MAP), dtype=np.float32)
    owner = np.zeros((MAP, MAP), dtype=np.int32)
    rasterise(screen, triangles, material, 0, MAP, depth, owner)
    texel = 2.0 / MAP
    slope = np.clip(normals @ direction, 0.1, 1.0)
    bias = texel * (0.6 + 1.2 * np.sqrt(1 - slope**2) / slope)
    x = np.clip(screen[:, 0].astype(np.int64), 0, MAP - 1)
    y = np.clip(screen[:, 1].astype(np.int64), 0, MAP - 1)
    behind = depth[y, x] - screen[:, 2] - bias
    return np.clip(1.0 - behind / (1.5 * texel), 0.0, 1.0)


def _sphere(count: int) -> NDArray[np.float64]:
    """(count, 3) directions spread evenly over the sphere (Fibonacci lattice)."""
    z = 1.0 - (2.0 * np.arange(count) + 1.0) / count
    angle = np.arange(count) * np.pi * (3.0 - np.sqrt(5.0))
    flat = np.sqrt(1.0 - z * z)
    return np.stack([flat * np.cos(angle), z, flat * np.sin(angle)], axis=1)


def _cone(axis: NDArray[np.float64], spread: float, count: int) -> NDArray[np.float64]:
    """(count, 3) unit directions about `axis`, evenly over a disc of radius `spread`."""
    right = np.cross([0.0, 1.0, 0.0], axis)
    right /= np.linalg.norm(right)
    above = np.cross(axis, right)
    radius = spread * np.sqrt((np.arange(count) + 0.5) / count)
    angle = np.arange(count) * np.pi * (3.0 - np.sqrt(5.0))
    fan = axis + radius[:, None] * (np.cos(angle)[:, None] * right + np.sin(angle)[:, None] * above)
    return fan / np.linalg.norm(fan, axis=1, keepdims=True)


def _lid(
    surface: Surface, neutral: NDArray[np.float32], eye: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An eyeball's vertices and those of the upper lid's margin: skin close to the ball, in front and above."""
    ball = neutral[eye]
    centre = (ball.min(axis=0) + ball.max(axis=0)) / 2
    radius = float(np.ptp(ball[:, 0])) / 2
    skin = np.unique(surface.topology.triangles[shading_skin(surface)])
    offset = neutral[skin] - centre
    away = np.linalg.norm(offset, axis=1)
    margin = (away < 1.35 * radius) & (offset[:, 2] > 0.2 * radius) & (offset[:, 1] > 0)
    return eye.astype(np.int64), skin[margin].astype(np.int64)


def shading_skin(surface: Surface) -> NDArray[np.int64]:
    """Numbers of the triangles of `surface.topology` that are skin."""
    from parlante.render.surface import triangle_materials

    return np.flatnonzero(triangle_materials(surface.topology) == shading.SKIN)


def _mouth_light(inside: NDArray[np.float32], lips: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K,) share of the light that comes through a slit of the height of the open mouth to points (K, 3) behind it.

    lips: (2, 3) middle of the upper and the lower lip. View factor of a long slit h seen from depth d: h / sqrt(h^2 +
    (2 d)^2); the depth is taken behind the line between the lips.
    """
    upper, lower = lips
    gap = max(float(upper[1] - lower[1]), 0.0) + MOUTH_GAP
    along = np.clip((inside[:, 1] - lower[1]) / gap, 0.0, 1.0)
    depth = np.maximum(lower[2] + along * (upper[2] - lower[2]) - inside[:, 2], 0.0)
    return np.maximum(gap / np.sqrt(gap * gap + 4.0 * depth * depth), MOUTH_FLOOR).astype(np.float32)


def neck_fade(surface: Surface, neutral: NDArray[np.float32]) -> NDArray[np.float32]:
    """(V,) coverage: 0 where the neck (or bust) is cut off, rising to 1 a little above, 1 everywhere else."""
    corners = surface.topology.triangles
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), axis=1)
    distinct, count = np.unique(edges, axis=0, return_counts=True)
    rim = _lowest_loop(distinct[count == 1], neutral)
    low, high = neutral[:, 1].min(), neutral[:, 1].max()
    rim = rim[neutral[rim, 1] < low + 0.2 * (high - low)]
    if not len(rim):
        return np.ones(len(neutral), dtype=np.float32)
    from scipy.spatial import cKDTree

    far, _ = cKDTree(neutral[rim]).query(neutral)
    share = np.clip(far / NECK_FADE, 0.0, 1.0)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def _lowest_loop(edges: NDArray[np.integer], neutral: NDArray[np.float32]) -> NDArray[np.integer]:
    """Vertices of the open edges (E, 2) that hang together with the lowest of them: not those around mouth and eyes."""
    if not len(edges):
        return np.zeros(0, np.int64)
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(edges), dtype=np.int8)
    graph = coo_matrix((ones, (edges[:, 0], edges[:, 1])), shape=(len(neutral),) * 2)
    _, part = connected_components(graph, directed=False)
    rim = np.unique(edges)
    return rim[part[rim] == part[rim[neutral[rim, 1].argmin()]]]


@njit(cache=True)
def _lid_shadow(eye: Any, lid: Any, shade: Any) -> None:
    """Fill `shade` (E,) with 0.35 under the upper lid rising to 1 well below it."""
    for i in range(len(eye)):
        near = np.float32(1e9)
        for j in range(len(lid)):
            dx, dy, dz = eye[i, 0] - lid[j, 0], eye[i, 1] - lid[j, 1], eye[i, 2] - lid[j, 2]
            near = min(near, dx * dx + dy * dy + dz * dz)
        t = min(np.sqrt(near) / np.float32(LID_SHADOW), np.float32(1.0))
        shade[i] = np.float32(0.35) + np.float32(0.65) * t * t * (np.float32(3.0) - np.float32(2.0) * t)
