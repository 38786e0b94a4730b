"""Names of morph targets in the wild, and what to do where one is missing.

Understood: the 52 of ARKit in any spelling (`jawOpen`, `JawOpen`, `Face.jaw_open`, `eyeBlink_L`, `browDownL`), Oculus
visemes (`viseme_aa`, `vrc.v_aa`), VRM 0 and 1 expressions, VRoid's vowels (`Fcl_MTH_A`), and Ready Player Me's extras
(`mouthOpen`, `eyesClosed`).
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from parlante.head.arkit import ARKIT_NAMES, INDEX

VISEMES = ("sil", "PP", "FF", "TH", "DD", "kk", "CH", "SS", "nn", "RR", "aa", "E", "I", "O", "U")

Recipe = Mapping[str, float]
# A target that is not one of the 52, as a sum of those: curve -> factor. Sums are clipped to 0..1.
EXTRAS: dict[str, Recipe] = {
    "mouthopen": {"jawOpen": 1.0, "mouthClose": -1.0},
    "mouthsmile": {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5},
    "eyesclosed": {"eyeBlinkLeft": 0.5, "eyeBlinkRight": 0.5},
    "eyeslookup": {"eyeLookUpLeft": 0.5, "eyeLookUpRight": 0.5},
    "eyeslookdown": {"eyeLookDownLeft": 0.5, "eyeLookDownRight": 0.5},
}
# What a missing curve is played by, where the file has that instead: curve -> (target, factor), first found wins.
REPLACED: dict[str, tuple[tuple[str, float], ...]] = {
    "jawOpen": (("mouthopen", 1.0), ("viseme:aa", 1.0), ("vrm:aa", 1.0)),
    "eyeBlinkLeft": (("vrm:blinkleft", 1.0), ("eyesclosed", 0.5), ("vrm:blink", 0.5)),
    "eyeBlinkRight": (("vrm:blinkright", 1.0), ("eyesclosed", 0.5), ("vrm:blink", 0.5)),
    "mouthSmileLeft": (("mouthsmile", 0.5), ("vrm:happy", 0.3)),
    "mouthSmileRight": (("mouthsmile", 0.5), ("vrm:happy", 0.3)),
    "mouthPucker": (("viseme:u", 1.0), ("vrm:ou", 1.0)),
    "mouthFunnel": (("viseme:o", 1.0), ("vrm:oh", 1.0)),
    "mouthStretchLeft": (("viseme:i", 0.5), ("vrm:ih", 0.5)),
    "mouthStretchRight": (("viseme:i", 0.5), ("vrm:ih", 0.5)),
    "mouthRollLower": (("viseme:ff", 0.7),),
    "mouthPressLeft": (("viseme:pp", 0.5),),
    "mouthPressRight": (("viseme:pp", 0.5),),
    "eyeLookUpLeft": (("eyeslookup", 0.5), ("vrm:lookup", 0.5)),
    "eyeLookUpRight": (("eyeslookup", 0.5), ("vrm:lookup", 0.5)),
    "eyeLookDownLeft": (("eyeslookdown", 0.5), ("vrm:lookdown", 0.5)),
    "eyeLookDownRight": (("eyeslookdown", 0.5), ("vrm:lookdown", 0.5)),
}
# Rigs that have only vowels and visemes: how much of each a face shows, read off the curves.
SPOKEN: dict[str, Recipe] = {
    "viseme:pp": {"mouthPressLeft": 0.5, "mouthPressRight": 0.5, "mouthClose": 1.0, "mouthRollLower": 0.5},
    "viseme:ff": {"mouthRollLower": 1.0, "mouthUpperUpLeft": 0.3, "mouthUpperUpRight": 0.3},
    "viseme:aa": {"jawOpen": 1.6, "mouthClose": -1.6, "mouthFunnel": -0.5},
    "viseme:e": {"mouthStretchLeft": 0.6, "mouthStretchRight": 0.6},
    "viseme:i": {"mouthSmileLeft": 0.5, "mouthSmileRight": 0.5, "mouthStretchLeft": 0.4, "mouthStretchRight": 0.4},
    "viseme:o": {"mouthFunnel": 1.2},
    "viseme:u": {"mouthPucker": 1.0},
    "viseme:ch": {"mouthShrugUpper": 0.5, "mouthFunnel": 0.3},
    "vrm:aa": {"jawOpen": 1.6, "mouthClose": -1.6, "mouthFunnel": -0.5},
    "vrm:ih": {"mouthStretchLeft": 0.5, "mouthStretchRight": 0.5, "mouthSmileLeft": 0.4, "mouthSmileRight": 0.4},
    "vrm:ee": {"mouthStretchLeft": 0.3, "mouthStretchRight": 0.3, "mouthSmileLeft": 0.2, "mouthSmileRight": 0.2},
    "vrm:oh": {"mouthFunnel": 1.2},
    "vrm:ou": {"mouthPucker": 1.0},
    "vrm:blinkleft": {"eyeBlinkLeft": 1.0},
    "vrm:blinkright": {"eyeBlinkRight": 1.0},
    "vrm:blink": {"eyeBlinkLeft": 0.5, "eyeBlinkRight": 0.5},
    "vrm:lookup": {"eyeLookUpLeft": 0.5, "eyeLookUpRight": 0.5},
    "vrm:lookdown": {"eyeLookDownLeft": 0.5, "eyeLookDownRight": 0.5},
    "vrm:lookleft": {"eyeLookOutLeft": 0.5, "eyeLookInRight": 0.5},
    "vrm:lookright": {"eyeLookInLeft": 0.5, "eyeLookOutRight": 0.5},
}
VRM_NAMES = {
    "a": "aa", "i": "ih", "u": "ou", "e": "ee", "o": "oh", "aa": "aa", "ih": "ih", "ou": "ou", "ee": "ee", "oh": "oh",
    "blink": "blink", "blink_l": "blinkleft", "blink_r": "blinkright", "blinkleft": "blinkleft",
    "blinkright": "blinkright", "lookup": "lookup", "lookdown": "lookdown", "lookleft": "lookleft",
    "lookright": "lookright", "joy": "happy", "happy": "happy",
}  # fmt: skip
"""Presets of VRM 0 and 1, in lower case: their name of version 1."""
VROID_NAMES = {
    **{f"fcl_mth_{vowel}": f"vrm:{VRM_NAMES[vowel]}" for vowel in "aiueo"},
    "fcl_eye_close": "vrm:blink", "fcl_eye_close_l": "vrm:blinkleft", "fcl_eye_close_r": "vrm:blinkright",
}  # fmt: skip
"""Targets of VRoid's faces, in lower case, which say the same outside of a VRM."""

_PLAIN = {re.sub(r"[^a-z]", "", name.lower()): name for name in ARKIT_NAMES}


def canonical(name: str) -> str | None:
    """`jawOpen` for any spelling of a curve, `viseme:aa`, `vrm:aa` for VRoid's, or a key of `EXTRAS`; none for others.

    Case, separators, prefixes up to the last dot or colon (`Face.M_`, `blendShape1.`) and `_L`, `.r`, `Left` at the end
    are all the same.
    """
    text = name.strip()
    vroid = VROID_NAMES.get(re.split(r"[.:|]", text)[-1].lower())
    if vroid is not None:
        return vroid
    viseme = re.fullmatch(r"(?i)(?:.*[.:_ ])?(?:viseme|v|vis)[_.\- ]?([a-z]{1,3})", text)
    if viseme and viseme[1].lower() in {v.lower() for v in VISEMES}:
        return f"viseme:{viseme[1].lower()}"
    for tail in (text, re.split(r"[.:|]", text)[-1], text.split("__")[-1]):
        plain = _plain(tail)
        for end in dict.fromkeys((plain, *(plain[cut:] for cut in range(1, min(len(plain), 16))))):
            if end in _PLAIN:
                return _PLAIN[end]
        if plain in EXTRAS:
            return plain
        whole = re.sub(r"(left|right)$", "", plain)  # some rigs split what ARKit does not: browInnerUp_L, cheekPuff_R
        if whole in _PLAIN:
            return _PLAIN[whole]
    return None


def _plain(text: str) -> str:
    text = re.sub(r"(?i)[_.\- ](l|left)$", "Left", text.strip())
    text = re.sub(r"(?i)[_.\- ](r|right)$", "Right", text)
    text = re.sub(r"(?<=[a-z])L$", "Left", text)
    text = re.sub(r"(?<=[a-z])R$", "Right", text)
    return re.sub(r"[^a-z]", "", text.lower())


def plan(present: Iterable[str]) -> tuple[dict[str, Recipe], dict[str, str], list[str]]:
    """How to play the 52 curves on the targets that are there.

    present: canonical names, `viseme:..` and `vrm:..`. Returns target -> recipe of curves, replaced curve -> by what,
    and curves that have no place.
    """
    here = set(present)
    recipes: dict[str, dict[str, float]] = {name: {name: 1.0} for name in ARKIT_NAMES if name in here}
    replaced: dict[str, str] = {}
    missing: list[str] = []
    speaks = "jawOpen" in here
    for target, recipe in SPOKEN.items():
        # a rig with curves of its own moves by them; its visemes would add to the same mouth twice
        if target in here and not (speaks and not target.startswith(("vrm:blink", "vrm:look"))):
            used = {curve: factor for curve, factor in recipe.items() if curve not in here}
            if used:
                recipes[target] = used
                replaced.update({curve: target for curve, factor in used.items() if factor > 0})
    for curve in ARKIT_NAMES:
        if curve in here or curve in replaced:
            continue
        for target, factor in REPLACED.get(curve, ()):
            if target in here and (target not in SPOKEN or not speaks):
                recipes.setdefault(target, {})[curve] = factor
                replaced[curve] = target
                break
        else:
            missing.append(curve)
    for extra in ("mouthopen",):
        if extra in recipes and "jawOpen" in recipes[extra]:
            recipes[extra]["mouthClose"] = -1.0
    return dict(recipes), replaced, missing


def played(recipe: Recipe, weights: NDArray[np.floating]) -> NDArray[np.float32]:
    """(T,) weight 0..1 of a target, from the curves (T, 52)."""
    total = sum(factor * weights[:, INDEX[curve]] for curve, factor in recipe.items())
    return np.clip(np.asarray(total, np.float32), 0.0, 1.0)
