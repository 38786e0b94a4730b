"""Blinks and glances as events in time, so that every frame rate shows the same ones."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from parlante.synth.prosody import smooth

Array = NDArray[np.float64]

REFRACTORY_S = 0.9
"""No blink starts sooner after the start of another."""
FASTEST_BLINKS = 1.2
"""A second."""
GAZE_S = {True: (3.13, 0.93), False: (7.92, 0.43)}
"""speaking: mean seconds of looking at the other, and away (Lee, Badler and Badler 2002, "Eyes alive")."""
AWAY_DEGREES, FARTHEST_DEGREES = 6.9, 22.0
"""Mean (of an exponential distribution, same source) and largest size of a glance away."""
DIRECTIONS = np.array([15.54, 6.46, 17.69, 7.44, 16.80, 7.89, 20.38, 7.80])
"""Per cent of glances towards 0, 45, ... 315 degrees, from the right of the picture upwards (same source)."""
CLOSE_DEGREES = (1.3, 0.9)
"""Spread of fixations on the face of the other, sideways and up."""
SACCADE_S, SACCADE_S_PER_DEGREE = 0.021, 0.0022
"""The main sequence: a saccade takes the first plus the second per degree (Carpenter 1988)."""


class Gaze(NamedTuple):
    """Fixations in order; the first lasts from the start."""

    starts: Array
    """(n,) seconds at which the saccade to it sets off."""
    targets: Array
    """(n, 2) degrees from straight ahead: to the character's left, up."""

    def at(self, times: Array) -> Array:
        """(T, 2) degrees at `times`, saccades with a raised-cosine course of main-sequence duration."""
        now = np.searchsorted(self.starts, times, side="right") - 1
        before = self.targets[np.maximum(now - 1, 0)]
        jump = self.targets[now] - before
        lasts = SACCADE_S + SACCADE_S_PER_DEGREE * np.linalg.norm(jump, axis=1)
        progress = np.clip((times - self.starts[now]) / lasts, 0, 1)
        return np.asarray(before + jump * (0.5 - 0.5 * np.cos(np.pi * progress))[:, None])

    def shifts(self, degrees: float) -> Array:
        """Seconds of the saccades larger than `degrees`."""
        size = np.linalg.norm(np.diff(self.targets, axis=0), axis=1)
        return self.starts[1:][size > degrees]


def gaze(energy: Array, fps: float, amount: float, rng: np.random.Generator) -> Gaze:
    """Fixations while someone makes the sound of loudness `energy` (T,) 0..1 at `fps`; amount scales their spread."""
    duration = len(energy) / fps
    speaking = smooth(energy, 0.8 * fps) > 0.15
    starts, targets = [0.0], [np.zeros(2)]
    time, away = 0.0, False
    while time < duration:
        mean = GAZE_S[bool(speaking[int(time * fps)])][away]
        until = time + float(rng.gamma(3.0, mean / 3.0))
        home = _glance(rng) if away else np.zeros(2)
        first = True
        while first or time < until:
            spread = rng.normal(0, CLOSE_DEGREES)
            if time > 0:
                starts.append(time)
                targets.append(amount * (home + spread))
            lasts = 0.25 + float(rng.exponential(0.35 if away else 0.6))
            time, first = time + lasts, False
        away = not away
    return Gaze(np.array(starts), np.array(targets))


def _glance(rng: np.random.Generator) -> Array:
    size = min(4.0 + float(rng.exponential(AWAY_DEGREES)), FARTHEST_DEGREES)
    angle = np.radians(45.0 * rng.choice(8, p=DIRECTIONS / DIRECTIONS.sum()) + rng.normal(0, 8))
    return size * np.array([np.cos(angle), 0.7 * np.sin(angle)])  # eyes travel less up and down


class Blinks(NamedTuple):
    """Seconds at which lids start to fall, are shut, start to rise and are open; each (n,)."""

    starts: Array
    shut: Array
    rise: Array
    ends: Array

    def at(self, times: Array) -> Array:
        """(T,) closure 0..1."""
        closure = np.zeros(len(times))
        if not len(self.starts):
            return closure
        last = np.searchsorted(self.starts, times, side="right") - 1
        begun = last >= 0
        last, time = last[begun], times[begun]
        down = _ease((time - self.starts[last]) / (self.shut - self.starts)[last])
        up = _ease((time - self.rise[last]) / (self.ends - self.rise)[last])
        closure[begun] = down * (1 - up)
        return closure


def blinks(energy: Array, fps: float, shifts: Array, rate: float, rng: np.random.Generator) -> Blinks:
    """`rate` blinks a second on average, likelier where a phrase ends and with a large shift of gaze.

    energy: (T,) loudness 0..1 at `fps`; shifts: seconds of gaze shifts. Waiting times are gamma-distributed
    after a refractory time; lids shut in 70-100 ms, open in 150-220 ms, and stay shut long enough for a frame to show.
    """
    count = len(energy)
    rate = min(rate, FASTEST_BLINKS)
    if count < 2 or rate <= 0:
        return Blinks(*np.zeros((4, 0)))
    rest = min(REFRACTORY_S, 0.5 / rate)
    eager = _eagerness(energy, fps, shifts)
    reached = np.concatenate([[0.0], np.cumsum(eager)]) / (fps * (1 / rate - rest))
    clock = np.arange(count + 1) / fps
    starts: list[float] = []
    free = 0.2
    while True:
        at = float(np.interp(free, clock, reached)) + float(rng.gamma(2.0, 0.5)) * (
            1.0 if starts else float(rng.random())
        )
        if at >= reached[-1]:
            break
        starts.append(float(np.interp(at, reached, clock)))
        free = starts[-1] + rest
    start = np.array(starts)
    shut = start + rng.uniform(0.07, 0.10, len(start))
    rise = shut + rng.uniform(0.045, 0.06, len(start))
    end = rise + rng.uniform(0.15, 0.22, len(start))
    whole = end < count / fps
    return Blinks(start[whole], shut[whole], rise[whole], end[whole])


def _eagerness(energy: Array, fps: float, shifts: Array) -> Array:
    """(T,) how likely a blink is, 1 on average."""
    quiet = smooth(energy, 0.1 * fps) < 0.15
    eager = np.where(quiet, 1.2, 0.8)
    falls = np.flatnonzero(quiet[1:] & ~quiet[:-1]) / fps
    for moments, reach, height in ((falls, 0.35, 3.0), (shifts, 0.12, 4.0)):
        for moment in moments:
            rows = slice(int(moment * fps), int((moment + reach) * fps) + 1)
            eager[rows] = np.maximum(eager[rows], height)
    return np.asarray(eager / eager.mean())


def _ease(share: Array) -> Array:
    share = np.clip(share, 0, 1)
    return np.asarray(share * share * (3 - 2 * share))
