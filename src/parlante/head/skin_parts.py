"""What is not skin: eyes, teeth, gums, tongue, inner mouth, lashes. Each painter returns sRGB 0..255 for its texels."""

import numpy as np
from numpy.typing import NDArray

from parlante.head.skin_kernels import fractal_noise
from parlante.head.skin_map import PARTS, SkinMap, f32, smoothstep

Array = NDArray[np.float32]
LIMBUS, PUPIL = 29.0, 9.5
"""Half angles seen from the middle of the eyeball, degrees."""


def paint_parts(skin: SkinMap, picture: Array, seed: int, iris: Array, age: float, lash: Array) -> None:
    """Fill the texels of all parts but skin in picture (N, 3), in place. iris, lash (3,) sRGB 0..255."""
    for name, paint in (
        ("inner_mouth", lambda where: _inner_mouth(where, seed)),
        ("teeth", lambda where: _teeth(where, seed, age)),
        ("gum", lambda where: _gums(where, seed)),
        ("tongue", lambda where: _tongue(where, seed)),
        ("lashes", lambda where: np.broadcast_to(lash, where.shape)),
    ):
        chosen = np.flatnonzero(skin.part == PARTS.index(name))
        if len(chosen):
            picture[chosen] = paint(skin.position[chosen])
    for side in ("left", "right"):
        centre = skin.frame.position[skin.frame.topology.regions[f"eyeball_{side}"]]
        chosen = np.flatnonzero(skin.part == PARTS.index("eyeball"))
        middle = _sphere_centre(centre)
        own = chosen[np.sign(skin.position[chosen, 0]) == np.sign(middle[0])]
        if len(own):
            picture[own] = _eye(skin.position[own] - middle, seed, iris)


def _noise(where: Array, millimetres: float | tuple[float, float, float], octaves: int, seed: int) -> Array:
    scale = np.broadcast_to(f32(millimetres), 3) * np.float32(1e-3)
    return fractal_noise(
        np.ascontiguousarray(where, np.float32), np.ascontiguousarray(scale, np.float32), octaves, seed
    )


def _sphere_centre(points: Array) -> Array:
    """Centre of the sphere through points (N, 3), by least squares."""
    system = np.concatenate([2 * points, np.ones((len(points), 1))], 1).astype(np.float64)
    return np.linalg.lstsq(system, (points.astype(np.float64) ** 2).sum(1), rcond=None)[0][:3].astype(np.float32)


def _mix(a: Array, b: Array, amount: NDArray[np.floating]) -> Array:
    return a + (b - a) * amount[:, None]


def _eye(offset: Array, seed: int, iris: Array) -> Array:
    polar = np.degrees(np.arctan2(np.hypot(offset[:, 0], offset[:, 1]), offset[:, 2]))
    turn = np.arctan2(offset[:, 1], offset[:, 0])
    ring = np.stack([np.cos(turn), np.sin(turn)], -1)
    sclera = np.broadcast_to(f32([226, 217, 209]), offset.shape)
    sclera = _mix(sclera, f32([205, 160, 148]), smoothstep(38, 85, polar) * 0.8)
    vein = 1 - np.abs(_noise(offset, (2.4, 1.0, 2.4), 4, seed + 11))
    sclera = _mix(sclera, f32([176, 70, 62]), smoothstep(0.9, 1.0, vein) * smoothstep(33, 62, polar) * 0.45)
    # Fibres run outwards: fine around, long along the radius.
    spoke = np.concatenate([ring * 9.0, polar[:, None] * 0.05], 1).astype(np.float32) * np.float32(1e-3)
    fibre = _noise(spoke, 1.0, 3, seed + 12)
    cloud = _noise(np.concatenate([ring * 2.0, polar[:, None] * 0.12], 1).astype(np.float32) * 1e-3, 1.0, 2, seed + 13)
    tone = np.clip(1.0 + 0.30 * fibre + 0.14 * cloud, 0.35, 1.7)
    colour = iris * tone[:, None]
    warm = np.clip(iris * f32([1.45, 1.15, 0.75]) + f32([26, 14, 0]), 0, 235)
    colour = _mix(colour, warm * (0.9 + 0.2 * fibre[:, None]), np.exp(-(((polar - 12.5) / 3.2) ** 2)) * 0.5)
    colour = colour * (1 - 0.72 * smoothstep(23.5, 28.5, polar)[:, None])  # limbal ring
    colour = colour * (
        1 - 0.22 * smoothstep(-0.2, 0.9, offset[:, 1] / np.maximum(np.hypot(*offset[:, :2].T), 1e-6))[:, None]
    )
    colour = _mix(colour, f32([9, 8, 8]), 1 - smoothstep(PUPIL - 1.2, PUPIL + 1.0, polar + 0.5 * fibre))
    return _mix(colour, sclera, smoothstep(LIMBUS - 2.2, LIMBUS + 2.0, polar))


def _teeth(where: Array, seed: int, age: float) -> Array:
    fresh, stained = f32([240, 232, 214]), f32([218, 198, 158])
    colour = np.broadcast_to(fresh + (stained - fresh) * np.float32(np.clip((age - 20) / 90, 0.05, 0.7)), where.shape)
    colour = colour * (1 + 0.03 * _noise(where, 2.5, 2, seed + 21))[:, None]
    upper = where[:, 1] > np.median(where[:, 1])
    for jaw in (upper, ~upper):
        if not jaw.any():
            continue
        y = where[jaw, 1]
        low, high = np.quantile(y, [0.02, 0.98])
        share = np.clip((y - low) / max(float(high - low), 1e-6), 0, 1)
        if jaw is not upper:
            share = 1 - share  # 0 at the biting edge
        tint = _mix(
            np.broadcast_to(f32([0.93, 0.96, 1.0]), (len(y), 3)),
            f32([1, 1, 1]),
            smoothstep(0, 0.25, share),
        )
        tint = tint * _mix(np.ones((len(y), 3), np.float32), f32([0.93, 0.84, 0.70]), smoothstep(0.6, 1.0, share))
        colour[jaw] *= tint
    back = smoothstep(0.116, 0.082, where[:, 2]) * 0.4  # the mouth is dark towards the throat
    return colour * (1 - back[:, None])


def _gums(where: Array, seed: int) -> Array:
    colour = f32([188, 96, 94]) * (1 + 0.10 * _noise(where, 3.0, 3, seed + 31))[:, None]
    return colour * (1 - 0.55 * smoothstep(0.126, 0.098, where[:, 2])[:, None])


def _tongue(where: Array, seed: int) -> Array:
    bumps = _noise(where, 0.9, 2, seed + 41)
    colour = f32([182, 92, 88]) * (1 + 0.10 * bumps + 0.08 * _noise(where, 6.0, 2, seed + 42))[:, None]
    groove = np.exp(-((where[:, 0] / 1.6e-3) ** 2))
    colour = colour * (1 - 0.18 * groove)[:, None]
    return colour * (1 - 0.6 * smoothstep(0.125, 0.085, where[:, 2])[:, None])


def _inner_mouth(where: Array, seed: int) -> Array:
    """Half as bright in the throat, no less: what light misses, the renderer darkens."""
    wet = f32([150, 66, 62]) * (1 + 0.10 * _noise(where, 4.0, 3, seed + 51))[:, None]
    return wet * (1 - 0.55 * smoothstep(0.120, 0.070, where[:, 2])[:, None])
