"""Encoded corpora: recordings as latents of both autoencoders beside their sound, for training at the published size.

FOLDER/encoded.json              clips: stretches of frames without a gap, with their subject and split
FOLDER/SUBJECT/motion.npy        (T, C, h, w) float16 or float32, before quantisation
FOLDER/SUBJECT/wrinkle.npy       the same
FOLDER/SUBJECT/audio.npy         (N,) float32 mono at 16 kHz; frame t is heard from t / fps seconds on
FOLDER/SUBJECT/pivots.safetensors  motion, wrinkle (C, h, w): the mean latents
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from parlante.core import InputError

KINDS = ("motion", "wrinkle")


@dataclass(frozen=True, eq=False)
class EncodedSubject:
    """One subject's arrays, memory-mapped, and its stretches."""

    name: str
    latents: dict[str, NDArray[Any]]
    """motion, wrinkle: (T, C, h, w)."""
    audio: NDArray[np.float32]
    """(N,)."""
    pivots: dict[str, Tensor]
    """motion, wrinkle: (C, h, w)."""
    stretches: dict[str, list[tuple[int, int]]]
    """split -> (first frame, end)."""


@dataclass(frozen=True, eq=False)
class EncodedCorpus:
    """All subjects, by name."""

    subjects: tuple[EncodedSubject, ...]
    fps: float
    stats: dict[str, list[float]]
    """`MotionStats.to_dict()` of the motion maps."""

    def shape(self, kind: str) -> tuple[int, int, int]:
        """(C, h, w) of a kind of latent."""
        return self.subjects[0].latents[kind].shape[1:]

    def pivots(self, kind: str) -> Tensor:
        """(subjects, C, h, w)."""
        return torch.stack([subject.pivots[kind] for subject in self.subjects])


def open_encoded(folder: Path | str) -> EncodedCorpus:
    """Open an encoded corpus. Raises InputError naming the file that is missing or does not fit."""
    folder = Path(folder)
    index = folder / "encoded.json"
    if not index.is_file():
        raise InputError(f"{folder} is no encoded corpus: it has no encoded.json; write one with parlante encode")
    try:
        head = json.loads(index.read_text())
        clips, fps, stats = head["clips"], float(head["fps"]), head["motion_stats"]
        names = sorted({clip["subject"] for clip in clips})
        subjects = tuple(_subject(folder / name, [c for c in clips if c["subject"] == name]) for name in names)
    except (ValueError, KeyError, TypeError, OSError, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder} is no encoded corpus: {error}; encode it again") from error
    if not subjects:
        raise InputError(f"{folder} holds no clips; encode a larger corpus")
    return EncodedCorpus(subjects, fps, stats)


def _subject(folder: Path, clips: list[dict[str, Any]]) -> EncodedSubject:
    latents = {kind: np.load(folder / f"{kind}.npy", mmap_mode="r", allow_pickle=False) for kind in KINDS}
    audio = np.load(folder / "audio.npy", mmap_mode="r", allow_pickle=False)
    frames = min(len(latents[kind]) for kind in KINDS)
    stretches: dict[str, list[tuple[int, int]]] = {}
    for clip in clips:
        first, end = int(clip["first"]), int(clip["first"]) + int(clip["frames"])
        if not 0 <= first < end <= frames:
            raise InputError(f"{folder}: a clip of frames {first} to {end}, but latents of {frames}; encode it again")
        stretches.setdefault(clip["split"], []).append((first, end))
    return EncodedSubject(folder.name, latents, audio, load_file(folder / "pivots.safetensors"), stretches)
