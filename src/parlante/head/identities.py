"""The people of the embedded head: who they are and how their skin is to be painted. All are invented."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Traits:
    """What skin painting and voices need to know about one person."""

    name: str
    sex: float
    """0 female .. 1 male."""
    age: float
    """Years."""
    ancestry: tuple[float, float, float]
    """Shares of african, asian, caucasian, summing to 1."""
    skin_tone: float
    """0 very light .. 1 very dark."""
    hair: tuple[float, float, float]
    """sRGB 0..1, also of the lashes."""
    brow: tuple[float, float, float]
    """sRGB 0..1."""
    iris: tuple[float, float, float]
    """sRGB 0..1."""
    stubble: float
    """0 shaven or none .. 1 dark shadow of a beard."""
    freckles: float
    """0..1."""
    wrinkle_age: float
    """0 smooth .. 1 old skin."""
    seed: int
    """For the details of this person's skin."""


# name: sex (f/m), age, shares of african, asian, caucasian, skin tone, hair, iris
_PEOPLE: dict[str, tuple[str, int, tuple[float, float, float], float, str, str]] = {
    "abena": ("f", 27, (1.0, 0.0, 0.0), 0.92, "black", "dark"),
    "adela": ("f", 58, (0.0, 0.0, 1.0), 0.18, "grey", "grey"),
    "aiko": ("f", 31, (0.0, 1.0, 0.0), 0.24, "black", "dark"),
    "amara": ("f", 41, (0.9, 0.0, 0.1), 0.84, "black", "dark"),
    "anders": ("m", 36, (0.0, 0.0, 1.0), 0.08, "blond", "blue"),
    "anjali": ("f", 25, (0.1, 0.3, 0.6), 0.58, "black", "brown"),
    "bruno": ("m", 52, (0.0, 0.05, 0.95), 0.30, "dark", "brown"),
    "carmen": ("f", 35, (0.1, 0.2, 0.7), 0.42, "dark", "brown"),
    "chen": ("m", 29, (0.0, 1.0, 0.0), 0.28, "black", "dark"),
    "dmitri": ("m", 44, (0.0, 0.15, 0.85), 0.12, "brown", "grey"),
    "elif": ("f", 30, (0.0, 0.15, 0.85), 0.30, "brown", "hazel"),
    "emeka": ("m", 33, (1.0, 0.0, 0.0), 0.95, "black", "dark"),
    "farid": ("m", 39, (0.1, 0.15, 0.75), 0.45, "black", "brown"),
    "fatou": ("f", 62, (1.0, 0.0, 0.0), 0.90, "grey", "dark"),
    "freya": ("f", 22, (0.0, 0.0, 1.0), 0.06, "blond", "blue"),
    "giulia": ("f", 47, (0.0, 0.0, 1.0), 0.26, "brown", "green"),
    "hana": ("f", 45, (0.0, 1.0, 0.0), 0.20, "black", "dark"),
    "hugo": ("m", 24, (0.0, 0.0, 1.0), 0.20, "brown", "green"),
    "ines": ("f", 28, (0.25, 0.1, 0.65), 0.50, "dark", "brown"),
    "jabari": ("m", 48, (0.95, 0.0, 0.05), 0.88, "black", "dark"),
    "keanu": ("m", 34, (0.05, 0.6, 0.35), 0.50, "black", "brown"),
    "kofi": ("m", 23, (1.0, 0.0, 0.0), 0.86, "black", "dark"),
    "leilani": ("f", 38, (0.1, 0.6, 0.3), 0.52, "black", "brown"),
    "liam": ("m", 28, (0.0, 0.0, 1.0), 0.05, "red", "green"),
    "linh": ("f", 23, (0.0, 0.95, 0.05), 0.30, "black", "dark"),
    "marek": ("m", 61, (0.0, 0.05, 0.95), 0.16, "grey", "blue"),
    "mateo": ("m", 31, (0.1, 0.35, 0.55), 0.46, "black", "brown"),
    "moana": ("f", 54, (0.15, 0.6, 0.25), 0.56, "dark", "dark"),
    "nadia": ("f", 33, (0.35, 0.05, 0.6), 0.60, "black", "brown"),
    "omar": ("m", 57, (0.4, 0.05, 0.55), 0.66, "grey", "brown"),
    "priya": ("f", 43, (0.15, 0.3, 0.55), 0.66, "black", "dark"),
    "ravi": ("m", 27, (0.15, 0.3, 0.55), 0.68, "black", "dark"),
    "saoirse": ("f", 26, (0.0, 0.0, 1.0), 0.03, "red", "green"),
    "takeshi": ("m", 55, (0.0, 1.0, 0.0), 0.30, "grey", "dark"),
    "wei": ("m", 41, (0.0, 0.95, 0.05), 0.26, "black", "dark"),
    "zola": ("f", 34, (0.8, 0.05, 0.15), 0.76, "black", "brown"),
}
_HAIR = {
    "black": (0.06, 0.05, 0.05),
    "dark": (0.14, 0.09, 0.06),
    "brown": (0.27, 0.17, 0.10),
    "blond": (0.62, 0.48, 0.30),
    "red": (0.50, 0.24, 0.11),
    "grey": (0.52, 0.51, 0.50),
}
_IRIS = {
    "dark": (0.15, 0.08, 0.05),
    "brown": (0.30, 0.17, 0.08),
    "hazel": (0.42, 0.31, 0.14),
    "green": (0.35, 0.42, 0.24),
    "blue": (0.30, 0.45, 0.60),
    "grey": (0.42, 0.47, 0.50),
}
IDENTITY_NAMES: tuple[str, ...] = tuple(sorted(_PEOPLE))


def traits_of(name: str) -> Traits:
    """Traits of a person of `IDENTITY_NAMES`. Raises KeyError for any other name."""
    sex, age, ancestry, tone, hair, iris = _PEOPLE[name]
    seed = 1000 + IDENTITY_NAMES.index(name)
    rng = np.random.default_rng(seed)
    male = 1.0 if sex == "m" else 0.0
    colour = _HAIR[hair]
    brow_share = 0.75 if hair != "grey" else 0.45
    brow = (brow_share * colour[0], brow_share * colour[1], brow_share * colour[2])
    freckles = {"red": 0.8, "blond": 0.35}.get(hair, 0.05 if tone < 0.4 else 0.0)
    return Traits(
        name=name,
        sex=male,
        age=float(age),
        ancestry=ancestry,
        skin_tone=tone,
        hair=colour,
        brow=brow,
        iris=_IRIS[iris],
        stubble=round(male * float(rng.uniform(0.15, 0.9)) * (1 - 0.5 * ancestry[1]), 3),
        freckles=round(freckles * float(rng.uniform(0.6, 1.0)), 3),
        wrinkle_age=round(float(np.clip((age - 22) / 45, 0, 1)) ** 1.2, 3),
        seed=seed,
    )


def sizes(age: float) -> float:
    """Share of the sculpted old age in a face of `age` years, 0 at 25."""
    return float(np.clip((age - 25) / 70, 0, 1)) ** (1 / math.sqrt(1.3))
