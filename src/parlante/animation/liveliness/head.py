"""Sway, nods and breath: what the head does while its owner speaks, pauses and listens."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from parlante.synth.prosody import smooth

Array = NDArray[np.float64]

SWAY_DEGREES, SWAY_METRES = (0.9, 1.2, 0.8), (0.0012, 0.0010, 0.0015)
"""Largest sway of a person of average liveliness: pitch, yaw, roll; x, y, z."""
MOST_SWAY = 1.6
"""Factor at most: sway stays under 2 degrees for anybody."""
NOD_FROM, NOD_SPACING_S = 0.3, 0.35
"""Accents from this height on may be nodded to, and no two sooner than that."""
FOLLOW = 0.1
"""Share of a glance that the head turns along with it."""
BREATH_S = 4.0
"""Between breaths at rest."""
BREATH_GAP_S, PAUSE_S = 2.4, 0.25
"""Least time between breaths, and the least pause to breathe in."""
BREATH_DEGREES, BREATH_METRES = 0.5, 0.0015
"""A full breath tips the head back and lifts it by so much."""


class Swings(NamedTuple):
    """Moves away from rest and back: seconds of start, top and end, and the height at the top; each (n,)."""

    starts: Array
    tops: Array
    ends: Array
    heights: Array

    def at(self, times: Array) -> Array:
        """(T,) sum of the moves, each easing up and down."""
        total = np.zeros(len(times))
        for start, top, end, height in zip(*self):
            rows = slice(*np.searchsorted(times, [start, end]))
            up = np.clip((times[rows] - start) / (top - start), 0, 1)
            down = np.clip((times[rows] - top) / (end - top), 0, 1)
            total[rows] += height * (up * up * (3 - 2 * up) - down * down * (3 - 2 * down))
        return total


def sway(times: Array, energy: Array, amount: float, rng: np.random.Generator) -> Array:
    """(T, 6) head pose, never still and never far: slow waves of random speed; energy (T,) 0..1 makes them larger."""
    rates = np.exp(rng.uniform(np.log(0.06), np.log(0.45), (6, 5)))
    phases = rng.uniform(0, 2 * np.pi, (6, 5))
    share = rates**-0.5 / (rates**-0.5).sum(axis=1, keepdims=True)
    waves = np.stack(
        [(share[k] * np.sin(2 * np.pi * rates[k] * times[:, None] + phases[k])).sum(axis=1) for k in range(6)], axis=1
    )
    largest = np.array([*np.radians(SWAY_DEGREES), *SWAY_METRES]) * min(amount, MOST_SWAY)
    return np.asarray(waves * largest * (0.55 + 0.45 * energy[:, None]))


def nods(accent: Array, fps: float, amount: float, rng: np.random.Generator) -> Swings:
    """Nods in radians on accents (T,) 0..1: three of five prominent ones, deeper the stronger they are."""
    from scipy.signal import find_peaks

    peaks, _ = find_peaks(accent, height=NOD_FROM, distance=max(1, round(NOD_SPACING_S * fps)), prominence=0.1)
    chance, depth, late = rng.random(len(peaks)), rng.uniform(0.7, 1.2, len(peaks)), rng.uniform(0, 0.1, len(peaks))
    kept = chance < 0.6
    tops = peaks[kept] / fps + late[kept]
    heights = np.radians(amount * depth[kept] * (0.8 + 2.2 * accent[peaks[kept]]))
    return Swings(tops - rng.uniform(0.18, 0.26, len(tops)), tops, tops + rng.uniform(0.35, 0.5, len(tops)), heights)


def breaths(energy: Array, fps: float, rng: np.random.Generator) -> Swings:
    """Breaths 0..1, drawn in pauses of the loudness `energy` (T,) 0..1: deep before speech goes on, calm at rest."""
    quiet = np.concatenate([[False], smooth(energy, 0.05 * fps) < 0.15, [False]]) if len(energy) else np.zeros(2, bool)
    pauses = np.flatnonzero(quiet[1:] != quiet[:-1]).reshape(-1, 2) / fps
    starts: list[float] = []
    room: list[float] = []
    ready = float(rng.uniform(0, 1.5))
    for first, last in pauses:
        start = max(float(first), ready)
        while start + PAUSE_S <= last:
            starts.append(start)
            room.append(float(last) - start)
            ready = start + BREATH_GAP_S
            start += BREATH_S * float(np.clip(rng.normal(1, 0.1), 0.75, 1.25))
    begin, space = np.array(starts), np.array(room)
    tops = begin + np.clip(space, PAUSE_S, 1.5)
    following = np.append(begin[1:], np.inf)
    ends = np.minimum(following, tops + rng.uniform(2.2, 3.5, len(tops)))
    heights = np.where(space < 1.5, 1.0, 0.6) * rng.uniform(0.8, 1.0, len(tops))
    return Swings(begin, tops, ends, heights)
