"""MDD vertex cache (LightWave's Motion Designer), read by Blender, Houdini, Modo and Cinema 4D.

Big-endian: int32 frames, int32 points, one float32 of seconds per frame; then float32 x, y, z of every point, frame
after frame. Metres, y up; the head pose is in the vertices.
"""

import struct
from contextlib import ExitStack
from pathlib import Path

from parlante.core.timing import frame_times
from parlante.export.frames import AnimationInfo, FrameBlock, Poser
from parlante.export.sink import FileSink


class MddSink(FileSink):
    """Sink for `.mdd`."""

    def __init__(self, path: Path, info: AnimationInfo) -> None:
        super().__init__(path, info)
        self._posed = Poser(info)

    def begin(self, stack: ExitStack) -> None:
        info = self.info
        super().begin(stack)
        self._file = stack.enter_context(self.partial.open("wb"))
        self._file.write(struct.pack(">ii", info.num_frames, info.topology.num_vertices))
        self._file.write(frame_times(info.num_frames, info.fps).astype(">f4").tobytes())

    def write(self, block: FrameBlock) -> None:
        """Append frames."""
        self._file.write(self._posed(block).astype(">f4").tobytes())
