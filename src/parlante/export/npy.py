"""Vertices as the published methods keep them: one `.npy` of (T, 3 V) float32, x, y, z of every vertex of a frame.

In the mesh's own unit and without head pose; `numpy.load(path).reshape(-1, V, 3)` gives the vertices back.
"""

from contextlib import ExitStack

import numpy as np

from parlante.export.frames import FrameBlock
from parlante.export.sink import FileSink


class NpySink(FileSink):
    """Sink for `.npy`."""

    def begin(self, stack: ExitStack) -> None:
        super().begin(stack)
        self._file = stack.enter_context(self.partial.open("wb"))
        shape = (self.info.num_frames, 3 * self.info.topology.num_vertices)
        np.lib.format.write_array_header_1_0(self._file, {"descr": "<f4", "fortran_order": False, "shape": shape})

    def write(self, block: FrameBlock) -> None:
        """Append frames."""
        self._file.write(block.vertices.astype("<f4").tobytes())
