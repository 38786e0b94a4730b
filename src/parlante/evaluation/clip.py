"""One clip that is judged, a model's prediction of it, and the regions of the mesh that count."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import Topology
from parlante.evaluation.protocols import Protocol


@dataclass(frozen=True, eq=False)
class Rules:
    """Which vertices are judged."""

    topology: Topology
    unit: str
    lips: NDArray[Any] | None
    upper: NDArray[Any] | None
    skin: NDArray[Any] | None
    """none: all vertices."""
    protocol: Protocol | None = None

    def of_skin(self, vertices: NDArray[Any]) -> NDArray[Any]:
        """(..., S, 3) of vertices (..., V, 3)."""
        return vertices if self.skin is None else vertices[..., self.skin, :]

    def mouth_opening(self, vertices: NDArray[Any]) -> NDArray[np.float64] | None:
        """(T,) how far the mouth is open: between the inner lips, or the height of the lip region where they are not
        known; none without either."""
        from parlante.head.mouth import lip_aperture

        if {"upper_lip_inner", "lower_lip_inner"} <= set(self.topology.landmarks):
            return lip_aperture(vertices, self.topology)
        if self.lips is None:
            return None
        height = vertices[:, self.lips, 1]
        return np.asarray(height.max(1) - height.min(1), np.float64)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model makes of a clip's speech."""

    vertices: NDArray[np.float32]
    """(T', V, 3), in the data's unit."""
    picture: Callable[[int], NDArray[np.uint8]] | None = None
    """Frame -> skin (h, w, 3) at the size of the true ones, or none."""
    condition: str = ""
    """In whose style it speaks; empty where that is not known."""


@dataclass(frozen=True, eq=False)
class EvalClip:
    """One clip and its truth."""

    key: str
    subject: str
    audio: NDArray[np.float32]
    """(N,) mono, -1..1."""
    sample_rate: int
    fps: float
    vertices: NDArray[np.float32]
    """(T, V, 3)."""
    neutral: NDArray[np.float32]
    """(V, 3)."""
    loudness: NDArray[np.float64]
    """(T,) root mean square around each frame."""
    silent: NDArray[np.bool_] | None
    """(T,) true where nobody speaks; none where that is not known."""
    bilabials: list[tuple[float, float]]
    """Start and end, in seconds, of each p, b and m; empty where phones are not known."""
    styles: Mapping[str, NDArray[Any]]
    """Subject -> style vector of clips that are not judged."""
    rules: Rules
    pictures: Mapping[int, NDArray[np.uint8]] | None = None
    """Judged frame -> true skin (h, w, 3)."""
    rest: NDArray[np.uint8] | None = None
    """(h, w, 3) skin at rest."""
    moving: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((0, 0), bool))
    """(h, w) true where the skin changes its colour; see `evaluation.MOVING`."""
