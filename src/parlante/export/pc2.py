"""PC2 vertex cache, as Blender's Mesh Cache modifier and 3ds Max's Point Cache read it.

Little-endian: `POINTCACHE2\\0`, int32 version 1, int32 points, float32 first frame, float32 frames per sample, int32
samples; then float32 x, y, z of every point, sample after sample. Metres, y up; the head pose is in the vertices.
"""

import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from parlante.core import atomic_path
from parlante.export.take import Chunk, Poser, Take


class Pc2Sink:
    """Sink for `.pc2`."""

    def __init__(self, path: Path, take: Take) -> None:
        self.path = Path(path)
        self._take = take
        self._posed = Poser(take)
        self._stack = ExitStack()

    def __enter__(self) -> "Pc2Sink":
        with ExitStack() as stack:
            self._file = stack.enter_context(stack.enter_context(atomic_path(self.path)).open("wb"))
            points, samples = self._take.topology.num_vertices, self._take.num_frames
            self._file.write(struct.pack("<12siiffi", b"POINTCACHE2", 1, points, 0.0, 1.0, samples))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> bool | None:
        return self._stack.__exit__(*error)

    def write(self, chunk: Chunk) -> None:
        """Append frames."""
        self._file.write(self._posed(chunk).astype("<f4").tobytes())
