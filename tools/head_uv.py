"""Texture layout of the embedded head: a bijective map of the skin onto a rectangle, small parts packed below it.

The skin is cut along the mid-line from the nape to the crown. The cut and the neck edge are pinned to a rectangle, the
inside starts from Tutte's embedding (convex boundary: nothing can flip) and descends the symmetric Dirichlet energy
(Smith and Schaefer 2015), whose barrier keeps it free of flips. Rest triangles are enlarged around mouth and eyes, so
that these get more texels, and holes are filled with triangles of the wanted opening, so that slits stay open.
"""

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

Array = NDArray[np.float64]


def boundary_loops(triangles: NDArray[np.int64]) -> list[list[int]]:
    """Closed loops of the edges that belong to one triangle, each in the direction of its triangles."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    present = {(int(a), int(b)) for a, b in edges}
    follow = {a: b for a, b in present if (b, a) not in present}
    loops = []
    while follow:
        start, current = follow.popitem()
        loop = [start]
        while current != start:
            loop.append(current)
            current = follow.pop(current)
        loops.append(loop)
    return loops


def tutte(
    triangles: NDArray[np.int64],
    count: int,
    fixed: NDArray[np.int64],
    positions: Array,
    rest: Array | None = None,
    rounds: int = 8,
) -> Array:
    """(count, 2) barycentric embedding with the `fixed` vertices at `positions`.

    With `rest` (F, 2, 2) the weights of edges that come out longer than at rest grow, and of shorter ones shrink, in
    `rounds` rounds: all weights stay positive, so nothing flips, and lengths come nearer to those wanted.
    """
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges, inverse = np.unique(np.sort(pairs, axis=1), axis=0, return_inverse=True)
    weights = np.ones(len(edges))
    if rest is not None:
        first, second = rest[:, :, 0], rest[:, :, 1]
        lengths = np.concatenate([np.linalg.norm(e, axis=1) for e in (first, second - first, second)])
        wanted = np.bincount(inverse.ravel(), lengths) / np.bincount(inverse.ravel())
    free = np.setdiff1d(np.arange(count), fixed)
    for _ in range(1 if rest is None else rounds):
        adjacency = sp.coo_matrix((weights, (edges[:, 0], edges[:, 1])), (count, count))
        adjacency = (adjacency + adjacency.T).tocsr()
        laplacian = (sp.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency).tocsr()
        uv = np.zeros((count, 2))
        uv[fixed] = positions
        system = splu(laplacian[free][:, free].tocsc())
        right = -laplacian[free][:, fixed] @ positions
        uv[free] = np.stack([system.solve(right[:, k]) for k in (0, 1)], axis=1)
        if rest is not None:
            got = np.linalg.norm(uv[edges[:, 0]] - uv[edges[:, 1]], axis=1)
            weights *= np.clip(got / wanted, 0.2, 5) ** 0.6
            weights = np.clip(weights / np.median(weights), 0.02, 50.0)
    return uv


def rest_shapes(points: Array, triangles: NDArray[np.int64], scale: Array) -> Array:
    """(F, 2, 2) edge matrices of triangles laid flat, each enlarged by its `scale` (F,)."""
    first, second = (points[triangles[:, k]] - points[triangles[:, 0]] for k in (1, 2))
    length = np.maximum(np.linalg.norm(first, axis=1), 1e-9)
    along = (first * second).sum(1) / length
    across = np.maximum(np.linalg.norm(np.cross(first, second), axis=1) / length, 0.08 * length)
    rest = np.zeros((len(triangles), 2, 2))
    rest[:, 0, 0], rest[:, 0, 1], rest[:, 1, 1] = length, along, across
    return rest * scale[:, None, None]


def relax(uv: Array, triangles: NDArray[np.int64], rest: Array, weight: Array, fixed: Array, steps: int = 150) -> Array:
    """Descend the symmetric Dirichlet energy from a flip-free start (SLIM, Rabinovich et al. 2017); nothing flips."""
    count = len(uv)
    inverse = np.linalg.inv(rest)
    area = 0.5 * np.linalg.det(rest) * weight
    difference = np.array([[-1.0, 1.0, 0.0], [-1.0, 0.0, 1.0]])  # corner values -> edge vectors
    gradient_rows = np.einsum("kc,fkj->fjc", difference, inverse)  # (F, 2, 3): corner values -> derivative in rest axes
    stiffness = np.einsum("f,fjc,fjd->fcd", area, gradient_rows, gradient_rows)
    free = np.setdiff1d(np.arange(count), fixed)
    unknown = np.concatenate([free, free + count])
    known = np.concatenate([fixed, fixed + count])
    places = np.concatenate([triangles, triangles + count], axis=1)  # (F, 6): u of three corners, then v
    rows, columns = np.repeat(places, 6, axis=1).ravel(), np.tile(places, (1, 6)).ravel()

    def energy(x: Array) -> tuple[float, Array]:
        jacobian = np.einsum("fjc,fca->faj", gradient_rows, x[triangles])
        if np.linalg.det(jacobian).min() <= 0:
            return np.inf, jacobian
        inv = np.linalg.inv(jacobian)
        return float((area * ((jacobian**2).sum((1, 2)) + (inv**2).sum((1, 2)))).sum()), jacobian

    x = uv.copy()
    value, jacobian = energy(x)
    if not np.isfinite(value):
        raise ValueError("the starting layout has flipped triangles")
    for _ in range(steps):
        left, stretch, right = np.linalg.svd(jacobian)
        pull = np.where(np.abs(stretch - 1) < 1e-6, 4.0, (stretch - stretch**-3) / (stretch - 1 + 1e-12))
        square = np.einsum("fak,fk,fbk->fab", left, pull, left)
        local = np.einsum("fab,fcd->facbd", square, stiffness).reshape(len(triangles), 36)
        matrix = sp.coo_matrix((local.ravel(), (rows, columns)), (2 * count, 2 * count)).tocsr()
        aim = np.einsum("f,fab,fbj,fjc->fac", area, square, left @ right, gradient_rows)
        target = np.bincount(places.ravel(), aim.reshape(-1), 2 * count)
        flat = x.T.ravel()
        system = matrix[unknown][:, unknown].tocsc() + 1e-7 * sp.identity(len(unknown), format="csc")
        moved = splu(system).solve(target[unknown] - matrix[unknown][:, known] @ flat[known] + 1e-7 * flat[unknown])
        d = x[free] - moved.reshape(2, -1).T
        step = min(1.0, 0.9 * _longest_step(x, d, free, triangles))
        while step > 1e-9:
            trial = x.copy()
            trial[free] -= step * d
            trial_value, trial_jacobian = energy(trial)
            if trial_value < value:
                break
            step *= 0.5
        else:
            break
        done = step > 0.1 and value - trial_value < 1e-5 * value
        x, value, jacobian = trial, trial_value, trial_jacobian
        if done:
            break
    return x


def _longest_step(x: Array, d: Array, free: NDArray[np.int64], triangles: NDArray[np.int64]) -> float:
    """How far one can go along -d before the first triangle degenerates."""
    move = np.zeros_like(x)
    move[free] = -d
    p, q = (x[triangles[:, k]] - x[triangles[:, 0]] for k in (1, 2))
    dp, dq = (move[triangles[:, k]] - move[triangles[:, 0]] for k in (1, 2))

    def cross(a: Array, b: Array) -> Array:
        return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])

    c, b, a = cross(p, q), cross(p, dq) + cross(dp, q), cross(dp, dq)
    a = np.where(np.abs(a) < 1e-18, 1e-18, a)
    root = np.sqrt(np.maximum(b * b - 4 * a * c, 0))
    times = np.stack([(-b - root) / (2 * a), (-b + root) / (2 * a)])
    times = np.where((times > 0) & (b * b - 4 * a * c >= 0), times, np.inf)
    return float(times.min())


def signed_areas(uv: Array, triangles: NDArray[np.int64]) -> Array:
    """(F,) twice the area of each texture triangle, negative where flipped."""
    a, b = (uv[triangles[:, k]] - uv[triangles[:, 0]] for k in (1, 2))
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])


def lens(count: int, half_width: float, half_height: float) -> Array:
    """(count, 2) points around an almond, starting at its positive x corner, counter-clockwise, evenly along x."""
    angle = 2 * np.pi * np.arange(count) / count
    x = np.cos(angle)
    tent = 1 - 2 * np.abs((angle / np.pi) % 1 - 0.5)
    x = np.where(angle <= np.pi, 1 - 2 * angle / np.pi, -3 + 2 * angle / np.pi)
    return np.stack([half_width * x, half_height * np.sign(np.sin(angle)) * np.sqrt(np.clip(tent, 0, 1))], axis=1)


def along(points: Array) -> Array:
    """(n,) share of the length of an open polyline at each of its points, 0..1."""
    steps = np.concatenate([[0.0], np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()])
    return np.asarray(steps / steps[-1])
