"""Live Link Face CSV: the take file that Unreal, Blender, Maya, Houdini and MotionBuilder plug-ins read.

61 columns after the time code: the 52 ARKit weights (0..1) and nine angles in radians. The file puts JawRight before
JawLeft and MouthRight before MouthLeft, unlike ARKit's list and unlike the app's network packets: columns are filled by
name. Signs follow the app's own takes: pitch grows downwards, yaw grows towards the character's right. Its time codes
count sixtieths of a second, whatever the rate: so readers take them, and so the file has 60 rows a second, unless
another rate was asked for.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError
from parlante.core.interpolate import monotone
from parlante.core.notes import note
from parlante.export.frames import AnimationInfo, FrameBlock
from parlante.export.row_buffer import RowBuffer
from parlante.export.sink import FileSink
from parlante.geometry.blendshape_solver import kept_apart
from parlante.head.arkit import ARKIT_NAMES
from parlante.head.rig import LOOK

RATE = 60.0
"""Rows a second of the app's takes, which readers take for granted."""
_SWAPPED = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
CSV_ORDER: tuple[str, ...] = tuple(_SWAPPED.get(name, name) for name in ARKIT_NAMES)
"""ARKit names in the file's order."""
ANGLES = tuple(f"{part}{axis}" for part in ("Head", "LeftEye", "RightEye") for axis in ("Yaw", "Pitch", "Roll"))
COLUMNS = ("Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in CSV_ORDER), *ANGLES)
EYE_YAW = {"In": np.radians(LOOK["In"]), "Out": np.radians(LOOK["Out"])}
EYE_PITCH = {"Up": np.radians(LOOK["Up"]), "Down": np.radians(LOOK["Down"])}
"""Radians at a look weight of 1."""


class LiveLinkCsv(FileSink):
    """Sink for `.csv`, at 60 rows a second, or at the rate that was asked for, with a note. Raises InputError if the
    animation has no ARKit weights."""

    def __init__(self, path: Path, info: AnimationInfo) -> None:
        missing = [name for name in ARKIT_NAMES if name not in info.weight_names]
        if missing:
            raise InputError(f"cannot write {path}: the animation has no ARKit weights ({missing[0]} is missing)")
        super().__init__(path, info)
        self._columns = [info.weight_names.index(name) for name in CSV_ORDER]
        self._rows = RowBuffer()
        self._rate = info.fps if info.asked_fps else RATE
        if self._rate != RATE:
            note(f"{Path(path).name}: {self._rate:g} rows a second, as asked; readers of Live Link takes expect 60")
        self._file: TextIO

    def begin(self, stack: ExitStack) -> None:
        super().begin(stack)
        self._file = stack.enter_context(self.partial.open("w", encoding="ascii", newline="\n"))
        self._file.write(",".join(COLUMNS) + "\n")

    def write(self, block: FrameBlock) -> None:
        """Take the frames."""
        assert block.weights is not None
        angles = look_angles(block.weights, self.info.weight_names, block.head_pose)
        rows = np.concatenate([np.clip(block.weights[:, self._columns], 0.0, 1.0), angles], axis=1)
        self._rows.append(rows.astype(np.float32))

    def finish(self) -> None:
        """Write a row for each sixtieth of a second, between frames by monotone cubics."""
        source, curves = self._rows.array(), slice(0, len(CSV_ORDER))
        rows = at_rate(source, self.info.fps, self._rate).copy()
        rows[:, curves] = kept_apart(rows[:, curves], CSV_ORDER, source[:, curves])
        for frame, row in enumerate(rows):
            values = ",".join(f"{value:.10f}" for value in row + 0.0)  # + 0.0 turns -0.0 into 0.0
            self._file.write(f"{timecode(frame, self._rate)},{len(COLUMNS) - 2},{values}\n")


def at_rate(rows: NDArray[np.float32], fps: float, rate: float) -> NDArray[np.float32]:
    """Rows (T, K) at `fps` as rows at `rate`, which begin in the same time."""
    if fps == rate:
        return rows
    place = np.arange(int(np.ceil(len(rows) * rate / fps - 1e-9))) * (fps / rate)
    low = np.minimum(place.astype(np.intp), max(len(rows) - 2, 0))
    fraction = np.minimum(place - low, 1.0).astype(np.float32)
    return monotone(rows, low, np.minimum(low + 1, len(rows) - 1), fraction)


def timecode(frame: int, fps: float) -> str:
    """HH:MM:SS:FF.mmm of a frame at the nearest whole rate; the last three digits are a fraction of a frame."""
    rate = max(1, round(fps))
    thousandths = round(frame / fps * rate * 1000)
    frames, fraction = divmod(thousandths, 1000)
    seconds, frames = divmod(frames, rate)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}:{frames:02d}.{fraction:03d}"


def look_angles(
    weights: NDArray[np.float32], names: tuple[str, ...], head_pose: NDArray[np.float32] | None
) -> NDArray[np.float64]:
    """(n, 9) yaw, pitch, roll of head, left eye and right eye."""
    angles = np.zeros((len(weights), 9))
    if head_pose is not None:
        # `head_pose` turns right-handed about x, y, z; the app's takes have x towards the other side
        angles[:, 0], angles[:, 1], angles[:, 2] = -head_pose[:, 1], head_pose[:, 0], -head_pose[:, 2]

    def weight(name: str) -> NDArray[np.float32]:
        return weights[:, names.index(name)]

    for column, side, outwards in ((3, "Left", -1.0), (6, "Right", 1.0)):
        out, in_ = (EYE_YAW[way] * weight(f"eyeLook{way}{side}") for way in ("Out", "In"))
        down, up = (EYE_PITCH[way] * weight(f"eyeLook{way}{side}") for way in ("Down", "Up"))
        angles[:, column], angles[:, column + 1] = outwards * (out - in_), down - up
    return angles
