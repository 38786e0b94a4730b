"""A person's style from clips of that person: animations with their sound, as `parlante animate` writes them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.audio.recording import load_audio
from parlante.core import Animation, InputError
from parlante.export.npz import load
from parlante.models.talker import ExtractedStyle, SpeechModel, StyleClip

SAMPLE_RATE = 16000
SILENT = 1e-4
"""Largest sample of a clip without speech."""
STILL = 1e-5
"""Movement of a face at rest, in sizes of the face."""


def extract_style(clips: Sequence[Path | str | Animation], model: SpeechModel, name: str) -> ExtractedStyle:
    """The style of the person in `clips`, for this talker. Raises InputError for clips that cannot be used."""
    if not clips:
        raise InputError("no clips given; name at least one .npz animation of the person")
    if not model.abilities.extracts_styles:
        raise InputError(
            f"this {model.name} learns no styles from clips; wanted a talker of the "
            "embedded head: talkingstyle, ptalker, faceformer, facediffuser, textalker, a folder of parlante train, or "
            "a converted talkingstyle, ptalker, faceformer or codetalker"
        )
    files = [Path(clip) for clip in clips if not isinstance(clip, Animation)]
    if missing := [str(file) for file in files if not file.is_file()]:
        what = "a folder" if Path(missing[0]).is_dir() else "not there"
        more = f"; {len(missing) - 1} more clips are missing" if len(missing) > 1 else ""
        raise InputError(
            f"{missing[0]} is {what}, wanted an animation with sound (.npz); make one with parlante animate line.wav "
            f"-o clip.npz{more}"
        )
    read = [_clip(clip, model) for clip in clips]
    seconds = sum(min(len(clip.offsets) / model.fps, len(clip.audio) / SAMPLE_RATE) for clip in read)
    if seconds < 1:
        raise InputError(
            f"the clips hold {seconds:.1f} s of motion with sound, a style needs at least 1 s; 10 s or more are good"
        )
    return model.extract_style(read, name)


def _clip(clip: Path | str | Animation, model: SpeechModel) -> StyleClip:
    where = "the animation" if isinstance(clip, Animation) else str(clip)
    animation = clip if isinstance(clip, Animation) else load(clip)
    own, count = model.topology, animation.vertices.shape[1]
    if own is not None and count != own.num_vertices:
        if model.abilities.own_faces:
            raise InputError(
                f"{where} has {count} vertices, this checkpoint moves {own.num_vertices}; give clips of its own mesh"
            )
        raise InputError(
            f"{where} has {count} vertices, the embedded head {own.num_vertices}; give clips of that head, written by "
            "parlante animate or parlante synth"
        )
    if len(animation.vertices) < 2:
        raise InputError(f"{where} has {len(animation.vertices)} frames; give a longer clip")
    if not np.isfinite(animation.vertices).all():
        raise InputError(f"{where} holds vertices that are no finite numbers")
    speech = load_audio((np.asarray(animation.audio), animation.sample_rate))
    if not np.abs(speech.audio_16k).max() > SILENT:
        raise InputError(f"{where} is silent; a style is learned from how speech moves the face")
    offsets = np.asarray(animation.vertices, np.float32) - animation.neutral
    if np.ptp(offsets, 0).max() <= STILL * np.ptp(animation.neutral):
        raise InputError(f"{where} does not move; give a clip in which the person speaks")
    if abs(animation.fps - model.fps) > 1e-6:
        offsets = _resample(offsets, animation.fps / model.fps)
    return StyleClip(np.asarray(speech.audio_16k), offsets, animation.wrinkle)


def _resample(offsets: NDArray[np.float32], ratio: float) -> NDArray[np.float32]:
    """(T, V, 3) read every `ratio` frames, linearly."""
    place = np.arange(0, len(offsets) - 1 + 1e-9, ratio)
    low = np.minimum(place.astype(int), len(offsets) - 2)
    share = (place - low).astype(np.float32)[:, None, None]
    return offsets[low] * (1 - share) + offsets[low + 1] * share
