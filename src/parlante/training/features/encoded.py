"""What `parlante encode` wrote, read back beside the audio of its corpus, for training at the published size."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from parlante.core import InputError
from parlante.core.ranges import Count
from parlante.core.style import load_style
from parlante.core.typed import read_header
from parlante.data.open import open_corpus

KINDS = ("motion", "wrinkle")


@dataclass(frozen=True)
class EncodedClip:
    """One clip; its frames are counted from its own start."""

    key: str
    subject: int
    split: str
    frames: int
    first: int
    """Its first frame that speech moves: 1 where frame 0 is the neutral face."""
    number: int
    """In the corpus."""
    samples: int


@dataclass(frozen=True)
class _Row:
    key: str
    subject: str
    split: str
    frames: Count


@dataclass(frozen=True)
class _Head:
    """index.json."""

    stats: dict[str, list[float]]
    stride: Count
    pivot_frames: dict[str, Any]
    clips: list[_Row]


class EncodedCorpus:
    """Latents, audio and pivots.

    Args:
        folder: written by `parlante encode`, every frame of it.
        corpus: the folder it was made from, for the audio.

    Raises:
        InputError: one of them is none, unfinished or does not fit the other, or frames or wrinkles are left out.
    """

    def __init__(self, folder: Path | str, corpus: Path | str) -> None:
        self.folder = Path(folder)
        index = self.folder / "index.json"
        if not index.is_file():
            raise InputError(f"{folder} holds no finished encoding; write one with parlante encode")
        self.source = open_corpus(corpus)
        numbers = {info.key: k for k, info in enumerate(self.source.clips)}
        wanted = "an encoding that parlante encode finished"
        head = read_header(_Head, index, wanted)
        self.stats: dict[str, list[float]] = head.stats
        if head.stride != 1:
            raise InputError(f"{folder} holds every {head.stride}th frame; training needs all, encode --stride 1")
        names = sorted(head.pivot_frames)
        if lost := [c.key for c in head.clips if c.key not in numbers]:
            raise InputError(f"{corpus} has no clip {lost[0]}; give the folder that {folder} was encoded from")
        if strange := [c.subject for c in head.clips if c.subject not in names]:
            raise InputError(f"cannot read {index}: it has no pivot of {strange[0]}; give {wanted}")
        self.clips = tuple(self._clip(c, names.index(c.subject), numbers[c.key]) for c in head.clips)
        if not self.clips:
            raise InputError(f"{folder} holds no clips; encode a larger corpus")
        self.names = tuple(names)
        """Subjects."""
        self.fps = self.source.fps
        styles = [load_style(self.folder / "pivots" / f"{name}.style") for name in names]
        self.pivots = {
            kind: torch.from_numpy(np.stack([np.asarray(getattr(s, kind), np.float32) for s in styles]))
            for kind in KINDS
        }
        """motion, wrinkle: (subjects, C, h, w)."""

    def _clip(self, c: _Row, subject: int, number: int) -> EncodedClip:
        info = self.source.clips[number]
        first = int(info.starts_at_rest)
        return EncodedClip(c.key, subject, c.split, c.frames, first, number, info.samples)

    def latents(self, clip: EncodedClip, start: int, count: int) -> dict[str, NDArray[np.float32]]:
        """motion, wrinkle: (count, C, h, w). Raises InputError where the file is damaged or has no wrinkles."""
        path = self.folder / "latents" / f"{clip.key}.safetensors"
        try:
            with safe_open(path, "np") as file:
                parts = {kind: file.get_slice(kind)[start : start + count] for kind in KINDS}
        except (OSError, SafetensorError, AttributeError, TypeError) as error:
            raise InputError(f"cannot read both latents from {path}: {error}; encode the corpus again") from error
        if any(len(part) != count for part in parts.values()):
            raise InputError(f"{path} ends before frame {start + count}; encode the corpus again")
        return {kind: np.asarray(part, np.float32) for kind, part in parts.items()}

    def audio(self, clip: EncodedClip) -> NDArray[np.float32]:
        """(N,) mono at 16 kHz."""
        return np.asarray(self.source[clip.number].audio, np.float32)

    def shape(self, kind: str) -> tuple[int, ...]:
        """(C, h, w) of a kind of latent."""
        return tuple(self.pivots[kind].shape[1:])

    def pivot(self, kind: str, subject: int) -> Tensor:
        """(C, h, w)."""
        return self.pivots[kind][subject]
