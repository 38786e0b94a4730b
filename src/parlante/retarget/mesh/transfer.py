"""Shapes from a person of ours to the registered head (same topology), and motion from it to the user's topology."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu

from parlante.head import rig
from parlante.head.arkit import INDEX
from parlante.retarget.mesh.fit import Registered
from parlante.retarget.mesh.prior import FacePrior
from parlante.retarget.mesh.surface import Surface

Floats = NDArray[np.float64]
_EVEN = 0.0012


def carry_shapes(prior: FacePrior, person: str, registered: Registered) -> NDArray[np.float32]:
    """(52, V, 3) shapes of `person`, made for the registered head.

    The skin follows deformation transfer (Sumner & Popovic 2004, with displacement gradients in the tangent planes, a
    screened Poisson solve); then lips and lids are finished as for any embedded person, so that they meet.
    """
    head, layout = prior.head, prior.head.layout
    count = layout.ranges["skin"][1]
    source = head.neutral(person).astype(np.float64)
    shapes = head.shapes(person).astype(np.float64)
    triangles = head.topology.triangles[(head.topology.triangles < count).all(1)].astype(np.int64)
    ours, _ = _gradient(source[:count], triangles)
    theirs, goal_area = _gradient(registered.neutral[:count], triangles)
    mass = sparse.diags(np.bincount(triangles.ravel(), np.repeat(goal_area / 3, 3), count))
    weight = sparse.diags(np.repeat(goal_area, 3))
    screen = 4.0 / 0.02**2  # beyond about a centimetre the person's own displacement decides
    factor = splu((theirs.T @ weight @ theirs + screen * 0.05 * mass + 1e-12 * sparse.eye(count)).tocsc())
    moved = shapes.copy()
    for number, shape in enumerate(shapes):
        skin = shape[:count]
        rest = theirs.T @ (weight @ (ours @ skin)) + screen * 0.05 * (mass @ skin)
        moved[number, :count] = np.where(np.abs(skin).max(1, keepdims=True) > 0, factor.solve(rest), 0.0)
    return rig.finish(registered.neutral, moved, _jaw_angle(source, shapes, layout), registered.anatomy, layout)


def _gradient(vertices: Floats, triangles: NDArray[np.int64]) -> tuple[Any, Floats]:
    """(3F, V) sparse gradient of a function on the vertices, and areas (F,)."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    double = np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    unit = normal / double
    parts = [np.cross(unit, edge) / np.maximum(double, 1e-9) for edge in (c - b, a - c, b - a)]
    rows = 3 * np.arange(len(triangles))[:, None] + np.arange(3)
    data = np.concatenate([part.ravel() for part in parts])
    columns = np.concatenate([np.repeat(triangles[:, k], 3) for k in range(3)])
    matrix = sparse.csr_matrix((data, (np.tile(rows.ravel(), 3), columns)), shape=(3 * len(triangles), len(vertices)))
    return matrix, 0.5 * double[:, 0]


def _jaw_angle(neutral: Floats, shapes: Floats, layout: rig.HeadLayout) -> float:
    """Radians that the lower teeth of a person turn about x at jawOpen = 1."""
    teeth = slice(*layout.ranges["teeth_lower"])
    rest, opened = neutral[teeth], neutral[teeth] + shapes[INDEX["jawOpen"], teeth]
    p, q = rest - rest.mean(0), opened - opened.mean(0)
    return float(np.arctan2((p[:, 1] * q[:, 2] - p[:, 2] * q[:, 1]).sum(), (p[:, 1:] * q[:, 1:]).sum()))


class Carrier:
    """A linear map of displacements: ours (V, 3) -> the user's (U, 3).

    known (K,): the user's vertices that follow a place on our skin, the mix `weights` (K, 3) of our vertices `index`
    (K, 3). free (R,): those that follow their neighbours (inside of the mouth, sockets, edges) by a harmonic solve,
    factorised once. All others stay. smoothing: so often each takes half of the mean of its neighbours; a mesh finer
    than ours would show the creases between our triangles.
    """

    def __init__(
        self,
        known: NDArray[np.int64],
        index: NDArray[np.int64],
        weights: Floats,
        free: NDArray[np.int64],
        surface: Surface,
        smoothing: int = 0,
    ) -> None:
        self.known, self.index, self.weights, self.free = known, index, weights, free
        self.smoothing = smoothing
        self._surface = surface

    @property
    def places(self) -> int:
        """U: how many vertices the user's mesh has."""
        return len(self._surface.vertices)

    @cached_property
    def _harmonic(self) -> Any:
        return harmonic(self._surface, self.known, self.free)

    def __call__(self, motion: NDArray[np.floating]) -> NDArray[np.float32]:
        """(T, V, 3) displacements of our head -> (T, U, 3) of the user's mesh. Canonical metres."""
        out = np.zeros((len(motion), self.places, 3), np.float32)
        for number, frame in enumerate(np.asarray(motion, np.float64)):
            known = np.einsum("nk,nki->ni", self.weights, frame[self.index])
            out[number, self.known] = known
            if len(self.free) and np.any(known):
                factor, inflow = self._harmonic
                out[number, self.free] = factor.solve(np.ascontiguousarray(inflow @ known))
            if self.smoothing and np.any(known):
                for _ in range(self.smoothing):
                    out[number, self._moved] = self._mean @ out[number, self._moved]
        return out

    @cached_property
    def _moved(self) -> NDArray[np.int64]:
        return np.union1d(self.known, self.free)

    @cached_property
    def _mean(self) -> Any:
        """(moved, moved) half itself, half its neighbours."""
        graph = graph_of(self._surface)[self._moved][:, self._moved]
        degree = np.asarray(graph.sum(1)).ravel()
        mixed = sparse.diags(0.5 / np.maximum(degree, 1e-9)) @ graph + sparse.diags(np.where(degree > 0, 0.5, 1.0))
        return mixed.astype(np.float32).tocsr()


def smoothing_of(surface: Surface, where: NDArray[np.bool_]) -> int:
    """Rounds that even a displacement out over about a millimetre on the part `where` (U,) of a mesh."""
    corners = surface.triangles[where[surface.triangles].all(1)]
    if not len(corners):
        return 0
    edge = np.linalg.norm(surface.vertices[corners[:, 0]] - surface.vertices[corners[:, 1]], axis=1)
    return int(min(2 * (_EVEN / max(float(np.median(edge)), 1e-5)) ** 2, 12))


def graph_of(surface: Surface) -> Any:
    """(U, U) edges weighted by their inverse length."""
    count, t = len(surface.vertices), surface.triangles
    edges = np.unique(np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), 1), axis=0)
    edges = edges[edges[:, 0] != edges[:, 1]]
    length = np.linalg.norm(surface.vertices[edges[:, 0]] - surface.vertices[edges[:, 1]], axis=1)
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    return sparse.csr_matrix((np.tile(1 / np.maximum(length, 1e-5), 2), (rows, columns)), shape=(count, count))


def harmonic(surface: Surface, known: NDArray[np.int64], free: NDArray[np.int64]) -> tuple[Any, Any]:
    """Factorised Laplacian of the free vertices, and (free, known) how the known ones flow in."""
    graph = graph_of(surface)
    laplacian = (sparse.diags(np.asarray(graph.sum(1)).ravel()) - graph).tocsr()[free]
    factor = splu(laplacian[:, free].tocsc(), permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    return factor, (-laplacian[:, known]).tocsr()
