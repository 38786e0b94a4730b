"""Vertices that a map is too coarse to hold: they follow their neighbours in space instead.

At 128 texels an eyelash or the lining of a lid is smaller than a texel; read from the map, such a vertex would get
the motion of whatever lies beside it in the texture.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parlante.uv.table import BakeTable

if TYPE_CHECKING:
    from torch import Tensor


class UnseenVertices:
    """Which vertices of a table are not seen by its texels, and whom they follow.

    neutral (V, 3) metres decides who is near. A vertex is unseen when less than `below` of its own value comes back
    from baking and sampling; it then takes the mean of the nearest `neighbours` seen ones, by inverse distance.
    """

    def __init__(
        self, table: BakeTable, neutral: NDArray[np.floating], below: float = 0.12, neighbours: int = 4
    ) -> None:
        from scipy import sparse
        from scipy.spatial import cKDTree

        count, texels = table.topology.num_vertices, table.size**2
        bake = sparse.csr_matrix(
            (table.weights.ravel(), (np.repeat(np.arange(texels), 3), table.index.ravel())), shape=(texels, count)
        )
        starts = np.append(table.sample_starts, len(table.sample_texels))
        sample = sparse.csr_matrix((table.sample_weights, table.sample_texels, starts), shape=(count, texels))
        self.returned: NDArray[np.float32] = np.asarray(sample.multiply(bake.T).sum(1), np.float32).ravel()
        """(V,) share of a vertex's own value in what is read back for it."""
        seen = self.returned >= below
        self.index: NDArray[np.int64] = np.flatnonzero(~seen)
        distance, nearest = cKDTree(neutral[seen]).query(neutral[self.index], k=neighbours)
        near = 1.0 / np.maximum(np.asarray(distance).reshape(-1, neighbours), 1e-5)
        self.leaders: NDArray[np.int64] = np.flatnonzero(seen)[np.asarray(nearest).reshape(-1, neighbours)]
        self.weights: NDArray[np.float32] = (near / near.sum(1, keepdims=True)).astype(np.float32)

    def fill(self, values: "Tensor") -> "Tensor":
        """(B, V, C) read from maps -> the same with unseen vertices following the seen ones. Differentiable."""
        import torch

        if not len(self.index):
            return values
        leaders = torch.from_numpy(self.leaders).to(values.device)
        weights = torch.from_numpy(self.weights).to(values)
        led = (values[:, leaders] * weights[None, :, :, None]).sum(2)
        return values.index_copy(1, torch.from_numpy(self.index).to(values.device), led)
