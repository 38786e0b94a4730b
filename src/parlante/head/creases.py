"""Where a face folds: crease lines of an identity in the flat chart of `skin_frame`, and their picture.

Each family of lines crosses the direction in which its muscle shortens the skin (frontalis: horizontal forehead lines;
corrugator: glabella; orbicularis oculi: crow's feet; zygomaticus: nasolabial fold; mentalis: chin; orbicularis oris:
lip lines). Places are drawn after anatomy; number, wobble, breaks and depth vary with identity and age.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.head.identities import Traits


@dataclass(frozen=True)
class Family:
    """What a family of creases answers to."""

    layer: int
    """0 or 1; families of one layer do not overlap."""
    reach: float
    """Metres around the lines in which strain counts."""
    expression: tuple[str, ...]
    """ARKit shapes that fold it fully; its sensitivity is measured from them."""
    age_gain: float
    """How much deeper with age: depth is 1 + age_gain * (age - 30) / 40."""
    along: float = 0.0
    """Share of the compression along the lines that counts too: where skin is gathered by a neighbouring muscle."""


FAMILIES: dict[str, Family] = {
    "forehead": Family(0, 0.016, ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"), 0.45),
    "glabella": Family(1, 0.009, ("browDownLeft", "browDownRight"), 0.5, 1.0),
    "crows_feet": Family(
        1, 0.012, ("eyeSquintLeft", "eyeSquintRight", "cheekSquintLeft", "cheekSquintRight"), 0.8, 0.4
    ),
    "nasolabial": Family(0, 0.009, ("mouthSmileLeft", "mouthSmileRight"), 0.5),
    "under_eye": Family(0, 0.006, ("cheekSquintLeft", "cheekSquintRight", "eyeSquintLeft", "eyeSquintRight"), 0.5),
    "bunny": Family(1, 0.007, ("noseSneerLeft", "noseSneerRight"), 0.3, 1.0),
    "marionette": Family(1, 0.008, ("mouthFrownLeft", "mouthFrownRight"), 0.9),
    "chin": Family(0, 0.010, ("mouthShrugLower",), 0.2),
    "lip_lines": Family(1, 0.007, ("mouthPucker",), 1.0),
    "root": Family(0, 0.006, ("browDownLeft", "browDownRight"), 0.5),
    "smile_lines": Family(0, 0.007, ("mouthSmileLeft", "mouthSmileRight"), 1.2),
}


@dataclass(frozen=True, eq=False)
class Crease:
    """One line: points (N, 2) in chart metres, depth along it (N,), half width in metres."""

    family: str
    points: NDArray[np.float32]
    depth: NDArray[np.float32]
    width: float


def creases_of(traits: Traits) -> list[Crease]:
    """The creases of a person of the embedded head."""
    return crease_lines(traits.seed, 22 + 45 * traits.wrinkle_age)


def crease_lines(seed: int, age: float = 30.0) -> list[Crease]:
    """The creases of one person; the same seed and age always give the same lines."""
    rng = np.random.default_rng([seed, 7])
    lines: list[Crease] = []

    def draw(
        family: str,
        anchors: Sequence[tuple[float, float]],
        depth: float,
        width: float,
        wobble: float = 0.6,
        ends: float = 0.2,
    ) -> None:
        """Smooth curve through anchors in mm, wobbling by `wobble` mm, fading over the share `ends` at both ends."""
        from scipy.interpolate import PchipInterpolator

        control = np.array(anchors)
        control = control + rng.normal(0, wobble, control.shape)
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(control, axis=0), axis=1))])
        t = np.linspace(0, 1, max(8, int(length[-1] / 1.5)))
        points = PchipInterpolator(length / length[-1], control)(t)
        points += _smooth_noise(rng, len(t), 4)[:, None] * wobble * 0.7 * _across(points)
        fade = np.clip(np.minimum(t, 1 - t) / max(ends, 1e-3), 0, 1)
        uneven = np.clip(1 + 0.35 * _smooth_noise(rng, len(t), 5), 0.25, 1.4)
        older = 1 + FAMILIES[family].age_gain * (age - 30) / 40
        strength = depth * max(older, 0.25) * rng.uniform(0.85, 1.15)
        lines.append(
            Crease(
                family,
                (points * 1e-3).astype(np.float32),
                (strength * uneven * fade * fade * (3 - 2 * fade)).astype(np.float32),
                width * 1e-3,
            )
        )

    def both(family: str, anchors: Sequence[tuple[float, float]], *args: float, keep: float = 1.0) -> None:
        for side in (1, -1):
            if rng.random() < keep:
                draw(family, [(side * s, y) for s, y in anchors], *args)

    _forehead(rng, draw)
    bend = rng.uniform(-1.5, 1.5)
    both("glabella", [(7 + bend, 41), (8.5, 47), (9.5 + bend, 54), (9, 60)], 1.3, 1.5, 0.5, 0.35)
    both("glabella", [(13, 46), (14.5, 51), (15, 56)], 0.5, 1.2, 0.5, 0.4, keep=0.4)
    draw("root", [(-11, 37.5), (0, 35.5 + rng.uniform(-1, 1)), (11, 37.5)], 0.7, 1.3, 0.4, 0.3)
    for angle in (42, 20, -2, -24)[: rng.integers(3, 5)]:
        turn = np.radians(angle + rng.uniform(-5, 5))
        far = rng.uniform(15, 23)
        ray = [
            (56 + r * np.cos(turn), 31 + r * np.sin(turn) - 0.012 * r * r * np.sign(angle)) for r in (0, far / 2, far)
        ]
        both("crows_feet", ray, rng.uniform(0.6, 1.0), 1.2, 0.7, 0.35)
    out = rng.uniform(-1.5, 2.0)
    fold = [(20.5, 1), (24, -7), (30 + 0.4 * out, -17), (37 + out, -29), (40 + out, -39), (39.5 + out, -46)]
    both("nasolabial", fold, 0.95, 2.4, 0.6, 0.22)
    both("nasolabial", fold, 0.35, 5.0, 0.3, 0.25)
    both("smile_lines", [(49, -14), (53, -25), (53, -37), (49, -47)], 0.45, 1.6, 1.2, 0.4, keep=0.75)
    both("under_eye", [(23, 24), (31, 19.5), (41, 18.5), (51, 22)], 0.6, 1.2, 0.5, 0.3)
    both("under_eye", [(21, 19), (29, 13), (40, 10), (50, 13)], 0.45, 1.5, 0.8, 0.35, keep=0.6)
    for y in (27.0, 22.5, 18.0)[: rng.integers(2, 4)]:
        both("bunny", [(3.5, y + 1), (7.5, y - 1), (12, y - 5)], 0.6, 1.0, 0.4, 0.4)
    both("marionette", [(33, -40), (36, -47), (37, -55), (35.5, -61)], 0.75, 1.6, 0.6, 0.3)
    draw("chin", [(-17, -56), (-9, -53.5), (0, -52.5), (9, -53.5), (17, -56)], 0.9, 1.6, 0.5, 0.25)
    for _ in range(9):
        s, y = rng.uniform(-13, 13), rng.uniform(-66, -56)
        tilt = rng.uniform(-1.5, 1.5)
        draw("chin", [(s - 2.5, y - tilt), (s, y), (s + 2.5, y + tilt)], 0.55, 1.2, 0.4, 0.5)
    for s in np.linspace(-22, 22, 12 + int(rng.integers(0, 4))):
        s += rng.uniform(-1, 1)
        top = -19.5 + 0.006 * s * s * -1 + rng.uniform(-1.5, 1.5)
        draw("lip_lines", [(s * 0.92, top - 1), (s, -28)], 0.45, 0.9, 0.3, 0.45)
        draw("lip_lines", [(s * 0.8, -29.5), (s * 0.84, -35.5)], 0.35, 0.8, 0.2, 0.45)
        draw("lip_lines", [(s * 0.8, -39), (s * 0.74, -46.5)], 0.35, 0.8, 0.2, 0.45)
    return lines


def _forehead(rng: np.random.Generator, draw: Any) -> None:
    """Three to five horizontal lines, dipping in the middle (gull-wing) or flat."""
    count = int(rng.integers(3, 6))
    gull, span = rng.uniform(-3.0, 2.0), rng.uniform(38, 47)
    start, step = rng.uniform(61, 64), rng.uniform(5.6, 7.2) * 4 / (count + 0.6)
    for n in range(count):
        y = start + n * step
        wide = span * (1 - 0.07 * abs(n - 1)) * rng.uniform(0.85, 1.0)
        depth = 1.0 - 0.13 * abs(n - 1)
        s = np.linspace(-wide, wide, 9)
        arch = gull * np.cos(np.pi * s / wide) + 2.0 - 0.0022 * s * s
        line = list(zip(s, y + arch, strict=True))
        if rng.random() < 0.3:  # broken in the middle
            draw("forehead", line[:5], depth, 1.7, 0.5, 0.2)
            draw("forehead", [(a, b + rng.uniform(-0.8, 0.8)) for a, b in line[4:]], depth, 1.7, 0.5, 0.2)
        else:
            draw("forehead", line, depth, 1.7, 0.5, 0.15)


def crease_pattern(
    lines: list[Crease], chart: NDArray[np.float32], allowed: NDArray[np.float32], blur: float = 0.0
) -> NDArray[np.float32]:
    """Picture of the lines at chart positions (..., 2): (2, ...) one per layer, valleys positive, ridges negative.

    allowed (...) weighs the places where skin can crease at all. blur (metres) is the distance between texels: no line
    is drawn narrower than it, and the depth is lowered accordingly.
    """
    from parlante.head.skin_kernels import add_crease

    flat = np.ascontiguousarray(chart.reshape(-1, 2), np.float32)
    mask = np.ascontiguousarray(allowed.reshape(-1), np.float32)
    layers = np.zeros((2, len(flat)), np.float32)
    for line in lines:
        width = float(np.hypot(line.width, blur))
        depth = line.depth * np.float32((line.width / width) ** 0.5)
        add_crease(layers[FAMILIES[line.family].layer], flat, mask, line.points, depth, width)
    return layers.reshape(2, *chart.shape[:-1])


def _across(points: NDArray[np.floating]) -> NDArray[np.floating]:
    along = np.gradient(points, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    return np.stack([-along[:, 1], along[:, 0]], -1)


def _smooth_noise(rng: np.random.Generator, count: int, knots: int) -> NDArray[np.floating]:
    return np.interp(np.linspace(0, knots, count), np.arange(knots + 1), rng.normal(0, 1, knots + 1))
