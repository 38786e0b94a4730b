"""TexTalk4D as published with TexTalker (CVPR 2025): 4D scans of talking faces with a picture of the skin per frame.

    ROOT/ID001/Records/enhanced_vocal.wav         speech
    ROOT/ID001/Models/000001/face_aligned.obj     one mesh per frame, 30 a second; 000001 is the neutral face
    ROOT/ID001/Textures_512/000001/face.png       its skin

Folder number k belongs to (k - 1) / 30 seconds of the recording. A clip is a stretch of frames in which mesh, picture
and audio are all there.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.audio.audio_file import containers, opened
from parlante.audio.io import read_audio
from parlante.core import Clip, Identity, InputError, Topology
from parlante.core.options import option
from parlante.core.pictures import read_picture
from parlante.core.timing import SAMPLE_RATE, num_frames, num_samples
from parlante.data.contract import ClipInfo, Corpus, select, stretches, subjects_of
from parlante.data.lazy import lazy_frames
from parlante.data.pictures import lazy_pictures
from parlante.geometry.obj import ObjMesh, read_obj, read_vertices

FPS = 30.0
METRES_PER_UNIT = 0.1
"""Inferred: the published heads are about 1.4 x 1.6 x 1.1 units."""
HELD_OUT = 10
"""test_seen is the latter half of so many identities, the last ones by name."""
MESH, PICTURE, RECORDING = "face_aligned.obj", "face.png", "enhanced_vocal.wav"


@dataclass(frozen=True, kw_only=True)
class TexTalk4DOptions:
    """What a corpus of TexTalk4D depends on beside its files."""

    textures: bool = option(True, "meshes and audio only")
    unseen: bool = option(False, "all identities are test_unseen (TexTalkTest)")
    held_out: int = option(HELD_OUT, "identities, last by name, whose latter half is test_seen", "N")
    unit: float = option(METRES_PER_UNIT, "metres in one unit of the meshes", "M")
    shortest: int = option(30, "frames without a gap that make a clip", "N")

    def __post_init__(self) -> None:
        if not 0 < self.unit < 1e3:
            raise InputError(f"--unit must be metres in one unit of the meshes, got {self.unit:g}; 0.1 is the default")
        if self.held_out < 0 or self.shortest < 1:
            raise InputError(f"--held-out and --shortest must be 0 or more, got {self.held_out} and {self.shortest}")


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


@dataclass
class _Known:
    """What is kept of an identity while its clips are read."""

    person: Recording
    textured: bool = False
    neutral: tuple[ObjMesh, str] | None = None
    """The neutral mesh, and the fingerprint of its faces and uv."""
    lock: threading.Lock = field(default_factory=threading.Lock)


class TexTalk4D(Corpus):
    """The published folders as `Clip`s, in metres; meshes and pictures are read from their files when sliced.

    Every mesh is held against the neutral one as it is read: vertex count, finite numbers, the same faces and uv.

    Args:
        root: the published folder.
        split: see `open_corpus`.
        textures, unseen, held_out, unit, shortest: see `TexTalk4DOptions`.

    Raises:
        InputError: no identities there, nothing of them can be used, or no such split.
    """

    dataset = "textalk4d"
    unit = "m"
    fps = FPS

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        textures: bool = True,
        unseen: bool = False,
        held_out: int = HELD_OUT,
        unit: float = METRES_PER_UNIT,
        shortest: int = 30,
    ) -> None:
        TexTalk4DOptions(textures=textures, unseen=unseen, held_out=held_out, unit=unit, shortest=shortest)
        self.root: Path = Path(root)
        self.scale, self.textures, self.shortest = unit, textures, shortest
        self.problems: list[str] = []
        people = recordings(root)
        self._known = {person.name: _Known(person) for person in people}
        clips: list[ClipInfo] = []
        for position, person in enumerate(people):
            parts = assign_split(position, len(people), person.frames, held_out, unseen)
            clips += self._clips(self._known[person.name], parts)
        if not clips:
            why = "; ".join(self.problems[:3])
            raise InputError(f"nothing in {root} can be used ({why}); wanted ID001/Models/000001/{MESH}")
        self.subjects = subjects_of(clips)
        self.clips = select(clips, split, root)

    def _clips(self, known: _Known, parts: list[tuple[str, int, int]]) -> Iterator[ClipInfo]:
        """The stretches of one identity in which nothing is missing, cut where its splits meet."""
        person = known.person
        if not person.meshes or person.meshes[0] != 1:
            self._miss(person, "its neutral mesh 000001 is missing")
            return
        if person.speech is None:
            self._miss(person, "it has no recording in Records/")
            return
        try:
            audible = _audible_frames(person.speech)
        except InputError as error:
            self._miss(person, str(error))
            return
        good = set(person.meshes)
        self._list_missing(person, "mesh", person.meshes)
        if self.textures and not person.pictures:
            self._miss(person, "it has no pictures")
        elif self.textures and person.pictures[0] != 1:
            self._miss(person, "no wrinkles can be measured without its neutral picture 000001")
        elif self.textures:
            known.textured = True
            good &= set(person.pictures)
            self._list_missing(person, "picture", person.pictures)
        if audible < person.frames:
            self._miss(person, f"its recording ends with frame {audible} of {person.frames}")
        runs = stretches(sorted(number - 1 for number in good if number <= audible), self.shortest)
        if not runs:
            self._miss(person, f"no {self.shortest} frames in a row have mesh, picture and audio")
        for split, start, end in parts:
            for first, last in runs:
                a, b = max(first, start), min(last, end)
                if b - a >= self.shortest:
                    yield ClipInfo(
                        key=f"{person.name}-{a + 1:06d}",
                        subject=person.name,
                        split=split,
                        first=a,
                        frames=b - a,
                        samples=num_samples(b) - num_samples(a),
                        starts_at_rest=a == 0,
                    )

    def _miss(self, person: Recording, why: str) -> None:
        self.problems.append(f"{person.name}: {why}")

    def _list_missing(self, person: Recording, what: str, there: Sequence[int]) -> None:
        missing = sorted(set(range(1, person.frames + 1)) - set(there))
        if missing:
            some = ", ".join(f"{number:06d}" for number in missing[:5]) + (", ..." if len(missing) > 5 else "")
            self._miss(person, f"{len(missing)} of {person.frames} frames have no {what}: {some}")

    @cached_property
    def topology(self) -> Topology:
        """Of the first identity whose neutral mesh can be read."""
        why = InputError(f"{self.root} has no clips")
        for name in self.subjects:
            try:
                return self._neutral(name)[0].topology(self.dataset)
            except InputError as error:
                why = error
        raise why

    def _neutral(self, subject: str) -> tuple[ObjMesh, str]:
        """The neutral mesh, and the fingerprint of its faces and uv."""
        known = self._known[subject]
        with known.lock:
            if known.neutral is None:
                path = known.person.mesh(1)
                known.neutral = read_obj(path), read_vertices(path)[1]
            return known.neutral

    def identity(self, subject: str) -> Identity:
        """A subject's neutral frame and its picture. Raises InputError for an unknown subject."""
        if subject not in self._known:
            raise InputError(f"no subject {subject!r} in {self.root}; it has {', '.join(self._known)}")
        skin = self.albedo_file(subject)
        albedo = None if skin is None else read_picture(skin)
        return Identity(subject, self.topology, self.neutral(subject), albedo)

    def neutral(self, subject: str) -> NDArray[np.float32]:
        return (self.scale * self._neutral(subject)[0].vertices).astype(np.float32)

    def albedo_file(self, subject: str) -> Path | None:
        known = self._known[subject]
        return known.person.picture(1) if known.textured else None

    def picture_files(self, index: int) -> list[Path]:
        info = self.clips[index]
        known = self._known[info.subject]
        return [known.person.picture(number) for number in _numbers_of(info)] if known.textured else []

    def sources(self, index: int) -> list[Path]:
        info = self.clips[index]
        person = self._known[info.subject].person
        speech = [] if person.speech is None else [person.speech]
        meshes = [person.mesh(number) for number in _numbers_of(info)]
        return [*speech, person.mesh(1), *meshes, *self.picture_files(index)]

    def read(self, index: int) -> Clip:
        info = self.clips[index]
        person, first = self._known[info.subject].person, info.first or 0
        neutral, mark = self._neutral(info.subject)
        if not same_topology(neutral.topology(self.dataset), self.topology):
            count = len(neutral.vertices)
            raise InputError(f"{person.mesh(1)}: its topology ({count} vertices) is not that of the identities before")
        assert person.speech is not None, "an identity without a recording has no clips"
        audio = read_audio(person.speech)
        frames = min(info.frames, num_frames(len(audio)) - first)
        if frames < 1:
            raise InputError(f"{person.speech} ends before frame {first + 1}; copy it again")

        def mesh(number: int) -> NDArray[np.float32]:
            path = person.mesh(first + number + 1)
            vertices, found = read_vertices(path, len(neutral.vertices))
            if found != mark and not _same_mesh(read_obj(path), neutral):
                raise InputError(f"{path}: its faces or uv differ from those of the neutral frame; export it again")
            return (self.scale * vertices).astype(np.float32)

        moving: Any = lazy_frames(frames, neutral.vertices.shape, np.float32, mesh)
        pictures = self.picture_files(index)[:frames]
        textures: Any = lazy_pictures(pictures) if pictures else None
        speech = audio[num_samples(first) : num_samples(first + frames)]
        return Clip(speech, SAMPLE_RATE, moving, FPS, info.subject, info.key, textures)


# -- what is there


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


def _numbers_of(info: ClipInfo) -> range:
    """Numbers of a clip's folders."""
    first = info.first or 0
    return range(first + 1, first + info.frames + 1)


def _audible_frames(path: Path) -> int:
    """Frames that a recording covers. Raises InputError if it cannot be opened."""
    with opened(path) as file, containers(file) as parts:
        stream = next((stream for container in parts for stream in container.streams.audio), None)
        if stream is not None and stream.duration and stream.time_base and len(file.parts) == 1:
            return num_frames(int(float(stream.duration * stream.time_base) * SAMPLE_RATE + 0.5))
    return num_frames(len(read_audio(path)))


def same_topology(one: Topology, other: Topology) -> bool:
    """Whether two meshes have the same vertices, faces and texture corners."""
    pairs: Sequence[tuple[Any, Any]] = (
        (one.num_vertices, other.num_vertices),
        (one.triangles, other.triangles),
        (one.uv_triangles, other.uv_triangles),
    )
    same_uv = one.uv.shape == other.uv.shape and np.allclose(one.uv, other.uv, rtol=0, atol=1e-5)
    return same_uv and all(np.array_equal(a, b) for a, b in pairs)


def _same_mesh(one: ObjMesh, other: ObjMesh) -> bool:
    same_uv = one.uv.shape == other.uv.shape and np.allclose(one.uv, other.uv, rtol=0, atol=1e-5)
    return same_uv and np.array_equal(one.sizes, other.sizes) and np.array_equal(one.corners, other.corners)


# -- the published splits


def held_out_from(frames: int, rule: str = "half") -> int:
    """First frame, from 0, of the half that test_seen keeps of a recording of `frames`.

    The published code has two rules. half: frames // 2, for the autoencoders. hundreds: ceil(frames / 100) // 2 * 100,
    for the diffusion model.
    """
    if rule not in ("half", "hundreds"):
        raise ValueError(f"the rule is half or hundreds, got {rule!r}")
    return frames // 2 if rule == "half" else -(-frames // 100) // 2 * 100


def window_starts(frames: int, samples: int, window: int, *, held_out: bool = False) -> range:
    """First frames, from 0, at which two published training windows of `window` frames each may begin.

    frames, samples: of the whole recording; only whole seconds of the audio count, and frame 0, the neutral one, never
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
