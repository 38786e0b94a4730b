"""Phones and utterances: the alphabet that voices, articulation and the phonetic encoder share."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PHONES: tuple[str, ...] = (
    "sil",
    *("aa", "ae", "ah", "ao", "aw", "ay", "b", "ch", "d", "dh", "eh", "er", "ey", "f", "g", "hh", "ih", "iy", "jh"),
    *("k", "l", "m", "n", "ng", "ow", "oy", "p", "r", "s", "sh", "t", "th", "uh", "uw", "v", "w", "y", "z", "zh"),
)
"""Silence and the 39 phones of English (ARPAbet, lower case, without stress marks)."""


class Phone(NamedTuple):
    """One segment of speech."""

    symbol: str
    """A member of PHONES."""
    start: float
    """Seconds; for a stop, where the closure begins, not the release."""
    end: float


@dataclass(frozen=True, eq=False)
class Utterance:
    """A spoken sentence with exact phone times. Phones are contiguous and cover the audio."""

    audio: NDArray[np.float32]
    """(N,) mono, -1..1."""
    sample_rate: int
    phones: tuple[Phone, ...]
    voice: str
    text: str
