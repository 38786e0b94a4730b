"""Who is speaking: a neutral face and its skin."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parlante.core.topology import Topology


@dataclass(frozen=True, eq=False)
class Identity:
    """One person at rest."""

    name: str
    topology: Topology
    neutral: NDArray[np.float32]
    """(V, 3) metres, y up, z forward."""
    albedo: NDArray[np.uint8] | None = None
    """(H, W, 3) sRGB, first row at v = 1."""

    def __post_init__(self) -> None:
        if self.neutral.shape != (self.topology.num_vertices, 3):
            raise ValueError(
                f"neutral of {self.name} must be ({self.topology.num_vertices}, 3) for topology "
                f"{self.topology.name}, got {self.neutral.shape}"
            )
