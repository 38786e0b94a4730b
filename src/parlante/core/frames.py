"""What travels from a talker to renderers and writers: the facts of an animation, then its frames in blocks."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core.topology import Topology


@dataclass(frozen=True, eq=False)
class AnimationInfo:
    """Everything about an animation except its frames. Frame t is the face at `t / fps` seconds."""

    topology: Topology
    fps: float
    num_frames: int
    neutral: NDArray[np.float32]
    """(V, 3) metres."""
    audio: NDArray[np.float32]
    """(N,) mono, -1..1; may be a memory map."""
    sample_rate: int
    albedo: NDArray[np.uint8] | None = None
    """(H, W, 3) sRGB."""
    weight_names: tuple[str, ...] = ()
    """Names of the blendshape weights; empty when there are none."""
    shapes: NDArray[np.float32] | None = None
    """(K, V, 3) blendshape offsets in metres, in the order of `weight_names`."""
    pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """The neck joint, about which the head turns."""
    wrinkle_size: tuple[int, int] | None = None
    """(h, w) of the wrinkle maps, or none."""
    has_pose: bool = False
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def asked_fps(self) -> bool:
        """Whether somebody asked for this rate; formats with a customary one of their own keep to it then."""
        return self.provenance.get("asked_fps") == self.fps

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_frames / self.fps


NO_VERTICES: NDArray[np.float32] = np.zeros((0, 0, 3), np.float32)
"""Of a block that holds a talker's motion and no vertices yet."""


@dataclass(frozen=True, eq=False)
class FrameBlock:
    """Consecutive frames. A talker gives `motion`; a finished block has `vertices`. What is none is not made."""

    start: int
    """Number of the first frame."""
    vertices: NDArray[np.float32] = field(default_factory=lambda: NO_VERTICES)
    """(n, V, 3) metres, without head pose; `NO_VERTICES` where only `motion` is known."""
    wrinkle: NDArray[np.uint8] | None = None
    """(n, h, w, 3) stored wrinkle maps."""
    weights: NDArray[np.float32] | None = None
    """(n, K) blendshape weights."""
    head_pose: NDArray[np.float32] | None = None
    """(n, 6) rotation (radians) and translation (metres), as in `Animation`."""
    motion: NDArray[np.float32] | None = None
    """(n, V, 3) metres from neutral: all of it, or what `weights` do not explain."""
    silence: NDArray[np.float32] | None = None
    """(n,) 0..1: how sure the talker is that nobody speaks."""
    tongue: NDArray[np.float32] | None = None
    """(n, J) weights of tongue shapes beyond the 52."""
    notes: tuple[str, ...] = ()
    """One line for each thing that was assumed, dropped or replaced while these frames were made."""

    def __len__(self) -> int:
        """n; 0 for a block without arrays."""
        return max((len(array) for array in self.arrays().values()), default=0)

    def __getitem__(self, rows: slice) -> "FrameBlock":
        """Some of the frames; `rows` has no step."""
        begin, _, _ = rows.indices(len(self))
        kept: dict[str, Any] = {name: array[rows] for name, array in self.arrays().items()}
        return replace(self, start=self.start + begin, **kept)

    def joined(self, other: "FrameBlock") -> "FrameBlock":
        """These frames, then those."""
        if not len(self):
            return other
        theirs = other.arrays()
        arrays: dict[str, Any] = {n: np.concatenate([array, theirs[n]]) for n, array in self.arrays().items()}
        return replace(self, **arrays, notes=(*self.notes, *other.notes))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that are there, by field name."""
        pairs = ((each.name, getattr(self, each.name)) for each in fields(self) if each.name not in ("start", "notes"))
        return {name: array for name, array in pairs if array is not None and array is not NO_VERTICES}
