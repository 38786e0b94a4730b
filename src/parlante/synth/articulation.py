"""Phones to mouth movement.

Each phone has a target in a plane of jaw and lips (JALI, Edwards et al. 2016); neighbours blend by negative-exponential
dominance functions (Cohen and Massaro 1993), here with a plateau over the middle of each phone so that long phones hold
their shape. Lip closures (p b m) and lip-to-teeth contact (f v) are gates on top: they happen whatever the vowels want.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parlante.audio.phones import Phone
from parlante.head.arkit import ARKIT_NAMES, INDEX
from parlante.head.speaker_profile import NEUTRAL, SpeakerProfile


class Target(NamedTuple):
    """Where a phone wants the mouth, and how strongly. Shapes 0..1; `*_pull` is the alpha of the dominance function."""

    jaw: float
    wide: float = 0.0
    pucker: float = 0.0
    funnel: float = 0.0
    upper: float = 0.0
    lower: float = 0.0
    tongue: float = 0.0
    forward: float = 0.0
    jaw_pull: float = 1.0
    lip_pull: float = 1.0


_CHANNELS = ("jaw", "wide", "pucker", "funnel", "upper", "lower", "tongue", "forward")

# Apertures follow visual openness: aa ae ao > eh ah er > ih uh iy > uw w r > k t s > f v > p b m.
TARGETS: dict[str, Target] = {
    "sil": Target(0.0, jaw_pull=1.2, lip_pull=0.7),
    "aa": Target(0.47, lower=0.12, upper=0.06, jaw_pull=2.2, lip_pull=0.7),
    "ae": Target(0.47, wide=0.32, lower=0.16, upper=0.12, jaw_pull=2.2),
    "ao": Target(0.38, pucker=0.26, funnel=0.16, lower=0.06, jaw_pull=2.2, lip_pull=1.5),
    "ah": Target(0.34, lower=0.10, upper=0.05, jaw_pull=1.3, lip_pull=0.5),
    "eh": Target(0.32, wide=0.26, lower=0.14, upper=0.10, jaw_pull=1.8),
    "er": Target(0.26, pucker=0.20, funnel=0.14, lower=0.06, jaw_pull=1.6, lip_pull=1.3),
    "ih": Target(0.16, wide=0.24, lower=0.10, upper=0.07, jaw_pull=1.3, lip_pull=0.8),
    "iy": Target(0.12, wide=0.48, lower=0.10, upper=0.06, jaw_pull=1.6, lip_pull=1.5),
    "uh": Target(0.13, pucker=0.34, funnel=0.09, jaw_pull=1.4, lip_pull=1.3),
    "uw": Target(0.07, pucker=0.74, funnel=0.06, jaw_pull=1.8, lip_pull=2.4),
    "o": Target(0.29, pucker=0.46, funnel=0.16, jaw_pull=2.0, lip_pull=1.9),
    "e": Target(0.25, wide=0.38, lower=0.14, upper=0.09, jaw_pull=1.7, lip_pull=1.2),
    "p": Target(0.05, jaw_pull=1.4, lip_pull=0.25),
    "b": Target(0.05, jaw_pull=1.4, lip_pull=0.25),
    "m": Target(0.05, jaw_pull=1.4, lip_pull=0.25),
    "f": Target(0.07, jaw_pull=1.4, lip_pull=0.35),
    "v": Target(0.07, jaw_pull=1.4, lip_pull=0.35),
    "th": Target(0.07, lower=0.06, upper=0.05, tongue=0.30, jaw_pull=1.3, lip_pull=0.3),
    "dh": Target(0.07, lower=0.06, upper=0.05, tongue=0.24, jaw_pull=1.1, lip_pull=0.3),
    "s": Target(0.035, wide=0.22, lower=0.12, upper=0.06, jaw_pull=2.6, lip_pull=0.45),
    "z": Target(0.035, wide=0.20, lower=0.12, upper=0.06, jaw_pull=2.4, lip_pull=0.45),
    "sh": Target(0.03, funnel=0.18, pucker=0.22, lower=0.04, forward=0.15, jaw_pull=2.6, lip_pull=1.7),
    "zh": Target(0.03, funnel=0.18, pucker=0.22, lower=0.04, forward=0.15, jaw_pull=2.4, lip_pull=1.6),
    "ch": Target(0.03, funnel=0.18, pucker=0.22, lower=0.04, forward=0.12, jaw_pull=2.6, lip_pull=1.6),
    "jh": Target(0.03, funnel=0.16, pucker=0.22, lower=0.04, forward=0.12, jaw_pull=2.4, lip_pull=1.5),
    "t": Target(0.06, wide=0.08, lower=0.10, upper=0.04, tongue=0.02, jaw_pull=1.6, lip_pull=0.25),
    "d": Target(0.06, wide=0.08, lower=0.10, upper=0.04, tongue=0.02, jaw_pull=1.5, lip_pull=0.25),
    "n": Target(0.07, wide=0.06, lower=0.09, upper=0.04, tongue=0.02, jaw_pull=1.3, lip_pull=0.25),
    "l": Target(0.17, lower=0.08, upper=0.04, tongue=0.08, jaw_pull=1.1, lip_pull=0.3),
    "k": Target(0.08, lower=0.05, upper=0.03, jaw_pull=0.8, lip_pull=0.2),
    "g": Target(0.08, lower=0.05, upper=0.03, jaw_pull=0.8, lip_pull=0.2),
    "ng": Target(0.08, lower=0.05, upper=0.03, jaw_pull=0.8, lip_pull=0.2),
    "hh": Target(0.14, lower=0.05, jaw_pull=0.3, lip_pull=0.12),
    "y": Target(0.07, wide=0.34, lower=0.07, upper=0.04, jaw_pull=1.2, lip_pull=0.8),
    "r": Target(0.06, funnel=0.08, pucker=0.32, lower=0.02, jaw_pull=1.3, lip_pull=1.3),
    "w": Target(0.03, pucker=0.85, funnel=0.03, jaw_pull=1.9, lip_pull=2.4),
}
GLIDES: dict[str, tuple[tuple[str, float], tuple[str, float]]] = {
    "ay": (("aa", 0.62), ("ih", 0.38)),
    "aw": (("aa", 0.58), ("uw", 0.42)),
    "oy": (("ao", 0.58), ("ih", 0.42)),
    "ow": (("o", 0.60), ("uw", 0.40)),
    "ey": (("e", 0.60), ("ih", 0.40)),
}
"""Diphthongs: two targets and the share of time of each."""
VOWELS = frozenset({"aa", "ae", "ao", "ah", "eh", "er", "ih", "iy", "uh", "uw", "o", "e"})
CLOSURES = frozenset("pbm")
LABIODENTALS = frozenset("fv")

_TABLE = {symbol: np.array([getattr(target, name) for name in _CHANNELS]) for symbol, target in TARGETS.items()}
# Decay of dominance in seconds, before and after the phone: rounding leads and lingers, the tongue is quick.
_BEFORE = np.array([0.014, 0.040, 0.060, 0.055, 0.017, 0.017, 0.014, 0.050])
_AFTER = np.array([0.014, 0.040, 0.045, 0.045, 0.017, 0.017, 0.014, 0.050])
_CLOSE_RAMP, _OPEN_RAMP = 0.050, 0.045  # seconds the lips take to meet and to part
_MIN_HOLD = 0.035  # seconds; longer than one frame at 30 fps, so that every closure is seen

# How far a shape parts the lips of the embedded head, as a share of jawOpen: mouthClose must undo it in a closure.
_PARTS_LIPS = {"mouthFunnel": 0.55}


def articulate(
    phones: Sequence[Phone], frame_times: ArrayLike, profile: SpeakerProfile = NEUTRAL
) -> NDArray[np.float32]:
    """Mouth, jaw and tongue weights of speech.

    Args:
        phones: segments in order of time; what they do not cover is silence.
        frame_times: (T,) seconds.
        profile: how this person moves.

    Returns:
        (T, 52) float32 ARKit weights, 0..1; eyes and brows are 0 (see `parlante.synth.prosody`).

    Raises:
        ValueError: an unknown symbol, or a phone that ends before it starts.
    """
    times = np.asarray(frame_times, np.float64).reshape(-1)
    symbols, starts, ends = _segments(phones)
    if not len(times):
        return np.zeros((0, len(ARKIT_NAMES)), np.float32)
    channels = _blend(symbols, starts, ends, times + profile.lead_s)
    closed = _gate(symbols, starts, ends, times, CLOSURES)
    bitten = _gate(symbols, starts, ends, times, LABIODENTALS) * (1 - closed)
    return _weights(channels, closed, bitten, profile)


def _segments(phones: Sequence[Phone]) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
    """Symbols and times with diphthongs split, framed by endless silence."""
    symbols: list[str] = ["sil"]
    bounds: list[tuple[float, float]] = [(-10.0, phones[0].start if phones else 0.0)]
    for symbol, start, end in phones:
        if end < start:
            raise ValueError(f"phone {symbol} ends at {end} s before it starts at {start} s")
        if symbol in GLIDES:
            (first, share), (second, _) = GLIDES[symbol]
            middle = start + share * (end - start)
            symbols += [first, second]
            bounds += [(start, middle), (middle, end)]
        elif symbol in TARGETS:
            symbols.append(symbol)
            bounds.append((start, end))
        else:
            raise ValueError(f"unknown phone {symbol!r}; see parlante.audio.phones.PHONES")
    symbols.append("sil")
    last = bounds[-1][1]
    bounds.append((last, last + 1e4))
    times = np.array(bounds, np.float64)
    return symbols, times[:, 0], times[:, 1]


def _blend(
    symbols: list[str], starts: NDArray[np.float64], ends: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(T, channels): targets averaged by dominance alpha * exp(-distance / decay)."""
    lengths = ends - starts
    margin = np.minimum(0.25 * lengths, 0.03)
    early = (starts + margin)[:, None] - times  # (P, T) seconds before the plateau, negative after
    late = times - (ends - margin)[:, None]
    before, after = np.maximum(early, 0), np.maximum(late, 0)
    targets = np.stack([_TABLE[s] for s in symbols])  # (P, C)
    vowel = np.array([s in VOWELS for s in symbols])
    # Short vowels are reduced vowels: they aim less open.
    targets[:, 0] *= np.where(vowel, np.clip(0.62 + 2.9 * lengths, 0.70, 1.12), 1.0)
    pull = np.empty_like(targets)
    pull[:] = np.array([TARGETS[s].lip_pull for s in symbols])[:, None]
    pull[:, 0] = [TARGETS[s].jaw_pull for s in symbols]
    pull[:, 6] = 1.0  # the tongue is nobody's but the phone's
    pull *= np.minimum(1.0, 0.35 + lengths / 0.06)[:, None]  # very short phones dominate less
    out = np.empty((len(times), len(_CHANNELS)))
    for c in range(len(_CHANNELS)):
        log_weight = np.log(pull[:, c, None]) - before / _BEFORE[c] - after / _AFTER[c]
        weight = np.exp(log_weight - log_weight.max(axis=0))
        out[:, c] = (targets[:, c] @ weight) / weight.sum(axis=0)
    return out


def _gate(
    symbols: list[str],
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    times: NDArray[np.float64],
    members: frozenset[str],
) -> NDArray[np.float64]:
    """(T,) 1 while a member is held, falling smoothly to 0 around it."""
    chosen = [i for i, s in enumerate(symbols) if s in members]
    if not chosen:
        return np.zeros(len(times))
    start, end = starts[chosen][:, None], ends[chosen][:, None]
    length = end - start
    center = start + 0.46 * length  # the release at the end belongs to the next phone
    hold = np.maximum(0.42 * length, _MIN_HOLD / 2)
    before = (center - hold - times) / _CLOSE_RAMP
    after = (times - center - hold) / _OPEN_RAMP
    x = np.clip(1 - np.maximum(np.maximum(before, after), 0), 0, 1)
    return np.asarray((x * x * (3 - 2 * x)).max(axis=0))


def _weights(
    channels: NDArray[np.float64], closed: NDArray[np.float64], bitten: NDArray[np.float64], profile: SpeakerProfile
) -> NDArray[np.float32]:
    """Rig weights of the blended targets under the two contacts, of one person."""
    jaw, wide, pucker, funnel, upper, lower, tongue, forward = channels.T
    free = (1 - closed) * (1 - bitten)
    jaw = np.minimum(jaw * profile.jaw_gain, 0.9)
    jaw = jaw * (1 - bitten) + np.minimum(jaw, 0.10) * bitten
    jaw = jaw * (1 - closed) + np.minimum(jaw, 0.14) * closed
    wide = wide * profile.lip_gain
    pucker, funnel = pucker * profile.protrusion, funnel * profile.protrusion
    upper = upper * profile.lip_gain * free + 0.14 * bitten
    lower = lower * profile.lip_gain * free
    pressed = closed * profile.press
    smile, frown = max(profile.smile, 0.0), max(-profile.smile, 0.0)
    rounded = np.clip(pucker + 0.5 * funnel, 0, 1)
    corner = np.clip(wide - 0.5 * rounded, 0, None)
    rest = 1 - 0.6 * rounded

    out = np.zeros((len(jaw), len(ARKIT_NAMES)))
    out[:, INDEX["jawOpen"]] = jaw
    out[:, INDEX["jawForward"]] = forward
    out[:, INDEX["mouthPucker"]] = pucker * (1 - 0.3 * closed) * (1 - 0.4 * bitten)
    out[:, INDEX["mouthFunnel"]] = funnel * (1 - 0.95 * closed) * (1 - 0.8 * bitten)
    out[:, INDEX["mouthRollLower"]] = 0.12 * pressed + 0.45 * bitten
    out[:, INDEX["mouthRollUpper"]] = 0.10 * pressed
    out[:, INDEX["tongueOut"]] = tongue * free
    for side, name in ((1 + 0.5 * profile.asymmetry, "Left"), (1 - 0.5 * profile.asymmetry, "Right")):
        out[:, INDEX["mouthStretch" + name]] = 0.28 * corner * side
        out[:, INDEX["mouthSmile" + name]] = 0.48 * corner * side + smile * rest
        out[:, INDEX["mouthDimple" + name]] = 0.15 * corner * side
        out[:, INDEX["mouthFrown" + name]] = frown * rest
        out[:, INDEX["mouthPress" + name]] = 0.18 * pressed
        out[:, INDEX["mouthUpperUp" + name]] = upper * side
        out[:, INDEX["mouthLowerDown" + name]] = lower * side
    parted = sum(share * out[:, INDEX[name]] for name, share in _PARTS_LIPS.items())
    out[:, INDEX["mouthClose"]] = (jaw + parted) * closed + (0.6 * jaw + parted) * bitten
    return np.clip(out, 0, 1).astype(np.float32)
