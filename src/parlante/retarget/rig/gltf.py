"""glTF 2.0 as plain dictionaries and bytes: read, look inside, and write back with nothing else changed."""

import base64
import binascii
import copy
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from parlante.core import InputError
from parlante.core.beside import open_beside, read_beside
from parlante.core.files import read_file, shortened
from parlante.core.typed import parse_json
from parlante.export.gltf import container
from parlante.retarget.rig.gltf_schema import check

_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_MOST_ZEROS = 1 << 28
"""Bytes of an accessor that is not in the file, all zeros but for what a sparse one fills in."""
_PACKED = {"KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"}


class Gltf:
    """The JSON chunk as `root`, the binary chunk as `data`, any other chunks as they came.

    `folder`: where files that it names lie. `text`: a `.gltf`, which has no chunks.
    """

    def __init__(
        self,
        root: dict[str, Any],
        data: bytes,
        others: bytes = b"",
        name: str = "glTF",
        folder: Path | None = None,
        text: bool = False,
    ) -> None:
        self.root, self.data, self.others, self.name, self.folder, self.text = root, data, others, name, folder, text
        self._files: dict[str, bytes] = {}

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
            if count * width * kind.itemsize > _MOST_ZEROS:
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
        if count > 1 and step < kind.itemsize * width:
            raise ValueError(f"its rows overlap, a byteStride of {step}")
        if count < 0 or start < 0 or start + (count - 1) * step + kind.itemsize * width > len(data):
            raise ValueError("it reaches beyond its buffer")
        rows = np.ndarray((count, width), kind, data, start, (step, kind.itemsize))
        return rows

    def buffer(self, number: int) -> bytes:
        """The bytes of a buffer: the binary chunk, a data URI, or a file beside it. Raises InputError."""
        buffer = self.root["buffers"][number]
        uri, length = buffer.get("uri"), int(buffer.get("byteLength", 0))
        return self.data if uri is None else self._named(uri, length)

    def picture(self, number: int) -> bytes:
        """The bytes of a picture file: a part of a buffer, a data URI, or a file beside it. Raises InputError."""
        image = self.root["images"][number]
        if image.get("uri") is not None:
            return self._named(image["uri"], 1)
        view = self.root["bufferViews"][image["bufferView"]]
        start = view.get("byteOffset", 0)
        return self.buffer(view["buffer"])[start : start + view["byteLength"]]

    def _named(self, uri: str, least: int) -> bytes:
        """At least so many bytes behind a URI; a file is read once."""
        if uri not in self._files:
            self._files[uri] = self._fetched(uri, least)
        return self._files[uri]

    def _fetched(self, uri: str, least: int) -> bytes:
        if uri.startswith("data:"):
            try:
                return base64.b64decode(uri.partition(",")[2], validate=True)
            except (binascii.Error, ValueError) as error:
                raise InputError(f"{self.name}: a damaged data URI; export the file again") from error
        if self.folder is None:
            raise InputError(f"{self.name} keeps its data in {shortened(uri)!r}; export it as one .glb file")
        return read_beside(self.folder, uri, of=self.name, least=least)

    def beside(self) -> list[str]:
        """Files that it names and does not hold: data and pictures."""
        named = [one.get("uri", "data:") for kind in ("buffers", "images") for one in self.root.get(kind) or ()]
        return [uri for uri in named if not uri.startswith("data:")]

    def container(self) -> bytes:
        """The file, JSON chunk renewed, binary chunk padded to four bytes; of a `.gltf` the JSON alone."""
        try:
            text = json.dumps(self.root, separators=(",", ":"), ensure_ascii=False).encode()
        except UnicodeEncodeError:  # half of a pair of surrogates in a name that somebody cut
            text = json.dumps(self.root, separators=(",", ":")).encode()
        if self.text:
            return text
        return container(text, self.data, self.others)


def read_gltf(path: Path | str) -> Gltf:
    """A `.glb`, `.vrm` or `.gltf` 2.0. Raises InputError if it is damaged, or names data that is no file beside it."""
    path = Path(path)
    content = read_file(path, "a .glb, .vrm or .gltf file")
    text = content[:4] != b"glTF" and path.suffix.lower() == ".gltf"
    wanted = "a glTF 2.0, exported again as .glb"
    try:
        if text:
            root, data, others = content, b"", b""
        else:
            root, data, others = _chunks(content)
        tree = parse_json(root.rstrip(b"\0"), str(path), wanted)
        check(tree)
        if text and not str(tree.get("asset", {}).get("version", "")).startswith("2"):
            raise ValueError("it is no glTF 2.0")
    except (ValueError, struct.error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {path}: {error}; give {wanted}") from error
    for buffer in tree.get("buffers") or ():
        uri = buffer.get("uri")
        if uri is not None and not uri.startswith("data:"):
            try:
                with open_beside(path.parent, uri, of=path.name, least=buffer["byteLength"]):
                    pass
            except InputError as error:
                if not isinstance(error.__cause__, FileNotFoundError):  # perhaps nobody needs it
                    raise
    return Gltf(tree, data, others, path.name, path.parent, text)


def _chunks(content: bytes) -> tuple[bytes, bytes, bytes]:
    """JSON, data and any other chunks of a binary glTF. Raises ValueError or struct.error if it is none."""
    magic, version, total = struct.unpack_from("<4sII", content)
    if magic != b"glTF" or version != 2 or total > len(content):
        raise ValueError("it is no glTF 2.0 binary")
    root = None
    data, others, at = b"", b"", 12
    while at + 8 <= total:
        length, kind = struct.unpack_from("<I4s", content, at)
        chunk = content[at + 8 : at + 8 + length]
        if len(chunk) < length:
            raise ValueError("it ends too early")
        if kind == b"JSON" and root is None:
            root = chunk
        elif kind == b"BIN\0" and not data:
            data = chunk
        else:
            others += content[at : at + 8 + length]
        at += 8 + length
    if root is None:
        raise ValueError("it has no JSON object")
    return root, data, others


class Appended:
    """A file that grows at the end; what is there keeps its place and its bytes.

    New numbers go behind the binary chunk; where there is none, into a buffer of their own within the JSON.
    """

    def __init__(self, file: Gltf) -> None:
        self._file = file
        self.root: dict[str, Any] = copy.deepcopy(file.root)
        self._data = bytearray()
        buffers = self.root.setdefault("buffers", [])
        own = not buffers or ("uri" not in buffers[0] and len(file.data) >= buffers[0]["byteLength"])
        self._chunk = own and not file.text
        self._buffer = 0 if self._chunk else len(buffers)
        if self._buffer == len(buffers):
            buffers.append({"byteLength": 0})
        else:
            self._data += file.data[: buffers[0]["byteLength"]]

    def numbers(self, array: NDArray[np.float32], kind: str, bounds: bool = False) -> int:
        """An accessor of float32 numbers; returns its place."""
        array = np.ascontiguousarray(array, np.float32)
        self._data += bytes(-len(self._data) % 4)
        views, accessors = self.root.setdefault("bufferViews", []), self.root.setdefault("accessors", [])
        views.append({"buffer": self._buffer, "byteOffset": len(self._data), "byteLength": array.nbytes})
        self._data += array.tobytes()
        count = array.size if kind == "SCALAR" else len(array)
        accessor = {"bufferView": len(views) - 1, "componentType": 5126, "count": count, "type": kind}
        if bounds:
            accessor |= {"min": [float(array.min())], "max": [float(array.max())]}
        accessors.append(accessor)
        return len(accessors) - 1

    def container(self) -> bytes:
        """The file."""
        file, buffer = self._file, self.root["buffers"][self._buffer]
        buffer["byteLength"] = len(self._data)
        if not self._chunk:
            buffer["uri"] = "data:application/octet-stream;base64," + base64.b64encode(self._data).decode()
        data = bytes(self._data) if self._chunk else file.data
        return Gltf(self.root, data, file.others, file.name, file.folder, file.text).container()


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
    matrix = np.eye(4)
    quaternion = np.asarray(node.get("rotation", (0, 0, 0, 1)), np.float64)
    x, y, z, w = quaternion / max(float(np.linalg.norm(quaternion)), 1e-12)
    turn = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] = np.array(turn) * np.asarray(node.get("scale", (1, 1, 1)), np.float64)
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def unlocked(node: dict[str, Any]) -> dict[str, Any] | None:
    """The node with translation, rotation and scale in place of its matrix, which no animation may move.

    The node itself where it has no matrix; None for a matrix that is sheared or flat.
    """
    if "matrix" not in node:
        return node
    matrix = _local(node)
    scale = np.linalg.norm(matrix[:3, :3], axis=0)
    if scale.min() < 1e-9:
        return None
    scale[0] *= np.sign(np.linalg.det(matrix[:3, :3]))
    turn = matrix[:3, :3] / scale
    if np.abs(turn.T @ turn - np.eye(3)).max() > 1e-3:
        return None
    out = {key: value for key, value in node.items() if key != "matrix"}
    quaternion = Rotation.from_matrix(turn).as_quat()
    return {**out, "translation": matrix[:3, 3].tolist(), "rotation": quaternion.tolist(), "scale": scale.tolist()}
