"""Hairs on the skin, drawn one by one: eyebrows, stubble, hairline."""

import numpy as np
from numpy.typing import NDArray

from parlante.head.skin_kernels import draw_strokes, inside_polygon
from parlante.head.skin_map import BEARD, HAIRLINE, Outline, SkinMap, f32

Array = NDArray[np.float32]
BROW = np.array([(12, 44.0), (19, 46.5), (28, 49.2), (38, 51.0), (48, 51.2), (57, 48.8), (65, 45.0)])
"""Middle of the left eyebrow in the chart, mm, from the nose outwards."""


def brows(skin: SkinMap, rng: np.random.Generator, *, fullness: float, arch: float, dark: float) -> Array:
    """Coverage (H, W) of eyebrow hairs. fullness about 0.6 (thin) .. 1.4 (bushy); arch in mm; dark 0..1 opacity."""
    canvas = np.zeros((skin.size, skin.size), np.float32)
    texel = texel_pitch(skin, (0.03, 0.05))
    for side in (1, -1):
        count = int(330 * fullness)
        t = np.sort(rng.beta(1.15, 1.3, count))
        across = np.clip(rng.normal(0, 0.45, count), -1, 1)
        half = np.interp(t, [0, 0.12, 0.5, 0.8, 1], [2.2, 3.3, 3.1, 2.0, 0.6]) * (0.72 + 0.28 * fullness)
        knots = np.linspace(0, 1, len(BROW))
        lifted = BROW + np.stack([np.zeros(len(BROW)), arch * np.interp(knots, [0, 0.6, 1], [-0.4, 1, 0])], -1)
        root = np.stack([np.interp(t, knots, lifted[:, k]) for k in range(2)], -1)
        root[:, 1] += across * half
        lean = np.interp(t, [0, 0.15, 0.4, 0.7, 1], [80, 55, 25, -8, -28])
        lean = np.radians(lean - 24 * across * np.interp(t, [0, 0.3, 1], [0.2, 1, 0.6]) + rng.normal(0, 8, count))
        length = np.interp(t, [0, 0.2, 0.8, 1], [4.0, 6.0, 6.0, 4.0]) * rng.uniform(0.7, 1.15, count)
        bend = rng.normal(-0.25, 0.15, count)
        steps = np.linspace(0, 1, 4)
        angle = lean[:, None] + bend[:, None] * steps
        path = np.stack([np.cos(angle), np.sin(angle)], -1) * (length / 3)[:, None, None]
        path[:, 0] = 0
        hair = root[:, None] + np.cumsum(path, 1)
        hair[..., 0] *= side
        opacity = dark * rng.uniform(0.55, 1.0, count)
        _draw(canvas, skin, hair, 0.085e-3 / texel * rng.uniform(0.8, 1.3, count), opacity)
    return canvas


def stubble(skin: SkinMap, rng: np.random.Generator, *, amount: float, length: float) -> Array:
    """Coverage (H, W) of beard hairs; amount 0..1 scales their number, length in mm (0.3 shaven .. 3)."""
    canvas = np.zeros((skin.size, skin.size), np.float32)
    count = int(26000 * amount)
    if not count:
        return canvas
    place = np.stack([rng.uniform(-128, 128, count), rng.uniform(-92, 13, count)], -1)
    depth = _outline_depth(place, BEARD)
    patchy = np.where((place[:, 1] > -57) & (np.abs(place[:, 0]) > 7) & (np.abs(place[:, 0]) < 22), 0.45, 1.0)
    lips = ((place[:, 0] / 29.0) ** 2 + ((place[:, 1] + 38.5) / 11.0) ** 2) < 1
    keep = (rng.random(count) < np.clip(depth / 6, 0, 1) * patchy) & ~lips
    place = place[keep]
    count = len(place)
    down = np.radians(
        -90 + 28 * np.sign(place[:, 0]) * np.clip(np.abs(place[:, 0]) / 30, 0, 1) + rng.normal(0, 16, count)
    )
    size = length * rng.uniform(0.6, 1.3, count)
    steps = np.linspace(0, 1, 3)
    tip = np.stack([np.cos(down), np.sin(down)], -1) * size[:, None]
    hair = place[:, None] + steps[:, None] * tip[:, None]
    texel = texel_pitch(skin, (0.02, -0.06))
    _draw(canvas, skin, hair, 0.075e-3 / texel * rng.uniform(0.8, 1.3, count), rng.uniform(0.35, 0.85, count))
    return canvas


def hairline(skin: SkinMap, rng: np.random.Generator, *, recede: float, density: float) -> Array:
    """Coverage (H, W) of the short hairs that scatter over the edge of the scalp; recede in mm."""
    canvas = np.zeros((skin.size, skin.size), np.float32)
    count = int(16000 * density)
    place = np.stack([rng.uniform(-150, 150, count), rng.uniform(0, 118, count)], -1)
    depth = _outline_depth(place, HAIRLINE) - recede * receding(np.abs(place[:, 0]), place[:, 1])
    chance = np.clip((depth + 3.5) / 9, 0, 1) * np.clip((16 - depth) / 8, 0, 1)
    place = place[rng.random(count) < chance]
    count = len(place)
    angle = np.radians(
        90 - 35 * np.sign(place[:, 0]) * np.clip(np.abs(place[:, 0]) / 50, 0, 1.6) + rng.normal(0, 18, count)
    )
    angle = np.where(np.abs(place[:, 0]) > 95, np.radians(-90 + rng.normal(0, 15, count)), angle)
    size = rng.uniform(1.5, 4.0, count)
    tip = np.stack([np.cos(angle), np.sin(angle)], -1) * size[:, None]
    hair = place[:, None] + np.linspace(0, 1, 3)[:, None] * tip[:, None]
    texel = texel_pitch(skin, (0.03, 0.09))
    _draw(canvas, skin, hair, 0.08e-3 / texel * rng.uniform(0.8, 1.3, count), rng.uniform(0.4, 0.9, count))
    return canvas


def receding(s: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.floating]:
    """How far the hairline moves where it recedes: most at the temples, none at the sides. s >= 0, y in mm."""
    temple = np.exp(-(((s - 36) / 18) ** 2))
    return np.clip((y - 50) / 25, 0, 1) * (0.55 + 0.9 * temple)


def texel_pitch(skin: SkinMap, place: tuple[float, float]) -> float:
    """Metres per texel about a chart place."""
    step = 1e-3
    a, b, c = (f32([place[0] + dx, place[1] + dy]) for dx, dy in ((0, 0), (step, 0), (0, step)))
    here, right, up = skin.atlas.texels(np.stack([a, b, c]), skin.size)
    spread = 0.5 * (np.linalg.norm(right - here) + np.linalg.norm(up - here))
    return float(step / spread) if np.isfinite(spread) and spread > 0 else 0.25 / skin.size


def _outline_depth(place: NDArray[np.floating], outline: Outline) -> NDArray[np.floating]:
    folded = np.stack([np.abs(place[:, 0]), place[:, 1]], -1).astype(np.float32)
    return inside_polygon(folded, np.array(outline, np.float32))


def _draw(
    canvas: Array,
    skin: SkinMap,
    hair: NDArray[np.floating],
    radius: NDArray[np.floating],
    opacity: NDArray[np.floating],
) -> None:
    texels = skin.atlas.texels((hair * 1e-3).astype(np.float32), skin.size)
    there = np.isfinite(texels).all((1, 2))
    draw_strokes(
        canvas,
        np.ascontiguousarray(texels[there], np.float32),
        radius[there].astype(np.float32),
        opacity[there].astype(np.float32),
    )
