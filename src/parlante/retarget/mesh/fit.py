"""Our head pulled onto the user's: non-rigid iterative closest point with a smooth displacement.

Energy per step (in the manner of Amberg, Romdhani & Vetter 2007): squared distances to the planes of the nearest
points, the lips' line and the lids' margins where they were seen, and a thin-plate penalty on the displacement from
the fitted prior, which is lowered from stiff to supple. What cannot be seen (inner mouth, sockets) follows smoothly.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from parlante.geometry.mesh import vertex_normals
from parlante.head import rig
from parlante.retarget.mesh.features import Slit, eye_opening, mouth_slit
from parlante.retarget.mesh.pose import Pose
from parlante.retarget.mesh.prior import FacePrior
from parlante.retarget.mesh.surface import Nearest, Surface

Floats = NDArray[np.float64]
_STIFFNESS = (300.0, 120.0, 50.0, 20.0, 8.0, 4.0, 2.0, 1.0, 0.6)
SEAL_FROM = 0.0008
"""Metres between the lips from which on they are closed while fitting; less is closed by what is seen, see `lips`."""
_PART_OF_LIPS = np.interp(np.arange(16), [0, 2, 5, 9, 13], [0.12, 0.4, 1.0, 1.0, 0.0])


@dataclass(frozen=True, eq=False)
class Registered:
    """Our topology in the shape of the user's face. Canonical metres."""

    neutral: Floats
    """(V, 3) with the lips closed."""
    seal: Floats
    """(V, 3) what closed them: `neutral - seal` lies on the user's surface."""
    anatomy: rig.Anatomy
    mouth: Slit | None
    eyes: tuple[Slit | None, Slit | None]
    residual: float
    """Mean distance (metres) from our face to the user's surface."""
    weight: Floats
    """(V,) how well each vertex of ours is seated, 0 or 1."""


def register(surface: Surface, pose: Pose, prior: FacePrior, loose: NDArray[np.bool_]) -> Registered:
    """Fit our head to `surface` (already canonical). `loose` (F,) marks triangles of small separate parts."""
    topology, layout = prior.head.topology, prior.head.layout
    start = prior.shape(pose.coefficients)
    count = layout.ranges["skin"][1]
    skin_triangles = topology.triangles[(topology.triangles < count).all(1)].astype(np.int64)
    mouth, eyes = _features(surface, start, prior, loose)
    target = Nearest(surface, ~loose)
    smooth = _thin_plate(start[:count], skin_triangles, count)
    followed = _followed(prior, count)
    anchors = _anchors(start, layout, mouth, eyes)
    moved = start[:count].copy()
    weight = np.zeros(count)
    for number, stiffness in enumerate(_STIFFNESS):
        normals = vertex_normals(moved, skin_triangles)
        distance, triangle, share = target(moved, normals, facing=0.35)
        corners = surface.triangles[triangle]
        place = np.einsum("nk,nki->ni", share, surface.vertices[corners])
        plane = np.einsum("nk,nki->ni", share, surface.normals[corners])
        plane /= np.maximum(np.linalg.norm(plane, axis=1, keepdims=True), 1e-9)
        limit = max(0.016 * (1 - number / len(_STIFFNESS)), 0.004)
        weight = followed * (distance < limit)
        moved = _solve(moved, start[:count], smooth * stiffness, weight, place, plane, anchors)
    seated = followed * np.isfinite(distance) * (distance < 0.004)
    core = np.flatnonzero(seated * np.isin(np.arange(count), topology.regions["face"]) > 0.5)
    residual = float(distance[core].mean()) if len(core) else np.inf
    whole, anatomy = _parts(start, moved, prior, pose)
    seal = np.zeros_like(whole)
    if mouth is not None and mouth.gap > SEAL_FROM:
        line = whole[layout.lips[rig.LIP_LINE]]
        gap = layout.across @ line - line
        gap[[0, rig.LIP_CORNER]] = 0
        for row, part in zip(layout.lips, _PART_OF_LIPS, strict=True):
            seal[row] += 0.5 * part * gap
    full = np.zeros(len(whole))
    full[:count] = seated
    return Registered(whole + seal, seal, anatomy, mouth, eyes, residual, full)


def _features(
    surface: Surface, start: Floats, prior: FacePrior, loose: NDArray[np.bool_]
) -> tuple[Slit | None, tuple[Slit | None, Slit | None]]:
    layout, marks = prior.head.layout, prior.head.topology.landmarks
    line = start[layout.lips[rig.LIP_LINE]]
    skin = Surface(surface.vertices, surface.triangles[~loose])
    mouth = mouth_slit(skin, line, (start[marks["mouth_right"]], start[marks["mouth_left"]]))
    eyes = []
    for side in ("left", "right"):
        ends = sorted((start[marks[f"eye_{end}_{side}"]] for end in ("inner", "outer")), key=lambda p: p[0])
        eyes.append(eye_opening(surface, loose, (ends[0], ends[1]), start[marks[f"pupil_{side}"]]))
    return mouth, (eyes[0], eyes[1])


def _anchors(
    start: Floats, layout: rig.HeadLayout, mouth: Slit | None, eyes: tuple[Slit | None, Slit | None]
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Vertices, their places and weights: the lips' line and the lids' margins."""
    index, place, weight = [], [], []
    for ring, slit, upper in (
        (layout.lips[rig.LIP_LINE], mouth, np.arange(1, rig.LIP_CORNER)),
        *((layout.lids[side][rig.LID_MARGIN], eyes[side], np.arange(1, 14)) for side in (0, 1)),
    ):
        if slit is None:
            continue
        x = start[ring][:, 0]
        share = (x - x.min()) / np.ptp(x)
        strength = np.full(len(ring), 4.0)
        ends = slit.upper[[0, -1], 0]
        if slit is not mouth and not 0.85 < np.ptp(ends) / np.ptp(x) < 1.2:
            share = (x - ends[0]) / np.ptp(ends)  # only part of the opening was seen: take each lid as it stands there
            strength[(share < 0.05) | (share > 0.95)] = 0
        above, below = slit.at(share)
        is_upper = np.isin(np.arange(len(ring)), upper)
        index.append(ring)
        place.append(np.where(is_upper[:, None], above, below))
        weight.append(strength)
    if not index:
        return np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0)
    return np.concatenate(index).astype(np.int64), np.concatenate(place), np.concatenate(weight)


def _followed(prior: FacePrior, count: int) -> Floats:
    """(S,) 1 for skin that is seen from outside and looks for its place on the user's mesh."""
    topology, layout = prior.head.topology, prior.head.layout
    follow = np.ones(count)
    follow[np.asarray(topology.regions["inner_mouth"])[np.asarray(topology.regions["inner_mouth"]) < count]] = 0
    follow[layout.lips[rig.LIP_LINE :].ravel()] = 0
    for rings in layout.lids:
        follow[rings[rig.LID_MARGIN :].ravel()] = 0
    ears = np.asarray(topology.regions["ears"])
    follow[ears[ears < count]] *= 0.2
    return follow


def _thin_plate(vertices: Floats, triangles: NDArray[np.int64], count: int) -> Any:
    """(S, S) L^T L of the graph Laplacian with edges weighted by their inverse length, unit diagonal."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = np.unique(np.sort(edges, 1), axis=0)
    length = np.maximum(np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1), 2e-4)
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    graph = sparse.csr_matrix((np.tile(1 / length, 2), (rows, columns)), shape=(count, count))
    degree = np.asarray(graph.sum(1)).ravel()
    laplacian = sparse.eye(count) - sparse.diags(1 / np.maximum(degree, 1e-9)) @ graph
    return (laplacian.T @ laplacian).tocsc()


def _solve(
    moved: Floats,
    start: Floats,
    smooth: Any,
    weight: Floats,
    place: Floats,
    plane: Floats,
    anchors: tuple[NDArray[np.int64], Floats, Floats],
) -> Floats:
    """The displaced vertices (S, 3) of least energy."""
    count = len(moved)
    blocks = weight[:, None, None] * (plane[:, :, None] * plane[:, None, :] + 0.08 * np.eye(3))
    rest = np.einsum("nij,nj->ni", blocks, np.where(weight[:, None] > 0, place - start, 0.0))
    index, goal, strength = anchors
    np.add.at(blocks, index, strength[:, None, None] * np.eye(3))
    np.add.at(rest, index, strength[:, None] * (goal - start[index]))
    blocks += 1e-6 * np.eye(3)
    rows = 3 * np.arange(count)[:, None, None] + np.arange(3)[None, :, None] + np.zeros((1, 1, 3), int)
    columns = rows.transpose(0, 2, 1)
    data = sparse.csc_matrix((blocks.ravel(), (rows.ravel(), columns.ravel())), shape=(3 * count, 3 * count))
    matrix = (data + sparse.kron(smooth, sparse.eye(3))).tocsc()
    shift = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(rest.ravel())
    return np.asarray(start + shift.reshape(-1, 3))


def _parts(start: Floats, moved: Floats, prior: FacePrior, pose: Pose) -> tuple[Floats, rig.Anatomy]:
    """The whole head: eyeballs, teeth and tongue carried along by the skin around them."""
    layout, count = prior.head.layout, len(moved)
    whole = start.copy()
    whole[:count] = moved
    factors = np.concatenate([[1.0], pose.coefficients])
    eyes, hinge = np.tensordot(factors, prior.eyes, 1), factors @ prior.hinge
    for side, word in enumerate(("left", "right")):
        margin = layout.lids[side][rig.LID_MARGIN]
        shift = (moved[margin] - start[margin]).mean(0)
        eyes[side] += shift
        whole[slice(*layout.ranges[f"eyeball_{word}"])] += shift
    lips = layout.lips[rig.LIP_LINE]
    shift = (moved[lips] - start[lips]).mean(0)
    for name in ("teeth_upper", "gum_upper", "teeth_lower", "gum_lower", "tongue"):
        whole[slice(*layout.ranges[name])] += shift
    for side, name in enumerate(("lashes_left", "lashes_right")):
        scale = prior.radius / 0.0138
        whole[slice(*layout.ranges[name])] = rig.lashes(moved, layout, side, scale)
    return whole, rig.Anatomy(eyes, prior.radius, hinge + 0.5 * shift)
