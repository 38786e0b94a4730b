"""One utterance: speech and the face that moved with it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parlante.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Clip:
    """Speech with the motion that belongs to it. Frame t is the face at `t / fps` seconds of the audio.

    The fields below `textures` are truths that only some corpora know.
    """

    audio: NDArray[np.float32]
    """(N,) mono, -1..1."""
    sample_rate: int
    vertices: NDArray[np.float32]
    """(T, V, 3) metres, absolute positions; any array-like that slices to numpy may stand here (lazy)."""
    fps: float
    subject: str
    key: str
    """Name of the clip within its corpus."""
    textures: NDArray[np.uint8] | None = None
    """(T, H, W, 3) sRGB frames, or none."""
    weights: NDArray[np.float32] | None = None
    """(T, 52) weights of the ARKit shapes."""
    head_pose: NDArray[np.float32] | None = None
    """(T, 6) pitch, yaw, roll in radians; x, y, z in metres."""
    phones: tuple[tuple[str, float, float], ...] = ()
    """Symbol, start and end in seconds, one after the other without a gap; empty: not known."""
    text: str = ""
    """What is said; empty: not known."""
    face: str = ""
    """Person of the embedded head whose face the subject has; empty: a face of its own."""
    profile: Mapping[str, float] | None = None
    """How the speaker moves: field of `parlante.head.speaker_profile.SpeakerProfile` -> value."""

    def __post_init__(self) -> None:
        if self.audio.ndim != 1:
            raise InputError(f"audio must be (N,), got {self.audio.shape}; average the channels first")
        if len(self.vertices.shape) != 3 or self.vertices.shape[-1] != 3:
            raise InputError(
                f"vertices must be (T, V, 3), got {tuple(self.vertices.shape)}; "
                "if flattened, call .reshape(len(vertices), -1, 3) first"
            )
        for name, values, width in (("weights", self.weights, 52), ("head_pose", self.head_pose, 6)):
            if values is not None and values.shape != (len(self.vertices), width):
                raise InputError(f"{name} must be ({len(self.vertices)}, {width}), got {values.shape}")

    def known_weights(self) -> NDArray[np.float32]:
        """`weights`, for those who cannot do without. Raises InputError where the corpus does not know them."""
        if self.weights is None:
            raise InputError(f"{self.key} has no blendshape weights; give a corpus written by parlante synth")
        return self.weights
