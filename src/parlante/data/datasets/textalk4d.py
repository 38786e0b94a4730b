"""TexTalk4D as published with TexTalker (CVPR 2025): 4D scans of talking faces with a picture of the skin per frame.

    ROOT/ID001/Records/enhanced_vocal.wav         speech
    ROOT/ID001/Models/000001/face_aligned.obj     one mesh per frame, 30 a second; 000001 is the neutral face
    ROOT/ID001/Textures_512/000001/face.png       its skin

Folder number k belongs to (k - 1) / 30 seconds of the recording.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from parlante.audio.io import read_audio
from parlante.core import Clip, Identity, InputError, Topology
from parlante.core.timing import SAMPLE_RATE, num_frames, num_samples
from parlante.data.contract import ClipInfo, Corpus, select, subjects_of
from parlante.data.lazy import lazy_frames
from parlante.data.pictures import read_picture
from parlante.geometry.obj import read_obj, read_vertices

FPS = 30.0
METRES_PER_UNIT = 0.1
"""Inferred: the published heads are about 1.4 x 1.6 x 1.1 units."""
HELD_OUT = 10
"""Test-A is the latter half of so many identities, the last ones by name."""
MESH, PICTURE, RECORDING = "face_aligned.obj", "face.png", "enhanced_vocal.wav"


@dataclass(frozen=True)
class Recording:
    """One identity's folder."""

    name: str
    folder: Path
    meshes: tuple[int, ...]
    """Numbers of the frames that have a mesh, from 1."""
    pictures: tuple[int, ...]
    """Numbers of the frames that have a picture."""
    speech: Path | None

    def mesh(self, number: int) -> Path:
        """File of a frame's mesh."""
        return self.folder / "Models" / f"{number:06d}" / MESH

    def picture(self, number: int) -> Path:
        """File of a frame's skin."""
        return self.folder / "Textures_512" / f"{number:06d}" / PICTURE

    @property
    def frames(self) -> int:
        """Number of the last frame that has anything."""
        return max((*self.meshes, *self.pictures), default=0)


def recordings(root: Path | str) -> list[Recording]:
    """The identities below `root`, by name. Raises InputError if there are none."""
    root = Path(root)
    if not root.is_dir():
        raise InputError(f"no such folder: {root}" if not root.exists() else f"{root} is a file; give a folder")
    found = _identities(root)
    if not found:
        inner = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and _identities(folder)]
        hint = f"; did you mean {inner[0]}?" if inner else ""
        raise InputError(f"{root} holds no TexTalk4D identity, wanted folders such as ID001/Models/000001/{MESH}{hint}")
    return [recording(folder) for folder in found]


def _identities(root: Path) -> list[Path]:
    return sorted(f for f in root.iterdir() if (f / "Models").is_dir() or (f / "Textures_512").is_dir())


def recording(folder: Path) -> Recording:
    """What is there of the identity in `folder`."""
    speech: Path | None = folder / "Records" / RECORDING
    if not (folder / "Records" / RECORDING).is_file():
        others = sorted((folder / "Records").glob("*.wav"))
        speech = others[0] if len(others) == 1 else None
    return Recording(
        folder.name, folder, _numbers(folder / "Models", MESH), _numbers(folder / "Textures_512", PICTURE), speech
    )


def _numbers(folder: Path, file: str) -> tuple[int, ...]:
    if not folder.is_dir():
        return ()
    names = (f.name for f in folder.iterdir() if len(f.name) == 6 and f.name.isdecimal() and (f / file).is_file())
    return tuple(sorted(int(name) for name in names if int(name) > 0))


def held_out_from(frames: int, rule: str = "half") -> int:
    """First frame, from 0, of the half that Test-A keeps of a recording of `frames`.

    The published code has two rules. half: frames // 2, for the autoencoders. hundreds: ceil(frames / 100) // 2 * 100,
    for the diffusion model.
    """
    if rule not in ("half", "hundreds"):
        raise ValueError(f"the rule is half or hundreds, got {rule!r}")
    return frames // 2 if rule == "half" else -(-frames // 100) // 2 * 100


def window_starts(frames: int, samples: int, window: int, *, held_out: bool = False) -> range:
    """First frames, from 0, at which two published training windows of `window` frames each may begin.

    frames, samples: of the whole recording; only whole seconds of the sound count, and frame 0, the neutral one, never
    does. held_out: keep the latter half back, by the rule of hundreds.
    """
    usable = min(frames, samples // SAMPLE_RATE * int(FPS))
    if held_out:
        usable = min(usable, held_out_from(frames, "hundreds"))
    return range(1, max(1, usable - 2 * window))


def assign_split(
    position: int, count: int, frames: int, held_out: int = HELD_OUT, unseen: bool = False
) -> list[tuple[str, int, int]]:
    """(split, first frame, end) of the parts of recording `position` among `count`, by name."""
    if unseen:
        return [("test_unseen", 0, frames)]
    if position < count - held_out:
        return [("train", 0, frames)]
    half = held_out_from(frames)
    return [("train", 0, half), ("test_seen", half, frames)]


class TexTalk4D(Corpus):
    """The published folders as `Clip`s, in metres; meshes and pictures are read from their files when sliced.

    One clip per identity, two where its latter half is held out. Nothing is verified beyond what is read: use
    `parlante prepare textalk4d` for that, and for speed.

    Args:
        root: the published folder.
        split: train, test_seen, test_unseen (with `unseen`), or none for all.
        held_out: identities, last by name, whose latter half is test_seen.
        unseen: whether the whole folder is test_unseen (TexTalkTest).

    Raises:
        InputError: no identities there, a frame or the recording is missing, or no such split.
    """

    dataset = "textalk4d"
    unit = "m"
    fps = FPS

    def __init__(
        self, root: Path | str, split: str | None = None, *, held_out: int = HELD_OUT, unseen: bool = False
    ) -> None:
        self.root: Path = Path(root)
        people = recordings(root)
        self.people = {person.name: person for person in people}
        clips = []
        for position, person in enumerate(people):
            for part, start, end in assign_split(position, len(people), len(person.meshes), held_out, unseen):
                key = f"{person.name}-{start + 1:06d}"
                info = ClipInfo(key=key, subject=person.name, split=part, first=start, frames=end - start)
                clips.append(replace(info, starts_at_rest=start == 0))
        self.subjects = subjects_of(clips)
        self.clips = select(clips, split, root)

    @cached_property
    def topology(self) -> Topology:
        """Of the first identity."""
        return read_obj(self.people[self.clips[0].subject].mesh(1)).topology(self.dataset)

    def identity(self, subject: str) -> Identity:
        """A subject's neutral frame and its picture. Raises InputError for an unknown subject."""
        if subject not in self.people:
            raise InputError(f"no subject {subject!r}; there are {', '.join(self.people)}")
        person = self.people[subject]
        neutral = METRES_PER_UNIT * read_vertices(person.mesh(1), self.topology.num_vertices)[0]
        skin = read_picture(person.picture(1)) if 1 in person.pictures else None
        return Identity(subject, self.topology, neutral.astype(np.float32), skin)

    def read(self, index: int) -> Clip:
        info = self.clips[index]
        person, start = self.people[info.subject], info.first or 0
        if person.speech is None:
            raise InputError(f"{person.folder}/Records holds no {RECORDING}; copy it again")
        if person.meshes != tuple(range(1, len(person.meshes) + 1)):
            raise InputError(f"{person.folder}/Models lacks frames; parlante prepare textalk4d lists and works around")
        count = len(read_obj(person.mesh(1)).vertices)
        audio = read_audio(person.speech)
        end = min(start + info.frames, num_frames(len(audio)))
        sound = audio[num_samples(start) : num_samples(end)]
        numbers = np.arange(start + 1, end + 1)

        def vertices(number: int) -> Any:
            return METRES_PER_UNIT * read_vertices(person.mesh(number), count)[0]

        def skin(number: int) -> Any:
            return read_picture(person.picture(number))

        textures: Any = None
        if person.pictures:
            textures = lazy_frames(numbers, skin(person.pictures[0]).shape, np.uint8, skin)
        moving: Any = lazy_frames(numbers, (count, 3), np.float32, vertices)
        return Clip(sound, SAMPLE_RATE, moving, FPS, person.name, info.key, textures)
