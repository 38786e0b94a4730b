"""Motion maps: vertex offsets as pictures with values 0..1 (TexTalker, CVPR 2025, section "motion map")."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from parlante.geometry.uv.table import BakeTable

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array")


@dataclass(frozen=True)
class MotionStats:
    """Range of offsets per axis: `normalise` maps minimum..maximum to 0..1, without clipping."""

    minimum: tuple[float, float, float]
    """Smallest offset along x, y, z; metres in this package, dataset units where read from TexTalk4D."""
    maximum: tuple[float, float, float]

    def __post_init__(self) -> None:
        if not all(low < high for low, high in zip(self.minimum, self.maximum, strict=True)):
            raise ValueError(f"every minimum must lie below its maximum, got {self.minimum} and {self.maximum}")

    @classmethod
    def fit(cls, offsets: NDArray[np.floating], margin: float = 0.0) -> "MotionStats":
        """The extremes of offsets (..., V, 3), widened on each side by `margin` times their distance."""
        low = offsets.reshape(-1, 3).min(0).astype(float)
        high = offsets.reshape(-1, 3).max(0).astype(float)
        wide = margin * (high - low)
        low, high = low - wide, high + wide
        return cls((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    @classmethod
    def from_reference(cls, stat: Mapping[str, float]) -> "MotionStats":
        """From the keys of TexTalk4D's `stat_seq_diff_global`: gmin_0..2, gmax_0..2, scale."""
        scale = stat.get("scale", 1.0)
        low = [stat[f"gmin_{axis}"] / scale for axis in range(3)]
        high = [stat[f"gmax_{axis}"] / scale for axis in range(3)]
        return cls((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def scaled(self, factor: float) -> "MotionStats":
        """The same range in another unit: `REFERENCE_STATS.scaled(0.1)` is in metres."""
        low, high = ([factor * value for value in side] for side in (self.minimum, self.maximum))
        return MotionStats((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def to_dict(self) -> dict[str, list[float]]:
        """For a config.json."""
        return {"minimum": list(self.minimum), "maximum": list(self.maximum)}

    @classmethod
    def from_dict(cls, data: Mapping[str, list[float]]) -> "MotionStats":
        """The inverse of `to_dict`."""
        (a, b, c), (d, e, f) = data["minimum"], data["maximum"]
        return cls((a, b, c), (d, e, f))

    def normalise(self, offsets: Array) -> Array:
        """(..., 3) offsets -> values near 0..1; numpy array or tensor."""
        low, span = self._like(offsets)
        return (offsets - low) / span

    def denormalise(self, values: Array) -> Array:
        """The inverse of `normalise`."""
        low, span = self._like(values)
        return values * span + low

    def _like(self, array: Any) -> Any:
        low, high = np.asarray(self.minimum), np.asarray(self.maximum)
        if isinstance(array, np.ndarray):
            return low.astype(array.dtype), (high - low).astype(array.dtype)
        return array.new_tensor(low.tolist()), array.new_tensor((high - low).tolist())


REFERENCE_STATS = MotionStats((-0.076368, -0.122505, -0.148366), (0.070912, 0.180246, 0.172892))
"""The statistics released with TexTalker, in TexTalk4D's units (one is about 10 cm)."""


def motion_maps(offsets: "Tensor", table: BakeTable, stats: MotionStats) -> "Tensor":
    """Offsets from neutral (B, V, 3) -> motion maps (B, 3, H, W), normalised and not clipped."""
    return table.bake(stats.normalise(offsets))


def offsets_from_maps(maps: "Tensor", table: BakeTable, stats: MotionStats, *, refine: int = 1) -> "Tensor":
    """Motion maps (B, 3, H, W) -> offsets (B, V, 3). refine: see `BakeTable.sample`."""
    return stats.denormalise(table.sample(maps, refine))
