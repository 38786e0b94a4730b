"""Weights as few keys: reduction with an error bound, and the `.keys.json` that holds each weight's own.

    {"parlante_keys": 1, "fps": 30.0, "duration": 2.5, "error": 0.005,
     "curves": {"jawOpen": [[0.0, 0.0], [0.133, 0.41], ...], ..., "headPitch": [[0.0, 0.01], ...]}}

Pairs are seconds and value; lines between them pass every frame within the error. Weights are 0..1, head angles
radians (as `Animation.head_pose`), head shifts metres.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parlante.core.options import Fidelity
from parlante.export.frames import AnimationInfo, FrameBlock
from parlante.export.row_buffer import RowBuffer
from parlante.export.sink import FileSink

POSE_NAMES = ("headPitch", "headYaw", "headRoll", "headX", "headY", "headZ")
POSE_SHARE = np.array([1.0, 1.0, 1.0, 0.1, 0.1, 0.1])
"""Error of each part of a head pose, as a share of a weight's: radians; metres, on a head of some ten centimetres."""
DEFAULT_ERROR = 0.005


def reduce_keys(values: ArrayLike, error: float | NDArray[np.floating]) -> NDArray[np.int64]:
    """Numbers of the rows of (T, K) to keep, first and last among them.

    Straight lines between kept rows pass every row within `error` (one number, or (K,)). Raises ValueError for values
    of another shape or a negative error.
    """
    from parlante.export._key_kernels import longest_lines

    rows = np.ascontiguousarray(values, np.float64)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"values must be (T, K) with T > 0, got {rows.shape}")
    allowed = np.broadcast_to(np.asarray(error, np.float64), rows.shape[1:]).copy()
    if (allowed < 0).any():
        raise ValueError(f"an error must not be negative, got {allowed.min()}")
    return longest_lines(rows, allowed)


class KeysSink(FileSink):
    """Sink for `.keys.json`."""

    def __init__(self, path: Path, info: AnimationInfo, fidelity: Fidelity) -> None:
        super().__init__(path, info)
        self._error = fidelity.reduce or DEFAULT_ERROR
        self._weights = RowBuffer()
        self._poses = RowBuffer()

    def write(self, block: FrameBlock) -> None:
        """Keep the weights."""
        assert block.weights is not None
        self._weights.append(block.weights)
        if block.head_pose is not None:
            self._poses.append(block.head_pose)

    def finish(self) -> None:
        series = dict(zip(self.info.weight_names, self._weights.array().T))
        errors = dict.fromkeys(series, self._error)
        if self._poses:
            series |= dict(zip(POSE_NAMES, self._poses.array().T))
            errors |= dict(zip(POSE_NAMES, (self._error * POSE_SHARE).tolist()))
        keyed = {}
        for name, values in series.items():
            kept = reduce_keys(values[:, None], errors[name])
            keyed[name] = [[round(row / self.info.fps, 6), round(float(values[row]), 7)] for row in kept.tolist()]
        text = json.dumps(
            {
                "parlante_keys": 1,
                "fps": self.info.fps,
                "duration": self.info.duration,
                "error": self._error,
                "curves": keyed,
            }
        )
        self.partial.write_text(text.replace('"curves": {', '"curves": {\n ').replace("]], ", "]],\n ") + "\n")
