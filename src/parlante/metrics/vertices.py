"""Vertex metrics, as the published evaluation scripts compute them. Arrays are (T, V, 3); units follow the input.

A metric over several sequences takes lists of arrays. A prediction longer or shorter than the truth is compared up to
the shorter length, as those scripts do.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]


def _pairs(pred: Sequence[ArrayLike], true: Sequence[ArrayLike]) -> list[tuple[Array, Array]]:
    if len(pred) != len(true):
        raise ValueError(f"got {len(pred)} predictions for {len(true)} true sequences; give one for each")
    pairs = []
    for p, t in zip(pred, true):
        p, t = np.asarray(p), np.asarray(t)
        if p.shape[1:] != t.shape[1:]:
            raise ValueError(f"prediction (T, {p.shape[1:]}) and truth (T, {t.shape[1:]}) are of different meshes")
        frames = min(len(p), len(t))
        pairs.append((p[:frames], t[:frames]))
    return pairs


def frame_lip_error(pred: ArrayLike, true: ArrayLike, lips: ArrayLike) -> Array:
    """(T,) distance of the worst lip vertex of each frame. `lips` (R,) vertex numbers."""
    (pair,) = _pairs([pred], [true])
    index = np.asarray(lips)
    return np.linalg.norm(pair[0][:, index] - pair[1][:, index], axis=-1).max(-1)


def lip_vertex_error_m2(pred: Sequence[ArrayLike], true: Sequence[ArrayLike], lips: ArrayLike) -> float:
    """LVE of CodeTalker, TalkingStyle, PTalker and FaceDiffuser: the *squared* distance of the worst lip vertex.

    That of torchmetrics, over all frames of all sequences together; squared units of the input.
    """
    import torch
    from torchmetrics.functional.multimodal import lip_vertex_error

    index = np.asarray(lips)
    pooled = (np.concatenate([pair[side][:, index] for pair in _pairs(pred, true)]) for side in (0, 1))
    p, t = (torch.from_numpy(vertices.astype(np.float64)) for vertices in pooled)
    return float(lip_vertex_error(p, t, list(range(len(index)))))


def lip_vertex_error_mm(pred: Sequence[ArrayLike], true: Sequence[ArrayLike], lips: ArrayLike) -> float:
    """Mean over frames of the worst lip vertex's distance, in mm for input in metres (UniTalker's LVD, pooled)."""
    worst = [frame_lip_error(p, t, lips) for p, t in zip(pred, true, strict=True)]
    return float(1000.0 * np.mean(np.concatenate(worst)))


def mean_vertex_error(pred: Sequence[ArrayLike], true: Sequence[ArrayLike], vertices: ArrayLike | None = None) -> float:
    """MVE of FaceDiffuser: mean distance over all frames together and all (or the given) vertices; not squared."""
    index = slice(None) if vertices is None else np.asarray(vertices)
    distance = [np.linalg.norm(p[:, index] - t[:, index], axis=-1).mean(-1) for p, t in _pairs(pred, true)]
    return float(np.mean(np.concatenate(distance)))


def upper_face_dynamics_deviation(
    pred: Sequence[ArrayLike],
    true: Sequence[ArrayLike],
    neutral: Sequence[ArrayLike],
    upper: ArrayLike,
    *,
    absolute: bool = False,
) -> float:
    """FDD: how much livelier the true upper face is than the predicted one (negative: the prediction is livelier).

    Per sequence, the mean over `upper` (R,) of std_t |true - neutral|^2 - std_t |pred - neutral|^2 (population std of
    the *squared* displacement), then the mean over sequences: signed as in CodeTalker, or of absolute values as in
    FaceDiffuser's ABS FDD. Squared units of the input.
    """
    index = np.asarray(upper)
    deviations = []
    for (p, t), rest in zip(_pairs(pred, true), neutral, strict=True):
        origin = np.asarray(rest)[index]
        lively_t = (np.square(t[:, index] - origin).sum(-1)).std(0)
        lively_p = (np.square(p[:, index] - origin).sum(-1)).std(0)
        deviations.append(float(np.mean(lively_t - lively_p)))
    return float(np.mean(np.abs(deviations) if absolute else deviations))


def diversity(sentences: Sequence[Sequence[ArrayLike]]) -> float:
    """FaceDiffuser's diversity: how far apart predictions for one sentence lie when the conditioning person changes.

    sentences: for each, its predictions (T, V, 3), one per person, of equal length. Per sentence the mean over all
    pairs of the mean vertex distance; then the mean over sentences. Sentences with fewer than two predictions do not
    count. Raises ValueError if none counts.
    """
    found = []
    for predictions in sentences:
        arrays = [np.asarray(p) for p in predictions]
        pairs = [np.linalg.norm(a - b, axis=-1).mean() for i, a in enumerate(arrays) for b in arrays[i + 1 :]]
        if pairs:
            found.append(float(np.mean(pairs)))
    if not found:
        raise ValueError("diversity needs a sentence with two predictions or more; give predictions of several people")
    return float(np.mean(found))


def root_lip_error_mm(pred: ArrayLike, true: ArrayLike, lips: ArrayLike) -> float:
    """ARTalk's LVE of one sequence: root of the mean squared worst lip distance of its frames; metres in, mm out."""
    return float(1000.0 * np.sqrt(np.mean(frame_lip_error(pred, true, lips) ** 2)))


def root_vertex_error_mm(pred: ArrayLike, true: ArrayLike) -> float:
    """ARTalk's MHD of one sequence: root of the mean squared distance of all vertices and frames; metres in, mm out."""
    ((p, t),) = _pairs([pred], [true])
    return float(1000.0 * np.sqrt(np.mean(np.square(p - t).sum(-1))))


def coordinate_dynamics_deviation(pred: ArrayLike, true: ArrayLike, upper: ArrayLike) -> float:
    """ARTalk's FDD of one sequence: 100 * mean over `upper` of | S(pred) - S(true) |.

    S is the sample standard deviation over time of 1000 * (x + y + z): no template, no squares, and it depends on how
    the axes lie. Needs two frames.
    """
    index = np.asarray(upper)
    ((p, t),) = _pairs([pred], [true])
    lively = [(1000.0 * m[:, index].sum(-1)).std(0, ddof=1) for m in (p, t)]
    return float(100.0 * np.mean(np.abs(lively[0] - lively[1])))
