"""Teeth, gums and tongue that a mesh has of its own: which of its parts they are, and which jaw they follow."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from parlante.retarget.mesh.fit import Registered
from parlante.retarget.mesh.prior import FacePrior

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
NAMES = ("teeth_upper", "gum_upper", "teeth_lower", "gum_lower", "tongue")
LOWER = ("teeth_lower", "gum_lower", "tongue")
"""What follows the jaw; the others stay with the skull."""
_AROUND, _LARGEST, _MOST_SHIFT = 0.010, 0.09, 0.010
_STARTS = (-0.005, 0.0, 0.005)
_ARCH = 0.018
"""Metres: what is wider is a whole arch, a gum or a tongue; what is narrower is a tooth."""

_SURE = 0.8
"""Share of a tooth's vertices that must agree, or its root decides."""


def own_mouth(
    vertices: Floats, part: Numbers, separate: NDArray[np.bool_], registered: Registered, prior: FacePrior
) -> Mapping[str, Numbers]:
    """Vertices (n,) of each of `NAMES` that the mesh has. Canonical metres.

    part (U,): connected component of each vertex; separate (U,): in a component that is no skin and no eye. A component
    is named after what of our fitted mouth lies nearest; a tooth goes with the arch or gum that holds its root.
    """
    ranges = prior.head.layout.ranges
    ours = [registered.neutral[slice(*ranges[name])] for name in NAMES]
    whole, label = np.concatenate(ours), np.repeat(np.arange(len(NAMES)), [len(each) for each in ours])
    low, high = whole.min(0) - _AROUND, whole.max(0) + _AROUND
    found = []
    for number in np.unique(part[separate]):
        own = np.flatnonzero((part == number) & separate)
        middle = (vertices[own].min(0) + vertices[own].max(0)) / 2
        if ((middle > low) & (middle < high)).all() and np.ptp(vertices[own], axis=0).max() < _LARGEST:
            found.append(own)
    if not found:
        return {}
    shift = _shift(np.concatenate([vertices[own] for own in found]), whole)
    tree = cKDTree(whole)
    votes = [np.bincount(label[tree.query(vertices[own] + shift)[1]], minlength=len(NAMES)) for own in found]
    names = [_named(vote) for vote in votes]
    wide = [np.ptp(vertices[own, 0]) > _ARCH for own in found]
    roots = [
        (name, cKDTree(vertices[own])) for own, name, is_wide in zip(found, names, wide, strict=True)
        if is_wide and NAMES[name] != "tongue"
    ]  # fmt: skip
    if len({NAMES[name].endswith("_upper") for name, _ in roots}) == 2:
        for at, own in enumerate(found):
            if not wide[at] and votes[at].max() < _SURE * len(own):
                names[at] = _rooted(vertices[own], roots)
    for jaw in ("upper", "lower"):  # an arch that is all a jaw has is its teeth, with or without gums
        teeth, gum = NAMES.index(f"teeth_{jaw}"), NAMES.index(f"gum_{jaw}")
        if teeth not in names:
            names = [teeth if name == gum else name for name in names]
    out = {
        name: [own for own, number in zip(found, names, strict=True) if NAMES[number] == name] for name in NAMES
    }  # fmt: skip
    return {name: np.concatenate(lists) for name, lists in out.items() if lists}


def _named(votes: NDArray[np.int64]) -> int:
    """Of upper jaw, lower jaw and tongue the one with most votes; then teeth or gum."""
    jaws = {0: votes[:2].sum(), 2: votes[2:4].sum(), 4: votes[4]}
    first = max(jaws, key=jaws.__getitem__)
    return first if first == 4 else first + int(votes[first : first + 2].argmax())


def _rooted(tooth: Floats, roots: list[tuple[int, cKDTree]]) -> int:
    """The teeth of the jaw whose arch comes nearest to one end of a tooth."""
    near = [float(np.sort(tree.query(tooth)[0])[: max(len(tooth) // 4, 1)].mean()) for _, tree in roots]
    name = NAMES[roots[int(np.argmin(near))][0]]
    return NAMES.index("teeth_upper" if name.endswith("_upper") else "teeth_lower")


def _shift(points: Floats, ours: Floats) -> Floats:
    """(3,) what moves the user's mouth as a whole onto ours, by nearest points, the farthest fifth left out.

    From several heights and depths, for upper teeth are like lower ones; the best is taken.
    """
    points = points[:: max(len(points) // 1000, 1)]
    tree, best, least = cKDTree(ours), np.zeros(3), np.inf
    for y in _STARTS:
        for z in _STARTS:
            shift = np.array([0.0, y, z])
            for _ in range(10):
                distance, index = tree.query(points + shift)
                kept = distance <= np.quantile(distance, 0.8)
                shift = (ours[index[kept]] - points[kept]).mean(0)
                shift *= min(1.0, _MOST_SHIFT / max(float(np.linalg.norm(shift)), 1e-12))
            left = float(distance[kept].mean())
            if left < least:
                best, least = shift, left
    return best
