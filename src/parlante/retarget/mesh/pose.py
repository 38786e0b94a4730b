"""Where the face is in a mesh of any scale, axes and pose: a search with the face prior, and the similarity it finds.

From every plausible orientation and size, a few points of the face prior are pulled onto the mesh (iterative closest
point with scale; Besl & McKay 1992, Umeyama 1991); the best starts are refined together with the prior's components.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from parlante.geometry.mesh import vertex_normals
from parlante.retarget.mesh.prior import FacePrior
from parlante.retarget.mesh.surface import Nearest, Surface

Floats = NDArray[np.float64]
_POINTS, _TARGETS = 300, 5000
_REACH = 0.012
_SURE, LEAST_LIKENESS, _PER_METRE = 0.8, 0.4, 100.0
"""Agreement in relief above which the search stops; likeness below which it is no face, and how much of it each metre
of mean distance costs: a ball or the edge of a box has something of a nose, but lies far from any face."""
LEAST_PROMINENCE = 0.3
"""Below it no face either: holes for the eyes alone agree with the sockets of any."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """canonical = scale * rotation @ file + shift; canonical is the embedded head's frame in metres."""

    scale: float
    rotation: Floats
    """(3, 3)"""
    shift: Floats
    """(3,)"""

    def apply(self, points: NDArray[np.floating]) -> Floats:
        """File units (..., 3) -> canonical metres."""
        return np.asarray(self.scale * points @ self.rotation.T + self.shift)

    def after(self, first: "Similarity") -> "Similarity":
        """The similarity that does `first`, then this."""
        return Similarity(self.scale * first.scale, self.rotation @ first.rotation, self.apply(first.shift))

    def undo(self, points: NDArray[np.floating]) -> Floats:
        """Canonical metres (..., 3) -> file units."""
        return np.asarray((points - self.shift) @ self.rotation / self.scale)


@dataclass(frozen=True, eq=False)
class Pose:
    """A face found."""

    similarity: Similarity
    coefficients: Floats
    """(C,) of the face prior."""
    error: float
    """Mean distance (metres, capped at 12 mm, both ways) between prior and mesh in the middle of the face."""
    relief: float
    """Correlation -1..1 of what stands out of the best-fitting smooth dome: nose, lips, brows, sockets."""

    prominence: float
    """How far nose and mouth stand out of the smooth dome that fits them best, as a share of the prior's."""

    @property
    def is_face(self) -> bool:
        """Whether the mesh has a face here."""
        return self.likeness > LEAST_LIKENESS and self.prominence > LEAST_PROMINENCE

    @property
    def likeness(self) -> float:
        """Agreement in relief, less a tenth for each millimetre of mean distance: about 0.9 for people."""
        return self.relief - _PER_METRE * self.error


def umeyama(source: Floats, goal: Floats, weights: Floats | None = None) -> Similarity:
    """The similarity that takes points (N, 3) to (N, 3) with the least squared error."""
    w = np.ones(len(source)) if weights is None else weights
    w = w / w.sum()
    a, b = w @ source, w @ goal
    p, q = source - a, goal - b
    u, s, vt = np.linalg.svd((w[:, None] * q).T @ p)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * flip) @ vt
    scale = float((s * flip).sum() / max((w[:, None] * p * p).sum(), 1e-30))
    return Similarity(scale, rotation, b - scale * rotation @ a)


class PoseSearch:
    """The search of one mesh."""

    def __init__(self, surface: Surface, prior: FacePrior) -> None:
        self._prior = prior
        self._places, self._normals, *_ = surface.samples(_TARGETS)
        self._surface, self._nearest = surface, Nearest(surface)
        self._tree = cKDTree(self._places)
        topology = prior.head.topology
        normals = vertex_normals(prior.mean, topology.triangles)
        hidden = np.concatenate([topology.regions[name] for name in ("inner_mouth", "ears")])
        self._marks = topology.landmarks
        self._skin = np.flatnonzero((topology.triangles < prior.head.layout.ranges["skin"][1]).all(1))
        self.face = _spread(prior.mean, np.setdiff1d(_outer(prior), hidden), _POINTS)
        self._face_normals = normals[self.face]
        self._own = np.setdiff1d(_outer(prior), hidden)
        self._own_normals = normals[self._own]

    def run(self, *, starts: int = 6) -> list[Pose]:
        """The best poses, best first."""
        poses = self._from(_axes(), starts)
        if poses[0].relief < _SURE:
            poses = sorted(poses + self._from(_everywhere(), 2 * starts), key=lambda pose: -pose.likeness)
        return poses

    def _from(self, rotations: Floats, starts: int) -> list[Pose]:
        coarse = [self._coarse(rotation, scale, shift, 8) for rotation, scale, shift in self._starts(rotations)]
        coarse.sort(key=lambda item: item[0])
        best = [s for score, s in coarse[:40] if np.isfinite(score)]
        coarse = [self._coarse(s.rotation.T, 1 / s.scale, -s.rotation.T @ s.shift / s.scale, 12) for s in best]
        coarse.sort(key=lambda item: item[0])
        kept: list[Similarity] = []
        for _, similarity in coarse:
            if all(_apart(similarity, other) for other in kept):
                kept.append(similarity)
            if len(kept) == starts:
                break
        return sorted((self.refine(similarity) for similarity in kept), key=lambda pose: -pose.likeness)

    def _starts(self, rotations: Floats) -> list[tuple[Floats, float, Floats]]:
        """Rotation, scale and shift of the face into the mesh (the inverse of `Similarity`), several sizes each."""
        prior = self._prior
        face = prior.mean[self.face]
        head = prior.mean[_outer(prior)]
        found = []
        for rotation in rotations:
            points = self._places @ rotation.T
            low, high = points.min(0), points.max(0)
            tall = high[1] - low[1]
            for share, part in ((1.0, face), (1.0, head), (0.75, head), (0.55, head), (0.13, head)):
                scale = share * tall / np.ptp(part[:, 1])
                slab = points[points[:, 1] > high[1] - 0.8 * share * tall]
                middle = (slab[:, 0].min() + slab[:, 0].max()) / 2 if share > 0.2 else np.median(slab[:, 0])
                near = slab[np.abs(slab[:, 0] - middle) < 0.05 * scale]
                front = near[:, 2].max() if len(near) else slab[:, 2].max()
                shift = np.array([middle, high[1], front]) - scale * np.array([0.0, part[:, 1].max(), face[:, 2].max()])
                found.append((rotation.T, scale, rotation.T @ shift))
        return found

    def _coarse(self, rotation: Floats, scale: float, shift: Floats, steps: int) -> tuple[float, Similarity]:
        face = self._prior.mean[self.face]
        score = np.inf
        for step in range(steps):
            points = scale * face @ rotation.T + shift
            distance, index = self._tree.query(points)
            agree = np.einsum("ni,ni->n", self._face_normals @ rotation.T, self._normals[index])
            good = agree > 0.1
            if good.sum() < 60:
                return np.inf, Similarity(1 / scale, rotation.T, -rotation.T @ shift / scale)
            limit = np.quantile(distance[good], 0.85)
            weight = np.where(good & (distance <= limit), 1.0, 0.0)
            goal = self._places[index]
            back_places, back_own, back_weight = self._back(rotation, scale, shift, step)
            fit = umeyama(
                np.concatenate([face, back_own]),
                np.concatenate([goal, back_places]),
                np.concatenate([weight, back_weight]),
            )
            rotation, scale, shift = fit.rotation, fit.scale, fit.shift
            cost = np.where(good, np.minimum(distance / scale, _REACH), _REACH)
            score = float(cost.mean() * (1.2 - 0.2 * agree.mean()))
        back = self._uncovered(rotation, scale, shift)
        return score + back, Similarity(1 / scale, rotation.T, -rotation.T @ shift / scale)

    def _inside(self, rotation: Floats, scale: float, shift: Floats) -> tuple[Floats, NDArray[np.int64]]:
        """Samples of the mesh in the model's frame, and which of them lie in the middle of the face."""
        points = (self._places - shift) @ rotation / scale
        face = self._prior.mean[self.face]
        low, high = face.min(0), face.max(0)
        room = (points > low + np.array([0.015, 0.0, 0.03])) & (points < high + np.array([-0.015, 0.0, 0.03]))
        front = (self._normals @ rotation)[:, 2] > 0.2
        return points, np.flatnonzero(room.all(1) & front)

    def _back(self, rotation: Floats, scale: float, shift: Floats, step: int) -> tuple[Floats, Floats, Floats]:
        points, inside = self._inside(rotation, scale, shift)
        if len(inside) < 30 or step < 2:
            return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)
        inside = inside[:: max(1, len(inside) // 300)]
        distance, index = self._model_tree.query(points[inside])
        weight = np.where(distance < max(0.02, float(np.median(distance))), 0.8, 0.0)
        return self._places[inside], self._prior.mean[self._own[index]], weight

    def _uncovered(self, rotation: Floats, scale: float, shift: Floats) -> float:
        points, inside = self._inside(rotation, scale, shift)
        if len(inside) < 30:
            return _REACH
        distance, _ = self._model_tree.query(points[inside])
        return float(np.minimum(distance, _REACH).mean())

    @cached_property
    def _model_tree(self) -> cKDTree:
        return cKDTree(self._prior.mean[self._own])

    def refine(self, similarity: Similarity, *, steps: int = 18) -> Pose:
        """Turn, scale and the prior's components together, by point-to-plane pairs."""
        prior, count = self._prior, len(self._prior.basis)
        coefficients = np.zeros(count)
        basis = prior.basis[:, self.face]
        for step in range(steps):
            face = prior.mean[self.face] + np.tensordot(coefficients, basis, 1)
            places, normals, distance = self._pairs(similarity, face)
            finite = np.isfinite(distance)
            if finite.sum() < 60:
                break
            limit = max(np.quantile(distance[finite], 0.88), 0.002)
            weight = np.where(distance <= limit, 1.0, 0.0)
            if step < 3:
                similarity = umeyama(places, face, weight + 1e-9).after(similarity)
                continue
            # one linear step for the components and the turn, shift and scale of the mesh: point-to-plane, and a
            # little point-to-point against sliding
            start = prior.mean[self.face]
            middle = places.mean(0)
            arm = places - middle
            columns = np.concatenate(
                [
                    basis,
                    -np.stack([np.cross(axis, arm) for axis in np.eye(3)]),
                    -np.repeat(np.eye(3)[:, None], len(arm), 1),
                    -arm[None],
                ]
            )
            rows = np.einsum("cni,ni->nc", columns, normals) * weight[:, None]
            side = np.einsum("ni,ni->n", places - start, normals) * weight
            loose = 0.2 * weight[:, None]
            flat = (columns * loose[None]).transpose(1, 2, 0).reshape(-1, count + 7)
            residual = ((places - start) * loose).ravel()
            ridge = np.full(count + 7, 1e-9)
            ridge[:count] = 0.0012**2 * len(self.face) * 0.4
            found = np.linalg.solve(rows.T @ rows + flat.T @ flat + np.diag(ridge), rows.T @ side + flat.T @ residual)
            coefficients = np.clip(found[:count], -3.0, 3.0)
            turn, shift, grow = found[count : count + 3], found[count + 3 : count + 6], 1 + found[count + 6]
            rotation = Rotation.from_rotvec(np.clip(turn, -0.3, 0.3)).as_matrix()
            grow = float(np.clip(grow, 0.8, 1.25))
            similarity = Similarity(grow, rotation, middle + shift - grow * rotation @ middle).after(similarity)
        return Pose(
            similarity,
            coefficients,
            self.error(similarity, coefficients),
            self.relief(similarity, coefficients),
            self.prominence(similarity, coefficients),
        )

    def relief(self, similarity: Similarity, coefficients: Floats) -> float:
        """See `Pose.relief`; both are looked at from the front, in the box of the middle of the face."""
        middle, half = self._prior.shape(coefficients)[self._marks["nose_tip"]][:2], np.array([0.045, 0.05])
        found = self._standing_out(similarity, coefficients, middle - half, middle + half)
        if found is None:
            return -1.0
        ours, theirs = found
        size_of = [np.linalg.norm(z) for z in found]
        return float(ours @ theirs / max(size_of[0] * size_of[1], 0.25 * size_of[0] ** 2, 1e-20))

    def prominence(self, similarity: Similarity, coefficients: Floats) -> float:
        """See `Pose.prominence`; in the box from the middle of the nose to below the lips, without the eyes."""
        shape = self._prior.shape(coefficients)
        tip, bridge, lip = (shape[self._marks[name]] for name in ("nose_tip", "nose_bridge", "lower_lip_bottom"))
        low = np.array([tip[0] - 0.028, lip[1] - 0.006])
        high = np.array([tip[0] + 0.028, 0.4 * tip[1] + 0.6 * bridge[1]])
        found = self._standing_out(similarity, coefficients, low, high)
        return 0.0 if found is None else float(np.linalg.norm(found[1]) / np.linalg.norm(found[0]))

    def _standing_out(
        self, similarity: Similarity, coefficients: Floats, low: Floats, high: Floats, size: int = 48
    ) -> tuple[Floats, Floats] | None:
        """What stands out of the best-fitting smooth dome, (n,) metres of the prior and of the mesh; none without it.

        low, high (2,): the box that is looked at.
        """
        model = Surface(self._prior.shape(coefficients), self._prior.head.topology.triangles[self._skin])
        mesh = Surface(similarity.apply(self._surface.vertices), self._surface.triangles)
        ours, theirs = (surface.seen(size, low, high)[1] for surface in (model, mesh))
        both = np.isfinite(ours) & np.isfinite(theirs)
        both[both] = np.abs(ours[both] - theirs[both]) < 0.03
        if both.mean() < 0.6:
            return None
        y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        dome = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)[both]
        left, right = (z[both] - dome @ np.linalg.lstsq(dome, z[both], rcond=None)[0] for z in (ours, theirs))
        return left, right

    def _pairs(self, similarity: Similarity, face: Floats) -> tuple[Floats, Floats, Floats]:
        """Nearest places of the mesh, their normals and distances (infinite for none), all canonical."""
        distance, triangle, weights = self._nearest(
            similarity.undo(face), self._face_normals @ similarity.rotation, facing=0.2
        )
        corners = self._surface.triangles[triangle]
        places = np.einsum("nk,nki->ni", weights, self._surface.vertices[corners])
        normals = np.einsum("nk,nki->ni", weights, self._surface.normals[corners])
        return similarity.apply(places), normals @ similarity.rotation.T, distance * similarity.scale

    def error(self, similarity: Similarity, coefficients: Floats) -> float:
        """Mean capped distance (metres) of face to mesh and mesh to face, where both should be."""
        whole = self._prior.shape(coefficients)
        face = whole[self.face]
        there = np.minimum(self._pairs(similarity, face)[2], _REACH).mean()
        points = similarity.apply(self._places)
        low, high = face.min(0), face.max(0)
        room = (points > low + np.array([0.02, 0.0, 0.03])) & (points < high + np.array([-0.02, 0.0, 0.03]))
        inside = room.all(1) & ((self._normals @ similarity.rotation.T)[:, 2] > 0.2)
        if inside.sum() < 30:
            return _REACH
        own = self._prior.head.topology
        back, *_ = Nearest(Surface(whole, own.triangles), np.asarray(np.isin(own.triangles, self._own).all(1)))(
            points[inside]
        )
        return float(there + np.minimum(back, _REACH).mean()) / 2


def _outer(prior: FacePrior) -> NDArray[np.int64]:
    return np.asarray(prior.head.topology.regions["face"], np.int64)


def _spread(points: Floats, candidates: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """`count` of the candidates, each as far as possible from those before it."""
    chosen = [int(candidates[0])]
    distance = np.full(len(candidates), np.inf)
    for _ in range(min(count, len(candidates)) - 1):
        distance = np.minimum(distance, np.linalg.norm(points[candidates] - points[chosen[-1]], axis=1))
        chosen.append(int(candidates[int(distance.argmax())]))
    return np.asarray(chosen, np.int64)


def _axes() -> Floats:
    """The 24 turns that swap axes, from the file's axes to ours."""
    return np.asarray(Rotation.create_group("O").as_matrix())


def _everywhere() -> Floats:
    """The 60 turns of the icosahedron, tilted off the axes."""
    tilt = Rotation.from_rotvec([0.3, 0.2, 0.1])
    return np.asarray((Rotation.create_group("I") * tilt).as_matrix())


def _apart(a: Similarity, b: Similarity) -> bool:
    turn = np.degrees(np.arccos(np.clip((np.trace(a.rotation @ b.rotation.T) - 1) / 2, -1, 1)))
    move = np.linalg.norm(a.undo(np.zeros(3)) - b.undo(np.zeros(3))) * b.scale
    return bool(turn > 15 or abs(np.log(a.scale / b.scale)) > 0.15 or move > 0.02)
