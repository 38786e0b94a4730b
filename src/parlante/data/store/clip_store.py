"""The clip store: one way to keep any corpus, on a disk or on object storage, for quick access to any frame.

    STORE/writing.json        which dataset and which options; written first
    STORE/topology.npz        triangles, uv, uv_triangles
    STORE/subjects/NAME.npz   neutral (V, 3), and the picture of the skin at rest as PNG or JPEG bytes, or none
    STORE/data/KEY-xxxxxxxx/  zarr 3: vertices (T, V, 3) float32 in chunks of 32 frames, audio (N,) float32;
                              textures.bin: PNG or JPEG files one after the other
    STORE/clips/KEY.json      what is known of the clip, and its folder: from now on the clip exists
    STORE/store.json          all of them in one file; written last

Clips are written by any number of threads, processes or machines at once (`writer`): each into a folder of its
own, and a clip exists when its small file does. Format: zarr.dev; Blosc LZ4 with byte shuffle.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from parlante.core import Clip, Identity, InputError, MissingExtra, Topology
from parlante.core.arrays import read_npz
from parlante.core.files import first_line, shortened, why
from parlante.core.pictures import picture
from parlante.core.ranges import Count, Range, Whole
from parlante.core.typed import Mistyped, parse_json, typed
from parlante.data.contract import ClipInfo, Corpus, SubjectInfo, select
from parlante.data.lazy import LazyFrames, lazy_frames
from parlante.data.meshes import regions_of
from parlante.data.splits import current_name
from parlante.data.store.storage_root import StorageRoot

FORMAT = 1
CHUNK = 32
"""Frames of one chunk."""


class ClipStore(Corpus):
    """A clip store as `Clip`s; opening reads one file, frames and pictures are read when they are sliced.

    Args:
        root: folder or URL.
        split: see `open_corpus`.

    Raises:
        InputError: no store there, an unfinished or damaged one, or no such split.
    """

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        self.root = root
        self.storage = StorageRoot(root)
        index = _read_index(self.storage)
        self.dataset: str = index["dataset"]
        self.fps = float(index["fps"])
        self.sample_rate = int(index["sample_rate"])
        self.unit: str = index["unit"]
        self.vertices = int(index["vertices"])
        """Vertices of every mesh."""
        self.subjects = {name: _subject(name, known) for name, known in index["subjects"].items()}
        self._with_neutral = {name for name, known in index["subjects"].items() if known.get("neutral")}
        self._rows = {row["key"]: row for row in index["clips"]}
        self.clips = select([info_of(row) for row in index["clips"]], split, root)

    def read(self, index: int) -> Clip:
        row = self._rows[self.clips[index].key]
        folder, frames = f"data/{row['folder']}", row["frames"]
        audio = self._array(f"{folder}/audio", (row["samples"],))
        moving = self._array(f"{folder}/vertices", (frames, self.vertices, 3))
        where = f"{self.storage}/{folder}"

        def make(chosen: NDArray[Any]) -> NDArray[Any]:
            read = _read(moving, chosen[:, 0], where)
            if np.isnan(read).any():
                raise InputError(f"{where} lacks frames that store.json lists; copy or prepare it again")
            return read

        vertices: Any = LazyFrames(np.arange(frames)[:, None], (self.vertices, 3), np.float32, make)
        samples = _read(audio, None, where)
        if np.isnan(samples).any():
            raise InputError(f"{where} lacks audio that store.json lists; copy or prepare it again")
        textures = self._textures(row, folder)
        return Clip(samples, self.sample_rate, vertices, self.fps, row["subject"], row["key"], textures)

    @cached_property
    def topology(self) -> Topology:
        """Of every mesh."""
        arrays = _npz(self.storage, "topology.npz", ("triangles", "uv", "uv_triangles"))
        try:
            regions = regions_of(self.dataset, self.vertices)
            return Topology(
                self.dataset, self.vertices, arrays["triangles"], arrays["uv"], arrays["uv_triangles"], regions
            )
        except (ValueError, TypeError) as error:
            raise InputError(f"{self.storage}/topology.npz: {error}; prepare the corpus again") from error

    def identity(self, subject: str) -> Identity:
        """A subject at rest. Raises InputError for an unknown subject, or one whose neutral face is not known."""
        if subject not in self.subjects:
            raise InputError(f"no subject {subject!r} in {self.storage}; it has {', '.join(self.subjects)}")
        if subject not in self._with_neutral:
            raise InputError(f"{self.storage} has no neutral face of {subject}; prepare it with templates")
        name = f"subjects/{quote(subject, safe='')}.npz"
        arrays = _npz(self.storage, name, ("neutral", "albedo"))
        content = arrays["albedo"].tobytes()
        albedo = picture(content, f"{self.storage}/{name}") if content else None
        try:
            return Identity(subject, self.topology, np.asarray(arrays["neutral"], np.float32), albedo)
        except ValueError as error:
            raise InputError(f"{self.storage}/{name}: {error}; prepare the corpus again") from error

    def offset_range(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows = [self._rows[info.key] for info in self.clips]
        return np.min([row["minimum"] for row in rows], 0), np.max([row["maximum"] for row in rows], 0)

    def fingerprint(self) -> str:
        return hashlib.sha256(self.storage.read("store.json")).hexdigest()

    def _array(self, name: str, shape: tuple[int, ...]) -> Any:
        try:
            array = _opened(self.storage.root, name)
        except FileNotFoundError as error:
            raise InputError(f"{self.storage}/{name} is not there; copy or prepare the corpus again") from error
        if array.shape != shape or array.chunks[1:] != shape[1:] or array.dtype != np.float32:
            raise InputError(f"{self.storage}/{name} is not what store.json lists; prepare the corpus again")
        return array

    def _textures(self, row: Mapping[str, Any], folder: str) -> Any:
        if row.get("texture_size") is None:
            return None
        name = f"{folder}/textures.bin"
        ends = np.asarray(row["texture_ends"])

        def read(frame: int) -> NDArray[np.uint8]:
            try:
                content = self.storage.read(name, int(ends[frame - 1]) if frame else 0, int(ends[frame]))
            except OSError as error:
                raise InputError(f"cannot read {self.storage}/{name}: {error}; prepare the corpus again") from error
            return picture(content, f"frame {frame} of {self.storage}/{name}")

        return lazy_frames(row["frames"], (*row["texture_size"], 3), np.uint8, read)


# -- reading


def info_of(row: Mapping[str, Any]) -> ClipInfo:
    """A clip's row without what only the store needs."""
    return ClipInfo(**{field.name: row[field.name] for field in fields(ClipInfo) if field.name in row})


def _subject(name: str, known: Mapping[str, Any]) -> SubjectInfo:
    return SubjectInfo(name=name, **{key: known[key] for key in ("face", "voice", "profile") if key in known})


@lru_cache(maxsize=256)
def _opened(root: str, name: str) -> Any:
    """A zarr array; the last ones stay open, for windows are read from the same clips again and again."""
    zarr = zarr_library()
    try:
        return zarr.open_array(StorageRoot(root).zarr(name, True), mode="r")
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever the library makes of a damaged header
        raise InputError(f"cannot read {root}/{name}: {error}; prepare the corpus again") from error


def _read(array: Any, numbers: NDArray[np.integer] | None, where: str) -> NDArray[np.float32]:
    """All of an array, or the frames of these numbers."""
    try:
        if numbers is None:
            return np.asarray(array[:], np.float32)
        if not len(numbers):
            return np.zeros((0, *array.shape[1:]), np.float32)
        first, last = int(numbers.min()), int(numbers.max())
        if last - first < 2 * len(numbers) + CHUNK:
            return np.asarray(array[first : last + 1], np.float32)[numbers - first]
        return np.concatenate([np.asarray(array[n : n + 1], np.float32) for n in numbers.tolist()])
    except Exception as error:  # whatever the library and its codecs make of damaged chunks
        raise InputError(f"cannot read {where}: {first_line(error)}; copy or prepare it again") from error


def _read_index(storage: StorageRoot) -> dict[str, Any]:
    if not storage.exists("store.json"):
        state = "is unfinished" if storage.exists("writing.json") else "holds no clip store"
        raise InputError(f"{storage} {state}; run parlante prepare NAME SRC {storage}")
    index = read_json(storage, "store.json")
    if index.get("format") != FORMAT:
        raise InputError(f"{storage} is of format {index.get('format')}, this version reads {FORMAT}; prepare it again")
    try:
        typed(_Index, index)
    except Mistyped as error:
        raise InputError(f"{storage}/store.json is damaged ({error}); prepare the corpus again") from error
    for row in index["clips"]:
        row["split"] = current_name(row["split"])
    return index


_Vector = tuple[float, float, float]


@dataclass(frozen=True)
class _Row:
    """A clip in store.json."""

    key: str
    subject: str
    split: str
    folder: str
    frames: Count
    samples: Count
    minimum: _Vector
    maximum: _Vector
    sentence: str = ""
    text: str = ""
    first: int | None = None
    starts_at_rest: bool = False
    texture_size: tuple[Count, Count] | None = None
    texture_ends: list[Whole] | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.%~-]+", self.folder) or self.folder.startswith("."):
            raise ValueError(f"folder {shortened(self.folder)!r}")
        ends = self.texture_ends or []
        if self.texture_size is not None and (len(ends) != self.frames or ends != sorted(ends)):
            raise ValueError(f"pictures of {shortened(self.key)}")


@dataclass(frozen=True)
class _Subject:
    face: str = ""
    voice: str = ""
    profile: dict[str, float] | None = None
    neutral: bool = False


@dataclass(frozen=True)
class _Index:
    """store.json."""

    dataset: str
    fps: Annotated[float, Range(0, 10_000, above=True)]
    sample_rate: Annotated[int, Range(1, 10_000_000)]
    unit: str
    vertices: Annotated[int, Range(1, 1 << 24)]
    clips: list[_Row]
    subjects: dict[str, _Subject]


def read_json(storage: StorageRoot, name: str) -> dict[str, Any]:
    try:
        content = storage.read(name)
    except OSError as error:
        raise InputError(f"cannot read {storage}/{name}: {why(error)}; prepare the corpus again") from error
    value = parse_json(content, f"{storage}/{name}", "a corpus that parlante prepare finished")
    if not isinstance(value, dict):
        raise InputError(f"{storage}/{name} is not what parlante writes; prepare the corpus again")
    return value


def _npz(storage: StorageRoot, name: str, required: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    try:
        content = storage.read(name)
    except OSError as error:
        raise InputError(f"cannot read {storage}/{name}: {why(error)}; prepare the corpus again") from error
    arrays = read_npz(content, required, name=f"{storage}/{name}", wanted="a corpus as parlante prepare writes it")
    return {key: arrays[key] for key in required}


def zarr_library() -> Any:
    try:
        import zarr
        import zarr.codecs
        import zarr.storage
    except ModuleNotFoundError as error:
        raise MissingExtra("zarr", "train") from error
    return zarr
