"""Lips of the user's mesh that meet where ours do, and lips that are one surface, cut apart.

Both are judged by what is seen from the front: between closed lips nothing that lies deep behind them may show.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from parlante.head import rig
from parlante.head.arkit import INDEX
from parlante.retarget.mesh.surface import Surface

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Carry = Callable[[NDArray[np.floating]], NDArray[np.float32]]
_SIZE = 256
_TALL = 0.012
"""Metres above and below the lips' line that are looked at."""
DEEP = 0.004
"""Metres behind the line between our lips: what is seen there is no lip."""
_TIGHT = 0.0001
_MOST = 0.003
_ROUNDS = 4
_BARRED = 0.3
"""Share of our open mouth that must be open in the user's."""
_TORN, _STRETCHED = 0.004, 2.0
"""Metres that a full jawOpen pulls two corners of a triangle apart, and how often their distance: no skin stretches
so."""
PARTS_OF_LIPS = np.interp(np.arange(16), [0, 2, 5, 9, 13], [0.12, 0.4, 1.0, 1.0, 0.0])
CLOSED: Mapping[str, Mapping[str, float]] = {
    "rest": {},
    "mouthClose": {"jawOpen": 0.5, "mouthClose": 0.5},
    **{name: {name: 1.0} for name in rig.KEEP_CLOSED if not name.startswith(("jaw", "cheek"))},
}
"""Poses in which our lips meet; each is mended in the shape it is named after, `rest` in the neutral face."""


class Met(NamedTuple):
    """What closes the lips."""

    seal: Floats
    """(V, 3) more for our neutral face."""
    shapes: NDArray[np.float32]
    """(52, V, 3) ours, mended."""
    before: dict[str, float]
    """Metres: the 95th percentile of the opening's height along the line, for each of `CLOSED`."""
    after: dict[str, float]


def meeting(
    surface: Surface, neutral: Floats, face: Floats, shapes: NDArray[np.float32], carry: Carry, layout: rig.HeadLayout
) -> Met:
    """Mend our neutral `face` (V, 3) and `shapes` (52, V, 3) until the user's lips meet where ours do.

    neutral (U, 3): the user's vertices; carry: from displacements of our head to theirs.
    """
    seal = np.zeros_like(face)
    mended = shapes.astype(np.float64)
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    view = _near(surface, neutral, face[layout.lips[rig.LIP_LINE]])
    rest = neutral.copy()
    for name, pose in CLOSED.items():
        moved = sum((value * mended[INDEX[key]] for key, value in pose.items()), np.zeros_like(face))
        extra = np.zeros_like(face)
        still = rest + carry(moved[None])[0]
        best, kept = np.inf, extra
        for round_ in range(_ROUNDS):
            points = still + carry(extra[None])[0] if round_ else still
            line = (face + seal + moved + extra)[layout.lips[rig.LIP_LINE]]
            across, height, _ = opening(Surface(points, view), line)
            gap = float(np.quantile(height, 0.95))
            if round_ == 0:
                before[name] = gap
            if gap < best - 1e-5:
                best, kept = gap, extra
            if gap <= 0.5 * _TIGHT:
                break
            extra = extra + _together(layout, line, across, np.where(height > 0, height + _TIGHT, 0), len(face))
        after[name] = best
        if not kept.any():
            continue
        if name == "rest":
            seal = kept
            rest = neutral + carry(seal[None])[0]
        else:
            mended[INDEX[name]] += kept / pose[name]
    return Met(seal, mended.astype(np.float32), before, after)


def opening(surface: Surface, line: Floats) -> tuple[Floats, Floats, Floats]:
    """Places x (N,) across the mouth, the height (N,) of what is open between the lips there, and ours. Metres.

    line (38, 3): the ring between our lips, as posed.
    """
    margin = np.array([0.0, _TALL])
    low, high = line.min(0)[:2] - margin, line.max(0)[:2] + margin
    _, depth = surface.seen(_SIZE, low, high)
    step = (high - low) / _SIZE
    # the ends of the line are the corners themselves
    inside = slice(_SIZE // 20, _SIZE - _SIZE // 20)
    x = low[0] + (np.arange(_SIZE) + 0.5)[inside] * step[0]
    y = (high[1] - (np.arange(_SIZE) + 0.5) * step[1])[:, None]
    upper, lower = _bank(x, line, np.arange(rig.LIP_CORNER + 1)), _bank(x, line, np.arange(rig.LIP_CORNER - 38, 1))
    near = np.minimum(upper[:, 1], lower[:, 1])
    open_ = (depth[:, inside] < near - DEEP) & (y < upper[:, 0] + 0.5 * _TALL) & (y > lower[:, 0] - 0.5 * _TALL)
    return x, open_.sum(0) * step[1], np.maximum(upper[:, 0] - lower[:, 0], 0)


def line_between(points: NDArray[np.floating], marks: Mapping[str, int]) -> Floats:
    """(38, 3) a line through the corners and the middles of both lips, ordered as the ring between our lips.

    marks: vertices named mouth_right, mouth_left, upper_lip_inner, lower_lip_inner.
    """
    right, left = (points[marks[f"mouth_{side}"]].astype(float) for side in ("right", "left"))
    banks = []
    for lip in ("upper", "lower"):
        middle = points[marks[f"{lip}_lip_inner"]]
        x = np.array([right[0], middle[0], left[0]])
        curve = [np.polyfit(x, (right[axis], middle[axis], left[axis]), 2) for axis in (1, 2)]
        count = rig.LIP_CORNER + 1 if lip == "upper" else 38 - rig.LIP_CORNER + 1
        across = np.linspace(right[0], left[0], count)
        banks.append(np.stack([across, *(np.polyval(c, across) for c in curve)], 1))
    return np.concatenate([banks[0], banks[1][::-1][1:-1]])


def torn(
    surface: Surface, neutral: Floats, jaw: NDArray[np.floating], sides: tuple[Bools, Bools], line: Floats,
    opened: Floats,
) -> Bools:  # fmt: skip
    """(F,) triangles that bar the mouth of a mesh whose lips are one surface; none where the mouth can open.

    neutral, jaw (U, 3): the user's face and its jawOpen; sides (U,): what follows the upper lip, and the lower; line,
    opened (38, 3): the ring between our lips, closed and at jawOpen.
    """
    _, height, ours = opening(Surface(neutral + jaw, surface.triangles), opened)
    if height.sum() > _BARRED * ours.sum():
        return np.zeros(len(surface.triangles), bool)
    corners, rest = jaw[surface.triangles], neutral[surface.triangles]
    apart = np.linalg.norm(corners - np.roll(corners, 1, 1), axis=2)
    edge = np.linalg.norm(rest - np.roll(rest, 1, 1), axis=2)
    split = ((apart > _TORN) & (apart > _STRETCHED * edge)).any(1)
    for side in sides:
        split &= ~side[surface.triangles].all(1)
    arm = neutral[surface.triangles].mean(1) - line.mean(0)
    wide = np.ptp(line[:, 0]) / 2
    return np.asarray(split & (np.abs(arm[:, 0]) < wide) & (np.abs(arm[:, 1]) < _TALL) & (np.abs(arm[:, 2]) < 0.02))


def _bank(x: Floats, line: Floats, columns: NDArray[np.int64]) -> Floats:
    """(N, 2) y and z of one lip's edge at x."""
    half = line[columns]
    half = half[np.argsort(half[:, 0])]
    return np.stack([np.interp(x, half[:, 0], half[:, axis]) for axis in (1, 2)], 1)


def _near(surface: Surface, neutral: Floats, line: Floats) -> NDArray[np.int64]:
    """(f, 3) the triangles about the mouth, all that can hide what is behind it."""
    reach = np.array([0.02, 0.05, np.inf])
    low, high = line.min(0) - reach, line.max(0) + reach
    inside = ((neutral > low) & (neutral < high)).all(1)
    return surface.triangles[inside[surface.triangles].any(1)]


def _together(layout: rig.HeadLayout, line: Floats, x: Floats, height: Floats, count: int) -> Floats:
    """(V, 3) both lips, half of the height each."""
    from scipy import ndimage

    # a place opens with what is around it: a slit of a pixel has no sharp ends
    smooth = ndimage.gaussian_filter1d(ndimage.maximum_filter1d(np.minimum(height, _MOST), 9), 3.0)
    shift = np.zeros((count, 3))
    part = np.interp(line[:, 0], x, smooth, left=0.0, right=0.0)
    upper = np.isin(np.arange(len(line)), np.arange(1, rig.LIP_CORNER))
    part = np.where(upper, -0.5 * part, 0.5 * part)
    part[[0, rig.LIP_CORNER]] = 0
    for row, share in zip(layout.lips, PARTS_OF_LIPS, strict=True):
        shift[row, 1] += share * part
    return shift
