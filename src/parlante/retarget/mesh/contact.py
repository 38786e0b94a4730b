"""Lips that meet in our head, brought together in a character's after the shapes are mixed.

Each shape closes the lips of the user's mesh by itself (`lips`). Their sum need not: what is open between two bulging
lips is a concave function of the weights, shapes that open and shapes that close differ in size between two faces, and
what no weight explains is carried over in millimetres.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage, sparse

from parlante.head import load_head, rig
from parlante.retarget.mesh.character import Character
from parlante.retarget.mesh.lips import DEEP, PARTS_OF_LIPS, line_between

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
_PLACES = 48
_SHARES = (np.arange(_PLACES) + 0.5) / _PLACES
_SHUT = (0.0003, 0.0025)
"""Metres that our lips are apart at the widest place: up to where the mouth is shut and the character's lips come as
near to each other as ours, and from where on it is open and nothing is changed; smooth between."""
_MOST = 0.003
_ROUNDS = 3


class Edges(NamedTuple):
    """Edges (E, 2) of the surface of both lips, and the vertices of the corners, right and left."""

    upper: Numbers
    lower: Numbers
    corners: tuple[int, int]


class LipContact:
    """Closes the lips of a character where ours, in the same frame, are closed."""

    def __init__(self, character: Character, neutral: NDArray[np.floating]) -> None:
        """neutral (V, 3): of the person of ours who speaks. A character that has no lips or corners stays as it is."""
        head, self._carry, self._place = load_head(), character.carrier, character.place
        self._lips, self._count = head.layout.lips, len(neutral)
        ring = self._lips[rig.LIP_LINE]
        across = neutral[ring, 0].astype(np.float64)
        self._share = (across - across.min()) / np.ptp(across)
        column = np.full(len(neutral), -1, np.int64)  # of our lips' rings
        column[self._lips[: rig.LIP_LINE + 2]] = np.arange(self._lips.shape[1])
        marks = head.topology.landmarks
        self._ours = _edges(neutral.astype(np.float64), head.topology.triangles, column, marks)
        carry, own = character.carrier, character.own
        theirs = np.full(carry.places, -1, np.int64)
        theirs[carry.known] = column[carry.index[np.arange(len(carry.known)), carry.weights.argmax(1)]]
        mine = {name: number for name, number in character.topology.landmarks.items() if number < own}
        triangles = character.topology.triangles
        self._theirs = _edges(
            character.neutral[:own].astype(np.float64), triangles[(triangles < own).all(1)], theirs[self._place], mine
        )

    def close(self, theirs: NDArray[np.floating], ours: NDArray[np.floating]) -> None:
        """Change one frame `theirs` (U, 3) of the character, metres; ours (V, 3): our head in it.

        Frames in which our lips are 2.5 mm or more apart anywhere are left as they are.
        """
        if self._ours is None or self._theirs is None:
            return
        source = _gap(ours, self._ours)
        shut = np.clip((_SHUT[1] - source.max()) / (_SHUT[1] - _SHUT[0]), 0, 1)
        if not shut:
            return
        shut = shut * shut * (3 - 2 * shut)
        own = len(self._place)
        points = theirs[:own].astype(np.float64)
        for _ in range(_ROUNDS):
            left = np.clip(_gap(points, self._theirs) - np.maximum(source, 0), 0, _MOST)
            if not left.any():
                break
            # a place closes with what is around it
            need = ndimage.gaussian_filter1d(ndimage.maximum_filter1d(left, 5), 1.0) * shut
            half = 0.5 * np.interp(self._share, _SHARES, need)
            points[:, 1] += self._basis @ np.where(np.arange(len(half)) < rig.LIP_CORNER, -half, half)
        theirs[:own] = points

    @cached_property
    def _basis(self) -> Any:
        """(U, 38) how far each vertex rises when our lips rise by a metre at one column of the line between them."""
        found = []
        for column in range(self._lips.shape[1]):
            field = np.zeros((1, self._count, 3))
            if column not in (0, rig.LIP_CORNER):
                field[0, self._lips[:, column], 1] = PARTS_OF_LIPS
            found.append(sparse.csc_matrix(self._carry(field)[0, :, 1:2].astype(np.float64)))
        return sparse.hstack(found).tocsr()[self._place]


def _edges(
    points: Floats, triangles: NDArray[np.integer], column: Numbers, marks: Mapping[str, int]
) -> Edges | None:  # fmt: skip
    """Of the lips at rest, what is seen of them or lies close behind. column (V,): of our lips' rings, or -1.

    None where the mesh does not tell lips and corners.
    """
    if not {"mouth_left", "mouth_right", "upper_lip_inner", "lower_lip_inner"} <= set(marks):
        return None
    line = line_between(points, marks)
    order = np.argsort(line[:, 0])
    front = points[:, 2] > np.interp(points[:, 0], line[order, 0], line[order, 2]) - DEEP
    corner = (column == 0) | (column == rig.LIP_CORNER)
    sides = []
    for lip in ((column > 0) & (column < rig.LIP_CORNER), column > rig.LIP_CORNER):
        t = triangles[((lip | corner) & front)[triangles].all(1)]
        pairs = np.sort(np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]]), 1)
        sides.append(np.unique(pairs, axis=0).astype(np.int64))
    if not all(map(len, sides)):
        return None
    return Edges(sides[0], sides[1], (marks["mouth_right"], marks["mouth_left"]))


def _gap(points: NDArray[np.floating], lips: Edges) -> Floats:
    """(`_PLACES`,) metres from the highest of the lower lip to the lowest of the upper one, across the mouth.

    Negative where one hangs before the other, and where a lip has nothing.
    """
    right, left = (float(points[corner, 0]) for corner in lips.corners)
    x = right + _SHARES * (left - right)
    gap = _least(points, lips.upper, x, 1.0) + _least(points, lips.lower, x, -1.0)
    return np.where(np.isfinite(gap), gap, -np.inf)


@njit(cache=True)
def _least(points: Any, edges: Any, x: Any, sign: float) -> Any:  # pragma: no cover
    """(N,) the least of sign * y on the edges at the places x, which are evenly spread and rise."""
    least = np.full(len(x), np.inf)
    step = (x[-1] - x[0]) / (len(x) - 1)
    for e in range(len(edges)):
        a, b = edges[e, 0], edges[e, 1]
        if points[a, 0] > points[b, 0]:
            a, b = b, a
        start, width = points[a, 0], points[b, 0] - points[a, 0]
        first = max(int(np.ceil((start - x[0]) / step)), 0)
        last = min(int(np.floor((start + width - x[0]) / step)), len(x) - 1)
        for k in range(first, last + 1):
            share = (x[k] - start) / width if width > 0 else 0.0
            y = sign * (points[a, 1] + share * (points[b, 1] - points[a, 1]))
            least[k] = min(least[k], y)
    return least
