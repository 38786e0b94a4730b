"""Confidence intervals of figures: bootstrap over clips, seeded, with the same draws for all models.

Percentile intervals (Efron 1979) of weighted means; two models are compared on the same draws of the clips that both
were judged on, so what makes a clip hard for both cancels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parlante.evaluation.measures import Measure

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure as shown, with its interval."""

    value: float
    low: float
    high: float
    clips: int


def interval(
    measure: Measure, values: ArrayLike, weights: ArrayLike, *, unit: str = "m", seed: int = 0, draws: int = DRAWS
) -> Interval:
    """Pooled figure and its interval. values, weights: (C,) of clips; of one clip the interval is open (nan)."""
    v, w = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    value = float(measure.shown(np.average(v, weights=w), unit))
    if len(v) < 2:
        return Interval(value, float("nan"), float("nan"), len(v))
    spread = measure.shown(_pooled(v, w, seed, draws), unit)
    low, high = np.quantile(spread, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high), len(v))


def difference(
    measure: Measure,
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    *,
    unit: str = "m",
    seed: int = 0,
    draws: int = DRAWS,
) -> Interval:
    """How much worse the first is than the second, in badness (`Measure.badness`), on the same clips in the same order.

    first, second: values and weights (C,). Beyond noise if the interval does not hold 0; open for a single clip.
    """
    apart = _apart(measure, first, second, unit, seed, draws)
    low, high = np.quantile(apart[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(apart[0]), float(low), float(high), len(np.asarray(first[0])))


def p_value(
    measure: Measure,
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    *,
    unit: str = "m",
    seed: int = 0,
    draws: int = DRAWS,
) -> float:
    """Two-sided bootstrap p-value of no difference, arguments as in `difference`; 1 for a single clip."""
    if len(np.asarray(first[0])) < 2:
        return 1.0
    apart = _apart(measure, first, second, unit, seed, draws)[1:]
    return float(min(1.0, 2 * (1 + min((apart <= 0).sum(), (apart >= 0).sum())) / (1 + draws)))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """(N,) p-values of N questions that are asked together -> adjusted ones (Holm 1979): where those below a level are
    taken for real, the chance of even one mistake is below that level."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def beyond_noise(found: Interval) -> bool:
    """Whether an interval of a difference leaves out zero."""
    return bool(found.low > 0 or found.high < 0)


def _pooled(v: NDArray[np.float64], w: NDArray[np.float64], seed: int, draws: int) -> NDArray[Any]:
    chosen = np.random.default_rng(seed).integers(0, len(v), (draws, len(v)))
    return (v[chosen] * w[chosen]).sum(1) / w[chosen].sum(1)


def _apart(
    measure: Measure,
    first: tuple[ArrayLike, ArrayLike],
    second: tuple[ArrayLike, ArrayLike],
    unit: str,
    seed: int,
    draws: int,
) -> NDArray[np.float64]:
    """(1 + draws,) badness of the first less that of the second: of all clips, then of each draw (nan of one clip)."""
    pairs = [(np.asarray(v, np.float64), np.asarray(w, np.float64)) for v, w in (first, second)]
    if len(pairs[0][0]) != len(pairs[1][0]):
        raise ValueError(f"got {len(pairs[0][0])} and {len(pairs[1][0])} clips; give the same clips of both")
    shown: list[NDArray[Any]] = []
    for v, w in pairs:
        whole = np.array([np.average(v, weights=w)])
        drawn = _pooled(v, w, seed, draws) if len(v) > 1 else np.full(draws, np.nan)
        shown.append(measure.badness(measure.shown(np.concatenate([whole, drawn]), unit)))
    return np.asarray(shown[0] - shown[1], np.float64)
