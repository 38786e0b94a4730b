"""Wavefront OBJ: the face at rest, or a folder with one file per frame; skin as `face.mtl` and `albedo.png`.

Vertices keep their number and order in every file. Metres, y up; the head pose is in the vertices.
"""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.core import Topology, atomic_folder
from parlante.export.frames import AnimationInfo, FrameBlock, Poser
from parlante.export.sink import FileSink

_MATERIAL = "newmtl skin\nKd 0.8 0.62 0.53\nNs 40\n"


class ObjSink(FileSink):
    """Sink for a folder `NAME.obj/` of `000000.obj`, ..."""

    def __init__(self, path: Path, info: AnimationInfo) -> None:
        super().__init__(path, info)
        self._posed = Poser(info)

    def begin(self, stack: ExitStack) -> None:
        self._folder = stack.enter_context(atomic_folder(self.path))
        self._faces = faces_text(self.info.topology, "face.mtl")
        text = _MATERIAL
        if self.info.albedo is not None:
            save_png(self.info.albedo, self._folder / "albedo.png")
            text += "map_Kd albedo.png\n"
        (self._folder / "face.mtl").write_text(text, encoding="ascii")

    def write(self, block: FrameBlock) -> None:
        """One file per frame."""
        for frame, vertices in enumerate(self._posed(block), block.start):
            text = vertices_text(vertices) + self._faces
            (self._folder / f"{frame:06d}.obj").write_text(text, encoding="ascii")


class NeutralObjSink(FileSink):
    """Sink for `.neutral.obj`: the mesh that a vertex cache moves. Without material; import it with its order kept."""

    def begin(self, stack: ExitStack) -> None:
        super().begin(stack)
        self.partial.write_text(
            vertices_text(self.info.neutral) + faces_text(self.info.topology, None), encoding="ascii"
        )

    def write(self, block: FrameBlock) -> None:
        """Nothing: the face at rest has no frames."""


def vertices_text(vertices: NDArray[np.float32]) -> str:
    """`v` lines of (V, 3), a hundredth of a micrometre fine."""
    return ("v %.8f %.8f %.8f\n" * len(vertices)) % tuple(vertices.reshape(-1).tolist())


def faces_text(topology: Topology, library: str | None) -> str:
    """`vt` and `f` lines, the same for every frame."""
    lines = "" if library is None else f"mtllib {library}\n"
    lines += ("vt %.6f %.6f\n" * len(topology.uv)) % tuple(topology.uv.reshape(-1).tolist())
    lines += "" if library is None else "usemtl skin\n"
    corners = np.stack([topology.triangles, topology.uv_triangles], axis=-1).reshape(-1) + 1
    return lines + ("f %d/%d %d/%d %d/%d\n" * len(topology.triangles)) % tuple(corners.tolist())


def save_png(pixels: NDArray[np.uint8], path: Path) -> None:
    """(H, W, 3) sRGB."""
    from PIL import Image

    Image.fromarray(pixels).save(path, compress_level=3)
