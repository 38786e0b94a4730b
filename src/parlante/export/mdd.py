"""MDD vertex cache (LightWave's Motion Designer), read by Blender, Houdini, Modo and Cinema 4D.

Big-endian: int32 frames, int32 points, one float32 of seconds per frame; then float32 x, y, z of every point, frame
after frame. Metres, y up; the head pose is in the vertices.
"""

import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from parlante.core import atomic_path
from parlante.core.timing import frame_times
from parlante.export.take import Chunk, Poser, Take


class MddSink:
    """Sink for `.mdd`."""

    def __init__(self, path: Path, take: Take) -> None:
        self.path = Path(path)
        self._take = take
        self._posed = Poser(take)
        self._stack = ExitStack()

    def __enter__(self) -> "MddSink":
        take = self._take
        with ExitStack() as stack:
            self._file = stack.enter_context(stack.enter_context(atomic_path(self.path)).open("wb"))
            self._file.write(struct.pack(">ii", take.num_frames, take.topology.num_vertices))
            self._file.write(frame_times(take.num_frames, take.fps).astype(">f4").tobytes())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def write(self, chunk: Chunk) -> None:
        """Append frames."""
        self._file.write(self._posed(chunk).astype(">f4").tobytes())
