"""Metrics that look at motion alone or beside the sound: jitter, silence, lip closure, lag, style.

None is a published table's number; each formula is stated here. Arrays are (T, V, 3) in metres or (T,) per frame.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]


def temporal_jitter(motion: ArrayLike, fps: float) -> float:
    """Mean length of the third difference of all vertices, times fps cubed: metres per second cubed.

    Shaky motion has much more of it than the truth; motion that is too smooth has less. Raises ValueError for fewer
    than four frames.
    """
    vertices = np.asarray(motion, np.float64)
    if len(vertices) < 4:
        raise ValueError(f"jitter needs four frames, got {len(vertices)}")
    return float(np.linalg.norm(np.diff(vertices, 3, axis=0), axis=-1).mean() * fps**3)


def silence_motion_ratio(motion: ArrayLike, silent: ArrayLike) -> float:
    """Mean speed of all vertices in silent frames over that in the others; 0 is still, 1 moves as in speech.

    silent: (T,) true where nobody speaks. A frame pair counts as silent if both its frames are. Not a number where one
    of the two kinds is missing or nothing moves in speech.
    """
    vertices, quiet = np.asarray(motion, np.float64), np.asarray(silent, bool)
    if len(quiet) != len(vertices):
        raise ValueError(f"got {len(vertices)} frames of motion and {len(quiet)} flags; give one flag for each frame")
    speed = np.linalg.norm(np.diff(vertices, axis=0), axis=-1).mean(-1)
    still, moving = quiet[1:] & quiet[:-1], ~quiet[1:] & ~quiet[:-1]
    if not still.any() or not moving.any() or speed[moving].mean() == 0:
        return float("nan")
    return float(speed[still].mean() / speed[moving].mean())


def lip_dynamics(pred: ArrayLike, true: ArrayLike, lips: ArrayLike) -> float:
    """Correlation over time, mean of the lip vertices, of predicted and true speed; 1 moves when the truth moves.

    Vertices that do not move in either do not count; not a number if none moves in both.
    """
    index = np.asarray(lips)
    frames = min(len(np.asarray(pred)), len(np.asarray(true)))
    speeds = [np.linalg.norm(np.diff(np.asarray(m, np.float64)[:frames, index], axis=0), axis=-1) for m in (pred, true)]
    p, t = (s - s.mean(0) for s in speeds)
    power = np.sqrt((p * p).sum(0) * (t * t).sum(0))
    used = power > 1e-15
    return float(((p * t).sum(0)[used] / power[used]).mean()) if used.any() else float("nan")


def closure_recall(
    aperture: ArrayLike, spans: Sequence[tuple[float, float]], fps: float, *, quantile: float = 0.2, slack: int = 1
) -> float:
    """Share of the spans (start, end) in seconds, such as those of p, b and m, in which the lips close.

    aperture: (T,) distance of the inner lips, any unit. A span is met if the smallest aperture from `slack` frames
    before it to `slack` frames after is at most the given quantile of the whole clip. A mouth that does not move meets
    none; no spans give not a number.
    """
    gap = np.asarray(aperture, np.float64)
    if not spans:
        return float("nan")
    low, threshold, high = np.quantile(gap, [0.05, quantile, 0.95])
    if high - low <= 1e-9 * max(abs(high), 1e-12):
        return 0.0
    met = 0
    for start, end in spans:
        first, last = max(0, int(np.floor(start * fps)) - slack), int(np.ceil(end * fps)) + slack + 1
        met += len(gap[first:last]) > 0 and gap[first:last].min() <= threshold
    return met / len(spans)


def lag_and_correlation(aperture: ArrayLike, loudness: ArrayLike, reach: int = 5) -> tuple[int, float]:
    """The shift in frames, within `reach`, at which mouth opening follows loudness best, and the correlation there.

    aperture, loudness: (T,) per frame. A positive lag means that the mouth is late. Constant input gives (0, 0.0).
    """
    mouth, sound = np.asarray(aperture, np.float64), np.asarray(loudness, np.float64)
    frames = min(len(mouth), len(sound))
    mouth, sound, reach = mouth[:frames], sound[:frames], min(reach, frames - 2)
    best = (0, 0.0)
    for lag in sorted(range(-reach, reach + 1), key=abs):
        a = mouth[max(0, lag) : frames + min(0, lag)]
        b = sound[max(0, -lag) : frames - max(0, lag)]
        if len(a) < 2 or a.std() == 0 or b.std() == 0:
            continue
        found = float(np.corrcoef(a, b)[0, 1])
        if found > best[1]:
            best = lag, found
    return best


def style_vector(motion: ArrayLike, neutral: ArrayLike) -> Array:
    """(2V,) how someone moves whatever they say: log spread and log speed of each vertex about the neutral face.

    motion: (T, V, 3), neutral: (V, 3), same unit.
    """
    offset = np.asarray(motion, np.float64) - np.asarray(neutral, np.float64)
    spread = np.sqrt(np.square(offset - offset.mean(0)).sum(-1).mean(0))
    speed = np.sqrt(np.square(np.diff(offset, axis=0)).sum(-1).mean(0)) if len(offset) > 1 else np.zeros_like(spread)
    return np.log(np.maximum(np.concatenate([spread, speed]), 1e-6))


def style_distance(a: ArrayLike, b: ArrayLike) -> float:
    """Root mean square difference of two style vectors: 0.1 is about ten per cent livelier everywhere."""
    return float(np.sqrt(np.mean(np.square(np.asarray(a) - np.asarray(b)))))
