"""Template meshes: PLY (text and binary) and Wavefront OBJ, read into vertices, triangles and texture corners."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core.errors import InputError
from parlante.geometry.obj import read_obj, vertex_colours

_PLY_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float": "f4", "double": "f8", "float32": "f4", "float64": "f8",
}  # fmt: skip
_PLY_UV = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))
"""Texture coordinates of vertices, as Blender, MeshLab and others call them; of faces they are `texcoord`."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """One shape; polygons are cut into fans of triangles."""

    vertices: NDArray[np.float32]
    """(V, 3), in the unit and axes of the file."""
    triangles: NDArray[np.int32]
    """(F, 3)."""
    uv: NDArray[np.float32]
    """(U, 2) texture corners, none: (0, 2)."""
    uv_triangles: NDArray[np.int32]
    """(F, 3) numbers into `uv`, or (0, 3)."""
    colours: NDArray[np.uint8] | None = None
    """(V, 3) sRGB of the vertices, if the file has them."""

    def __post_init__(self) -> None:
        if not np.isfinite(self.vertices).all():
            raise ValueError("vertices that are not finite")
        for index, count in ((self.triangles, len(self.vertices)), (self.uv_triangles, len(self.uv))):
            if index.size and not 0 <= index.min() <= index.max() < count:
                raise ValueError(f"a face names corner {index.max()} of {count}")


def read_mesh(path: Path | str) -> Mesh:
    """The mesh of a `.ply` or `.obj`. Raises InputError if it is missing, damaged or of another kind."""
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".ply", ".obj"):
        raise InputError(f"cannot read {path}: a mesh is a .ply or .obj file")
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    if kind == ".obj":
        return _read_obj(path)
    try:
        return _read_ply(path.read_bytes())
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"cannot read {path}: {error}; export the template again") from error


def _fans(polygons: list[list[int]]) -> NDArray[np.int32]:
    fans = [(p[0], p[i], p[i + 1]) for p in polygons for i in range(1, len(p) - 1)]
    return np.asarray(fans, np.int32).reshape(-1, 3)


def _read_obj(path: Path) -> Mesh:
    mesh = read_obj(path)
    triangles, uv_triangles = mesh.triangles
    textured = len(mesh.uv) > 0 and not (uv_triangles < 0).any()
    none = np.zeros((0, 2)), np.zeros((0, 3), np.int32)
    uv, uv_triangles = (mesh.uv, uv_triangles) if textured else none
    return Mesh(
        mesh.vertices.astype(np.float32), triangles, uv.astype(np.float32), uv_triangles, vertex_colours(path)
    )  # fmt: skip


def _read_ply(content: bytes) -> Mesh:
    end = content.find(b"end_header")
    line_end = content.find(b"\n", end)
    if not content.startswith(b"ply") or end < 0 or line_end < 0:
        raise ValueError("no PLY header")
    form = ""
    elements: list[Any] = []
    for line in content[:end].decode("latin1").splitlines():
        words = line.split()
        if words[:1] == ["format"]:
            form = words[1]
        elif words[:1] == ["element"]:
            elements.append((words[1], int(words[2]), []))
        elif words[:1] == ["property"]:
            elements[-1][2].append(words[1:])
    body = content[line_end + 1 :]
    for name, count, properties in elements:
        if not 0 <= count <= len(body) or not properties:  # no element takes less than a byte
            raise ValueError(f"{count} elements {name!r} of {len(properties)} properties in {len(body)} bytes")
    if form == "ascii":
        read = _ply_text(body, elements)
    elif form in ("binary_little_endian", "binary_big_endian"):
        read = _ply_binary(body, elements, "<" if form == "binary_little_endian" else ">")
    else:
        raise ValueError(f"unknown PLY format {form!r}")
    rows = read["vertex"]
    vertices = np.stack(
        [np.asarray([row[axis] for row in rows]) if form == "ascii" else rows[axis] for axis in "xyz"], 1
    )
    polygons = read.get("face", [])
    triangles = _fans(polygons)
    names = ("red", "green", "blue")
    known = {kind[-1] for name, _, properties in elements if name == "vertex" for kind in properties}
    colours = None
    if known.issuperset(names):
        values = [np.asarray([row[name] for row in rows]) if form == "ascii" else rows[name] for name in names]
        whole = any(value.max(initial=0) > 1 for value in values)  # as floats they run from 0 to 1
        colours = np.clip(np.stack(values, 1) * (1.0 if whole else 255.0), 0, 255).astype(np.uint8)
    uv, uv_triangles = np.zeros((0, 2), np.float32), np.zeros((0, 3), np.int32)
    pair = next((pair for pair in _PLY_UV if known.issuperset(pair)), None)
    laid = read.get("texcoord", [])
    if polygons and all(len(corners) == 2 * len(polygon) for corners, polygon in zip(laid, polygons, strict=True)):
        uv = np.asarray([value for corners in laid for value in corners], np.float32).reshape(-1, 2)
        ends = np.cumsum([len(polygon) for polygon in polygons])
        own = [list(range(end - len(polygon), end)) for end, polygon in zip(ends, polygons, strict=True)]
        uv_triangles = _fans(own)
    elif pair is not None:
        columns = [np.asarray([row[name] for row in rows]) if form == "ascii" else rows[name] for name in pair]
        uv, uv_triangles = np.stack(columns, 1).astype(np.float32), triangles
    return Mesh(vertices.astype(np.float32), triangles, uv, uv_triangles, colours)


def _ply_text(body: bytes, elements: list[Any]) -> dict[str, Any]:
    lines = iter(body.decode("latin1").splitlines())
    read: dict[str, Any] = {}
    for name, count, properties in elements:
        rows = []
        for _ in range(count):
            words = next(lines, "").split()
            row: dict[str, Any] = {}
            at = 0
            for kind in properties:
                length = int(words[at]) if kind[0] == "list" else 1
                at += kind[0] == "list"
                values = [float(word) for word in words[at : at + length]]
                if len(values) < length:
                    raise ValueError("the file ends too early")
                whole = _PLY_TYPES[kind[-2]][0] in "iu"
                row[kind[-1]] = ([int(v) for v in values] if whole else values) if kind[0] == "list" else values[0]
                at += length
            rows.append(row)
        read[name] = rows if name == "vertex" else [_corners(row) for row in rows]
        if name == "face":
            read["texcoord"] = [row.get("texcoord", []) for row in rows]
    return read


def _corners(row: dict[str, Any]) -> list[int]:
    return next((row[key] for key in ("vertex_indices", "vertex_index") if key in row), [])


def _ply_binary(body: bytes, elements: list[Any], order: str) -> dict[str, Any]:
    read: dict[str, Any] = {}
    at = 0
    for name, count, properties in elements:
        if not any(kind[0] == "list" for kind in properties):
            form = np.dtype([(kind[-1], order + _PLY_TYPES[kind[0]]) for kind in properties])
            read[name] = np.frombuffer(body, form, count, at)
            at += form.itemsize * count
            continue
        rows = []
        for _ in range(count):
            row: dict[str, Any] = {}
            for kind in properties:
                length = 1
                if kind[0] == "list":
                    counter = np.dtype(order + _PLY_TYPES[kind[1]])
                    length = int(np.frombuffer(body, counter, 1, at)[0])
                    at += counter.itemsize
                if length < 0:
                    raise ValueError(f"a list of {length}")
                item = np.dtype(order + _PLY_TYPES[kind[-2]])
                row[kind[-1]] = np.frombuffer(body, item, length, at).tolist()
                at += item.itemsize * length
            rows.append(row)
        read[name] = [_corners(row) for row in rows]
        if name == "face":
            read["texcoord"] = [row.get("texcoord", []) for row in rows]
    return read


def vertex_normals(vertices: NDArray[np.floating], triangles: NDArray[np.integer]) -> NDArray[np.float64]:
    """(V, 3) unit normals, the area-weighted mean of the triangles around; zero where there are none."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    faces = np.cross(b - a, c - a)
    total = np.zeros_like(vertices)
    for axis in range(3):
        for k in range(3):
            total[:, axis] += np.bincount(triangles[:, k], faces[:, axis], len(vertices))
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20))
