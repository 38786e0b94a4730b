"""Wavefront OBJ meshes, read in milliseconds: datasets keep one such file per frame."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.core.errors import InputError
from parlante.core.topology import Topology


@dataclass(frozen=True, eq=False)
class ObjMesh:
    """One OBJ: positions, texture corners and polygons; normals, groups and materials are not kept."""

    vertices: NDArray[np.float64]
    """(V, 3) in the file's unit."""
    uv: NDArray[np.float64]
    """(U, 2), v up."""
    sizes: NDArray[np.int32]
    """(P,) corners of each polygon."""
    corners: NDArray[np.int32]
    """(sum of sizes, 2) vertex and uv numbers from 0; uv is -1 where the file has none."""

    @cached_property
    def triangles(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """(F, 3) vertex and (F, 3) uv numbers; polygons are cut as fans from their first corner, in file order."""
        fans = self.sizes - 2
        first = np.repeat(np.cumsum(self.sizes) - self.sizes, fans)
        step = np.arange(len(first)) - np.repeat(np.cumsum(fans) - fans, fans)
        index = np.stack([first, first + step + 1, first + step + 2], -1)
        return self.corners[index, 0], self.corners[index, 1]

    def topology(self, name: str) -> Topology:
        """The mesh's connectivity. Raises InputError if it has no texture corners."""
        vertex, uv = self.triangles
        if not len(self.uv) or (uv < 0).any():
            raise InputError(f"the mesh {name} has faces without texture corners; export it with uv coordinates")
        return Topology(name, len(self.vertices), vertex, self.uv.astype(np.float32), uv)


def read_obj(path: Path | str) -> ObjMesh:
    """The whole mesh.

    Raises InputError if the file is missing, empty, no OBJ, holds numbers that are not finite, or if its faces name
    what is not there.
    """
    from parlante.geometry import _obj_kernels as _obj

    data = _read(path)
    count_v, count_t, count_f, count_c = _obj.count(data)
    vertices, uv = np.empty((count_v, 3)), np.empty((count_t, 2))
    sizes, corners = np.empty(count_f, np.int32), np.empty((count_c, 2), np.int32)
    bad = _obj.fill(data, vertices, uv, sizes, corners)
    if bad >= 0:
        raise InputError(f"{path}: line {_line(data, bad)} cannot be read; give an OBJ with v, vt and f lines")
    _check_vertices(vertices, path)
    if not np.isfinite(uv).all():
        raise InputError(f"{path} holds uv coordinates that are not finite; export it again")
    if count_c:
        vertex, corner = corners[:, 0], corners[:, 1]
        if vertex.min() < 0 or vertex.max() >= count_v or corner.min() < -1 or corner.max() >= count_t:
            raise InputError(
                f"{path}: a face names a vertex or uv that is not there ({count_v} and {count_t}); is it cut?"
            )
    return ObjMesh(vertices, uv, sizes, corners)


def read_vertices(path: Path | str, count: int | None = None) -> tuple[NDArray[np.float64], str]:
    """Positions (V, 3) and a fingerprint of uv and face lines: meshes of equal fingerprint share their topology.

    count: the number of vertices to insist on. Raises InputError like `read_obj`.
    """
    from parlante.geometry import _obj_kernels as _obj

    data = _read(path)
    found, rest = _obj.count_vertices(data)
    if not found or (count is not None and found != count):
        raise InputError(
            f"{path} holds {found} vertices, wanted {'some' if count is None else count}; scan or copy it again"
        )
    vertices = np.empty((found, 3))
    tail = np.empty(rest, np.uint8)
    bad = _obj.fill_vertices(data, vertices, tail)
    if bad >= 0:
        raise InputError(f"{path}: line {_line(data, bad)} cannot be read as a vertex; copy or export it again")
    _check_vertices(vertices, path)
    return vertices, blake2b(tail.tobytes(), digest_size=16).hexdigest()


def vertex_colours(path: Path | str) -> NDArray[np.uint8] | None:
    """(V, 3) sRGB behind the positions of an OBJ, as sculpting and scanning programs write them; none if it has none.

    Raises InputError if the file cannot be read.
    """
    lines = [line.split()[1:] for line in _read(path).tobytes().split(b"\n") if line[:2] in (b"v ", b"v\t")]
    if not lines or any(len(line) < 6 for line in lines):
        return None
    try:
        values = np.array([line[3:6] if len(line) < 7 else line[-3:] for line in lines], np.float64)
    except ValueError:
        return None
    whole = values.max(initial=0.0) > 1.0  # some write bytes
    return np.asarray(np.clip(np.nan_to_num(values) * (1.0 if whole else 255.0), 0, 255), np.uint8)


def _read(path: Path | str) -> NDArray[np.uint8]:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    if b"\r" in content and b"\n" not in content:  # lines ended as on the first Macintosh
        content = content.replace(b"\r", b"\n")
    if b"\\" in content:  # a line that goes on in the next one
        content = content.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    return np.frombuffer(content + b"\n", np.uint8)


def _check_vertices(vertices: NDArray[np.float64], path: Path | str) -> None:
    if not len(vertices):
        raise InputError(f"{path} holds no vertices; give an OBJ with v, vt and f lines")
    if not (np.abs(vertices) < np.finfo(np.float32).max).all():
        raise InputError(f"{path} holds vertices that are not finite; export it again")


def _line(data: NDArray[np.uint8], at: int) -> int:
    return int((data[:at] == 10).sum()) + 1
