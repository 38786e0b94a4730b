"""TexTalk4D packed into a prepared corpus: every file is read once, in parallel, and whatever is wrong is listed."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parlante.audio.io import read_audio
from parlante.core import InputError, Topology, claim_folder
from parlante.core.files import atomic_folder
from parlante.core.timing import SAMPLE_RATE, num_frames, num_samples
from parlante.data.datasets.textalk4d import (
    FPS,
    HELD_OUT,
    METRES_PER_UNIT,
    Recording,
    assign_split,
    recording,
    recordings,
)
from parlante.data.pictures import picture, read_picture
from parlante.data.store.packed_corpus import Prepared, read_topology, write_index, write_topology
from parlante.geometry.obj import ObjMesh, read_obj, read_vertices
from parlante.geometry.uv import MotionStats, bake_table, round_trip

CHUNK = 64
"""Frames in flight."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a prepared corpus depends on beside its files."""

    unit: float = METRES_PER_UNIT
    """Metres in one unit of the meshes."""
    textures: bool = True
    """Whether pictures are verified and packed."""
    held_out: int = HELD_OUT
    """Identities, last by name, whose latter half is test_seen."""
    unseen: bool = False
    """Whether all is test_unseen."""
    shortest: int = 30
    """Frames that a stretch without a gap needs to become a clip."""

    def __post_init__(self) -> None:
        if not 0 < self.unit < 1e3:
            raise InputError(f"--unit must be metres in one unit of the meshes, got {self.unit:g}; 0.1 is the default")
        if self.held_out < 0 or self.shortest < 1:
            raise InputError(f"--held-out and --shortest must be 0 or more, got {self.held_out} and {self.shortest}")


@dataclass
class Record:
    """What is known of one identity; frames are numbered from 1 as their folders are."""

    subject: str
    frames: int = 0
    """Last frame number that has anything."""
    missing_meshes: list[int] = field(default_factory=list)
    bad_meshes: list[int] = field(default_factory=list)
    missing_pictures: list[int] = field(default_factory=list)
    bad_pictures: list[int] = field(default_factory=list)
    seconds: float = 0.0
    """Of the recording."""
    used: int = 0
    """Frames in clips."""
    problems: list[str] = field(default_factory=list)
    """The first few reasons in words."""
    fatal: str = ""
    """Why the identity cannot be used at all, or empty."""
    texture_size: list[int] | None = None
    """Height and width of its pictures, or none."""
    good: list[list[int]] = field(default_factory=list)
    """First frame (from 0) and end of every stretch in which nothing is missing."""
    minimum: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Smallest offset from neutral along each axis over the good frames, metres."""
    maximum: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    signature: str = ""
    """Of the source's files."""
    reused: bool = False
    """Whether it stood there already."""

    def complain(self, text: str) -> None:
        """Note a problem; many alike say no more than a few."""
        if len(self.problems) < 5:
            self.problems.append(text)


@dataclass(frozen=True)
class Report:
    """What `prepare` did."""

    records: list[Record]
    clips: list[dict[str, Any]]
    motion_stats: dict[str, list[float]]

    def table(self) -> list[str]:
        """One line per identity, what is missing or damaged; then the problems in words; then the sums."""
        heads = ("identity", "frames", "used", "clips", "sound s", "meshes -", "bad", "pictures -", "bad", "")
        rows: list[tuple[str, ...]] = [heads]
        for record in self.records:
            counts = (record.missing_meshes, record.bad_meshes, record.missing_pictures, record.bad_pictures)
            clips = sum(clip["subject"] == record.subject for clip in self.clips)
            state = "left out" if record.fatal else "kept from before" if record.reused else ""
            numbers = (record.frames, record.used, clips, f"{record.seconds:.1f}", *(len(c) or "." for c in counts))
            rows.append((record.subject, *map(str, numbers), state))
        widths = [max(len(row[k]) for row in rows) for k in range(len(heads))]
        lines = [
            "  ".join(cell.rjust(w) if k else cell.ljust(w) for k, (cell, w) in enumerate(zip(row, widths)))
            for row in rows
        ]
        for record in self.records:
            lines += [f"{record.subject}: {text}" for text in ([record.fatal] if record.fatal else record.problems)]
        splits = sorted({clip["split"] for clip in self.clips})
        frames = {split: sum(c["frames"] for c in self.clips if c["split"] == split) for split in splits}
        lines.append(", ".join(f"{split}: {count} frames ({count / FPS:.1f} s)" for split, count in frames.items()))
        return [line.rstrip() for line in lines]


def prepare(
    source: Path | str,
    target: Path | str,
    options: Options | None = None,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Verify TexTalk4D in `source` and pack it into `target`; identities that stand there already are kept.

    jobs: threads; progress(done, total): called with frames. Raises InputError if the source has nothing usable, or if
    the target is something else, was made with other options or cannot be written.
    """
    options = options or Options()
    people = recordings(source)
    target = Path(target)
    _claim(target, Path(source), options)
    total = sum(person.frames for person in people)
    done = 0

    def tick(frames: int) -> None:
        nonlocal done
        done += frames
        if progress is not None:
            progress(done, total)

    with ThreadPoolExecutor(jobs) as pool:
        work = _Preparation(target, options, pool, tick)
        records = [work.person(person) for person in people]
    return _finish(target, options, records)


def begin(source: Path | str, target: Path | str, options: Options) -> tuple[list[str], int]:
    """The identities that `prepare` has still to do, for `prepare_person` in any order, and how many are done.

    The first usable one is done here, as the others are held against its topology. Raises InputError as `prepare`.
    """
    people, target = recordings(source), Path(target)
    _claim(target, Path(source), options)
    left = [person for person in people if _reusable(target / person.name, _signature(person, options)) is None]
    with ThreadPoolExecutor(1) as pool:
        work = _Preparation(target, options, pool, lambda frames: None)
        while left and work.reference is None:
            work.person(left.pop(0))
    return [person.name for person in left], len(people) - len(left)


def prepare_person(source: Path | str, target: Path | str, options: Options, name: str) -> None:
    """Verify and pack one identity, unless that is done; `prepare` then finds it and finishes the corpus."""
    with ThreadPoolExecutor(1) as pool:
        _Preparation(Path(target), options, pool, lambda frames: None).person(recording(Path(source) / name))


class MapError(NamedTuple):
    """What motion maps lose on a prepared corpus, in millimetres."""

    frames: int
    mean: float
    p99: float
    max: float


def round_trip_mm(root: Path, size: int = 512, frames: int = 24) -> MapError:
    """Error of motion maps of `size` over some frames of a prepared corpus, with its own statistics."""
    corpus = Prepared(root)
    stats = MotionStats.fit(np.stack(corpus.offset_range()))
    chosen = []
    for place in np.unique(np.linspace(0, len(corpus) - 1, min(len(corpus), frames)).astype(int)):
        clip = corpus[int(place)]
        neutral = corpus.identity(clip.subject).neutral
        at = np.linspace(0, len(clip.vertices) - 1, max(1, frames // len(corpus))).astype(int)
        chosen.append(np.asarray(clip.vertices[at]) - neutral)
    offsets = np.concatenate(chosen)
    found = round_trip(offsets, bake_table(corpus.topology, size), stats)
    return MapError(len(offsets), *(1000 * value for value in (found.mean, found.p99, found.max)))


def _claim(target: Path, source: Path, options: Options) -> None:
    """Make `target` ours, or go on with it."""
    if target.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{target} lies within the source {source}; prepare into a folder of its own")
    wanted = {"format": 1, "dataset": "textalk4d", **asdict(options)}
    claim_folder(target, "corpus.json", wanted, made="prepared", kind="prepared corpus")


class _Preparation:
    """Identity after identity; the first usable one says what the topology is."""

    def __init__(self, target: Path, options: Options, pool: ThreadPoolExecutor, tick: Callable[[int], None]) -> None:
        self.target, self.options, self.pool, self.tick = target, options, pool, tick
        self.reference: Topology | None = None
        if (target / "topology.npz").is_file():
            self.reference = read_topology(target, "textalk4d")

    def person(self, person: Recording) -> Record:
        """Verify and pack one identity, unless that is done."""
        signature = _signature(person, self.options)
        folder = self.target / person.name
        record = _reusable(folder, signature)
        if record is None:
            record = Record(person.name, person.frames, signature=signature)
            neutral = _neutral(person, record)
            audio = _speech(person, record)
            if neutral is not None:
                self._check_topology(neutral[0], record)
            if neutral is not None and audio is not None and not record.fatal:
                self._pack(folder, _Packing(person, record, self.options, *neutral), audio)
                return record
        self.tick(person.frames)
        return record

    def _check_topology(self, neutral: ObjMesh, record: Record) -> None:
        try:
            topology = neutral.topology(record.subject)
        except InputError as error:
            record.fatal = str(error)
            return
        if self.reference is None:
            self.reference = topology
            write_topology(self.target, topology)
        elif not _same(topology, self.reference):
            record.fatal = f"its topology ({topology.num_vertices} vertices) is not that of the identities before it"

    def _pack(self, folder: Path, packing: "_Packing", audio: NDArray[np.float32]) -> None:
        fresh = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        with atomic_folder(fresh) as partial:
            np.save(partial / "audio.npy", audio)
            self._pack_frames(partial, packing)
            packing.conclude(num_frames(len(audio)))
            (partial / "record.json").write_text(json.dumps(asdict(packing.record), indent=1) + "\n")
        if folder.exists():  # made from files that have changed since
            old = folder.with_name(f".{folder.name}.old")
            shutil.rmtree(old, ignore_errors=True)
            folder.rename(old)
            fresh.rename(folder)
            shutil.rmtree(old)
        else:
            fresh.rename(folder)

    def _pack_frames(self, partial: Path, packing: "_Packing") -> None:
        frames = packing.person.frames
        header = {"descr": "<f4", "fortran_order": False, "shape": (frames, *packing.neutral.shape)}
        ends = np.zeros(frames, np.int64)
        with (partial / "vertices.npy").open("wb") as vertices, (partial / "textures.bin").open("wb") as textures:
            np.lib.format.write_array_header_1_0(vertices, header)
            for start in range(0, frames, CHUNK):
                numbers = range(start + 1, min(start + CHUNK, frames) + 1)
                for number, (moved, content) in zip(numbers, self.pool.map(packing.read, numbers), strict=True):
                    vertices.write(np.ascontiguousarray(moved, "<f4").tobytes())
                    textures.write(content)
                    ends[number - 1] = textures.tell()
                self.tick(len(numbers))
        np.save(partial / "neutral.npy", packing.neutral)
        np.save(partial / "texture_ends.npy", ends)


class _Packing:
    """Reads the frames of one identity; called from several threads."""

    def __init__(self, person: Recording, record: Record, options: Options, neutral: ObjMesh, mark: str) -> None:
        self.person, self.record, self.options = person, record, options
        self.mesh, self.mark = neutral, mark
        self.neutral = (options.unit * neutral.vertices).astype(np.float32)
        self.meshes, self.pictures = set(person.meshes), set(person.pictures) if options.textures else set()
        self.faults: dict[int, str] = {}
        if self.pictures:
            record.texture_size = self._first_size()
        self.low = np.zeros((person.frames + 1, 3))
        self.high = np.zeros((person.frames + 1, 3))

    def read(self, number: int) -> tuple[NDArray[np.float32], bytes]:
        """Vertices in metres (the neutral ones where they cannot be read) and the picture's bytes."""
        vertices, content = self.neutral, b""
        if number in self.meshes:
            try:
                vertices = self._vertices(number)
                offsets = vertices - self.neutral
                self.low[number], self.high[number] = offsets.min(0), offsets.max(0)
            except InputError as error:
                self.record.bad_meshes.append(number)
                self.faults[number] = str(error)
        if number in self.pictures:
            try:
                content = self._picture(number)
            except InputError as error:
                self.record.bad_pictures.append(number)
                self.faults.setdefault(number, str(error))
        return vertices, content

    def _vertices(self, number: int) -> NDArray[np.float32]:
        path = self.person.mesh(number)
        vertices, mark = read_vertices(path, len(self.mesh.vertices))
        if mark != self.mark and not _same_mesh(read_obj(path), self.mesh):
            raise InputError(f"{path}: its faces or uv differ from those of the neutral frame; export it again")
        return (self.options.unit * vertices).astype(np.float32)

    def _picture(self, number: int) -> bytes:
        path = self.person.picture(number)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
        size = list(picture(content, str(path)).shape[:2])
        if size != self.record.texture_size:
            wanted = "x".join(map(str, self.record.texture_size or ()))
            raise InputError(f"{path} has {size[0]}x{size[1]} pixels, the neutral picture {wanted}; export it again")
        return content

    def _first_size(self) -> list[int] | None:
        """Height and width of the neutral picture; without it pictures are of no use."""
        try:
            return list(read_picture(self.person.picture(1)).shape[:2])
        except InputError as error:
            self.record.complain(f"no wrinkles can be measured without its neutral picture: {error}")
            self.pictures = set()
            return None

    def conclude(self, heard: int) -> None:
        """Fill the record: what is missing, and which stretches are good. heard: frames that have sound."""
        record, frames = self.record, self.person.frames
        every = set(range(1, frames + 1))
        record.missing_meshes = sorted(every - self.meshes)
        bad = set(record.missing_meshes) | set(record.bad_meshes) | set(range(heard + 1, frames + 1))
        if self.options.textures:
            record.missing_pictures = sorted(every - set(self.person.pictures))
        if self.options.textures and not self.person.pictures:
            record.complain("it has no pictures")
        elif record.texture_size is not None:
            bad |= set(record.missing_pictures) | set(record.bad_pictures)
        if heard < frames:
            record.complain(f"its recording ends with frame {heard} of {frames}")
        for number in sorted(self.faults):
            record.complain(self.faults[number])
        record.bad_meshes.sort()
        record.bad_pictures.sort()
        record.good = _runs(sorted(every - bad), self.options.shortest)
        used = np.concatenate([np.arange(a, b) + 1 for a, b in record.good] or [np.zeros(0, np.int64)])
        record.used = len(used)
        if not len(used):
            record.fatal = f"no {self.options.shortest} frames in a row have mesh, picture and sound"
        else:
            record.minimum = self.low[used].min(0).tolist()
            record.maximum = self.high[used].max(0).tolist()


def _runs(numbers: Iterable[int], shortest: int) -> list[list[int]]:
    """Frame numbers from 1 -> [first, end) from 0 of every stretch of at least `shortest`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number - 1, number])
    return [run for run in runs if run[1] - run[0] >= shortest]


def _finish(target: Path, options: Options, records: list[Record]) -> Report:
    usable = [record for record in records if not record.fatal]
    clips = []
    low, high = np.zeros(3), np.zeros(3)
    for position, record in enumerate(records):
        if record.fatal:
            continue
        for split, start, end in assign_split(position, len(records), record.frames, options.held_out, options.unseen):
            for first, last in record.good:
                a, b = max(first, start), min(last, end)
                if b - a >= options.shortest:
                    clips.append(_clip(record.subject, split, a, b))
        low, high = np.minimum(low, record.minimum), np.maximum(high, record.maximum)
    if not clips:
        why = "; ".join(f"{r.subject}: {r.fatal or 'no stretch is long enough'}" for r in records[:3])
        raise InputError(f"nothing in the source can be used ({why}); see the layout in docs/reference/datasets.md")
    high = np.maximum(high, low + 1e-6)
    stats = {"minimum": low.tolist(), "maximum": high.tolist()}
    write_index(
        target,
        "textalk4d",
        clips,
        {record.subject: asdict(record) for record in usable},
        motion_stats=stats,
        fps=FPS,
        sample_rate=SAMPLE_RATE,
    )
    return Report(records, clips, stats)


def _clip(subject: str, split: str, first: int, end: int) -> dict[str, Any]:
    samples = num_samples(end) - num_samples(first)
    key = f"{subject}-{first + 1:06d}"
    return {"key": key, "subject": subject, "split": split, "first": first, "frames": end - first, "samples": samples}


# -- one identity's parts


def _signature(person: Recording, options: Options) -> str:
    """Of names, sizes and times of all its files."""
    files = [person.mesh(number) for number in person.meshes]
    files += [person.picture(number) for number in person.pictures] if options.textures else []
    files += [person.speech] if person.speech is not None else []
    digest = hashlib.sha256()
    for path in files:
        found = path.stat()
        digest.update(f"{path.relative_to(person.folder)} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _reusable(folder: Path, signature: str) -> Record | None:
    try:
        record = Record(**json.loads((folder / "record.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    record.reused = True
    return record if record.signature == signature else None


def _neutral(person: Recording, record: Record) -> tuple[ObjMesh, str] | None:
    """The neutral mesh and the fingerprint of its faces."""
    if not person.meshes or person.meshes[0] != 1:
        record.fatal = "its neutral mesh 000001 is missing"
        return None
    try:
        return read_obj(person.mesh(1)), read_vertices(person.mesh(1))[1]
    except InputError as error:
        record.fatal = str(error)
        return None


def _speech(person: Recording, record: Record) -> NDArray[np.float32] | None:
    if person.speech is None:
        record.fatal = record.fatal or "it has no recording in Records/"
        return None
    try:
        audio = read_audio(person.speech)
    except InputError as error:
        record.fatal = record.fatal or str(error)
        return None
    record.seconds = len(audio) / SAMPLE_RATE
    return audio


def _same(one: Topology, other: Topology) -> bool:
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
