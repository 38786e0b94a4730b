"""The weights in the two layouts that tools around NVIDIA Audio2Face read.

`.a2f.csv`: `timeCode` (seconds), then `blendShapes.EyeBlinkLeft`, ... as the sample clients of Audio2Face-3D write.
`.a2f.json`: `exportFps`, `trackPath`, `numPoses`, `numFrames`, `facsNames` and `weightMat` (frames of poses), as the
desktop application exports and its Blender, Maya and Unreal helpers import.
"""

import json
from contextlib import ExitStack

import numpy as np

from parlante.export.frames import FrameBlock
from parlante.export.sink import FileSink


class _WeightText(FileSink):
    """One line of text per frame between a head and a foot."""

    def begin(self, stack: ExitStack) -> None:
        super().begin(stack)
        self._file = stack.enter_context(self.partial.open("w", encoding="utf-8", newline="\n"))
        self._file.write(self._head())

    def finish(self) -> None:
        self._file.write(self._foot())

    def write(self, block: FrameBlock) -> None:
        """Append one line per frame."""
        assert block.weights is not None
        for frame, row in enumerate(np.clip(block.weights, 0.0, 1.0), block.start):
            self._file.write(self._line(frame, [f"{value:.7g}" for value in (row + 0.0).tolist()]))

    def _head(self) -> str:
        raise NotImplementedError

    def _line(self, frame: int, values: list[str]) -> str:
        raise NotImplementedError

    def _foot(self) -> str:
        return ""


class A2fCsv(_WeightText):
    """Sink for `.a2f.csv`."""

    def _head(self) -> str:
        names = (f"blendShapes.{name[0].upper()}{name[1:]}" for name in self.info.weight_names)
        return ",".join(("timeCode", *names)) + "\n"

    def _line(self, frame: int, values: list[str]) -> str:
        return f"{frame / self.info.fps:.6f},{','.join(values)}\n"


class A2fJson(_WeightText):
    """Sink for `.a2f.json`."""

    def _head(self) -> str:
        info = self.info
        facts = {
            "exportFps": info.fps,
            "trackPath": str(info.provenance.get("speech", "")),
            "numPoses": len(info.weight_names),
            "numFrames": info.num_frames,
            "facsNames": list(info.weight_names),
        }
        return json.dumps(facts)[:-1] + ', "weightMat": ['

    def _line(self, frame: int, values: list[str]) -> str:
        return f"{',' if frame else ''}\n [{', '.join(values)}]"

    def _foot(self) -> str:
        return "\n]}\n"
