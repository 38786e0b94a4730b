"""BIWI, the 3D Audiovisual Corpus of Affective Communication, as its archive comes: 14 speakers at 25 frames a second.

    ROOT/faces/F1/e01.tar         frame_001.vl, ...: uint32 count, then x, y, z as float32 of every vertex
                                  (also .tgz, unpacked folders, or archives of several sequences, such as faces01.tgz)
    ROOT/rigid_scans/F1.obj       the speaker's neutral face; F1.png its skin
    ROOT/audio/F1_e01.wav         speech (also audio/F1/e01.wav, or the videos' .flv)

Sequences e01 to e40 are the emotional recordings that the published methods use; 01 to 40 are the neutral ones.

Published unit (CodeTalker, CVPR 2023): every frame is turned by 180 degrees about x, centred at the mean of its
vertices, and divided by the square root of its own surface area.
"""

import re
import tarfile
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.audio.io import read_audio
from parlante.core import Clip, Identity, InputError, Topology
from parlante.core.options import option
from parlante.core.timing import SAMPLE_RATE
from parlante.data.archives import Archive, is_archive
from parlante.data.contract import ClipInfo, Corpus, select, subjects_of
from parlante.data.lazy import LazyFrames
from parlante.data.meshes import mesh_topology
from parlante.data.splits import biwi_split
from parlante.geometry.mesh import Mesh, read_mesh

FPS = 25.0
_TURN = np.array([1.0, -1.0, -1.0])
_PLACE = re.compile(r"(?:^|[/_])([FM]\d)[/_](e?\d\d)(?=[/_.]|$)")
_RECORDINGS = (".wav", ".flac", ".mp3", ".m4a", ".flv", ".mp4", ".avi")
_FRAME_LIMIT = 1 << 26
"""Bytes of one frame."""


@dataclass(frozen=True, kw_only=True)
class BiwiOptions:
    """What a corpus of BIWI depends on beside its files."""

    neutral_too: bool = option(False, "also the neutral recordings 01 to 40")


class Biwi(Corpus):
    """The archive as `Clip`s in the published unit; frames are read out of the archives when they are sliced.

    Args:
        root: folder with `faces` and `rigid_scans`.
        split: see `open_corpus`.
        neutral_too: also the neutral recordings 01 to 40, in the splits of their sentences.

    Raises:
        InputError: no sequences there, a damaged archive that has to be searched, or no such split.
    """

    dataset = "BIWI"
    unit = "normalised"
    fps = FPS

    def __init__(self, root: Path | str, split: str | None = None, *, neutral_too: bool = False) -> None:
        self.root: Path = Path(root)
        self.problems: list[str] = []
        """What had to be left out, in words."""
        faces = self.root / "faces"
        if not faces.is_dir():
            raise InputError(f"no such folder: {faces}; BIWI has its sequences there")
        self.sequences: dict[tuple[str, str], _Loose | _Packed] = {}
        """(subject, sequence): where its frames are."""
        self._search(faces)
        self.recordings = self._recordings()
        """(subject, sequence): its recording."""
        clips = []
        for subject, sequence in self.sequences:
            if not (neutral_too or sequence.startswith("e")):
                continue
            key = f"{subject}_{sequence}"
            if (subject, sequence) not in self.recordings:
                self.problems.append(f"{key} has no recording in audio/ or videos/")
                continue
            split_of = biwi_split(subject, sequence)
            clips.append(ClipInfo(key=key, subject=subject, sentence=sequence, split=split_of))
        self._need(clips)
        self.subjects = subjects_of(clips)
        self.clips = select(clips, split, self.root)

    def _need(self, clips: list[ClipInfo]) -> None:
        if not clips:
            why = f" ({self.problems[0]})" if self.problems else ""
            raise InputError(
                f"{self.root}/faces has no sequence that can be used{why}; wanted F1/e01.tgz with .vl files"
            )

    def count_frames(self) -> None:
        """Reads through all archives."""
        counted = []
        for info in self.clips:
            try:
                counted.append(replace(info, frames=len(self.sequences[info.subject, info.sentence])))
            except InputError as error:
                self.problems.append(f"{info.key}: {error}")
        self._need(counted)
        self.clips = counted

    def read(self, index: int) -> Clip:
        info = self.clips[index]
        subject, place = info.subject, (info.subject, info.sentence)
        mesh = self.scan(subject)
        read = self.sequences[place].reader(len(mesh.vertices))
        audio = read_audio(self.recordings[place])

        def make(chosen: NDArray[Any]) -> NDArray[Any]:
            return normalise(_TURN * read(chosen[:, 0]), mesh.triangles)

        numbers = np.arange(len(self.sequences[place]))[:, None]
        vertices: Any = LazyFrames(numbers, mesh.vertices.shape, np.float32, make)
        return Clip(audio, SAMPLE_RATE, vertices, FPS, subject, info.key)

    def sources(self, index: int) -> list[Path]:
        """The files that clip `index` is made of."""
        info = self.clips[index]
        place = (info.subject, info.sentence)
        return [self.scan_file(info.subject), self.recordings[place], *self.sequences[place].files]

    @cached_property
    def _scans(self) -> dict[str, Path]:
        return {path.stem: path for path in sorted((self.root / "rigid_scans").rglob("*.obj"), reverse=True)}

    def scan_file(self, subject: str) -> Path:
        """The speaker's neutral mesh. Raises InputError if there is none."""
        if subject not in self._scans:
            raise InputError(
                f"{self.root}/rigid_scans has no {subject}.obj; it tells the triangles and the face at rest"
            )
        return self._scans[subject]

    def scan(self, subject: str) -> Mesh:
        """The speaker's neutral mesh, in the archive's unit."""
        if subject not in self._meshes:
            self._meshes[subject] = read_mesh(self.scan_file(subject))
        return self._meshes[subject]

    @cached_property
    def _meshes(self) -> dict[str, Mesh]:
        return {}

    @cached_property
    def topology(self) -> Topology:
        """Of the first speaker's scan."""
        return mesh_topology(self.dataset, self.scan(self.clips[0].subject))

    def identity(self, subject: str) -> Identity:
        """A speaker at rest in the published unit, turned as the frames are. Raises InputError for an unknown one."""
        if subject not in self.subjects:
            raise InputError(f"no subject {subject!r} in {self.root}; it has {', '.join(self.subjects)}")
        mesh = self.scan(subject)
        if len(mesh.vertices) != self.topology.num_vertices:
            raise InputError(
                f"the scan of {subject} in {self.root} has {len(mesh.vertices)} vertices, the first one "
                f"{self.topology.num_vertices}; copy the scans again"
            )
        first = next(frames for (name, _), frames in self.sequences.items() if name == subject)
        frame = normalise(_TURN * first.reader(len(mesh.vertices))(np.array([0])), mesh.triangles)[0]
        both = [normalise((turn * mesh.vertices)[None], mesh.triangles)[0] for turn in (_TURN, np.ones(3))]
        nearest = min(both, key=lambda shape: float(np.square(shape - frame).sum()))
        return Identity(subject, self.topology, nearest)

    def albedo_file(self, subject: str) -> Path | None:
        """The speaker's skin, beside the scan."""
        path = self._scans.get(subject)
        picture = path.with_suffix(".png") if path is not None else None
        return picture if picture is not None and picture.is_file() else None

    # -- where things are

    def _search(self, faces: Path) -> None:
        folders: dict[tuple[str, str], list[Path]] = {}
        for path in sorted(faces.rglob("*")):
            inside = path.relative_to(faces).as_posix()
            if path.suffix.lower() == ".vl" and not path.name.startswith("."):
                found = _PLACE.search(inside)
                if found:
                    folders.setdefault((found[1], found[2]), []).append(path)
            elif is_archive(path.name) and path.is_file():
                found = _PLACE.search(_bare(inside))
                if found:  # one sequence: what is in it shows when it is read
                    self._keep((found[1], found[2]), _Packed([path]))
                else:
                    self._index(path)
        for place, files in folders.items():
            self.sequences[place] = _Loose(sorted(files, key=_number))

    def _keep(self, place: tuple[str, str], frames: "_Packed") -> None:
        known = self.sequences.get(place)
        if isinstance(known, _Packed):  # the release has a .tar and a .tgz of each; one of them holds the frames
            known.files += frames.files
        else:
            self.sequences[place] = frames

    def _index(self, path: Path) -> None:
        """An archive of several sequences, of which some may be archives again."""
        try:
            archive = Archive(path)
            found: dict[tuple[str, str], list[tuple[Archive, tarfile.TarInfo]]] = {}
            for member in archive.members():
                inside = f"{_bare(path.name)}/{_bare(member.name)}"
                place = _PLACE.search(inside)
                if place is None:
                    continue
                if is_archive(member.name):
                    inner = archive.inner(member)
                    frames = [(inner, part) for part in inner.members() if _is_frame(part.name)]
                    found.setdefault((place[1], place[2]), []).extend(frames)
                elif _is_frame(member.name):
                    found.setdefault((place[1], place[2]), []).append((archive, member))
        except InputError as error:
            self.problems.append(str(error))
            return
        for where, members in found.items():
            if members:
                frames_of = _Packed([path])
                frames_of.members = members
                self.sequences.setdefault(where, frames_of)

    def _recordings(self) -> dict[tuple[str, str], Path]:
        """(subject, sequence): its recording; those cut to the frames first, sound files before videos."""
        ranked: dict[tuple[str, str], tuple[tuple[bool, int, str], Path]] = {}
        for name in ("audio", "wav", "videos"):
            for path in (self.root / name).rglob("*"):
                found = _PLACE.search(path.relative_to(self.root).as_posix())
                if found and path.suffix.lower() in _RECORDINGS:
                    rank = ("_cut" not in path.stem, _RECORDINGS.index(path.suffix.lower()), str(path))
                    place = (found[1], found[2])
                    ranked[place] = min(ranked.get(place, (rank, path)), (rank, path))
        return {place: path for place, (_, path) in ranked.items()}


class _Loose:
    """Frames in files of their own."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def reader(self, vertices: int) -> Any:
        def read(numbers: Iterable[int]) -> NDArray[np.float32]:
            frames = []
            for number in numbers:
                path = self.files[int(number)]
                try:
                    content = path.read_bytes() if path.stat().st_size <= _FRAME_LIMIT else b""
                except OSError as error:
                    raise InputError(f"cannot read {path}: {error.strerror or error}") from error
                frames.append(read_vl(content, vertices, str(path)))
            return np.stack(frames)

        return read


class _Packed:
    """Frames in archives; a sequence is read as a whole, for archives are read from the front."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.members: list[tuple[Archive, tarfile.TarInfo]] | None = None
        """The frames within an archive of several sequences, which stays open; else they are looked for."""
        self._count: int | None = None

    def __len__(self) -> int:
        if self.members is not None:
            return len(self.members)
        if self._count is None:
            self._count = len(self._frames(lambda archive, member: b""))
        return self._count

    def _frames(self, read: Callable[[Archive, tarfile.TarInfo], bytes]) -> list[tuple[str, bytes]]:
        """Name, and what `read` makes of it, of each frame in the first of the archives that has some."""
        for path in self.files:
            with closing(Archive(path)) as archive:
                found = [(m.name, read(archive, m)) for m in archive.members() if _is_frame(m.name)]
            if found:
                return found
        raise InputError(f"{' and '.join(map(str, self.files))} hold no .vl files")

    def _shared(self) -> list[tuple[str, bytes]]:
        """The same out of an archive of several sequences, in the order in which they lie in it."""
        members = sorted(self.members or [], key=lambda pair: pair[1].offset_data)
        with members[0][0].lock:  # so that nobody reads elsewhere meanwhile: going back means unpacking anew
            return [(member.name, _content(archive, member)) for archive, member in members]

    def reader(self, vertices: int) -> Any:
        kept: list[NDArray[np.float32]] = []
        lock = threading.Lock()

        def read(numbers: NDArray[np.integer]) -> NDArray[np.float32]:
            with lock:
                if not kept:
                    contents = self._frames(_content) if self.members is None else self._shared()
                    contents.sort(key=lambda pair: _number(Path(pair[0])))
                    frames = [read_vl(content, vertices, f"{n} in {self.files[0]}") for n, content in contents]
                    kept.append(np.stack(frames))
            return kept[0][numbers]

        return read


def _content(archive: Archive, member: tarfile.TarInfo) -> bytes:
    if member.size > _FRAME_LIMIT:
        raise InputError(f"{member.name} in {archive.path} has {member.size} bytes, too many for a frame")
    return archive.read(member)


def read_vl(content: bytes, vertices: int, name: str) -> NDArray[np.float32]:
    """(V, 3) of a `.vl` file's bytes. Raises InputError naming `name` if they are not `vertices` of them."""
    found = int.from_bytes(content[:4], "little")
    if len(content) < 4 or len(content) != 4 + 12 * found:
        raise InputError(f"{name} has {len(content)} bytes, which is no frame of {found} vertices; copy it again")
    if found != vertices:
        raise InputError(f"{name} has {found} vertices, the speaker's scan {vertices}")
    frame = np.frombuffer(content, "<f4", 3 * found, 4).reshape(found, 3)
    if not np.isfinite(frame).all():
        raise InputError(f"{name} has numbers that are not finite")
    return frame


def surface_area(vertices: NDArray[Any], triangles: NDArray[np.integer]) -> NDArray[np.float64]:
    """(T,) areas of meshes (T, V, 3)."""
    corners = np.asarray(vertices, np.float64)[:, triangles]
    normals = np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    areas: NDArray[np.float64] = np.linalg.norm(normals, axis=-1).sum(-1) / 2
    return areas


def normalise(vertices: NDArray[Any], triangles: NDArray[np.integer]) -> NDArray[np.float32]:
    """Frames (T, V, 3), each centred at its mean vertex and divided by the square root of its surface area."""
    centred = np.asarray(vertices, np.float64) - np.asarray(vertices, np.float64).mean(1, keepdims=True)
    areas = np.array([surface_area(frame[None], triangles)[0] for frame in centred])
    if (areas <= 0).any():
        raise InputError("a mesh without any area cannot be normalised; are the scans' faces there?")
    return (centred / np.sqrt(areas)[:, None, None]).astype(np.float32)


def _is_frame(name: str) -> bool:
    return name.lower().endswith(".vl") and not name.rpartition("/")[2].startswith(".")


def _number(path: Path) -> tuple[int, str]:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else 0, path.name


def _bare(name: str) -> str:
    """A name without an archive's suffix."""
    return re.sub(r"\.(tgz|tar\.gz|tar)$", "", name, flags=re.IGNORECASE)
