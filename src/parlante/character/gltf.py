"""glTF 2.0 binaries as plain dictionaries and bytes: read, look inside, and write back with nothing else changed."""

import base64
import binascii
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError

_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_PACKED = {"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"}


class Gltf:
    """The JSON chunk as `root`, the binary chunk as `data`, any other chunks as they came."""

    def __init__(self, root: dict[str, Any], data: bytes, others: bytes = b"", name: str = "glTF") -> None:
        self.root, self.data, self.others, self.name = root, data, others, name

    def accessor(self, number: int) -> NDArray[Any]:
        """(N,) or (N, width) values of an accessor, normalised integers as floats, sparse ones filled in.

        Raises InputError for compressed data or an accessor that reaches outside its buffer.
        """
        try:
            return self._accessor(number)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise InputError(
                f"{self.name}: accessor {number} cannot be read ({error}); export the file again"
            ) from error

    def _accessor(self, number: int) -> NDArray[Any]:
        accessor = self.root["accessors"][number]
        kind, width, count = np.dtype(_TYPES[accessor["componentType"]]), _WIDTH[accessor["type"]], accessor["count"]
        if "bufferView" in accessor:
            values = self._view(accessor["bufferView"], accessor.get("byteOffset", 0), kind, width, count).copy()
        else:
            if count * width * kind.itemsize > 1 << 31:
                raise ValueError("too large")
            values = np.zeros((count, width), kind)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            places = sparse["indices"]
            index = self._view(
                places["bufferView"], places.get("byteOffset", 0), np.dtype(_TYPES[places["componentType"]]), 1,
                sparse["count"],
            )[:, 0]  # fmt: skip
            new = sparse["values"]
            values[index] = self._view(new["bufferView"], new.get("byteOffset", 0), kind, width, sparse["count"])
        if accessor.get("normalized") and kind.kind in "iu":
            values = np.maximum(values.astype(np.float32) / np.iinfo(kind).max, -1.0)
        return values[:, 0] if width == 1 else values

    def _view(self, number: int, offset: int, kind: np.dtype[Any], width: int, count: int) -> NDArray[Any]:
        view = self.root["bufferViews"][number]
        if _PACKED & set(view.get("extensions", ())):
            raise InputError(
                f"{self.name} is compressed (meshopt); unpack it first, for example with: gltf-transform copy in out"
            )
        data = self.buffer(view["buffer"])
        start = view.get("byteOffset", 0) + offset
        step = view.get("byteStride", 0) or kind.itemsize * width
        if count < 0 or start < 0 or start + (count - 1) * step + kind.itemsize * width > len(data):
            raise ValueError("it reaches beyond its buffer")
        rows = np.ndarray((count, width), kind, data, start, (step, kind.itemsize))
        return rows

    def buffer(self, number: int) -> bytes:
        """The bytes of a buffer: the binary chunk, or a data URI."""
        uri = self.root["buffers"][number].get("uri")
        if uri is None:
            return self.data
        if not uri.startswith("data:"):
            raise InputError(f"{self.name} keeps its data in {uri!r}; export it as one .glb file")
        try:
            return base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise InputError(f"{self.name}: a damaged data URI; export the file again") from error

    def container(self) -> bytes:
        """The file, JSON chunk renewed, binary chunk padded to four bytes."""
        text = json.dumps(self.root, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        data = self.data + bytes(-len(self.data) % 4)
        body = struct.pack("<I4s", len(text), b"JSON") + text
        if data:
            body += struct.pack("<I4s", len(data), b"BIN\0") + data
        body += self.others
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def read_gltf(path: Path | str) -> Gltf:
    """A `.glb` or `.vrm`. Raises InputError if it is missing, damaged, or no glTF 2.0 binary."""
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        magic, version, total = struct.unpack_from("<4sII", content)
        if magic != b"glTF" or version != 2 or total > len(content):
            raise ValueError("it is no glTF 2.0 binary")
        root: Any = None
        data, others, at = b"", b"", 12
        while at + 8 <= total:
            length, kind = struct.unpack_from("<I4s", content, at)
            chunk = content[at + 8 : at + 8 + length]
            if len(chunk) < length:
                raise ValueError("it ends too early")
            if kind == b"JSON" and root is None:
                root = json.loads(chunk)
            elif kind == b"BIN\0" and not data:
                data = chunk
            else:
                others += content[at : at + 8 + length]
            at += 8 + length
        if not isinstance(root, dict):
            raise ValueError("it has no JSON object")
    except (ValueError, struct.error, RecursionError) as error:
        raise InputError(f"cannot read {path}: {error}; export it again as .glb") from error
    return Gltf(root, data, others, path.name)


def world_matrices(root: dict[str, Any]) -> list[NDArray[np.float64]]:
    """(4, 4) of every node, parents included."""
    nodes = root.get("nodes", [])
    local = [_local(node) for node in nodes]
    world: list[NDArray[np.float64] | None] = [None] * len(nodes)
    children = {child for node in nodes for child in node.get("children", ())}
    stack = [(number, np.eye(4)) for number in range(len(nodes)) if number not in children]
    while stack:
        number, above = stack.pop()
        if world[number] is not None:
            continue
        here = above @ local[number]
        world[number] = here
        stack += [(child, here) for child in nodes[number].get("children", ()) if 0 <= child < len(nodes)]
    return [np.eye(4) if matrix is None else matrix for matrix in world]


def _local(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.asarray(node["matrix"], np.float64).reshape(4, 4).T
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.asarray(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix
