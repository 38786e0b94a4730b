"""A person's style from clips of that person: animations with their sound, as `parlante animate` writes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.core import Animation, InputError, Style
from parlante.export.npz import load
from parlante.pipeline.source import Source
from parlante.pipeline.speech import hear


@dataclass(frozen=True, eq=False)
class StyleClip:
    """What a talker learns a style from."""

    audio: NDArray[np.float32]
    """(N,) at 16 kHz."""
    offsets: NDArray[np.float32]
    """(T, V, 3) metres from neutral, at the talker's rate."""
    wrinkle: NDArray[np.uint8] | None
    """(T', h, w, 3) stored wrinkle maps of the clip's own frames."""


@dataclass(frozen=True)
class Extracted:
    """A style and how well it fits."""

    style: Style
    seconds: float
    """Of the clips that were used."""
    facts: dict[str, float | str]
    """Figures to show; their names depend on the model."""


def extract_style(clips: Sequence[Path | str | Animation], source: Source, name: str) -> Extracted:
    """The style of the person in `clips`, for this talker. Raises InputError for clips that cannot be used."""
    if not clips:
        raise InputError("no clips given; name at least one .npz animation of the person")
    learn = getattr(source, "extract", None)
    if learn is None:
        raise InputError(
            f"this {source.provenance.get('model', 'model')} learns no styles from clips; wanted a talker of the "
            "embedded head: talkingstyle, ptalker, faceformer, facediffuser, textalker, or a folder of parlante train"
        )
    files = [Path(clip) for clip in clips if not isinstance(clip, Animation)]
    if missing := [str(file) for file in files if not file.is_file()]:
        what = "a folder" if Path(missing[0]).is_dir() else "not there"
        more = f"; {len(missing) - 1} more clips are missing" if len(missing) > 1 else ""
        raise InputError(
            f"{missing[0]} is {what}, wanted an animation with sound (.npz); make one with parlante animate line.wav "
            f"-o clip.npz{more}"
        )
    read = [_clip(clip, source.fps) for clip in clips]
    seconds = sum(len(clip.offsets) for clip in read) / source.fps
    if seconds < 1:
        raise InputError(f"the clips hold {seconds:.1f} s of motion, a style needs at least 1 s; 10 s or more are good")
    found: Extracted = learn(read, name)
    return found


def _clip(clip: Path | str | Animation, fps: float) -> StyleClip:
    from parlante.head import load_head

    where = "the animation" if isinstance(clip, Animation) else str(clip)
    animation = clip if isinstance(clip, Animation) else load(clip)
    topology = load_head().topology
    if animation.vertices.shape[1] != topology.num_vertices:
        raise InputError(
            f"{where} has {animation.vertices.shape[1]} vertices, the embedded head {topology.num_vertices}; "
            "give clips of that head, written by parlante animate or parlante synth"
        )
    if len(animation.vertices) < 2:
        raise InputError(f"{where} has {len(animation.vertices)} frames; give a longer clip")
    if not np.isfinite(animation.vertices).all():
        raise InputError(f"{where} holds vertices that are no finite numbers")
    speech = hear((np.asarray(animation.audio), animation.sample_rate))
    offsets = np.asarray(animation.vertices, np.float32) - animation.neutral
    if abs(animation.fps - fps) > 1e-6:
        offsets = _resample(offsets, animation.fps / fps)
    return StyleClip(np.asarray(speech.audio_16k), offsets, animation.wrinkle)


def _resample(offsets: NDArray[np.float32], ratio: float) -> NDArray[np.float32]:
    """(T, V, 3) read every `ratio` frames, linearly."""
    place = np.arange(0, len(offsets) - 1 + 1e-9, ratio)
    low = np.minimum(place.astype(int), len(offsets) - 2)
    share = (place - low).astype(np.float32)[:, None, None]
    return offsets[low] * (1 - share) + offsets[low + 1] * share
