"""Names of morph targets in the wild, and what to do where one is missing.

Understood: the 52 of ARKit in any spelling (`jawOpen`, `JawOpen`, `Face.jaw_open`, `eyeBlink_L`, `A25_Jaw_Open`),
Oculus visemes (`viseme_aa`, `vrc.v_oh`), VRM 0 and 1 expressions, VRoid's vowels (`Fcl_MTH_A`), Ready Player Me's
extras (`mouthOpen`, `eyesClosed`), and what `character.aliases` lists of other rigs.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from parlante.head.arkit import ARKIT_NAMES, INDEX
from parlante.retarget.rig import aliases

Recipe = Mapping[str, float]
SHUT, PARTED = "shut", "parted"
"""Of a recipe, beside the 52: the lips are held together against an open jaw, and how far they are apart."""
_SIDED = {name[:-4] for name in ARKIT_NAMES if name.endswith("Left")} - {"mouth", "jaw"}
# What stands for both sides at once, browsup for all brows: target -> weights. mouthOpen opens lips, not the jaw alone.
EXTRAS: dict[str, Recipe] = {
    "mouthopen": {"jawOpen": 1.0, "mouthClose": -1.0},
    "browsup": {"browInnerUp": 0.6, "browOuterUpLeft": 0.2, "browOuterUpRight": 0.2},
    **{aliases.BOTH.get(pair, pair.lower()): {f"{pair}Left": 0.5, f"{pair}Right": 0.5} for pair in sorted(_SIDED)},
}
# What a missing weight is played by, where the file has that instead: weight -> (target, factor), first found wins.
REPLACED: dict[str, tuple[tuple[str, float], ...]] = {
    "jawOpen": (("mouthopen", 1.5), ("viseme:aa", 1.0), ("vrm:aa", 1.0)),
    "eyeBlinkLeft": (("vrm:blinkleft", 1.0), ("eyesclosed", 0.5), ("vrm:blink", 0.5)),
    "eyeBlinkRight": (("vrm:blinkright", 1.0), ("eyesclosed", 0.5), ("vrm:blink", 0.5)),
    "mouthPucker": (("viseme:u", 1.0), ("vrm:ou", 1.0)),
    "mouthFunnel": (("viseme:o", 1.0), ("vrm:oh", 1.0)),
    "mouthStretchLeft": (("viseme:i", 0.5), ("vrm:ih", 0.5)),
    "mouthStretchRight": (("viseme:i", 0.5), ("vrm:ih", 0.5)),
}
for _extra, _recipe in EXTRAS.items():
    for _arkit, _factor in _recipe.items():
        if _factor > 0 and _extra != "mouthopen":
            REPLACED[_arkit] = (*REPLACED.get(_arkit, ()), (_extra, _factor))
# Rigs that have only vowels and visemes: how much of each a face shows, read off the weights.
SPOKEN: dict[str, Recipe] = {
    "viseme:pp": {SHUT: 0.7},
    "viseme:ff": {"mouthRollLower": 2.0, SHUT: -0.5},
    "viseme:th": {"tongueOut": 1.0},
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
VRM_VOWELS = ("vrm:aa", "vrm:ih", "vrm:ou", "vrm:ee", "vrm:oh")
VOWELS = (*VRM_VOWELS, "viseme:aa", "viseme:e", "viseme:i", "viseme:o", "viseme:u", "viseme:ch")
"""Shapes of a whole open mouth: they share the mouth, and none of them shows while the lips are together."""
VRM_NAMES = {
    "a": "aa", "i": "ih", "u": "ou", "e": "ee", "o": "oh", "aa": "aa", "ih": "ih", "ou": "ou", "ee": "ee", "oh": "oh",
    "blink": "blink", "blink_l": "blinkleft", "blink_r": "blinkright", "blinkleft": "blinkleft",
    "blinkright": "blinkright", "lookup": "lookup", "lookdown": "lookdown", "lookleft": "lookleft",
    "lookright": "lookright",
}  # fmt: skip
"""Presets of VRM 0 and 1, in lower case: their name of version 1. Emotions move the whole face: they are not played."""

_PLAIN = {re.sub(r"[^a-z]", "", name.lower()): name for name in ARKIT_NAMES}
_OTHER: dict[str, str] = {
    **{f"{word}{side.lower()}": f"{pair}{side}" for pair, words in aliases.SIDED.items() for word in words
       for side in ("Left", "Right")},
    **{f"{word}{side}": name for name, words in aliases.WHOLE.items() for word in words
       for side in ("", "left", "right")},
    **{key: key for key in EXTRAS},
    **aliases.PLAIN,
}  # fmt: skip
_PREFIX = re.compile(
    r"^(ctrlexpressions|facs(?:bs|ctrl|jnt)|headlodmesh|ctrl|ectrl|exp|bs|blendshape|head|face|ccbasebody)"
)
_VISEME = re.compile(r"(?i)(?:^|[^a-z])(?:viseme[_.\- ]?|vis[_.\- ]|v[_.\- ]|vi_\d+_)([a-z]{1,3})$")
_VOWEL = re.compile(r"(?i)(?:^|[^a-z])(?:mouth|mth|lips?|vowel|phoneme|lipsync)[_.\- ](a|i|u|e|o|aa|ih|ou|ee|oh)$")
_VROID = re.compile(r"(?i)fcl_([a-z_]+)$")


def canonical(name: str) -> str | None:
    """`jawOpen` for any spelling of a weight, `viseme:aa`, `vrm:aa` for VRoid's, or a key of `EXTRAS`; none for others.

    Case, separators, prefixes up to the last dot or colon (`Face.M_`, `blendShape1.`) and `_L`, `.r`, `Left` at either
    end are all the same.
    """
    meant = _meaning(name)
    return None if meant is None else meant[0]


def named(names: Sequence[str]) -> list[str | None]:
    """What each target of one mesh means, none where nothing is known, or where another target says it better.

    A rig may carry a weight under several names, which played together would move the face twice: the plainest spelling
    is kept, of equal ones the first. A weight that a rig splits (`Mouth_Pucker_Up_L`) keeps all its parts.
    """
    meanings = [_meaning(name) or (None, 0, "") for name in names]
    short = {name.strip().lower(): number for number, name in enumerate(names)}
    for wanted, table in (
        ("aiueo", {vowel: f"vrm:{VRM_NAMES[vowel]}" for vowel in "aiueo"}),
        (("aa", "pp", "ff"), {end: f"viseme:{name}" for end, name in aliases.VISEMES.items()}),
        (("aa", "ih", "ou", "ee", "oh"), {vowel: f"vrm:{vowel}" for vowel in ("aa", "ih", "ou", "ee", "oh")}),
        (("explosive", "affricate"), aliases.CREATOR),
    ):
        if short.keys() >= set(wanted):
            for name, number in short.items():
                meant = table.get(re.sub(r"[^a-z]", "", name))
                if meanings[number][0] is None and meant is not None:
                    meanings[number] = (meant, 3, name)
    best: dict[str, int] = {}
    for meaning, rank, _ in meanings:
        if meaning is not None:
            best[meaning] = min(rank, best.get(meaning, rank))
    seen: set[tuple[str, str]] = set()
    out: list[str | None] = []
    for meaning, rank, part in meanings:
        key = (meaning or "", part if rank == 2 else "")
        out.append(meaning if meaning is not None and rank == best[meaning] and key not in seen else None)
        seen.add(key)
    return out


def _meaning(name: str) -> tuple[str, int, str] | None:
    """What it means, how unusual the name is (2: perhaps one part of several), its plain spelling."""
    text = re.sub(r"(?<=\w)[._]\d+$|_div\d$", "", name.strip())
    if text in aliases.WHOLE_NAMES:
        return aliases.WHOLE_NAMES[text], 1, text
    vroid = _VROID.search(text)
    if vroid is not None:
        meant = aliases.VROID.get(vroid[1].lower())
        return None if meant is None else (meant, 1, text)
    spoken = _spoken(text)
    if spoken is not None:
        return spoken, 0 if "viseme" in text.lower() else 1, text
    tails = dict.fromkeys((text, re.split(r"[.:|]", text)[-1], text.split("__")[-1]))
    for tail in tails:
        plain = _plain(tail)
        if plain in _PLAIN:
            return _PLAIN[plain], 0, plain
        for cut in range(1, min(len(plain), 16)):
            if plain[cut:] in _PLAIN:
                # a correction of two shapes together, jawOpen_mouthSmileLeft, is neither
                return None if any(other in plain[:cut] for other in _PLAIN) else (_PLAIN[plain[cut:]], 1, plain)
    for tail in tails:
        plain = _plain(tail)
        for end in dict.fromkeys((plain, _PREFIX.sub("", plain))):
            if end in _OTHER:
                return _OTHER[end], 2, plain
            whole = re.sub(r"(left|right)$", "", end)  # some rigs split what ARKit does not: browInnerUp_L, cheekPuff_R
            if whole in _PLAIN:
                return _PLAIN[whole], 2, plain
    return None


def _spoken(text: str) -> str | None:
    """Visemes and vowels by their own prefixes."""
    viseme = _VISEME.search(text)
    if viseme is not None and viseme[1].lower() in aliases.VISEMES:
        return f"viseme:{aliases.VISEMES[viseme[1].lower()]}"
    vowel = _VOWEL.search(text)
    if vowel is not None:
        return f"vrm:{VRM_NAMES[vowel[1].lower()]}"
    creator = re.search(r"(?i)(?:^|[^a-z])v_([a-z_\-]+)$", text)
    if creator is not None:
        return aliases.CREATOR.get(re.sub(r"[^a-z]", "", creator[1].lower()))
    daz = re.search(r"(?i)ectrlv([a-z]{1,2})$", text)
    if daz is not None and daz[1].lower() in aliases.DAZ:
        return f"viseme:{aliases.DAZ[daz[1].lower()]}"
    return None


def _plain(text: str) -> str:
    looks = re.search(r"(?i)eyes?_(l|r|left|right)_look_(up|down|l|r|left|right)$", text)
    if looks is not None:  # Character Creator names the way by the side of the face, ARKit by the nose
        side, way = ("left" if word[0] in "lL" else "right" for word in (looks[1], looks[2]))
        way = looks[2].lower() if looks[2].lower() in ("up", "down") else "out" if side == way else "in"
        return f"eyelook{way}{side}"
    looks = re.search(r"(?i)eyelook(left|right)_?(l|r)$", text)
    if looks is not None:
        side = "left" if looks[2] in "lL" else "right"
        return f"eyelook{'out' if looks[1].lower() == side else 'in'}{side}"
    text = re.sub(r"(?i)[_.\- ](l|left)$", "Left", text.strip())
    text = re.sub(r"(?i)[_.\- ](r|right)$", "Right", text)
    text = re.sub(r"(?<=[a-z_])[UD]?L$", "Left", text)
    text = re.sub(r"(?<=[a-z_])[UD]?R$", "Right", text)
    if not re.search(r"(Left|Right)$", text):  # L_eyeBlink, leftEyeBlink, Eye_Left_Blink
        text = re.sub(r"^(?:[lL](?:eft)?[_.\- ]|(?:left|Left)(?=[A-Z]))(.*)$", r"\1Left", text)
        text = re.sub(r"^(?:[rR](?:ight)?[_.\- ]|(?:right|Right)(?=[A-Z]))(.*)$", r"\1Right", text)
        text = re.sub(r"^(.*[_.\- ])(?:L|Left)[_.\- ](.*)$", r"\1\2Left", text)
        text = re.sub(r"^(.*[_.\- ])(?:R|Right)[_.\- ](.*)$", r"\1\2Right", text)
    return re.sub(r"[^a-z]", "", text.lower())


def plan(present: Iterable[str]) -> tuple[dict[str, Recipe], dict[str, str], list[str]]:
    """How to play the 52 weights on the targets that are there.

    present: canonical names, `viseme:..` and `vrm:..`. Returns target -> recipe of weights, replaced weight -> by what,
    and weights that have no place.
    """
    here = set(present)
    recipes: dict[str, dict[str, float]] = {name: {name: 1.0} for name in ARKIT_NAMES if name in here}
    replaced: dict[str, str] = {}
    missing: list[str] = []
    speaks = "jawOpen" in here
    played_once = here - _twice(here)
    for target, recipe in SPOKEN.items():
        # a rig with weights of its own moves by them; its visemes would add to the same mouth twice
        if target in played_once and not (speaks and not target.startswith(("vrm:blink", "vrm:look"))):
            used = {arkit: factor for arkit, factor in recipe.items() if arkit not in here}
            if used:
                recipes[target] = used
                for arkit, factor in used.items():
                    if factor > 0 and arkit in INDEX:
                        replaced.setdefault(arkit, target)
            if SHUT in used and target == "viseme:pp":
                replaced.update({name: target for name in ("mouthPressLeft", "mouthPressRight") if name not in here})
    for arkit in ARKIT_NAMES:
        if arkit in here or arkit in replaced:
            continue
        for target, factor in REPLACED.get(arkit, ()):
            if target in played_once and (target not in SPOKEN or not speaks):
                recipes.setdefault(target, {})[arkit] = factor
                replaced[arkit] = target
                break
        else:
            missing.append(arkit)
    if "mouthClose" in missing and "jawOpen" in (*here, *replaced):
        # lips that nothing else can bring together are kept closed by a jaw that stays shut
        opener = replaced.get("jawOpen", "jawOpen")
        recipes[opener].setdefault("mouthClose", -recipes[opener]["jawOpen"])
        replaced["mouthClose"] = f"less {opener}"
        missing.remove("mouthClose")
    return dict(recipes), replaced, missing


def _twice(here: set[str]) -> set[str]:
    """Of targets that would move the same thing twice those that are not played."""
    out: set[str] = set()
    if {"vrm:blinkleft", "vrm:blinkright"} <= here:
        out.add("vrm:blink")
    elif "vrm:blink" in here:
        out |= {"vrm:blinkleft", "vrm:blinkright"}
    if {"viseme:aa", "viseme:pp"} <= here:
        out |= set(VRM_VOWELS)
    elif "vrm:aa" in here:
        out |= {name for name in here if name.startswith("viseme:")}
    return out


def played(recipe: Recipe, weights: NDArray[np.floating]) -> NDArray[np.float32]:
    """(T,) weight 0..1 of a target, from the weights (T, 52)."""
    values = {name: contact(weights)[name == PARTED] for name in (SHUT, PARTED) if name in recipe}
    total = np.zeros(len(weights), np.float32)
    for arkit, factor in recipe.items():
        total += factor * (values[arkit] if arkit in values else weights[:, INDEX[arkit]])
    return np.clip(total, 0.0, 1.0)


def contact(weights: NDArray[np.floating]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(T,) how far the lips are pressed together against an open jaw, and (T,) how far they are apart, both 0..1.

    Both are 0 at rest, where the lips touch by themselves. A twentieth of the jaw's way counts as apart.
    """
    jaw, close = weights[:, INDEX["jawOpen"]], weights[:, INDEX["mouthClose"]]
    shut = np.clip((close / (jaw + 0.02) - 0.4) / 0.4, 0.0, 1.0)
    parted = np.clip((jaw - close) / 0.05, 0.0, 1.0)
    return shut.astype(np.float32), parted.astype(np.float32)


def mouth_shared(values: dict[str, NDArray[np.float32]], weights: NDArray[np.floating]) -> None:
    """In place: the `VOWELS` among these (T,) weights show only between parted lips, and add up to no more than 1."""
    vowels = [name for name in VOWELS if name in values]
    if not vowels:
        return
    parted = contact(weights)[1]
    total = np.maximum(sum(values[name] for name in vowels), 1.0)
    for name in vowels:
        values[name] = np.asarray(values[name] * parted / total, np.float32)
