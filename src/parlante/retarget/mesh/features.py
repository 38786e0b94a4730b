"""Mouth slit and eye openings of a face in the canonical frame, seen from the front.

The lips' line is the path across the mouth, column by column, that best follows a valley or a gap in the depth image
(dynamic programming); where lips are parted its two banks are the rims of the gap. An eye's opening is where one looks
past the lids: at nothing, at a loose part such as an eyeball, or deep into a socket.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from parlante.retarget.mesh.surface import Surface

Floats = NDArray[np.float64]
_SIZE = 256
_DEEP = 0.004


@dataclass(frozen=True, eq=False)
class Slit:
    """An opening or a closed line between two banks. Metres."""

    upper: Floats
    """(N, 3) from the character's right (-x) to left, first and last are the corners."""
    lower: Floats
    """(N, 3) at the same x."""

    @property
    def gap(self) -> float:
        """Median height of the opening."""
        quarter = len(self.upper) // 4
        return float(np.median(np.abs(self.upper - self.lower)[quarter : len(self.upper) - quarter, 1]))

    def at(self, share: Floats) -> tuple[Floats, Floats]:
        """Both banks at shares (N,) of the way from the right corner to the left: (N, 3) each."""
        width = self.upper[:, 0] - self.upper[0, 0]
        place = width / max(width[-1], 1e-9)
        banks = (
            np.stack([np.interp(share, place, bank[:, k]) for k in range(3)], -1) for bank in (self.upper, self.lower)
        )
        upper, lower = banks
        return upper, lower


def mouth_slit(surface: Surface, line: Floats, corners: tuple[Floats, Floats]) -> Slit | None:
    """The lips' line near the expected one: line (N, 3) by x, between the corners (right, left). None if not found."""
    right, left = corners
    middle = (right + left)[:2] / 2
    half = 0.85 * (left[0] - right[0])
    owner, depth = surface.seen(_SIZE, middle - half, middle + half)
    pixel = 2 * half / _SIZE
    xs = middle[0] - half + (np.arange(_SIZE) + 0.5) * pixel
    ys = middle[1] + half - (np.arange(_SIZE) + 0.5) * pixel
    order = np.argsort(line[:, 0])
    expected = np.interp(xs, line[order, 0], line[order, 1])
    reference = float(np.median(line[:, 2]))
    solid = (owner >= 0) & (depth > reference - 0.03)
    z = np.where(solid, depth, reference - 0.03)
    reach = max(2, round(0.009 / pixel))
    above = np.stack([_shifted_max(z[:, k], reach, -1) for k in range(_SIZE)], 1)
    below = np.stack([_shifted_max(z[:, k], reach, +1) for k in range(_SIZE)], 1)
    valley = np.clip(np.minimum(above, below) - z, 0, _DEEP)
    crease = np.clip(ndimage.gaussian_filter1d(z, 0.0006 / pixel, axis=0, order=2) / pixel * 2e-3, 0, 1)
    far = np.abs(ys[:, None] - expected[None])
    score = valley / _DEEP + 0.7 * crease - (far / 0.012) ** 2
    score[far > 0.02] = -20
    path = _best_path(score)
    columns = np.arange(_SIZE)
    strength = valley[path, columns] + 0.4 * _DEEP * crease[path, columns]
    strength = ndimage.gaussian_filter1d(strength, 2.0)
    centre = int(np.argmin(np.abs(xs - middle[0])))
    inside = np.abs(xs - middle[0]) < 0.3 * (left[0] - right[0])
    typical = float(np.median(strength[inside]))
    if typical < 0.00025:
        return None
    weak = strength < 0.22 * typical
    start, stop = centre, centre
    while start > 0 and not weak[start - 1]:
        start -= 1
    while stop < _SIZE - 1 and not weak[stop + 1]:
        stop += 1
    # a crease may run on into the cheek, or fade early: trust the expected width within a fifth
    width = left[0] - right[0]
    start = int(np.clip(start, *_around(xs, right[0], 0.2 * width)))
    stop = int(np.clip(stop, *_around(xs, left[0], 0.2 * width)))
    # mouths are nearly symmetric: an end that runs on farther than the other is a crease beyond the corner
    reach_right, reach_left = middle[0] - xs[start], xs[stop] - middle[0]
    shorter = 1.1 * min(reach_right, reach_left)
    start = int(np.searchsorted(xs, middle[0] - min(reach_right, shorter)))
    stop = int(np.searchsorted(xs, middle[0] + min(reach_left, shorter), "right")) - 1
    upper, lower = [], []
    for x in range(start, stop + 1):
        rim = z[max(path[x] - reach // 2, 0) : path[x] + reach // 2 + 1, x].max() - 0.007
        up, down = path[x], path[x]
        while up > 0 and z[up, x] < rim and path[x] - up < reach:
            up -= 1
        while down < _SIZE - 1 and z[down, x] < rim and down - path[x] < reach:
            down += 1
        upper.append((xs[x], ys[up], z[up, x]))
        lower.append((xs[x], ys[down], z[down, x]))
    a, b = np.asarray(upper), np.asarray(lower)
    for bank in (a, b):
        bank[:, 1:] = ndimage.gaussian_filter1d(bank[:, 1:], 1.5, axis=0, mode="nearest")
    for end in (0, -1):
        a[end] = b[end] = (a[end] + b[end]) / 2
    return Slit(a, b)


def eye_opening(
    surface: Surface, loose: NDArray[np.bool_], corners: tuple[Floats, Floats], centre: Floats
) -> Slit | None:
    """The opening between the lids, corners (smaller x, larger x); `loose` (F,): triangles of separate small parts.

    None if the lids and the eye are one surface without depth between them.
    """
    first, last = corners
    middle = (first + last)[:2] / 2
    half = 0.95 * (last[0] - first[0])
    owner, depth = surface.seen(_SIZE, middle - half, middle + half)
    pixel = 2 * half / _SIZE
    xs = middle[0] - half + (np.arange(_SIZE) + 0.5) * pixel
    ys = middle[1] + half - (np.arange(_SIZE) + 0.5) * pixel
    reference = (first[2] + last[2]) / 2
    parts = (owner >= 0) & loose[np.maximum(owner, 0)]
    through = (owner < 0) | parts
    if parts.sum() < 0.02 * parts.size:
        through |= depth < reference - 0.007
    labels, _ = ndimage.label(through)
    outside = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    labels[np.isin(labels, outside)] = 0
    if not labels.any():
        return None
    row, column = int((middle[1] + half - centre[1]) / pixel), int((centre[0] - middle[0] + half) / pixel)
    near = labels[max(row - 25, 0) : row + 25, max(column - 25, 0) : column + 25]
    if not near.any():
        return None
    chosen = labels == np.bincount(near[near > 0]).argmax()
    width = last[0] - first[0]
    columns = np.flatnonzero(chosen.any(0))
    if len(columns) * pixel < 0.5 * width or len(columns) * pixel > 1.35 * width:
        return None
    shown = ndimage.maximum_filter(np.where(owner >= 0, depth, -np.inf), 5)
    upper, lower = [], []
    for x in columns:
        rows = np.flatnonzero(chosen[:, x])
        up, down = max(rows[0] - 1, 0), min(rows[-1] + 1, _SIZE - 1)
        upper.append((xs[x], ys[up], shown[up, x]))
        lower.append((xs[x], ys[down], shown[down, x]))
    a, b = np.asarray(upper), np.asarray(lower)
    good = np.isfinite(a[:, 2]) & np.isfinite(b[:, 2])
    a, b = a[good], b[good]
    if len(a) < 8:
        return None
    for bank in (a, b):
        bank[:, 1:] = ndimage.gaussian_filter1d(bank[:, 1:], 1.5, axis=0, mode="nearest")
    for end in (0, -1):
        a[end] = b[end] = (a[end] + b[end]) / 2
    return Slit(a, b)


def _around(xs: Floats, x: float, reach: float) -> tuple[int, int]:
    places = np.flatnonzero(np.abs(xs - x) <= reach)
    return int(places[0]), int(places[-1])


def _shifted_max(values: Floats, reach: int, side: int) -> Floats:
    """Maximum over the `reach` places before (-1) or after (+1) each place."""
    origin = reach // 2 if side < 0 else -(reach // 2)
    return np.asarray(ndimage.maximum_filter1d(values, reach | 1, origin=origin, mode="nearest"))


def _best_path(score: Floats, steep: int = 2) -> NDArray[np.int64]:
    """(W,) row per column of `score` (H, W): the path of the highest sum that moves at most `steep` rows a column."""
    height, width = score.shape
    total, came = score[:, 0].copy(), np.zeros((width, height), np.int64)
    rows = np.arange(height)
    for x in range(1, width):
        padded = np.pad(total, steep, constant_values=-np.inf)
        options = np.stack([padded[k : k + height] - 0.05 * abs(k - steep) for k in range(2 * steep + 1)])
        best = options.argmax(0)
        came[x] = rows + best - steep
        total = options[best, rows] + score[:, x]
    path = np.zeros(width, np.int64)
    path[-1] = total.argmax()
    for x in range(width - 1, 0, -1):
        path[x - 1] = came[x, path[x]]
    return path
