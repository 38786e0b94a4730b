"""glTF 2.0 as plain dicts and one buffer: accessors, sparse targets, skins, animations, the binary container.

Own container code (glTF 2.0 specification, sections 3.6 to 3.11 and 4.4), so that nothing is added or reordered.
"""

import io
import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parlante import __version__
from parlante.core import Topology
from parlante.geometry.mesh import vertex_normals

STILL = 1e-6
"""Metres: a vertex that a shape moves less than this does not move."""
_FLOAT, _UBYTE, _USHORT, _UINT = 5126, 5121, 5123, 5125
_VERTEX_DATA, _INDEX_DATA = 34962, 34963


class Track(NamedTuple):
    """What one property of a node does."""

    node: int
    path: str
    """weights, rotation or translation."""
    times: NDArray[np.floating]
    """(n,) seconds."""
    values: NDArray[np.floating]
    """(n, ...)"""


def split_seams(topology: Topology) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One texture corner per vertex, as glTF wants: distinct (vertex, uv) pairs (N, 2), triangles (F, 3) of them."""
    pairs = np.stack([topology.triangles.reshape(-1), topology.uv_triangles.reshape(-1)], axis=1).astype(np.int64)
    corners, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return corners, inverse.reshape(-1, 3).astype(np.int64)


def container(text: bytes, data: bytes, others: bytes = b"") -> bytes:
    """A binary file of its JSON chunk, its binary chunk (left out where there is no data) and other chunks."""
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text
    if data:
        data += bytes(-len(data) % 4)
        body += struct.pack("<I4s", len(data), b"BIN\0") + data
    body += others
    return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


class Document:
    """The JSON half and the binary half, growing together."""

    def __init__(self) -> None:
        self.root: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": f"parlante {__version__}"},
            "accessors": [],
            "bufferViews": [],
        }
        self._data = bytearray()

    def vectors(self, array: NDArray[Any], *, bounds: bool = False) -> int:
        """Vertex attribute (N, 2) or (N, 3) as float32."""
        array = np.ascontiguousarray(array, np.float32)
        accessor: dict[str, Any] = {
            "bufferView": self._view(array.tobytes(), target=_VERTEX_DATA),
            "componentType": _FLOAT,
            "count": len(array),
            "type": f"VEC{array.shape[1]}",
        }
        if bounds:
            accessor |= _bounds(array)
        return self._accessor(accessor)

    def displacements(self, offsets: NDArray[np.float32]) -> int:
        """Morph target (N, 3), sparse where that is smaller; the still vertices are exactly zero."""
        moving = np.flatnonzero(np.abs(offsets).max(axis=1) > STILL)
        index_type, index_code = (np.uint16, _USHORT) if len(offsets) <= 0xFFFF else (np.uint32, _UINT)
        if len(moving) * (12 + np.dtype(index_type).itemsize) >= 12 * len(offsets):
            return self.vectors(offsets, bounds=True)
        kept = np.zeros_like(offsets)
        kept[moving] = offsets[moving]
        accessor: dict[str, Any] = {"componentType": _FLOAT, "count": len(offsets), "type": "VEC3"} | _bounds(kept)
        if len(moving):
            accessor["sparse"] = {
                "count": len(moving),
                "indices": {
                    "bufferView": self._view(moving.astype(index_type).tobytes()),
                    "componentType": index_code,
                },
                "values": {"bufferView": self._view(np.ascontiguousarray(offsets[moving], np.float32).tobytes())},
            }
        return self._accessor(accessor)

    def indices(self, triangles: NDArray[Any]) -> int:
        """Triangle corners."""
        kind, code = (np.uint16, _USHORT) if triangles.max() < 0xFFFF else (np.uint32, _UINT)
        flat = triangles.reshape(-1).astype(kind)
        view = self._view(flat.tobytes(), target=_INDEX_DATA)
        return self._accessor({"bufferView": view, "componentType": code, "count": len(flat), "type": "SCALAR"})

    def skin_attributes(self, share: NDArray[np.float32]) -> dict[str, int]:
        """Two joints: 0 the neck, which stays, 1 the head, which each vertex follows by its share."""
        joints = np.zeros((len(share), 4), np.uint8)
        head = np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)
        weights = np.stack([255 - head, head, np.zeros_like(head), np.zeros_like(head)], axis=1)
        joints[:, 1] = head > 0  # an influence of weight 0 must name joint 0
        only_head = head == 255
        joints[only_head, 0], joints[only_head, 1] = 1, 0
        weights[only_head, :2] = 255, 0
        common = {"componentType": _UBYTE, "count": len(share), "type": "VEC4"}
        return {
            "JOINTS_0": self._accessor({"bufferView": self._view(joints.tobytes(), target=_VERTEX_DATA), **common}),
            "WEIGHTS_0": self._accessor(
                {"bufferView": self._view(weights.tobytes(), target=_VERTEX_DATA), "normalized": True, **common}
            ),
        }

    def matrices(self, array: NDArray[np.float32]) -> int:
        """(N, 4, 4), already column-major."""
        view = self._view(array.astype(np.float32).tobytes())
        return self._accessor({"bufferView": view, "componentType": _FLOAT, "count": len(array), "type": "MAT4"})

    def texture(self, albedo: NDArray[np.uint8]) -> int:
        """Embed a picture; returns the texture's number."""
        from PIL import Image

        out = io.BytesIO()
        Image.fromarray(albedo).save(out, "JPEG", quality=93, subsampling=0)
        self.root["images"] = [{"name": "albedo", "mimeType": "image/jpeg", "bufferView": self._view(out.getvalue())}]
        self.root["samplers"] = [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}]
        self.root["textures"] = [{"source": 0, "sampler": 0}]
        return 0

    def animate(self, tracks: Sequence["Track"]) -> None:
        """One animation, lines between keys; tracks that are keyed at the same times share them."""
        kinds = {"weights": "SCALAR", "rotation": "VEC4", "translation": "VEC3"}
        clocks: dict[bytes, int] = {}
        samplers = []
        for track in tracks:
            times = np.ascontiguousarray(track.times, np.float32)
            clock = times.tobytes()
            if clock not in clocks:
                bounds = {"min": [float(times[0])], "max": [float(times[-1])]}
                clocks[clock] = self._numbers(times, "SCALAR", bounds=bounds)
            output = self._numbers(track.values, kinds[track.path])
            samplers.append({"input": clocks[clock], "output": output, "interpolation": "LINEAR"})
        self.root["animations"] = [
            {
                "name": "speech",
                "samplers": samplers,
                "channels": [
                    {"sampler": number, "target": {"node": track.node, "path": track.path}}
                    for number, track in enumerate(tracks)
                ],
            }
        ]

    def container(self) -> bytes:
        """The finished container."""
        self.root["buffers"] = [{"byteLength": len(self._data)}]
        text = json.dumps(self.root, separators=(",", ":"), allow_nan=False).encode()
        return container(text, bytes(self._data))

    def _numbers(self, array: NDArray[Any], kind: str, bounds: dict[str, Any] | None = None) -> int:
        array = np.ascontiguousarray(array, np.float32)
        count = array.size if kind == "SCALAR" else len(array)
        accessor = {"bufferView": self._view(array.tobytes()), "componentType": _FLOAT, "count": count, "type": kind}
        return self._accessor(accessor | (bounds or {}))

    def _accessor(self, accessor: dict[str, Any]) -> int:
        self.root["accessors"].append(accessor)
        return len(self.root["accessors"]) - 1

    def _view(self, data: bytes, target: int | None = None) -> int:
        self._data += bytes(-len(self._data) % 4)
        view = {"buffer": 0, "byteOffset": len(self._data), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self._data += data
        self.root["bufferViews"].append(view)
        return len(self.root["bufferViews"]) - 1


def quaternions(angles: NDArray[np.floating]) -> NDArray[np.float32]:
    """(T, 4) x, y, z, w of (T, 3) pitch, yaw, roll: R = Ry(yaw) Rx(pitch) Rz(roll), as `core.pose`."""
    half = np.asarray(angles, np.float64) / 2
    (cx, cy, cz), (sx, sy, sz) = np.cos(half).T, np.sin(half).T
    turn = np.stack(
        [
            cy * sx * cz + sy * cx * sz,
            sy * cx * cz - cy * sx * sz,
            cy * cx * sz - sy * sx * cz,
            cy * cx * cz + sy * sx * sz,
        ],
        axis=1,
    )
    return (turn / np.linalg.norm(turn, axis=1, keepdims=True)).astype(np.float32)


def normals(vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """(V, 3) unit normals, as glTF wants them: towards z where no triangle tells."""
    found = vertex_normals(vertices.astype(np.float64), triangles)
    found[np.linalg.norm(found, axis=1) < 0.5] = 0.0, 0.0, 1.0
    return found.astype(np.float32)


def _bounds(array: NDArray[np.float32]) -> dict[str, list[float]]:
    return {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
