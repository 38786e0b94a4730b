"""PC2 vertex cache, as Blender's Mesh Cache modifier and 3ds Max's Point Cache read it.

Little-endian: `POINTCACHE2\\0`, int32 version 1, int32 points, float32 first frame, float32 frames per sample, int32
samples; then float32 x, y, z of every point, sample after sample. Metres, y up; the head pose is in the vertices.
"""

import struct
from contextlib import ExitStack
from pathlib import Path

from parlante.export.frames import AnimationInfo, FrameBlock, Poser
from parlante.export.sink import FileSink


class Pc2Sink(FileSink):
    """Sink for `.pc2`."""

    def __init__(self, path: Path, info: AnimationInfo) -> None:
        super().__init__(path, info)
        self._posed = Poser(info)

    def begin(self, stack: ExitStack) -> None:
        super().begin(stack)
        self._file = stack.enter_context(self.partial.open("wb"))
        points, samples = self.info.topology.num_vertices, self.info.num_frames
        self._file.write(struct.pack("<12siiffi", b"POINTCACHE2", 1, points, 0.0, 1.0, samples))

    def write(self, block: FrameBlock) -> None:
        """Append frames."""
        self._file.write(self._posed(block).astype("<f4").tobytes())
