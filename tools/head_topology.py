"""Join skin and parts of the embedded head into one triangle mesh with its texture layout, regions and landmarks."""

from dataclasses import dataclass

import head_parts as parts
import head_uv
import numpy as np
from head_mesh import TONGUE, Base, Skin
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
FACE_BOX = (0.014, 0.172, 0.986, 0.986)  # u0, v0, u1, v1
STRIP = (0.014, 0.150)  # v0, v1 of the strip below it that holds the small islands
LIP_SEAM, LIP_LINE = 9, 7  # lip rings: where the inner mouth's island begins; where the lips touch
LID_MARGIN = 8  # lid ring at the edge of the lid
GROUPS = ("skin", "eyeball_left", "eyeball_right", "teeth_upper", "gum_upper", "teeth_lower", "gum_lower", "tongue")


@dataclass
class Mesh:
    """The whole head. Vertices are grouped: skin, eyeballs, teeth and gums, tongue, lashes."""

    source: NDArray[np.int64]
    """(S,) source vertex of each of the first S vertices (skin)."""
    ranges: dict[str, tuple[int, int]]
    triangles: NDArray[np.int64]
    uv: Array
    uv_triangles: NDArray[np.int64]
    lips: NDArray[np.int64]
    """(rings, 38)"""
    lids: NDArray[np.int64]
    """(2, 15, 28)"""
    islands: dict[str, tuple[int, int]]
    """Range of texture corners of each island."""


def split_quads(quads: NDArray[np.int64], points: Array | None = None) -> NDArray[np.int64]:
    """Two triangles for every quad; with `points`, along the shorter diagonal, so that both sides split alike."""
    if points is not None:
        first = np.linalg.norm(points[quads[:, 0]] - points[quads[:, 2]], axis=1)
        second = np.linalg.norm(points[quads[:, 1]] - points[quads[:, 3]], axis=1)
        quads = np.where((first > second + 1e-6)[:, None], np.roll(quads, 1, axis=1), quads)
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def skin_uv(
    points: Array,
    triangles: NDArray[np.int64],
    lips: NDArray[np.int64],
    lids: NDArray[np.int64],
    bag: NDArray[np.bool_],
) -> tuple[Array, NDArray[np.int64], int]:
    """Texture corners of skin and inner mouth.

    Returns the corners, a triangle of corners for each of `triangles`, and the number of corners on the skin island.
    `bag` (F,) marks the triangles of the inner mouth.
    """
    count = len(points)
    outer = triangles[~bag]
    # Cut from the nape to the crown: faces on the right side get their own copies of the mid-line.
    middle = np.abs(points[:, 0]) < 1e-4
    crown = points[:, 1].max()
    nape = middle & (points[:, 2] < points[middle & (points[:, 1] > crown - 1e-6), 2].max() - 1e-6)
    nape &= points[:, 2] < 0.6
    on_outer = np.zeros(count, bool)
    on_outer[outer] = True
    nape &= on_outer & ((points[:, 1] > 6.9) | (points[:, 2] < 0.2))
    duplicate = np.full(count, -1)
    duplicate[nape] = count + np.arange(nape.sum())
    cut = outer.copy()
    right = points[outer, 0].mean(1) < 0
    cut[right] = np.where(duplicate[outer[right]] >= 0, duplicate[outer[right]], outer[right])
    place = np.concatenate([points, points[nape]])
    used = np.unique(cut)
    number = np.full(len(place), -1)
    number[used] = np.arange(len(used))
    local, where = number[cut], place[used]

    loops = head_uv.boundary_loops(local)
    frame = max(loops, key=len)
    holes = [loop for loop in loops if loop is not frame]
    # The frame runs over neck (bottom) and cut (sides and top): corners at the nape's two copies of the neck edge.
    lowest = np.flatnonzero(nape)[np.argmin(points[nape, 1])]
    left_corner, right_corner = number[lowest], number[duplicate[lowest]]
    start = frame.index(right_corner)
    frame = frame[start:] + frame[:start]
    if frame.index(left_corner) > len(frame) / 2 + 12 or where[frame[1], 1] > where[frame[0], 1] + 0.05:
        frame = frame[:1] + frame[:0:-1]
    split = frame.index(left_corner)
    bottom, rest_of_frame = frame[: split + 1], [*frame[split:], frame[0]]
    u0, v0, u1, v1 = FACE_BOX
    share = head_uv.along(where[bottom])
    bottom_uv = np.stack([u0 + (u1 - u0) * share, np.full(len(share), v0)], axis=1)
    share = head_uv.along(where[rest_of_frame])
    corner = (v1 - v0) / (2 * (v1 - v0) + (u1 - u0))
    knots = np.array([0, corner, 1 - corner, 1])
    nearest = [int(np.argmin(np.abs(share - k))) for k in knots[1:3]]
    share = np.interp(np.arange(len(share)), [0, *nearest, len(share) - 1], knots) * 0.4 + 0.6 * np.interp(
        share, [0, share[nearest[0]], share[nearest[1]], 1], knots
    )
    rest_uv = np.stack([np.interp(share, knots, [u1, u1, u0, u0]), np.interp(share, knots, [v0, v1, v1, v0])], axis=1)
    fixed = np.array([*bottom, *rest_of_frame[1:-1]])
    fixed_uv = np.concatenate([bottom_uv, rest_uv[1:-1]])

    # Close holes with fans, wanted in the shape of an almond.
    def order(ring: NDArray[np.int64]) -> list[int]:
        return [int(number[v]) for v in ring]

    rings = [
        (order(lips[LIP_SEAM]), 0.085, 0.024),
        (order(lids[0][-1]), 0.040, 0.016),
        (order(lids[1][-1]), 0.040, 0.016),
    ]
    if {frozenset(h) for h in holes} != {frozenset(r) for r, _, _ in rings}:
        raise ValueError(f"unexpected holes of sizes {[len(h) for h in holes]}")
    all_triangles, fan_rest, total = [local], [], len(used)
    for ring, half_width, half_height in rings:
        almond = head_uv.lens(len(ring), half_width, half_height)
        (hole,) = [h for h in holes if set(h) == set(ring)]
        following = {a: b for a, b in zip(hole, hole[1:] + hole[:1], strict=True)}
        index = {v: k for k, v in enumerate(ring)}
        for vertex in ring:
            a, b = following[vertex], vertex
            all_triangles.append(np.array([[total, a, b]]))
            fan_rest.append([np.zeros(2), almond[index[a]], almond[index[b]]])
        total += 1
    everything = np.concatenate(all_triangles)
    middle_of = where[local].mean(1)

    def near(centre: tuple[float, float, float], radius: float) -> Array:
        return np.exp(-(((middle_of - np.array(centre)) ** 2).sum(1)) / radius**2)

    front = np.clip((middle_of[:, 2] - 0.6) / 0.7, 0, 1) * np.clip((middle_of[:, 1] - 6.1) / 0.3, 0, 1)
    ears = np.clip((np.abs(middle_of[:, 0]) - 0.70) / 0.06, 0, 1)
    scale = 0.55 + 0.55 * front + 1.3 * near((0, 6.61, 1.5), 0.32) + 0.2 * ears
    scale += 1.3 * (near((0.32, 7.28, 1.4), 0.2) + near((-0.32, 7.28, 1.4), 0.2))
    hidden = np.zeros(count, bool)
    hidden[lids[:, LID_MARGIN + 1 :].ravel()] = True
    scale = np.where(hidden[used[local] % count].any(1) & (used[local] < count).all(1), 0.35 * scale, scale)
    rest = head_uv.rest_shapes(where, local, scale)
    room = (u1 - u0) * (v1 - v0)
    rest *= np.sqrt(room / (0.5 * np.linalg.det(rest)).sum())
    fans = np.array(fan_rest)
    fan_edges = np.stack([fans[:, 1], fans[:, 2]], axis=2)
    flips = np.linalg.det(fan_edges) < 0
    fan_edges[flips, 0] *= -1
    rest = np.concatenate([rest, fan_edges])
    weight = np.concatenate([np.ones(len(local)), np.full(len(fan_edges), 12.0)])
    uv = head_uv.tutte(everything, total, fixed, fixed_uv, rest)
    if head_uv.signed_areas(uv, everything).min() <= 0:
        raise ValueError("Tutte's embedding flipped: check the orientation of the frame")
    mirror = _mirror(where)
    for _ in range(2):
        uv = head_uv.relax(uv, everything, rest, weight, fixed)
        flipped = uv[mirror] * [-1, 1] + [u0 + u1, 0]
        even = uv.copy()
        even[: len(used)] = 0.5 * (uv[: len(used)] + flipped)
        even[len(used) :] = [even[[v for v in ring]].mean(0) for ring, _, _ in rings]
        if head_uv.signed_areas(even, everything).min() > 0:
            uv = even
    uv = uv[: len(used)]
    if head_uv.signed_areas(uv, local).min() <= 0:
        raise ValueError("the texture layout has flipped triangles")

    # Inner mouth: a disc.
    inner = triangles[bag]
    bag_used = np.unique(inner)
    number = np.full(count, -1)
    number[bag_used] = np.arange(len(bag_used))
    bag_local = number[inner]
    rim = [int(number[v]) for v in lips[LIP_SEAM]]
    angle = 2 * np.pi * np.arange(len(rim)) / len(rim)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    circle = circle / (np.abs(circle) ** 4).sum(1, keepdims=True) ** 0.25
    bag_uv = head_uv.tutte(bag_local, len(bag_used), np.array(rim), circle)
    if head_uv.signed_areas(bag_uv, bag_local).mean() < 0:
        bag_uv[:, 0] *= -1
    bag_rest = head_uv.rest_shapes(points[bag_used], bag_local, np.ones(len(bag_local)))
    bag_rest *= np.sqrt(3.5 / (0.5 * np.linalg.det(bag_rest)).sum())
    bag_uv = head_uv.relax(bag_uv, bag_local, bag_rest, np.ones(len(bag_local)), np.array(rim), 60)
    bag_uv = fit(bag_uv, (0.340, STRIP[0], 0.505, STRIP[1]))

    corners = np.concatenate([uv, bag_uv])
    uv_triangles = np.zeros_like(triangles)
    uv_triangles[~bag] = local
    uv_triangles[bag] = bag_local + len(uv)
    return corners, uv_triangles, len(uv)


def _mirror(points: Array) -> NDArray[np.int64]:
    """(n,) number of the point on the other side; points on the cut swap with their copies."""
    _, partner = cKDTree(points).query(points * [-1, 1, 1], k=2)
    own = np.arange(len(points))
    twin = np.abs(points[partner[:, 1]] - points * [-1, 1, 1]).max(1) < 1e-5
    twin &= np.abs(points[:, 0]) < 1e-4
    nearest = partner[:, 0]
    return np.asarray(np.where(twin, np.where(partner[:, 0] == own, partner[:, 1], partner[:, 0]), nearest))


def fit(uv: Array, box: tuple[float, float, float, float], keep_aspect: bool = False) -> Array:
    """Stretch `uv` over `box` (u0, v0, u1, v1)."""
    low, span = uv.min(0), np.ptp(uv, axis=0)
    room = np.array([box[2] - box[0], box[3] - box[1]])
    scale = np.full(2, (room / span).min()) if keep_aspect else room / span
    return np.asarray(np.array(box[:2]) + (uv - low) * scale)


def tongue_part(base: Base) -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
    """Triangles (numbered from the tongue's first vertex), texture corners and their triangles."""
    chosen = ((base.quads >= TONGUE.start) & (base.quads < TONGUE.stop)).all(1)
    quads, corners = base.quads[chosen] - TONGUE.start, base.uv_quads[chosen]
    used, numbered = np.unique(corners, return_inverse=True)
    return split_quads(quads), base.uv[used], split_quads(numbered.reshape(corners.shape))


def assemble(base: Base, skin: Skin) -> Mesh:
    """Build connectivity and texture layout."""
    number = np.full(len(base.vertices), -1)
    number[skin.vertices] = np.arange(len(skin.vertices))
    lips = number[np.array(skin.lip_rings)]
    lids = number[np.array(skin.lid_rings)]
    points = base.vertices[skin.vertices]
    triangles = split_quads(number[skin.quads], points)
    # inner mouth: everything that the seam ring separates from the outside
    neighbours: list[set[int]] = [set() for _ in points]
    for a, b, c in triangles.tolist():
        neighbours[a] |= {b, c}
        neighbours[b] |= {a, c}
        neighbours[c] |= {a, b}
    seam, seen = set(lips[LIP_SEAM].tolist()), set(lips[LIP_SEAM + 1].tolist())
    stack = list(seen)
    while stack:
        for other in neighbours[stack.pop()] - seen - seam:
            seen.add(other)
            stack.append(other)
    inside = np.zeros(len(points), bool)
    inside[list(seen)] = True
    bag = inside[triangles].any(1)
    uv, uv_triangles, skin_corners = skin_uv(points, triangles, lips, lids, bag)

    ranges = {"skin": (0, len(points))}
    islands = {"skin": (0, skin_corners), "inner_mouth": (skin_corners, len(uv))}
    all_triangles, all_uv, all_uv_triangles = [triangles], [uv], [uv_triangles]
    count, corners = len(points), len(uv)

    def add(name: str, size: int, faces: NDArray[np.int64], part_uv: Array, uv_faces: NDArray[np.int64]) -> None:
        nonlocal count, corners
        ranges[name], islands[name] = (count, count + size), (corners, corners + len(part_uv))
        all_triangles.append(faces + count)
        all_uv.append(part_uv)
        all_uv_triangles.append(uv_faces + corners)
        count, corners = count + size, corners + len(part_uv)

    v0, v1 = STRIP
    eye = parts.eyeball()
    for name, u in (("eyeball_left", 0.014), ("eyeball_right", 0.177)):
        add(name, len(eye.points), eye.triangles, fit(eye.uv, (u, v0, u + 0.136, v1)), eye.triangles)
    for name, part, low, high in (
        ("teeth_upper", parts.teeth(parts.UPPER), 0.000, 0.036),
        ("gum_upper", parts.gums(parts.UPPER), 0.043, 0.059),
        ("teeth_lower", parts.teeth(parts.LOWER), 0.077, 0.113),
        ("gum_lower", parts.gums(parts.LOWER), 0.120, 0.136),
    ):
        add(name, len(part.points), part.triangles, fit(part.uv, (0.762, v0 + low, 0.986, v0 + high)), part.triangles)
    tongue, tongue_uv, tongue_faces = tongue_part(base)
    size = TONGUE.stop - TONGUE.start
    add("tongue", size, tongue, fit(tongue_uv, (0.527, v0, 0.635, v1)), tongue_faces)
    roots = parts.lash_roots()
    for side, name in enumerate(("lashes_left", "lashes_right")):
        hairs = len(roots.place)
        faces = np.arange(3 * hairs).reshape(-1, 3)
        hair_uv = np.zeros((hairs, 3, 2))
        for lower in (False, True):
            rows = np.flatnonzero((roots.place > 14) == lower)
            left = 0.657 + 0.083 * np.arange(len(rows)) / len(rows)
            bottom = v0 + 0.038 * (2 * side + lower)
            width = 0.8 * 0.083 / len(rows)
            hair_uv[rows, 0] = np.stack([left, np.full(len(rows), bottom)], axis=1)
            hair_uv[rows, 1] = hair_uv[rows, 0] + [width, 0]
            hair_uv[rows, 2] = hair_uv[rows, 0] + [width / 2, 0.020]
        add(name, 3 * hairs, faces, hair_uv.reshape(-1, 2), faces)
    return Mesh(
        skin.vertices,
        ranges,
        np.concatenate(all_triangles),
        np.concatenate(all_uv),
        np.concatenate(all_uv_triangles),
        lips,
        lids,
        islands,
    )
