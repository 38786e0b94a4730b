"""Synthetic speakers: a face, a voice and a profile each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parlante.core import InputError
from parlante.head.speaker_profile import SpeakerProfile, profile_of, stable_number


@dataclass(frozen=True)
class Subject:
    """One synthetic person."""

    name: str
    identity: str
    """One of `head.identity_names`."""
    profile: SpeakerProfile
    voice: str
    """A name that `parlante.synth.voice.speak` understands."""
    seed: int
    """Of everything this person does at random."""


def make_subjects(count: int, seed: int = 0, identities: Sequence[str] | None = None) -> tuple[Subject, ...]:
    """`count` subjects, the same for the same seed; a longer list begins with the shorter one.

    The first of an identity (default: those of the embedded head) moves as that identity's own profile says; when there
    are more subjects than identities, faces repeat with other voices and profiles. Raises InputError if count < 1.
    """
    from parlante.synth.voice import random_voice

    if count < 1:
        raise InputError(f"a corpus needs at least one subject, got {count}")
    if identities is None:
        from parlante.head import load_head

        identities = load_head().identity_names
    if not identities:
        raise InputError("the head has no identities; rebuild its assets with tools/build_head.py")
    subjects = []
    for index in range(count):
        own_seed = stable_number("subject", seed, index)
        rng = np.random.default_rng(own_seed)
        voice = random_voice(rng)
        turn, place = divmod(index, len(identities))
        identity = identities[place]
        profile = SpeakerProfile.random(rng) if turn else profile_of(identity)
        name = f"{identity}-{turn + 1}" if turn else identity
        subjects.append(Subject(name, identity, profile, voice, own_seed))
    return tuple(subjects)
