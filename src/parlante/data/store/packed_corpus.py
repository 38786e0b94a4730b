"""Prepared corpora: any dataset of speech and moving meshes, checked once and packed for quick random access.

    CORPUS/corpus.json            which dataset and which options; written first
    CORPUS/topology.npz           triangles, uv, uv_triangles
    CORPUS/SUBJECT/record.json    what was found, what is missing, and the range of its offsets
    CORPUS/SUBJECT/neutral.npy    (V, 3) float32 metres
    CORPUS/SUBJECT/vertices.npy   (T, V, 3) float32 metres, frame t at t / fps seconds
    CORPUS/SUBJECT/audio.npy      (N,) float32 at 16 kHz
    CORPUS/SUBJECT/textures.bin   the source's own PNG files one after the other; texture_ends.npy (T,) their ends
    CORPUS/prepared.json          clips: stretches of frames without a gap, with their split; written last

A subject's folder appears whole or not at all.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import Clip, Identity, InputError, Topology, atomic_path, read_npz
from parlante.core.files import NUMPY_ERRORS, first_line
from parlante.core.timing import num_samples
from parlante.data.contract import ClipInfo, Corpus, SubjectInfo, select
from parlante.data.lazy import lazy_frames
from parlante.data.pictures import picture
from parlante.data.splits import current_name

FORMAT = 1


class Prepared(Corpus):
    """A folder written by `parlante prepare` as a sequence of `Clip`s; meshes and pictures are read when sliced.

    Args:
        root: the folder.
        split: train, test_seen (held-out halves of seen subjects), test_unseen, test, or none for all.

    Raises:
        InputError: no prepared corpus there, an unfinished or damaged one, or no such split.
    """

    unit = "m"

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        self.root: Path = Path(root)
        index = _read_index(self.root)
        self.dataset: str = index["dataset"]
        self.fps = float(index["fps"])
        self.sample_rate = int(index["sample_rate"])
        clips = [ClipInfo(**row, starts_at_rest=row["first"] == 0) for row in index["clips"]]
        self.clips = select(clips, split, root)
        self._range: dict[str, list[float]] = index["motion_stats"]
        self._records: dict[str, dict[str, Any]] = index["subjects"]
        self.subjects = {name: SubjectInfo(name=name) for name in self._records}

    def offset_range(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array(self._range["minimum"]), np.array(self._range["maximum"])

    @cached_property
    def topology(self) -> Topology:
        """Of every mesh."""
        return read_topology(self.root, self.dataset)

    def identity(self, subject: str) -> Identity:
        """A subject at rest, with the neutral picture as albedo. Raises InputError for an unknown subject."""
        if subject not in self.subjects:
            raise InputError(f"no subject {subject!r} in {self.root}; it has {', '.join(self.subjects)}")
        neutral = read_array(self.root / subject / "neutral.npy")
        if neutral.shape != (self.topology.num_vertices, 3):
            raise InputError(f"{self.root / subject}/neutral.npy is {neutral.shape}, no face; prepare the corpus again")
        pictures = self._pictures(subject)
        albedo = None if pictures is None else pictures(0)
        return Identity(subject, self.topology, np.asarray(neutral, np.float32), albedo)

    def read(self, index: int) -> Clip:
        info = self.clips[index]
        folder, first = self.root / info.subject, info.first or 0
        span = slice(first, first + info.frames)
        vertices = read_array(folder / "vertices.npy")[span]
        start = num_samples(first, self.sample_rate, self.fps)
        audio = np.array(read_array(folder / "audio.npy")[start : start + info.samples], np.float32)
        if vertices.ndim != 3 or vertices.shape[::2] != (info.frames, 3) or audio.shape != (info.samples,):
            raise InputError(f"{folder} is not what prepared.json lists; prepare the corpus again")
        textures: Any = None
        pictures = self._pictures(info.subject)
        if pictures is not None:
            shape = (*self._records[info.subject]["texture_size"], 3)
            textures = lazy_frames(np.arange(span.start, span.stop), shape, np.uint8, pictures)
        return Clip(audio, self.sample_rate, vertices, self.fps, info.subject, info.key, textures)

    def _pictures(self, subject: str) -> Any:
        """frame -> (H, W, 3) uint8 sRGB, or none."""
        folder = self.root / subject
        if self._records[subject]["texture_size"] is None:
            return None
        ends = read_array(folder / "texture_ends.npy")

        def read(frame: int) -> NDArray[np.uint8]:
            start = int(ends[frame - 1]) if frame else 0
            path = folder / "textures.bin"
            try:
                with path.open("rb") as file:
                    file.seek(start)
                    content = file.read(min(max(0, int(ends[frame]) - start), path.stat().st_size))
            except (OSError, ValueError, TypeError, OverflowError, IndexError) as error:
                raise InputError(f"cannot read {path}: {first_line(error)}; prepare the corpus again") from error
            return picture(content, f"frame {frame} of {path}")

        return read


def read_array(path: Path) -> NDArray[Any]:
    """A `.npy`, memory-mapped. Raises InputError if it is missing or damaged."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except NUMPY_ERRORS as error:
        raise InputError(f"cannot read {path}: {first_line(error)}; prepare the corpus again") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu" or array.ndim == 0:
        raise InputError(f"cannot read {path}: it holds no numbers; prepare the corpus again")
    return array


def read_topology(root: Path, name: str) -> Topology:
    """`topology.npz` of a prepared corpus."""
    arrays = read_npz(root / "topology.npz", ("num_vertices", "triangles", "uv", "uv_triangles"))
    try:
        count = int(arrays["num_vertices"])
        return Topology(name, count, arrays["triangles"], arrays["uv"], arrays["uv_triangles"])
    except (ValueError, TypeError) as error:
        raise InputError(f"{root}/topology.npz: {error}; prepare the corpus again") from error


def write_topology(root: Path, topology: Topology) -> None:
    """The inverse of `read_topology`."""
    with atomic_path(root / "topology.npz") as path:
        np.savez_compressed(
            path,
            num_vertices=np.int64(topology.num_vertices),
            triangles=topology.triangles,
            uv=topology.uv,
            uv_triangles=topology.uv_triangles,
        )


def write_index(
    root: Path,
    dataset: str,
    clips: list[dict[str, Any]],
    subjects: Mapping[str, Mapping[str, Any]],
    *,
    motion_stats: Mapping[str, list[float]],
    fps: float,
    sample_rate: int,
) -> None:
    """`prepared.json`: from now on the corpus is whole."""
    index = {
        "format": FORMAT,
        "dataset": dataset,
        "fps": fps,
        "sample_rate": sample_rate,
        "motion_stats": dict(motion_stats),
        "clips": clips,
        "subjects": {name: dict(record) for name, record in subjects.items()},
    }
    with atomic_path(root / "prepared.json") as path:
        path.write_text(json.dumps(index, indent=1) + "\n")


def _read_index(root: Path) -> dict[str, Any]:
    path = root / "prepared.json"
    if not path.is_file():
        state = "is unfinished" if (root / "corpus.json").is_file() else "holds no prepared corpus"
        raise InputError(f"{root} {state}; run parlante prepare NAME SRC {root}")
    try:
        index = json.loads(path.read_text())
        if index["format"] != FORMAT:
            raise InputError(f"{path} is of format {index['format']}, this version reads {FORMAT}; prepare it again")
        for key in ("dataset", "fps", "sample_rate", "motion_stats", "clips", "subjects"):
            index[key]
        _check_index(index)
    except (ValueError, KeyError, TypeError, OSError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"cannot read {path}: {type(error).__name__}: {first_line(error)}; prepare the corpus again"
        ) from error
    result: dict[str, Any] = index
    return result


def _check_index(index: dict[str, Any]) -> None:
    """Raises ValueError, KeyError or TypeError where the index is not what `write_index` writes."""
    if not 1 <= float(index["fps"]) <= 1000 or not 1000 <= int(index["sample_rate"]) <= 400000:
        raise ValueError("impossible rates")
    if not isinstance(index["dataset"], str) or not isinstance(index["motion_stats"], dict):
        raise TypeError("dataset or motion_stats")
    for name, known in index["subjects"].items():
        size = known["texture_size"]
        if "/" in name or name in ("", ".", ".."):
            raise ValueError(f"subject {name!r}")
        if size is not None and not (len(size) == 2 and all(type(side) is int and side > 0 for side in size)):
            raise ValueError(f"pictures of {name!r}")
    for row in index["clips"]:
        if row["subject"] not in index["subjects"] or not all(isinstance(row[k], str) for k in ("key", "split")):
            raise ValueError(f"clip {row['key']!r}")
        row["split"] = current_name(row["split"])
        if not all(type(row[k]) is int and row[k] >= (k != "first") for k in ("first", "frames", "samples")):
            raise ValueError(f"length of {row['key']!r}")
