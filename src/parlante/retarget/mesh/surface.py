"""A triangle surface to ask for: evenly spread samples, nearest points, what is seen from the front."""

from functools import cached_property
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from parlante.core import InputError
from parlante.geometry.mesh import vertex_normals

Floats = NDArray[np.float64]


class Surface:
    """Vertices (V, 3) and triangles (F, 3), with the questions that registration asks."""

    def __init__(self, vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> None:
        self.vertices: Floats = np.asarray(vertices, np.float64)
        self.triangles: NDArray[np.int64] = np.asarray(triangles, np.int64)

    @cached_property
    def normals(self) -> Floats:
        """(V, 3) unit vertex normals, area-weighted."""
        return vertex_normals(self.vertices, self.triangles)

    @cached_property
    def areas(self) -> Floats:
        """(F,)"""
        a, b, c = (self.vertices[self.triangles[:, k]] for k in range(3))
        return np.asarray(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1))

    def samples(self, count: int, seed: int = 0) -> tuple[Floats, Floats, NDArray[np.int64], Floats]:
        """`count` points spread evenly over the surface: places (N, 3), normals (N, 3), triangle and weights (N, 3)."""
        rng = np.random.default_rng(seed)
        total = np.cumsum(self.areas)
        if not total.size or total[-1] <= 0:
            raise InputError("the mesh has no surface: all of its triangles are flat; export it again")
        where = (np.arange(count) + rng.random(count)) * (total[-1] / count)
        triangle = np.minimum(np.searchsorted(total, where), len(total) - 1)
        u, v = np.sqrt(rng.random(count)), rng.random(count)
        weights = np.stack([1 - u, u * (1 - v), u * v], 1)
        corners = self.triangles[triangle]
        places = np.einsum("nk,nki->ni", weights, self.vertices[corners])
        normals = np.einsum("nk,nki->ni", weights, self.normals[corners])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        return places, normals, triangle, weights

    def seen(self, size: int, low: Floats, high: Floats) -> tuple[NDArray[np.int32], Floats]:
        """Looking along -z at the box low..high (2,) of x and y: triangle (size, size), -1 for none, and its z.

        Row 0 is the highest y.
        """
        return _draw(self.vertices, self.triangles, size, float(low[0]), float(high[0]), float(low[1]), float(high[1]))


class Nearest:
    """Nearest points of a surface, exact on the triangles around the nearest samples."""

    def __init__(self, surface: Surface, allowed: NDArray[np.bool_] | None = None) -> None:
        """`allowed` (F,): triangles that may be answered; all if absent."""
        self.surface = surface
        chosen = np.arange(len(surface.triangles)) if allowed is None else np.flatnonzero(allowed)
        self._chosen = chosen
        corners = surface.vertices[surface.triangles[chosen]]
        self._centres = cKDTree(corners.mean(1))
        self._corners = np.ascontiguousarray(corners)
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        self._normals = normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)

    def __call__(
        self, points: Floats, normals: Floats | None = None, *, tried: int = 12, facing: float = 0.2
    ) -> tuple[Floats, NDArray[np.int64], Floats]:
        """Distance (N,), triangle (N,) and weights (N, 3) of the nearest point, of triangles whose normal's cosine with
        `normals` (N, 3) is at least `facing`; distance infinite where none of those tried does."""
        tried = min(tried, len(self._chosen))
        _, index = self._centres.query(points, k=tried)
        index = np.asarray(index).reshape(len(points), tried)
        unit = np.zeros((0, 3)) if normals is None else np.ascontiguousarray(normals, np.float64)
        distance, best, weights = _closest(
            np.ascontiguousarray(points, np.float64), index, self._corners, self._normals, unit, facing
        )
        return distance, self._chosen[best], weights


def ball_centre(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) of the sphere through points (N, 3): an eyeball may end behind the lids, and a cornea stands out of it."""
    kept = np.ones(len(points), bool)
    for _ in range(4):
        middle = points[kept].mean(0)
        arm = points[kept] - middle
        rows = np.concatenate([2 * arm, np.full((len(arm), 1), 0.01)], 1)
        middle = middle + np.linalg.lstsq(rows, (arm**2).sum(1), rcond=1e-3)[0][:3]
        length = np.linalg.norm(points - middle, axis=1)
        kept = length < 1.01 * np.median(length)
    return np.asarray(middle)


@njit(cache=True)
def _closest(
    points: Any, index: Any, corners: Any, directions: Any, normals: Any, facing: float
) -> Any:  # pragma: no cover
    count = len(points)
    distance = np.full(count, np.inf)
    best = np.zeros(count, np.int64)
    weights = np.zeros((count, 3))
    for n in range(count):
        p = points[n]
        for k in range(index.shape[1]):
            f = index[n, k]
            if len(normals):
                cosine = (
                    normals[n, 0] * directions[f, 0]
                    + normals[n, 1] * directions[f, 1]
                    + normals[n, 2] * directions[f, 2]
                )
                if cosine < facing:
                    continue
            u, v, w = _on_triangle(p, corners[f, 0], corners[f, 1], corners[f, 2])
            d = 0.0
            for i in range(3):
                d += (u * corners[f, 0, i] + v * corners[f, 1, i] + w * corners[f, 2, i] - p[i]) ** 2
            if d < distance[n]:
                distance[n], best[n] = d, f
                weights[n, 0], weights[n, 1], weights[n, 2] = u, v, w
        distance[n] = np.sqrt(distance[n])
    return distance, best, weights


@njit(cache=True)
def _on_triangle(p: Any, a: Any, b: Any, c: Any) -> Any:  # pragma: no cover
    """Weights of the point of triangle a, b, c nearest to p (Ericson, Real-Time Collision Detection, 5.1.5)."""
    ab, ac, ap = b - a, c - a, p - a
    d1, d2 = np.dot(ab, ap), np.dot(ac, ap)
    if d1 <= 0 and d2 <= 0:
        return 1.0, 0.0, 0.0
    bp = p - b
    d3, d4 = np.dot(ab, bp), np.dot(ac, bp)
    if d3 >= 0 and d4 <= d3:
        return 0.0, 1.0, 0.0
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        v = d1 / max(d1 - d3, 1e-30)
        return 1.0 - v, v, 0.0
    cp = p - c
    d5, d6 = np.dot(ab, cp), np.dot(ac, cp)
    if d6 >= 0 and d5 <= d6:
        return 0.0, 0.0, 1.0
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        w = d2 / max(d2 - d6, 1e-30)
        return 1.0 - w, 0.0, w
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        w = (d4 - d3) / max((d4 - d3) + (d5 - d6), 1e-30)
        return 0.0, 1.0 - w, w
    total = va + vb + vc
    if abs(total) < 1e-30:
        return 1.0, 0.0, 0.0
    return va / total, vb / total, vc / total


@njit(cache=True)
def _draw(
    vertices: Any, triangles: Any, size: int, x0: float, x1: float, y0: float, y1: float
) -> Any:  # pragma: no cover
    owner = np.full((size, size), -1, np.int32)
    depth = np.full((size, size), -np.inf)
    for f in range(len(triangles)):
        a, b, c = vertices[triangles[f, 0]], vertices[triangles[f, 1]], vertices[triangles[f, 2]]
        ax, ay = (a[0] - x0) / (x1 - x0) * size - 0.5, (y1 - a[1]) / (y1 - y0) * size - 0.5
        bx, by = (b[0] - x0) / (x1 - x0) * size - 0.5, (y1 - b[1]) / (y1 - y0) * size - 0.5
        cx, cy = (c[0] - x0) / (x1 - x0) * size - 0.5, (y1 - c[1]) / (y1 - y0) * size - 0.5
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-12:
            continue
        left, right = max(int(np.ceil(min(ax, bx, cx))), 0), min(int(np.floor(max(ax, bx, cx))), size - 1)
        top, bottom = max(int(np.ceil(min(ay, by, cy))), 0), min(int(np.floor(max(ay, by, cy))), size - 1)
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                v = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                w = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                u = 1.0 - v - w
                if u < -1e-9 or v < -1e-9 or w < -1e-9:
                    continue
                z = u * a[2] + v * b[2] + w * c[2]
                if z > depth[y, x]:
                    depth[y, x], owner[y, x] = z, f
    return owner, depth
