"""One utterance: speech and the face that moved with it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Clip:
    """Speech with the motion that belongs to it. Frame t is the face at `t / fps` seconds of the audio."""

    audio: NDArray[np.float32]
    """(N,) mono, -1..1."""
    sample_rate: int
    vertices: NDArray[np.float32]
    """(T, V, 3) metres, absolute positions; any array-like that slices to numpy may stand here (lazy)."""
    fps: float
    subject: str
    sentence: str
    textures: NDArray[np.uint8] | None = None
    """(T, H, W, 3) sRGB frames, or none."""

    def __post_init__(self) -> None:
        if self.audio.ndim != 1:
            raise ValueError(f"audio must be (N,), got {self.audio.shape}; average the channels first")
        if len(self.vertices.shape) != 3 or self.vertices.shape[-1] != 3:
            raise ValueError(
                f"vertices must be (T, V, 3), got {tuple(self.vertices.shape)}; "
                "if flattened, call .reshape(len(vertices), -1, 3) first"
            )
