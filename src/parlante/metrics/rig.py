"""Metrics of rig curves (T, C), as FaceDiffuser's blendshape script computes them.

They share names with the vertex metrics and little else: the mouth error is neither a maximum nor squared, and the
dynamics have no template.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Columns = NDArray[np.int64]


@dataclass(frozen=True)
class RigRegions:
    """Which of the C columns of a rig belong to the mouth and which to the upper face."""

    columns: int
    mouth: Columns
    upper: Columns


def _columns(*spans: tuple[int, int] | int) -> Columns:
    """Column numbers from single numbers and inclusive spans."""
    parts = [np.arange(s[0], s[1] + 1) if isinstance(s, tuple) else np.array([s]) for s in spans]
    return np.concatenate(parts).astype(np.int64)


_UUDAMM_MOUTH = _columns((94, 113), (146, 177), (183, 191))
UUDAMM = RigRegions(192, _UUDAMM_MOUTH, np.setdiff1d(np.arange(192), _UUDAMM_MOUTH))
BEAT = RigRegions(51, _columns(23, 25, 27, 28, 31, 37, (39, 42), 47, 48), _columns((8, 21), 49, 50))


def rig_error(pred: Sequence[ArrayLike], true: Sequence[ArrayLike], columns: ArrayLike | None = None) -> float:
    """Mean over sequences of the mean over frames of the length of pred - true, over all or the given columns.

    With all columns the script calls it MVE, with the mouth's LVE. Sequences are compared up to the shorter length.
    """
    index = slice(None) if columns is None else np.asarray(columns)
    each = [np.linalg.norm(p[:, index] - t[:, index], axis=-1).mean() for p, t in _cut(pred, true)]
    return float(np.mean(each))


def rig_dynamics_deviation(
    pred: Sequence[ArrayLike], true: Sequence[ArrayLike], upper: ArrayLike, *, absolute: bool = False
) -> float:
    """Mean over sequences of std_t sum_c true^2 - std_t sum_c pred^2 over the upper columns, signed or absolute."""
    index = np.asarray(upper)
    each = [np.square(t[:, index]).sum(-1).std() - np.square(p[:, index]).sum(-1).std() for p, t in _cut(pred, true)]
    return float(np.mean(np.abs(each) if absolute else each))


def _cut(pred: Sequence[ArrayLike], true: Sequence[ArrayLike]) -> list[tuple[NDArray, NDArray]]:
    pairs = [(np.asarray(p), np.asarray(t)) for p, t in zip(pred, true, strict=True)]
    return [(p[: min(len(p), len(t))], t[: min(len(p), len(t))]) for p, t in pairs]
