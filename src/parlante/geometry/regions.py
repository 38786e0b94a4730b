"""Vertex lists that the published evaluations share: lips, upper face and others, per mesh topology.

Numbers from different lists cannot be compared: a maximum over a larger set is larger. Each list therefore keeps the
name of the project that published it.
"""

import hashlib
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, read_npz

VERTICES = {"vocaset": 5023, "mead": 5023, "BIWI": 23370, "multiface": 6172}
"""Vertices of each topology."""

ORIGINS = {
    "vocaset/lip_talkingstyle": "TalkingStyle, vocaset lip list of the training loss (with repeats)",
    "vocaset/lip_ptalker": "PTalker, vocaset lip list of the training loss (with repeats)",
    "vocaset/lve_ptalker": "PTalker, vocaset lip vertices of the evaluation",
    "vocaset/mouth_map_ptalker": "PTalker, vocaset mouth map",
    "vocaset/sorted_unique_ptalker": "PTalker, vocaset lips, sorted without repeats",
    "vocaset/lve_facediffuser": "FaceDiffuser, vocaset lip vertices of the evaluation",
    "vocaset/fdd_facediffuser": "FaceDiffuser, vocaset upper face of the evaluation",
    "vocaset/neck_facediffuser": "FaceDiffuser, vocaset neck",
    "mead/lip_talkingstyle": "TalkingStyle, 3D-MEAD lip list of the training loss (with repeats)",
    "BIWI/lip_talkingstyle": "TalkingStyle lip.txt, the same as CodeTalker lve.txt",
    "BIWI/lve": "TalkingStyle and FaceDiffuser lve.txt, a subset of the 4,996",
    "BIWI/fdd": "fdd.txt of CodeTalker, TalkingStyle and FaceDiffuser",
    "multiface/lve": "FaceDiffuser, Multiface lve.txt",
    "multiface/fdd": "FaceDiffuser, Multiface fdd.txt",
}
"""`topology/list`: where the list was published."""


@cache
def _lists() -> dict[str, NDArray[np.int32]]:
    return read_npz((files("parlante") / "assets" / "regions" / "regions.npz").read_bytes(), name="regions.npz")


def region(name: str) -> NDArray[np.int32]:
    """(R,) vertex numbers of the list `topology/list`, such as "BIWI/lve", in the published order, repeats kept.

    Raises InputError for an unknown name.
    """
    if name not in _lists():
        raise InputError(f"no vertex list {name!r}; choose from {', '.join(sorted(_lists()))}")
    return _lists()[name].copy()


def checksum(name: str) -> str:
    """SHA-256 of the list's numbers as little-endian int32, to tell copies of a list apart."""
    return hashlib.sha256(region(name).astype("<i4").tobytes()).hexdigest()
