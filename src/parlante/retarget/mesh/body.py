"""Heads of whole bodies: the ends of a long mesh, each by itself, to look for a face there."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from parlante.retarget.mesh.mesh import parts_of
from parlante.retarget.mesh.surface import Surface

_LONG, _UPRIGHT, _SHARE, _FEWEST = 2.5, 0.6, 0.16, 300
"""How much longer than thick a body is; how long, against the longest, an axis is that may be upright; how much of it
the head takes up; triangles of a head."""


def used_box(surface: Surface) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and most of the vertices that some triangle uses."""
    corners = surface.vertices[np.unique(surface.triangles)]
    return corners.min(0), corners.max(0)


def heads(surface: Surface) -> Iterator[Surface]:
    """What may be the head of a body that stands, lies or spreads its arms, likely ones first; nothing of a head."""
    low, high = used_box(surface)
    size = high - low
    if size.max() < _LONG * size.min():
        return
    middle = surface.vertices[surface.triangles].mean(1)
    for axis in np.argsort(-size):
        if size[axis] < _UPRIGHT * size.max():
            continue
        far = (middle[:, axis] - low[axis]) / size[axis]
        for end in (far > 1 - _SHARE, far < _SHARE):
            if end.sum() > _FEWEST:
                whole = _cut(surface, end)
                yield whole
                part = parts_of(whole.triangles, len(whole.vertices))[whole.triangles[:, 0]]
                largest = part == np.bincount(part).argmax()
                if _FEWEST < largest.sum() < len(largest):  # without what hides it, such as stand-ins for hair
                    yield _cut(whole, largest)


def _cut(surface: Surface, kept: NDArray[np.bool_]) -> Surface:
    number, corners = np.unique(surface.triangles[kept], return_inverse=True)
    return Surface(surface.vertices[number], np.reshape(corners, (-1, 3)))
