"""The animation as one `.npz`: numbers only, readable with `numpy.load(path, allow_pickle=False)`.

Keys: vertices (T, V, 3), fps, topology (name), triangles, lip_aperture (T,), lip_width (T,), audio, sample_rate,
neutral, uv, uv_triangles, pivot, provenance (JSON text), and where present wrinkle (T, h, w, 3), weights (T, K),
weight_names, head_pose (T, 6), albedo (H, W, 3); regions and landmarks as region_NAME and landmark_NAME.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from parlante.core import Animation, InputError, Topology
from parlante.core.arrays import ArrayArchive, Header
from parlante.core.pictures import MOST_PIXELS
from parlante.core.typed import parse_json
from parlante.export._zipstream import NpzStream
from parlante.export.frames import BLOCK_FRAMES, AnimationInfo, FrameBlock
from parlante.export.sink import FileSink
from parlante.head.mouth import lip_aperture, lip_width

REQUIRED = ("vertices", "fps", "topology", "triangles", "audio", "sample_rate", "neutral", "uv", "uv_triangles")
_MOST_VERTICES, _SLOWEST, _FASTEST = 1 << 23, 0.01, 768_000
_LARGEST = 1e9
_LONGEST_REST = 60.0
"""Seconds of sound that may be left after the last frame."""
_LARGEST_BLOCK = 1 << 28
"""Bytes of frames that are read at once, if there is more than one."""
_PER_FRAME = ("vertices", "wrinkle", "weights", "head_pose")


class NpzSink(FileSink):
    """Sink for `.npz`: vertices and wrinkles go to disk as they come."""

    def __init__(self, path: Path, info: AnimationInfo) -> None:
        super().__init__(path, info)
        self._apertures: list[NDArray[np.float32]] = []
        self._widths: list[NDArray[np.float32]] = []
        self._small: dict[str, list[NDArray[np.float32]]] = {"weights": [], "head_pose": []}

    def begin(self, stack: ExitStack) -> None:
        info = self.info
        super().begin(stack)
        self._stream = NpzStream(stack.enter_context(self.partial.open("wb")))
        self._vertices = self._stream.reserve("vertices", (info.num_frames, info.topology.num_vertices, 3), np.float32)
        if info.wrinkle_size is not None:
            self._wrinkle = self._stream.grow("wrinkle", (info.num_frames, *info.wrinkle_size, 3), np.uint8)

    def write(self, block: FrameBlock) -> None:
        """Append frames."""
        self._vertices.append(block.vertices.astype(np.float32, copy=False))
        if self.info.wrinkle_size is not None:
            assert block.wrinkle is not None
            self._wrinkle.append(block.wrinkle)
        for key, rows in self._small.items():
            array = getattr(block, key)
            if array is not None:
                rows.append(array.astype(np.float32))
        if _has_lips(self.info.topology):
            self._apertures.append(lip_aperture(block.vertices, self.info.topology).astype(np.float32))
            self._widths.append(lip_width(block.vertices, self.info.topology).astype(np.float32))

    def finish(self) -> None:
        info, stream = self.info, self._stream
        for key, rows in {**self._small, "lip_aperture": self._apertures, "lip_width": self._widths}.items():
            if rows:
                stream.add(key, np.concatenate(rows))
        for key, array in _facts(info).items():
            stream.add(key, array)
        stream.close()


def load(path: Path | str, *, limit: int | None = None) -> Animation:
    """Read an animation written by this module.

    Sizes are read and checked before anything is allocated: an archive that announces more than `limit` bytes (the
    machine's memory unless given) is refused. Raises InputError for anything that is not such a file.
    """
    path = Path(path)
    with _open(path) as archive:
        info = _checked(path, _small(archive))
        limit = _memory() if limit is None else limit
        total = sum(archive.headers[key].nbytes for key in _per_frame(archive))
        if total > limit:
            raise InputError(
                f"{path} would take {total / 1e9:.1f} GB of memory, more than the {limit / 1e9:.1f} GB there are; "
                "read it in pieces with parlante.export.npz.open_stream"
            )
        arrays = {key: _usable(archive, key, archive.read(key, limit)) for key in _per_frame(archive)}
    return Animation(
        topology=info.topology,
        fps=info.fps,
        neutral=info.neutral,
        vertices=arrays["vertices"],
        audio=info.audio,
        sample_rate=info.sample_rate,
        wrinkle=arrays.get("wrinkle"),
        weights=arrays.get("weights"),
        weight_names=info.weight_names,
        head_pose=arrays.get("head_pose"),
        albedo=info.albedo,
        provenance=info.provenance,
    )


def open_stream(path: Path | str, size: int = BLOCK_FRAMES) -> tuple[AnimationInfo, Iterator[FrameBlock]]:
    """The facts of a saved animation and an iterator over its frames, for files larger than memory.

    Raises InputError as `load` does; of the frames only `size` are held at a time, fewer of very large meshes.
    """
    path = Path(path)
    with _open(path) as archive:
        arrays = _small(archive)
        headers = [archive.headers[key] for key in _per_frame(archive)]
        frame = sum(Header(header.shape[1:], header.dtype).nbytes for header in headers)
    return _checked(path, arrays), _frames(path, max(1, min(size, _LARGEST_BLOCK // max(frame, 1))))


def describe(path: Path | str) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of every array, without reading them. Raises InputError as `load` does."""
    with _open(Path(path)) as archive:
        return {key: (header.shape, header.dtype) for key, header in archive.headers.items()}


def _open(path: Path) -> ArrayArchive:
    archive = ArrayArchive(path, wanted="an animation (.npz) written by parlante animate")
    try:
        archive.require(REQUIRED)
        for key in _per_frame(archive):
            if archive.headers[key].fortran and len(archive.headers[key].shape) > 1:
                raise archive.refusal(f"{key} is stored by columns")
    except InputError:
        archive.close()
        raise
    return archive


def _per_frame(archive: ArrayArchive) -> list[str]:
    return [key for key in _PER_FRAME if key in archive.headers]


def _frames(path: Path, size: int) -> Iterator[FrameBlock]:
    with _open(path) as archive, ExitStack() as stack:
        files = {key: stack.enter_context(archive.open(key)) for key in _per_frame(archive)}
        total = archive.headers["vertices"].shape[0]
        for start in range(0, total, size):
            count = min(size, total - start)
            rows = {key: _usable(archive, key, archive.rows(key, file, count)) for key, file in files.items()}
            yield FrameBlock(start, rows["vertices"], rows.get("wrinkle"), rows.get("weights"), rows.get("head_pose"))


def _usable(archive: ArrayArchive, key: str, array: NDArray[Any]) -> NDArray[Any]:
    """The array itself. Raises InputError for numbers that are not finite, or larger than any place or weight is."""
    if array.dtype.kind == "f" and array.size and not (array.min() >= -_LARGEST and array.max() <= _LARGEST):
        raise archive.refusal(f"{key} has numbers that are not finite, or beyond {_LARGEST:g}")
    return array


def _small(archive: ArrayArchive) -> dict[str, NDArray[Any]]:
    """What is known of all frames, each array no larger than such a file needs; frames as stand-ins of their shape."""
    headers = archive.headers
    arrays: dict[str, NDArray[Any]] = {
        key: np.broadcast_to(np.zeros((), headers[key].dtype), headers[key].shape) for key in _per_frame(archive)
    }
    shape = headers["vertices"].shape
    if len(shape) != 3 or shape[2] != 3:
        raise archive.refusal(f"its vertices are {shape}, wanted (frames, vertices, 3)")
    frames, vertices = shape[:2]
    if vertices > _MOST_VERTICES:
        raise archive.refusal(f"{vertices} vertices, more than the {_MOST_VERTICES} that are read")
    for key in ("fps", "sample_rate"):
        arrays[key] = archive.read(key, 16)
    fps, rate = _clock(archive.name, arrays)
    seconds = frames / fps + _LONGEST_REST
    corners = 64 * 3 * (vertices + 16)
    most = {
        "topology": 1 << 12, "pivot": 64, "neutral": 24 * vertices, "audio": int(8 * seconds * rate),
        "albedo": 3 * MOST_PIXELS, "provenance": 1 << 24, "weight_names": 1 << 22, "uv": 8 * corners,
        "triangles": 8 * corners, "uv_triangles": 8 * corners,
    }  # fmt: skip
    for key in headers:
        if key.startswith("landmark_"):
            arrays[key] = archive.read(key, 16)
        elif key.startswith("region_"):
            arrays[key] = archive.read(key, 8 * corners)
        elif key in most:
            arrays[key] = _usable(archive, key, archive.read(key, most[key]))
    return arrays


def _facts(info: AnimationInfo) -> dict[str, NDArray[Any]]:
    topology = info.topology
    facts: dict[str, NDArray[Any]] = {
        "fps": np.asarray(info.fps, np.float64),
        "topology": np.asarray(topology.name),
        "triangles": topology.triangles,
        "uv": topology.uv,
        "uv_triangles": topology.uv_triangles,
        "neutral": info.neutral.astype(np.float32),
        "audio": info.audio,
        "sample_rate": np.asarray(info.sample_rate, np.int64),
        "pivot": np.asarray(info.pivot, np.float32),
        "provenance": np.asarray(json.dumps(info.provenance, ensure_ascii=True, sort_keys=True)),
    }
    if info.weight_names:
        facts["weight_names"] = np.asarray(info.weight_names)
    if info.albedo is not None:
        facts["albedo"] = info.albedo
    facts |= {f"region_{name}": index for name, index in topology.regions.items()}
    facts |= {f"landmark_{name}": np.asarray(index, np.int32) for name, index in topology.landmarks.items()}
    return facts


def _checked(path: Path, arrays: Mapping[str, NDArray[Any]]) -> AnimationInfo:
    """Check the arrays against each other and name them. Raises InputError."""

    def check(key: str, *shape: int | None, kind: str) -> NDArray[Any]:
        array = arrays[key]
        fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape))
        if not fits or array.dtype.kind not in kind:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise InputError(
                f"{path}: {key} is {array.dtype} {array.shape}, wanted ({wanted}); give a file written by parlante"
            )
        return array

    frames, vertices = check("vertices", None, None, 3, kind="f").shape[:2]
    fps, rate = _clock(str(path), arrays)
    names = tuple(map(str, check("weight_names", None, kind="US"))) if "weight_names" in arrays else ()
    if "weights" in arrays:
        check("weights", frames, len(names), kind="f")
    if "head_pose" in arrays:
        check("head_pose", frames, 6, kind="f")
    wrinkle_size = None
    if "wrinkle" in arrays:
        wrinkle_size = cast(tuple[int, int], check("wrinkle", frames, None, None, 3, kind="u").shape[1:3])
    albedo = check("albedo", None, None, 3, kind="u") if "albedo" in arrays else None
    try:
        topology = Topology(
            name=str(arrays["topology"]),
            num_vertices=vertices,
            triangles=check("triangles", None, 3, kind="iu"),
            uv=check("uv", None, 2, kind="f"),
            uv_triangles=check("uv_triangles", None, 3, kind="iu"),
            regions={key[7:]: value for key, value in arrays.items() if key.startswith("region_")},
            landmarks={key[9:]: int(value) for key, value in arrays.items() if key.startswith("landmark_")},
        )
    except (ValueError, TypeError) as error:
        raise InputError(f"cannot read {path} as an animation: {error}; give a .npz written by parlante") from error
    provenance = parse_json(str(arrays.get("provenance", "{}")), f"the provenance in {path}", "a file of parlante")
    return AnimationInfo(
        topology=topology,
        fps=fps,
        num_frames=frames,
        neutral=check("neutral", vertices, 3, kind="f"),
        audio=check("audio", None, kind="f"),
        sample_rate=rate,
        albedo=albedo,
        weight_names=names if "weights" in arrays else (),
        pivot=tuple(float(x) for x in check("pivot", 3, kind="f")) if "pivot" in arrays else (0.0, 0.0, 0.0),  # type: ignore[arg-type]
        wrinkle_size=wrinkle_size,
        has_pose="head_pose" in arrays,
        provenance=provenance if isinstance(provenance, dict) else {},
    )


def _clock(name: str, arrays: Mapping[str, NDArray[Any]]) -> tuple[float, int]:
    """Frames and samples a second. Raises InputError for anything but two possible numbers."""
    fps, rate = arrays["fps"], arrays["sample_rate"]
    numbers = fps.shape == rate.shape == () and fps.dtype.kind in "fiu" and rate.dtype.kind in "iu"
    if not (numbers and _SLOWEST <= float(fps) <= 1000 and 0 < int(rate) <= _FASTEST):
        raise InputError(f"{name}: fps {fps} and sample_rate {rate} make no sense; give a file written by parlante")
    return float(fps), int(rate)


def _has_lips(topology: Topology) -> bool:
    return {"upper_lip_inner", "lower_lip_inner", "mouth_left", "mouth_right"} <= set(topology.landmarks)


def _memory() -> int:
    """Bytes of memory this machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 34
