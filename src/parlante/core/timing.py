"""Seconds, samples and frames: converted here and nowhere else. Frame t is the face at `t / fps` seconds."""

import numpy as np
from numpy.typing import NDArray

FPS = 30.0
"""Frames per second of everything Parlante makes."""
SAMPLE_RATE = 16000
"""Hz of all audio inside Parlante."""


def num_frames(num_samples: int, sample_rate: int = SAMPLE_RATE, fps: float = FPS) -> int:
    """Frames that start within `num_samples` of audio: ceil(num_samples * fps / sample_rate).

    Raises ValueError for a negative count or a rate that is not positive.
    """
    if num_samples < 0 or sample_rate <= 0 or fps <= 0:
        raise ValueError(f"need samples >= 0 and positive rates, got {num_samples=}, {sample_rate=}, {fps=}")
    exact = num_samples * fps / sample_rate
    return int(np.ceil(exact - 1e-9))


def num_samples(num_frames: int, sample_rate: int = SAMPLE_RATE, fps: float = FPS) -> int:
    """Most samples that `num_frames` frames can cover; the inverse of `num_frames`."""
    if num_frames < 0 or sample_rate <= 0 or fps <= 0:
        raise ValueError(f"need frames >= 0 and positive rates, got {num_frames=}, {sample_rate=}, {fps=}")
    return int(np.floor(num_frames * sample_rate / fps + 1e-9))


def frame_times(count: int, fps: float = FPS) -> NDArray[np.float64]:
    """(count,) seconds of each frame."""
    return np.arange(count) / fps
