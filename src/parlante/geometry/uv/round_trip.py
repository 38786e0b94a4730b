"""What a motion map loses: offsets drawn into a map and read back, by our rules or by the published ones."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from parlante.geometry.uv.motion_map import MotionStats
from parlante.geometry.uv.table import BakeTable


class RoundTripError(NamedTuple):
    """Distance between offsets and what comes back, in the unit of the offsets, over vertices and frames."""

    mean: float
    median: float
    p99: float
    max: float


def round_trip(
    offsets: NDArray[np.floating], table: BakeTable, stats: MotionStats, *, refine: int = 1, eight_bit: bool = False
) -> RoundTripError:
    """Error of offsets (B, V, 3) after one pass through maps of the table's size.

    A published table is read by the published script's rule, one texel off its own grid; ours is read where it was
    written, with `refine` rounds of `BakeTable.sample`. eight_bit: clip to 0..1 and round to 1/255 in between, as the
    published autoencoder's training images are. Raises ValueError if offsets do not fit the topology.
    """
    if offsets.ndim != 3 or offsets.shape[1:] != (table.topology.num_vertices, 3):
        raise ValueError(f"offsets must be (B, {table.topology.num_vertices}, 3), got {offsets.shape}")
    distances = []
    for frame in offsets:
        baked = table.bake_array(stats.normalise(frame.astype(np.float64))[None])[0]
        if eight_bit:
            baked = np.rint(np.clip(baked, 0.0, 1.0) * 255.0).astype(np.float32) / np.float32(255.0)
        distances.append(np.linalg.norm(stats.denormalise(_read(baked, table, refine)) - frame, axis=-1))
    error = np.stack(distances)
    return RoundTripError(
        float(error.mean()), float(np.median(error)), float(np.quantile(error, 0.99)), float(error.max())
    )


def _read(baked: NDArray[np.float32], table: BakeTable, refine: int) -> NDArray[np.float64]:
    if table.reference:
        from parlante.geometry.uv.reference import read_offsets

        return read_offsets(baked * table.covered[..., None], table.topology)
    import torch

    maps = torch.from_numpy(baked).permute(2, 0, 1)[None]
    return table.sample(maps, refine)[0].numpy().astype(np.float64)
