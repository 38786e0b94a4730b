"""Who is speaking: a neutral face and its skin."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parlante.core.errors import InputError
from parlante.core.style import Style
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
    shapes: NDArray[np.float32] | None = None
    """(K, V, 3) blendshapes of this face in metres, in the order of `weight_names`; none: it has no rig."""
    weight_names: tuple[str, ...] = ()
    pivot: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Metres: the point about which the head turns."""
    own_style: Style | None = None
    """A style that came with the face, such as the pivots beside a scanned person."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """For the provenance of what this face says."""

    def __post_init__(self) -> None:
        if self.neutral.shape != (self.topology.num_vertices, 3):
            raise InputError(
                f"neutral of {self.name} must be ({self.topology.num_vertices}, 3) for topology "
                f"{self.topology.name}, got {self.neutral.shape}"
            )
