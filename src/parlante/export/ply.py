"""A folder with one binary PLY per frame: position and colour of every vertex, wrinkles included, and the triangles.

Little-endian: float32 x, y, z and uchar red, green, blue per vertex; per face a uchar 3 and three int32. Metres, y up;
the head pose is in the vertices. The colour is the skin's at the vertex's first texture corner.
"""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.core import atomic_folder
from parlante.export.frames import AnimationInfo, FrameBlock, Poser
from parlante.export.sink import FileSink
from parlante.geometry.uv.ratio import ratio_from_bytes

_VERTEX = np.dtype([("at", "<f4", 3), ("colour", "u1", 3)])
_FACE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])


class PlySink(FileSink):
    """Sink for a folder `NAME.ply/` of `000000.ply`, ..."""

    def __init__(self, path: Path, info: AnimationInfo) -> None:
        super().__init__(path, info)
        self._posed = Poser(info)

    def begin(self, stack: ExitStack) -> None:
        topology = self.info.topology
        self._folder = stack.enter_context(atomic_folder(self.path))
        faces = np.empty(len(topology.triangles), _FACE)
        faces["count"], faces["corners"] = 3, topology.triangles
        self._faces = faces.tobytes()
        self._uv = np.zeros((topology.num_vertices, 2), np.float32)
        self._uv[topology.triangles.reshape(-1)] = topology.uv[topology.uv_triangles.reshape(-1)]
        self._colour = np.full((topology.num_vertices, 3), 200, np.uint8)
        if self.info.albedo is not None:
            self._colour = self._pick(self.info.albedo)
        self._header = (
            f"ply\nformat binary_little_endian 1.0\ncomment {self.info.fps:g} frames a second\n"
            f"element vertex {topology.num_vertices}\n"
            + "".join(f"property float {axis}\n" for axis in "xyz")
            + "".join(f"property uchar {colour}\n" for colour in ("red", "green", "blue"))
            + f"element face {len(faces)}\nproperty list uchar int vertex_indices\nend_header\n"
        ).encode("ascii")

    def write(self, block: FrameBlock) -> None:
        """One file per frame."""
        rows = np.empty(self.info.topology.num_vertices, _VERTEX)
        for k, vertices in enumerate(self._posed(block)):
            rows["at"], rows["colour"] = vertices, self._colour
            if block.wrinkle is not None:
                bright = self._colour * ratio_from_bytes(self._pick(block.wrinkle[k]))
                rows["colour"] = np.clip(np.rint(bright), 0, 255)
            (self._folder / f"{block.start + k:06d}.ply").write_bytes(self._header + rows.tobytes() + self._faces)

    def _pick(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(V, 3): the texel under each vertex."""
        height, width = picture.shape[:2]
        column = np.clip((self._uv[:, 0] * width).astype(int), 0, width - 1)
        row = np.clip(((1 - self._uv[:, 1]) * height).astype(int), 0, height - 1)
        return picture[row, column]
