"""Painted skin: an albedo picture of an identity, computed from its traits and a seed.

Skin colour follows the two pigments that make it: melanin (eyelids, freckles, spots, sun) and blood (cheeks, nose,
ears, lids, lips) darken a base tone multiplicatively, each with its own colour (after Jimenez et al. 2010, "A
practical appearance model for dynamic facial color"). Hairs are drawn one by one; places come from `skin_frame`.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.head.creases import crease_lines, crease_pattern
from parlante.head.identities import Traits
from parlante.head.skin_hair import brows, hairline, receding, stubble
from parlante.head.skin_map import SkinMap, f32, skin_map, smoothstep
from parlante.head.skin_parts import paint_parts

Array = NDArray[np.float32]
TONES = f32(
    [(242, 209, 192), (232, 190, 165), (213, 163, 131), (178, 126, 94), (128, 86, 63), (84, 56, 44)]
)  # sRGB of a forehead, from the lightest to the darkest
LIPS = f32([(208, 130, 124), (198, 118, 110), (180, 102, 93), (150, 82, 74), (118, 68, 62), (92, 54, 51)])
MELANIN = f32([-0.34, -0.58, -0.80])
"""Change of the logarithm of linear colour per unit of melanin."""
BLOOD = f32([0.03, -0.34, -0.27])


@dataclass(frozen=True)
class Look:
    """Traits as numbers that can be painted. Colours are sRGB 0..255."""

    seed: int
    age: float
    male: float
    tone: float
    """0 lightest .. 1 darkest."""
    base: tuple[float, float, float]
    lips: tuple[float, float, float]
    hair: tuple[float, float, float]
    brow: tuple[float, float, float]
    iris: tuple[float, float, float]
    stubble: float
    stubble_length: float
    freckles: float
    scalp: float
    """Density of close-cropped hair, 0 bald .. 1."""
    recede: float
    """Millimetres that the hairline has moved back."""


def paint_albedo(head: Any, name: str, size: int = 1024) -> NDArray[np.uint8]:
    """Albedo (size, size, 3) sRGB of an identity, first row at v = 1. Kept in memory once painted; do not write to it.

    `head` offers topology, identity_names, neutral(name) and traits(name).
    """
    return _painted(head, name, size)


@lru_cache(maxsize=48)
def _painted(head: Any, name: str, size: int) -> NDArray[np.uint8]:
    picture = paint_look(skin_map(head, size), look_of(head.traits(name)))
    picture.setflags(write=False)
    return picture


def look_of(traits: Traits) -> Look:
    """Numbers to paint with from a person's traits; what they leave open is drawn from their seed."""
    rng = np.random.default_rng([traits.seed, 5])
    steps = np.linspace(0, 1, len(TONES))

    def along(palette: Array) -> tuple[float, float, float]:
        r, g, b = (float(np.interp(traits.skin_tone, steps, palette[:, k])) for k in range(3))
        return r, g, b

    def bright(colour: tuple[float, float, float], gain: float = 1.0) -> tuple[float, float, float]:
        return 255 * gain * colour[0], 255 * gain * colour[1], 255 * gain * colour[2]

    def _calm(colour: tuple[float, float, float]) -> tuple[float, float, float]:
        grey = sum(colour) / 3
        r, g, b = (0.8 * c + 0.2 * grey for c in colour)
        return r, g, b

    african, asian, _ = traits.ancestry
    warm = np.array([1.0, 1.0 + 0.012 * asian, 1.0 - 0.045 * asian - 0.02 * african]) * rng.normal(1, 0.012, 3)
    base = np.clip(np.array(along(TONES)) * warm, 0, 255)
    male, age = traits.sex, traits.age
    ageing = float(np.clip((age - 30) / 35, 0, 1))
    recede = male * float(rng.uniform(0, 7) + rng.uniform(0, 18) * ageing)
    scalp = float(rng.choice([0.55, 0.85, 0.97], p=[0.2, 0.35, 0.45] if male else [0.05, 0.2, 0.75]))
    lips = np.array(along(LIPS)) * np.array([1.0, 1.0 - 0.07 * (1 - male), 1.0 - 0.04 * (1 - male)])
    if male:
        lips = 0.72 * lips + 0.28 * base * np.array([0.88, 0.74, 0.72])
    return Look(
        seed=traits.seed,
        age=22 + 45 * traits.wrinkle_age,
        male=male,
        tone=traits.skin_tone,
        base=(float(base[0]), float(base[1]), float(base[2])),
        lips=(float(lips[0]), float(lips[1]), float(lips[2])),
        hair=bright(traits.hair),
        brow=bright(traits.brow),
        iris=bright(_calm(traits.iris), 1.1),
        stubble=traits.stubble,
        stubble_length=float(rng.choice([0.35, 0.7, 1.6, 2.6], p=[0.35, 0.3, 0.2, 0.15])),
        freckles=traits.freckles,
        scalp=scalp,
        recede=recede,
    )


def paint_look(skin: SkinMap, look: Look) -> NDArray[np.uint8]:
    """Albedo (size, size, 3) sRGB of any look."""
    rng = np.random.default_rng([look.seed, 3])
    flat = np.zeros((skin.size * skin.size, 3), np.float32)
    flat[:] = look.base
    colour = _skin_colour(skin, look, rng)
    deep = f32(look.base) * (1 + 0.04 * skin.noise(20.0, 3, look.seed * 31 + 70, skin.deep))[:, None]
    _lips(skin, look, colour)
    _lids(skin, look, colour)
    if look.stubble > 0:
        _beard(skin, look, colour, rng)
    if look.scalp > 0:
        _scalp(skin, look, colour, deep, rng)
    _brows(skin, look, colour, rng)
    flat[skin.skin], flat[skin.deep] = colour, deep
    lash = f32([30, 22, 18]) * (0.6 if look.tone > 0.6 else 1.0)
    paint_parts(skin, flat, look.seed, f32(look.iris), look.age, lash)
    return np.clip(np.rint(flat), 0, 255).astype(np.uint8).reshape(skin.size, skin.size, 3)


def _skin_colour(skin: SkinMap, look: Look, rng: np.random.Generator) -> Array:
    """sRGB (M, 3) of bare skin."""
    seed, age, spot = look.seed, look.age, skin.spot

    def noise(millimetres: float, octaves: int, salt: int) -> Array:
        return skin.noise(millimetres, octaves, seed * 31 + salt)

    wide, blotch, fine = noise(26, 2, 1), noise(7, 3, 2), noise(1.3, 2, 3)
    grain = noise(0.62, 1, 4)
    face = smoothstep(-0.095, -0.065, skin.y) * smoothstep(0.115, 0.085, skin.s)
    flush = rng.uniform(0.65, 1.1)
    blood = 0.50 * spot(43, 4, 17, 15) + 0.20 * spot(58, -8, 18, 18) + 0.42 * spot(0, -4, 13, 10)
    blood += 0.42 * spot(16, -9, 7, 8) + 0.22 * spot(0, -62, 14, 8) + 0.16 * spot(0, -20, 12, 6)
    blood += 0.20 * spot(35, 41, 17, 5) + 0.22 * spot(23, 29, 5, 4) + 0.18 * spot(36, 22, 15, 5)
    blood += 0.55 * skin.ears - 0.12 * spot(0, 72, 40, 18) - 0.10 * spot(0, -30, 34, 14)
    blood = flush * blood * (1 + 0.22 * blotch) + face * (0.13 * blotch + 0.10 * wide + 0.07 * fine)
    melanin = 0.16 * wide + 0.07 * blotch * face + 0.035 * fine
    melanin += (0.20 + 0.25 * look.tone) * spot(35, 21, 17, 7) + 0.16 * spot(25, 27, 8, 6) + 0.10 * spot(37, 41, 17, 6)
    melanin += (0.10 + 0.22 * look.tone) * (spot(0, -36, 38, 19) - 0.6 * spot(0, -37, 30, 11))
    melanin += 0.10 * look.tone * (spot(0, 92, 60, 16) + spot(70, 30, 22, 40)) - 0.12 * look.tone * spot(0, 5, 10, 22)
    light = 0.022 * fine + 0.034 * grain * (0.4 + face)
    pores = np.clip(noise(0.85, 1, 5) - 0.55, 0, 1) * (
        spot(0, 0, 14, 16) + 0.65 * spot(33, 0, 17, 15) + 0.3 * spot(0, 62, 30, 16)
    )
    light -= 0.28 * pores * (1.1 - 0.4 * look.tone)
    if look.freckles > 0:
        seeds = noise(1.25, 1, 6) + 0.30 * noise(8, 1, 7) + 0.15 * fine
        field = spot(33, 8, 26, 16) + spot(0, 8, 16, 16) + 0.35 * spot(0, 65, 45, 20) + 0.2 * face
        melanin += look.freckles * 0.85 * smoothstep(0.78, 1.25, seeds) * np.clip(field, 0, 1)
    if age > 45:
        spots = noise(5.5, 1, 8) + 0.25 * noise(1.7, 1, 9)
        sun = spot(75, 30, 40, 40) + spot(0, 90, 60, 30) + 0.4 * face
        melanin += min((age - 45) / 30, 1) * 0.55 * smoothstep(0.80, 1.0, spots) * np.clip(sun, 0, 1)
        thin = 1 - np.abs(noise(3.2, 2, 10))
        blood += (
            0.5 * min((age - 45) / 30, 1) * smoothstep(0.93, 1.0, thin) * (spot(30, 0, 18, 12) + spot(0, -4, 14, 10))
        )
    vein = 1 - np.abs(noise(9, 1, 13))
    under = smoothstep(0.95, 1.0, vein) * (spot(34, 18, 16, 6) + spot(72, 48, 14, 16)) * (1 - look.tone)
    for _ in range(int(rng.poisson(3.5))):  # moles
        s, y, r = rng.uniform(-95, 95), rng.uniform(-62, 80), rng.uniform(0.5, 1.2)
        d = np.hypot(skin.chart[skin.skin, 0] - s * 1e-3, skin.y - y * 1e-3) * 1e3 + 0.25 * fine
        if abs(s) > 14 and not (20 < y < 58 and abs(s) < 62):
            melanin += rng.uniform(0.9, 1.7) * smoothstep(r + 0.35, r - 0.35, d) * (0.8 - 0.45 * look.tone)
    rest = np.clip(0.10 + 0.42 * (age - 22) / 50, 0.05, 0.6)
    fold = np.zeros(len(skin.y), np.float32)
    front = np.flatnonzero(face > 0)
    chart = skin.chart[skin.skin[front]]
    lines = crease_pattern(crease_lines(seed, age), chart, np.ones(len(front), np.float32), 0.25e-3)
    fold[front] = np.clip(lines.sum(0), -0.4, 1.3) * face[front]
    light -= np.float32(rest * 0.26) * fold
    blood += np.float32(rest * 0.35) * np.clip(fold, 0, 1)
    light -= 0.16 * spot(19.5, -5, 2.5, 6) + 0.55 * spot(8.5, -11.5, 3.6, 2.2)  # beside and inside the nostrils
    light -= 0.10 * smoothstep(-0.058, -0.085, skin.y)  # the neck is less lit by the sun, more by itself
    shadow = f32([0.0, 0.02, 0.05])
    logarithm = (
        melanin[:, None] * MELANIN * (1 - 0.25 * look.tone)
        + blood[:, None] * BLOOD * (1 - 0.55 * look.tone)
        + light[:, None] * f32([0.9, 1.0, 1.05])
        + under[:, None] * f32([-0.09, -0.03, 0.02])
        - (0.03 * spot(35, 20, 16, 7))[:, None] * (1 + shadow)
    )
    return _to_srgb(_to_linear(f32(look.base)) * np.exp(logarithm))


def _lips(skin: SkinMap, look: Look, colour: Array) -> None:
    near = np.flatnonzero(skin.lips > 0.001)
    there, y, lips = skin.skin[near], skin.y[near], skin.lips[near]
    lines = skin.noise((0.75, 7.0, 3.0), 2, look.seed * 31 + 61, there)
    ragged = skin.noise(1.6, 2, look.seed * 31 + 62, there)
    cover = np.clip(lips * (1.12 + 0.12 * ragged) - 0.06, 0, 1) * 0.86
    upper = smoothstep(-0.0385, -0.0365, y)
    shade = 1 + 0.045 * lines - 0.09 * upper + 0.05 * skin.spot(0, -43, 14, 3.5)[near]
    inner = np.exp(-(((y + 0.0370) / 0.0022) ** 2))  # darker, wetter where they meet
    tone = f32(look.lips) * shade[:, None] * (1 - inner[:, None] * f32([0.18, 0.26, 0.24]))
    rim = np.clip(4 * lips * (1 - lips), 0, 1) * upper  # the light rolls over the vermilion border
    colour[near] = _over(colour[near], tone, cover) * (1 + 0.035 * rim[:, None] * (1 - look.tone))


def _lids(skin: SkinMap, look: Look, colour: Array) -> None:
    lines = skin.lid_lines
    near = np.flatnonzero(
        (np.minimum(np.minimum(lines["fold"], lines["upper"]), lines["lower"]) < 4e-3) | (skin.lid_depth > 0)
    )
    inside = np.clip(skin.lid_depth[near], 0, 1)
    fold = np.exp(-((lines["fold"][near] / 0.9e-3) ** 2)) * 0.16
    upper = np.exp(-((lines["upper"][near] / 1.1e-3) ** 2)) * (0.40 - 0.14 * look.male)
    lower = np.exp(-((lines["lower"][near] / 0.9e-3) ** 2)) * 0.16
    dark = (np.clip(fold + upper + lower, 0, 0.7) * (1 - inside))[:, None]
    shaded = colour[near] * (1 - dark * f32([0.72, 0.86, 0.90]))
    wet = f32([196, 120, 108]) * (1 - 0.45 * look.tone)  # the rim and the lining of the lid
    colour[near] = _over(shaded, wet, 0.75 * inside)


def _beard(skin: SkinMap, look: Look, colour: Array, rng: np.random.Generator) -> None:
    near = np.flatnonzero(skin.beard > -0.004)
    there, hair = skin.skin[near], f32(look.hair)
    density = np.clip(skin.beard[near] / 0.007, 0, 1) * (1 - skin.lips[near])
    dots = skin.noise(0.55, 2, look.seed * 31 + 71, there)
    strength = look.stubble * (0.22 + 0.10 * min(look.stubble_length, 3))
    shade = np.clip(0.55 + 0.55 * dots, 0, 1.2) * density * strength
    shadow = np.minimum(
        hair * 0.75 + f32(look.base) * f32([0.18, 0.21, 0.24]), f32(look.base) * f32([0.52, 0.58, 0.64])
    )
    colour[near] = _over(colour[near], shadow, shade)
    canvas = stubble(skin, rng, amount=look.stubble, length=look.stubble_length)
    colour[near] = _over(colour[near], hair, canvas.reshape(-1)[there] * (1 - skin.lips[near]))


def _scalp(skin: SkinMap, look: Look, colour: Array, deep: Array, rng: np.random.Generator) -> None:
    """Close-cropped hair over the edge of the scalp (colour) and over the rest of it (deep)."""
    hair, seed = f32(look.hair), look.seed * 31
    near = np.flatnonzero(skin.scalp > -0.006)
    there = skin.skin[near]
    moved = look.recede * 1e-3 * receding(skin.s[near] * 1e3, skin.y[near] * 1e3).astype(np.float32)
    depth = skin.scalp[near] - moved + 0.0022 * skin.noise(6.0, 3, seed + 72, there)
    edge = smoothstep(-0.001, 0.013, depth) * (1 - skin.ears[near])
    calm = 0.34 * (1 - 0.6 * float(hair.max()) / 255)  # light hair sparkles less
    for target, chosen, texels, density in (
        (colour, near, there, edge),
        (deep, slice(None), skin.deep, np.float32(1)),
    ):
        strands = skin.noise((0.7, 1.9, 0.9), 2, seed + 73, texels)
        locks = skin.noise(14.0, 2, seed + 74, texels)
        crown = np.exp(-(((skin.position[texels, 1] - 0.152) / 0.022) ** 2)) * np.clip(look.recede / 22, 0, 0.8)
        lighter = np.clip(1 + calm * strands + 0.07 * locks, 0.4, 1.8)
        cover = np.clip(density * (1 - crown) * look.scalp * (0.88 + 0.16 * strands), 0, 0.97)
        target[chosen] = _over(target[chosen], hair * lighter[:, None], cover)
    single = hairline(skin, rng, recede=look.recede, density=look.scalp).reshape(-1)[there]
    colour[near] = _over(colour[near], hair, single * (1 - skin.ears[near]))


def _brows(skin: SkinMap, look: Look, colour: Array, rng: np.random.Generator) -> None:
    fullness = float(np.clip(rng.normal(0.85 + 0.35 * look.male, 0.13), 0.55, 1.5))
    arch = float(rng.uniform(0.2, 1.8) * (1 - 0.6 * look.male))
    drawn = brows(skin, rng, fullness=fullness, arch=arch, dark=0.85).reshape(-1)[skin.skin]
    near = np.flatnonzero(drawn)
    colour[near] = _over(colour[near], f32(look.brow), drawn[near])


def _over(below: Array, above: Array, cover: NDArray[np.floating]) -> Array:
    return below + (above - below) * cover[:, None]


def _to_linear(srgb: Array) -> Array:
    c = srgb / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _to_srgb(linear: Array) -> Array:
    c = np.clip(linear, 0, 1)
    return (255 * np.where(c <= 0.0031308, 12.92 * c, 1.055 * c ** np.float32(1 / 2.4) - 0.055)).astype(np.float32)
