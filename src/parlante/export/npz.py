"""The animation as one `.npz`: numbers only, readable with `numpy.load(path, allow_pickle=False)`.

Keys: vertices (T, V, 3), fps, topology (name), triangles, lip_aperture (T,), lip_width (T,), audio, sample_rate,
neutral, uv, uv_triangles, pivot, provenance (JSON text), and where present wrinkle (T, h, w, 3), weights (T, K),
weight_names, head_pose (T, 6), albedo (H, W, 3); regions and landmarks as region_NAME and landmark_NAME.
"""

import ast
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from parlante.core import Animation, InputError, Topology
from parlante.core.files import first_line
from parlante.export._zipstream import NpzStream
from parlante.export.frames import BLOCK_FRAMES, AnimationInfo, FrameBlock
from parlante.export.sink import FileSink
from parlante.head.mouth import lip_aperture, lip_width

REQUIRED = ("vertices", "fps", "topology", "triangles", "audio", "sample_rate", "neutral", "uv", "uv_triangles")
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
    with _Reader(path) as reader:
        limit = _memory() if limit is None else limit
        total = sum(int(np.prod(shape, dtype=object)) * dtype.itemsize for shape, dtype in reader.headers.values())
        if total > limit:
            raise InputError(
                f"{path} would take {total / 1e9:.1f} GB of memory, more than the {limit / 1e9:.1f} GB there are; "
                "read it in pieces with parlante.export.npz.open_stream"
            )
        arrays = {key: reader.read(key) for key in reader.headers}
    info = _checked(path, arrays)
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

    Raises InputError as `load` does; of the frames only `size` are held at a time.
    """
    path = Path(path)
    with _Reader(path) as reader:
        arrays: dict[str, NDArray[Any]] = {key: reader.read(key) for key in reader.headers if key not in _PER_FRAME}
        for key in _PER_FRAME:
            if key in reader.headers:
                shape, dtype = reader.headers[key]
                # a stand-in of the right shape that takes no memory
                arrays[key] = np.broadcast_to(np.zeros((), dtype), shape)
    return _checked(path, arrays), _frames(path, size)


def describe(path: Path | str) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and type of every array, without reading them. Raises InputError as `load` does."""
    with _Reader(Path(path)) as reader:
        return reader.headers


def _frames(path: Path, size: int) -> Iterator[FrameBlock]:
    with _Reader(path) as reader, ExitStack() as stack:
        files = {key: stack.enter_context(reader.open(key)) for key in _PER_FRAME if key in reader.headers}
        total = reader.headers["vertices"][0][0]
        for start in range(0, total, size):
            count = min(size, total - start)
            rows = {key: reader.rows(key, file, count) for key, file in files.items()}
            yield FrameBlock(start, rows["vertices"], rows.get("wrinkle"), rows.get("weights"), rows.get("head_pose"))


class _Reader:
    """A zip of `.npy` members whose headers are checked on opening and whose data is read on demand."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> "_Reader":
        try:
            self._zip = zipfile.ZipFile(self.path)
        except FileNotFoundError as error:
            raise InputError(f"no such file: {self.path}") from error
        except (OSError, zipfile.BadZipFile, ValueError, struct.error) as error:
            raise self._refuse(error) from error
        try:
            members = [
                member for member in self._zip.infolist() if re.fullmatch(r"[^/\\]{1,100}\.npy", member.filename)
            ]
            self.headers = {member.filename[:-4]: self._header(member) for member in members}
        except BaseException:
            self._zip.close()
            raise
        missing = [key for key in REQUIRED if key not in self.headers]
        if missing:
            self._zip.close()
            raise InputError(
                f"{self.path} lacks {', '.join(missing)}; it has: {', '.join(sorted(self.headers)) or 'nothing'}; "
                "give a file written by parlante animate"
            )
        return self

    def __exit__(self, *error: Any) -> None:
        self._zip.close()

    def open(self, key: str) -> IO[bytes]:
        """The member, positioned at its data."""
        file = self._zip.open(f"{key}.npy")
        self._read_header(file)
        return file

    def rows(self, key: str, file: IO[bytes], count: int) -> NDArray[Any]:
        """The next `count` rows of an opened member."""
        shape, dtype = self.headers[key]
        wanted = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize * count
        try:
            data = file.read(wanted)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise self._refuse(error) from error
        if len(data) != wanted:
            raise self._refuse(f"{key} is cut short")
        return np.frombuffer(bytearray(data), dtype).reshape(count, *shape[1:])

    def read(self, key: str) -> NDArray[Any]:
        """The whole array."""
        shape, dtype = self.headers[key]
        with self.open(key) as file:
            if shape:
                return self.rows(key, file, shape[0])
            return np.frombuffer(file.read(dtype.itemsize), dtype).reshape(())

    def _header(self, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype[Any]]:
        try:
            with self._zip.open(member) as file:
                shape, dtype, start = self._read_header(file)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise self._refuse(error) from error
        announced = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if announced != member.file_size - start:
            raise self._refuse(
                f"{member.filename} announces {announced} bytes of data but holds {member.file_size - start}"
            )
        return shape, dtype

    def _read_header(self, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], int]:
        lead = file.read(10)
        if lead[:6] != b"\x93NUMPY" or lead[6:7] not in (b"\x01", b"\x02", b"\x03"):
            raise self._refuse("a member is no .npy array")
        if lead[6] == 1:
            start = 10 + int.from_bytes(lead[8:10], "little")
        else:
            lead += file.read(2)
            start = 12 + int.from_bytes(lead[8:12], "little")
        if start > 1 << 16:
            raise self._refuse("a member has an outsized header")
        try:
            header = ast.literal_eval(file.read(start - len(lead)).decode("utf-8"))
            dtype, shape = np.dtype(header["descr"]), tuple(int(size) for size in header["shape"])
            fortran = bool(header["fortran_order"])
        except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as error:
            raise self._refuse(error) from error
        if dtype.hasobject or dtype.fields is not None or min(shape, default=0) < 0 or (fortran and len(shape) > 1):
            raise self._refuse(f"a member is of type {dtype}, shape {shape}; only plain numbers and text are read")
        return shape, dtype, start

    def _refuse(self, why: object) -> InputError:
        told = first_line(why) if isinstance(why, BaseException) else why
        return InputError(f"cannot read {self.path} as an animation: {told}; give a .npz written by parlante animate")


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
    fps = float(check("fps", kind="fiu"))
    rate = int(check("sample_rate", kind="iu"))
    if not (0 < fps <= 1000 and rate > 0):
        raise InputError(f"{path}: fps {fps:g} and sample_rate {rate} make no sense; give a file written by parlante")
    names = tuple(str(name) for name in arrays["weight_names"]) if "weight_names" in arrays else ()
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
        provenance = json.loads(str(arrays["provenance"])) if "provenance" in arrays else {}
    except (ValueError, TypeError) as error:
        raise InputError(f"cannot read {path} as an animation: {error}; give a .npz written by parlante") from error
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


def _has_lips(topology: Topology) -> bool:
    return {"upper_lip_inner", "lower_lip_inner", "mouth_left", "mouth_right"} <= set(topology.landmarks)


def _memory() -> int:
    """Bytes of memory this machine has."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 34
