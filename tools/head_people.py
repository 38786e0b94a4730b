"""Turn the traits of the embedded people into weights of identity targets, with seeded individual features."""

import numpy as np

from parlante.head.identities import Traits, sizes

ANCESTRIES = ("african", "asian", "caucasian")
SPREAD = 0.8  # of individual features altogether
# Pairs of opposite targets and the spread (standard deviation) of their signed weight.
_PAIRS = {
    "head/head-scale-vert-{decr|incr}": 0.10,
    "head/head-scale-horiz-{decr|incr}": 0.12,
    "head/head-scale-depth-{decr|incr}": 0.14,
    "head/head-fat-{decr|incr}": 0.18,
    "head/head-angle-{in|out}": 0.07,
    "forehead/forehead-scale-vert-{decr|incr}": 0.14,
    "forehead/forehead-nubian-{decr|incr}": 0.10,
    "forehead/forehead-temple-{decr|incr}": 0.16,
    "forehead/forehead-trans-{backward|forward}": 0.20,
    "eyebrows/eyebrows-angle-{down|up}": 0.30,
    "eyebrows/eyebrows-trans-{backward|forward}": 0.20,
    "eyebrows/eyebrows-trans-{down|up}": 0.30,
    "nose/nose-scale-vert-{decr|incr}": 0.22,
    "nose/nose-scale-horiz-{decr|incr}": 0.22,
    "nose/nose-scale-depth-{decr|incr}": 0.22,
    "nose/nose-curve-{concave|convex}": 0.30,
    "nose/nose-hump-{decr|incr}": 0.30,
    "nose/nose-point-{down|up}": 0.30,
    "nose/nose-point-width-{decr|incr}": 0.30,
    "nose/nose-base-{down|up}": 0.25,
    "nose/nose-width1-{decr|incr}": 0.25,
    "nose/nose-width2-{decr|incr}": 0.25,
    "nose/nose-width3-{decr|incr}": 0.25,
    "nose/nose-flaring-{decr|incr}": 0.18,
    "nose/nose-nostrils-width-{decr|incr}": 0.25,
    "nose/nose-volume-{decr|incr}": 0.16,
    "nose/nose-greek-{decr|incr}": 0.20,
    "mouth/mouth-scale-horiz-{decr|incr}": 0.24,
    "mouth/mouth-scale-vert-{decr|incr}": 0.18,
    "mouth/mouth-trans-{down|up}": 0.20,
    "mouth/mouth-lowerlip-volume-{decr|incr}": 0.20,
    "mouth/mouth-upperlip-volume-{decr|incr}": 0.20,
    "mouth/mouth-lowerlip-height-{decr|incr}": 0.22,
    "mouth/mouth-upperlip-height-{decr|incr}": 0.22,
    "mouth/mouth-cupidsbow-{decr|incr}": 0.35,
    "mouth/mouth-philtrum-volume-{decr|incr}": 0.30,
    "mouth/mouth-angles-{down|up}": 0.16,
    "chin/chin-width-{decr|incr}": 0.28,
    "chin/chin-height-{decr|incr}": 0.24,
    "chin/chin-prominent-{decr|incr}": 0.28,
    "chin/chin-prognathism-{decr|incr}": 0.12,
    "chin/chin-bones-{decr|incr}": 0.30,
    "chin/chin-jaw-drop-{decr|incr}": 0.22,
}
_BOTH_SIDES = {
    "eyes/{side}-eye-scale-{decr|incr}": 0.20,
    "eyes/{side}-eye-trans-{in|out}": 0.22,
    "eyes/{side}-eye-trans-{down|up}": 0.15,
    "eyes/{side}-eye-corner1-{down|up}": 0.25,
    "eyes/{side}-eye-corner2-{down|up}": 0.30,
    "eyes/{side}-eye-height2-{decr|incr}": 0.20,
    "eyes/{side}-eye-bag-{decr|incr}": 0.25,
    "eyes/{side}-eye-eyefold-{down|up}": 0.25,
    "cheek/{side}-cheek-bones-{decr|incr}": 0.32,
    "cheek/{side}-cheek-inner-{decr|incr}": 0.25,
    "cheek/{side}-cheek-volume-{decr|incr}": 0.28,
    "cheek/{side}-cheek-trans-{down|up}": 0.25,
    "ears/{side}-ear-scale-{decr|incr}": 0.25,
    "ears/{side}-ear-wing-{decr|incr}": 0.22,
    "ears/{side}-ear-lobe-{decr|incr}": 0.30,
    "ears/{side}-ear-rot-{backward|forward}": 0.20,
}
_FACES = ("oval", "round", "rectangular", "square", "triangular", "invertedtriangular", "diamond")
_ASYMMETRY = (
    "brown-1",
    "brown-2",
    "cheek-1",
    "eye-3",
    "eye-7",
    "jaw-1",
    "jaw-2",
    "mouth-1",
    "nose-1",
    "nose-4",
    "ear-1",
)


def recipe(traits: Traits) -> dict[str, float]:
    """Weights (0..1) of identity targets for one person, the same every time."""
    rng = np.random.default_rng(traits.seed + 7)
    old = sizes(traits.age)
    sex = "male" if traits.sex > 0.5 else "female"
    weights: dict[str, float] = {}

    def add(name: str, weight: float) -> None:
        if abs(weight) > 0.01:
            weights[name] = weights.get(name, 0.0) + float(weight)

    heavy, strong = np.clip(rng.normal(-0.1, 0.22), -0.5, 0.5), np.clip(rng.normal(0.0, 0.2), -0.4, 0.5)
    muscle = {"maxmuscle": max(strong, 0), "minmuscle": max(-strong, 0)}
    weight = {"maxweight": max(heavy, 0), "minweight": max(-heavy, 0)}
    muscle["averagemuscle"] = 1 - sum(muscle.values())
    weight["averageweight"] = 1 - sum(weight.values())
    for age, age_share in (("young", 1 - old), ("old", old)):
        for ancestry, share in zip(ANCESTRIES, traits.ancestry, strict=True):
            add(f"macrodetails/{ancestry}-{sex}-{age}", share * age_share)
        for m, m_share in muscle.items():
            for w, w_share in weight.items():
                add(f"macrodetails/universal-{sex}-{age}-{m}-{w}", age_share * m_share * w_share)

    def signed(pattern: str, spread: float) -> None:
        head, tail = pattern.split("{", 1)
        low, high = tail.rstrip("}").split("|")
        value = SPREAD * float(np.clip(rng.normal(0, spread), -2 * spread, 2 * spread))
        add(head + (high if value > 0 else low), abs(value))

    for pattern, spread in _PAIRS.items():
        signed(pattern, spread)
    for pattern, spread in _BOTH_SIDES.items():
        state = rng.bit_generator.state
        for side in ("l", "r"):
            rng.bit_generator.state = state
            signed(pattern.replace("{side}", side), spread)
    for shape in rng.choice(len(_FACES), 2, replace=False):
        add(f"head/head-{_FACES[shape]}", rng.uniform(0.05, 0.28))
    for part in rng.choice(len(_ASYMMETRY), 4, replace=False):
        add(f"asym/asym-{_ASYMMETRY[part]}-{rng.choice(['l', 'r'])}", rng.uniform(0.1, 0.3))
    if traits.age > 45:
        add("neck/neck-double-incr", rng.uniform(0.0, 0.4) * (heavy > 0))
        add("mouth/mouth-laugh-lines-in", 0.3 * old)
    return weights


def head_height(traits: Traits) -> float:
    """Metres from under the chin to the crown (adult means 0.218 and 0.232, spread 8 mm: ANSUR II)."""
    rng = np.random.default_rng(traits.seed + 11)
    mean = 0.218 + 0.012 * traits.sex
    return float(mean + np.clip(rng.normal(0, 0.005), -0.009, 0.009))
