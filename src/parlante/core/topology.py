"""What a mesh is made of, apart from where its vertices stand."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parlante.core.errors import InputError


@dataclass(frozen=True, eq=False)
class Topology:
    """Connectivity, texture layout and named places of a mesh family."""

    name: str
    num_vertices: int
    triangles: NDArray[np.int32]
    """(F, 3) vertex numbers, counter-clockwise from outside."""
    uv: NDArray[np.float32]
    """(U, 2) texture corners, 0..1, v up."""
    uv_triangles: NDArray[np.int32]
    """(F, 3) numbers into `uv`."""
    regions: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    """Named sets of vertices: lips, upper_face, ..."""
    landmarks: Mapping[str, int] = field(default_factory=dict)
    """Named single vertices: mouth_left, chin, ..."""

    def __post_init__(self) -> None:
        if self.triangles.ndim != 2 or self.triangles.shape[1] != 3:
            raise InputError(f"triangles must be (F, 3), got {self.triangles.shape}; split polygons first")
        if self.uv_triangles.shape != self.triangles.shape:
            raise InputError(f"uv_triangles must match triangles {self.triangles.shape}, got {self.uv_triangles.shape}")
        for what, index, size in (
            ("triangles", self.triangles, self.num_vertices),
            ("uv_triangles", self.uv_triangles, len(self.uv)),
        ):
            if index.size and not 0 <= index.min() <= index.max() < size:
                raise InputError(f"{what} of {self.name} must lie in 0..{size - 1}, got {index.min()}..{index.max()}")
