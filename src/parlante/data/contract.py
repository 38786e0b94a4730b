"""What every corpus answers: its clips by name, its subjects at rest, and facts that nobody has to guess."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from parlante.core import Clip, Identity, InputError, Topology
from parlante.core.timing import SAMPLE_RATE, num_samples
from parlante.data.lazy import lazy_part
from parlante.data.splits import wanted_splits


@dataclass(frozen=True, kw_only=True)
class ClipInfo:
    """What is known of a clip before it is read."""

    key: str
    """Name of the clip; no other clip of the corpus has it."""
    subject: str
    split: str
    """train, val, test_seen, test_unseen or unused."""
    frames: int = 0
    """Frames of motion; 0 where only reading would tell (see `Corpus.count_frames`)."""
    samples: int = 0
    """Samples of audio; 0 where only reading would tell."""
    sentence: str = ""
    """Name of the sentence, as the dataset numbers it."""
    text: str = ""
    """What is said."""
    first: int | None = None
    """First frame within the subject's recording, where a clip is a stretch of it."""
    starts_at_rest: bool = False
    """Whether its first frame is the subject's neutral face, which no speech moves."""


@dataclass(frozen=True, kw_only=True)
class SubjectInfo:
    """What is known of a subject beside its face at rest."""

    name: str
    face: str = ""
    """Person of the embedded head whose face the subject has; empty: a face of its own."""
    voice: str = ""
    profile: Mapping[str, float] | None = None
    """How it moves: field of `parlante.head.speaker_profile.SpeakerProfile` -> value."""


class Corpus(Sequence[Clip]):
    """A sequence of `Clip`s whose frames are read when they are sliced.

    A reader sets `dataset`, `fps`, `clips` and `subjects`, and defines `read`, `topology` and `identity`; the rest has
    answers that fit most.
    """

    dataset: str
    """vocaset, BIWI, mead, multiface, textalk4d, synthtalk, a plug-in's name, or the name of one's own."""
    fps: float
    """Frames per second of every clip."""
    sample_rate: int = SAMPLE_RATE
    """Hz of every clip's audio."""
    unit: str = "unknown"
    """m: metres; normalised: BIWI's published unit, or another made by its authors; unknown."""
    root: Path | str
    """Where it lies."""
    clips: Sequence[ClipInfo]
    """In the order of the sequence."""
    subjects: Mapping[str, SubjectInfo]
    """By name; those of other splits may be among them."""
    problems: Sequence[str] = ()
    """What the reader had to leave out, in words."""
    shortest: int = 0
    """Frames that a stretch needs where a clip is packed around damaged frames; 0: such a clip is left out."""
    has_weights: bool = False
    """Whether clips carry the weights of the ARKit shapes, on faces of the embedded head."""

    def read(self, index: int) -> Clip:
        """Clip `index`. Raises InputError if a file of it is missing or damaged."""
        raise NotImplementedError

    @property
    def topology(self) -> Topology:
        """Of every mesh; a topology without triangles where the dataset has none. Raises InputError for damage."""
        raise NotImplementedError

    def identity(self, subject: str) -> Identity:
        """A subject at rest. Raises InputError for an unknown subject, or one whose face at rest is not known."""
        raise NotImplementedError

    def neutral(self, subject: str) -> NDArray[np.float32]:
        """(V, 3) of a subject at rest, for those who need no skin. Raises InputError as `identity`."""
        return np.asarray(self.identity(subject).neutral, np.float32)

    def count_frames(self) -> None:
        """Fill in the `frames` of all clips, where opening did not. Clips that cannot be counted become problems."""

    def offset_range(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Smallest and largest offset from neutral along each axis (3,), over all frames; they are read for it.

        Raises InputError where a clip or a face at rest cannot be read.
        """
        low, high = np.zeros(3), np.zeros(3)
        for clip in self:
            neutral = self.neutral(clip.subject)
            for start in range(0, len(clip.vertices), 64):
                offsets = np.asarray(clip.vertices[start : start + 64], np.float64) - neutral
                low, high = np.minimum(low, offsets.min((0, 1))), np.maximum(high, offsets.max((0, 1)))
        return low, high

    def fingerprint(self) -> str:
        """Changes with what is known of the clips, and with the names and sizes of their files."""
        digest = hashlib.sha256(f"{self.dataset} {self.fps} {self.unit}".encode())
        for index, info in enumerate(self.clips):
            digest.update(repr(info).encode())
            for path in self.sources(index):
                digest.update(f"{path.name} {path.stat().st_size}\n".encode() if path.is_file() else b"gone")
        return digest.hexdigest()

    # -- for packing into a clip store

    def sources(self, index: int) -> list[Path]:
        """The files that clip `index` is made of, pictures among them; changes of them are noticed."""
        return []

    def picture_files(self, index: int) -> list[Path]:
        """The PNG or JPEG of every frame of clip `index`; they are kept as they are."""
        return []

    def albedo_file(self, subject: str) -> Path | None:
        """The PNG or JPEG of a subject's skin at rest."""
        return None

    # -- a sequence

    def __len__(self) -> int:
        return len(self.clips)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self.read(number) for number in range(*index.indices(len(self)))]
        return self.read(range(len(self))[index])


def subjects_of(clips: Sequence[ClipInfo]) -> dict[str, SubjectInfo]:
    """The subjects of clips, sorted, of whom no more is known."""
    return {name: SubjectInfo(name=name) for name in sorted({clip.subject for clip in clips})}


def select(clips: Sequence[ClipInfo], split: str | None, root: Path | str) -> list[ClipInfo]:
    """The clips of a split (`test`: both tests), all of them for none. Raises InputError if there are none."""
    wanted = () if split is None else wanted_splits(split)
    chosen = [clip for clip in clips if split is None or clip.split in wanted]
    if not chosen:
        known = ", ".join(sorted({clip.split for clip in clips})) or "no clips at all"
        raise InputError(f"{root} has no split {split!r}; it has {known}" if split else f"{root} has no clips")
    return chosen


def stretches(numbers: Iterable[int], shortest: int) -> list[tuple[int, int]]:
    """Rising frame numbers -> [first, end) of every stretch without a gap of at least `shortest`."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = runs[-1][0], number + 1
        else:
            runs.append((number, number + 1))
    return [(first, end) for first, end in runs if end - first >= shortest]


def cut(clip: Clip, first: int, frames: int) -> Clip:
    """`frames` frames of a clip from frame `first` on, with the audio that belongs to them; lazy ones stay lazy.

    Raises InputError if they do not lie within the clip.
    """
    total = len(clip.vertices)
    if first < 0 or frames < 1 or first + frames > total:
        raise InputError(f"frames {first} to {first + frames} do not lie within {clip.key} of {total} frames")
    end = first + frames
    start = num_samples(first, clip.sample_rate, clip.fps)
    stop = start + num_samples(frames, clip.sample_rate, clip.fps)  # windows of as many frames are equally long
    low, high = first / clip.fps, end / clip.fps
    inside = [(name, max(a, low) - low, min(b, high) - low) for name, a, b in clip.phones if b > low and a < high]
    return replace(
        clip,
        audio=clip.audio[start:stop],
        vertices=lazy_part(clip.vertices, first, end),
        textures=None if clip.textures is None else lazy_part(clip.textures, first, end),
        weights=None if clip.weights is None else clip.weights[first:end],
        head_pose=None if clip.head_pose is None else clip.head_pose[first:end],
        phones=tuple(inside),
        text="",
    )


def window(clip: Clip, first: int, frames: int) -> Clip:
    """As `cut`, and read now. Raises InputError as `cut`, or where a frame is damaged."""
    part = cut(clip, first, frames)
    textures = None if part.textures is None else np.asarray(part.textures)
    return replace(part, vertices=np.asarray(part.vertices, np.float32), textures=textures)
