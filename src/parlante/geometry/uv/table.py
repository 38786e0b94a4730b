"""The bake table: vertex attributes to UV maps and back, by one lookup built once per topology and size.

Texel (row, column) of a map of `size` stands at u = (column + 1/2) / size, v = 1 - (row + 1/2) / size, the convention
of graphics hardware, so a baked map can be used as a texture as it is.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, Topology

if TYPE_CHECKING:
    from torch import Tensor


class BakeTable:
    """Which three vertices make up each texel, and which texels make up each vertex.

    index (H*W, 3) int32 vertex numbers and weights (H*W, 3) float32 summing to one; covered (H, W) bool, True inside a
    chart. Texels outside every chart continue the nearest one, so reading between texels at a chart's edge is right.

    With `reference=True` the table follows the rule of TexTalker's own scripts instead (face3d rasteriser, u * (size -
    1) grid, background exactly zero), which its released checkpoints were trained on.
    """

    def __init__(self, topology: Topology, size: int, *, reference: bool = False) -> None:
        from scipy.ndimage import distance_transform_edt

        from parlante.geometry.uv import _raster

        if size < 4:
            raise ValueError(f"a UV map needs at least 4 texels a side, got {size}")
        self.topology, self.size, self.reference = topology, size, reference
        texel = self.texel_coordinates(topology.uv)
        corners = texel[topology.uv_triangles]
        owner, weights = _raster.rasterise(corners, size, reference)
        self.covered: NDArray[np.bool_] = owner >= 0
        if not self.covered.any():
            raise InputError(
                f"no triangle of {topology.name} covers a texel at size {size}: it has no texture layout within 0..1, "
                "and maps need one"
            )
        if not reference:
            rows, columns = distance_transform_edt(~self.covered, return_distances=False, return_indices=True)
            owner, weights = _raster.extrapolate(owner, weights, rows, columns, corners, 2.0)
        self.triangle: NDArray[np.int32] = owner
        self.index: NDArray[np.int32] = topology.triangles[np.maximum(owner, 0)].reshape(-1, 3).astype(np.int32)
        self.weights: NDArray[np.float32] = weights.reshape(-1, 3)
        self._build_sampler(texel)
        self._tensors: dict[object, tuple[Tensor, ...]] = {}

    def texel_coordinates(self, uv: NDArray[np.floating]) -> NDArray[np.float32]:
        """uv (N, 2) -> (N, 2) column and row, texel centres at integers."""
        u, v = uv[:, 0].astype(np.float64), uv[:, 1].astype(np.float64)
        if self.reference:
            return np.stack([u * (self.size - 1), self.size - 1 - v * (self.size - 1)], -1).astype(np.float32)
        return np.stack([u * self.size - 0.5, (1 - v) * self.size - 0.5], -1).astype(np.float32)

    def _build_sampler(self, texel: NDArray[np.float32]) -> None:
        """Flat texel numbers and weights of every vertex: four neighbours of each of its uv corners, averaged."""
        pairs = np.unique(np.stack([self.topology.triangles.ravel(), self.topology.uv_triangles.ravel()], -1), axis=0)
        vertex, corner = pairs[:, 0], pairs[:, 1]
        limit = self.size - 1
        base = np.clip(np.floor(texel[corner]).astype(np.int64), 0, limit - 1)
        fraction = np.clip(texel[corner] - base, 0.0, 1.0)
        column, row = base[:, 0], base[:, 1]
        fx, fy = fraction[:, 0], fraction[:, 1]
        texels = np.stack([(row + dy) * self.size + column + dx for dy in (0, 1) for dx in (0, 1)], -1)
        weights = np.stack([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx], -1)
        if self.reference:  # the background is zero there: read only what was painted
            weights = np.where(self.covered.ravel()[texels], weights, 0.0)
        count = np.bincount(vertex, minlength=self.topology.num_vertices)
        total = np.bincount(vertex, weights.sum(-1), minlength=self.topology.num_vertices)
        scale = np.where(total > 1e-6, 1.0 / np.maximum(total, 1e-6), 0.0)
        self.sample_texels: NDArray[np.int64] = texels.ravel()
        self.sample_weights: NDArray[np.float32] = (weights * scale[vertex, None]).ravel().astype(np.float32)
        self.sample_starts: NDArray[np.int64] = 4 * np.concatenate([[0], np.cumsum(count)])
        self._texels32 = self.sample_texels.astype(np.int32)
        self._build_blur()

    def _build_blur(self) -> None:
        """What baking and reading once does to vertex values, as rows of a sparse (V, V) matrix."""
        from scipy.sparse import csr_matrix

        vertices = self.topology.num_vertices
        reading = csr_matrix((self.sample_weights, self.sample_texels, self.sample_starts), (vertices, self.size**2))
        places = np.arange(0, self.weights.size + 1, 3)
        baking = csr_matrix((self.weights.ravel(), self.index.ravel(), places), (self.size**2, vertices))
        blur = (reading @ baking).sorted_indices()
        self.blur_vertices: NDArray[np.int64] = blur.indices.astype(np.int64)
        self.blur_weights: NDArray[np.float32] = blur.data.astype(np.float32)
        self.blur_starts: NDArray[np.int64] = blur.indptr.astype(np.int64)

    def bake(self, attributes: "Tensor") -> "Tensor":
        """(B, V, C) values at vertices -> (B, C, H, W) map. Differentiable; runs on the tensor's device."""
        from torch import from_numpy
        from torch.nn.functional import embedding_bag

        batch, vertices, channels = attributes.shape
        if vertices != self.topology.num_vertices:
            raise ValueError(f"attributes must be (B, {self.topology.num_vertices}, C), got {tuple(attributes.shape)}")
        if _plain(attributes):
            return from_numpy(self.bake_array(attributes.detach().numpy())).permute(0, 3, 1, 2)
        index, weights, *_ = self._on(attributes)
        table = attributes.transpose(0, 1).reshape(vertices, batch * channels)
        flat = embedding_bag(index, table, mode="sum", per_sample_weights=weights)
        return flat.view(self.size, self.size, batch, channels).permute(2, 3, 0, 1)

    def sample(self, maps: "Tensor", refine: int = 0) -> "Tensor":
        """(B, C, H, W) maps -> (B, V, C): bilinear at each uv corner, a vertex's corners averaged. Differentiable.

        Where the mesh is finer than the map this blurs. Each round of `refine` adds what baking and reading the result
        would miss (Landweber iteration): one round halves the error at the lips and does not amplify noise. Baking
        followed by reading is a sparse matrix on vertices, so a round costs next to nothing.
        """
        if maps.shape[2:] != (self.size, self.size):
            raise ValueError(f"maps must be (B, C, {self.size}, {self.size}), got {tuple(maps.shape)}")
        read = self._read(maps)
        values = read
        for _ in range(refine):
            values = values + read - self._blur(values)
        return values

    def _read(self, maps: "Tensor") -> "Tensor":
        from torch import from_numpy
        from torch.nn.functional import embedding_bag

        from parlante.geometry.uv import _raster

        if _plain(maps):
            array = maps.detach().numpy()
            last = array.transpose(0, 2, 3, 1)
            channels_last = bool(last.flags.c_contiguous)
            flat = last.reshape(len(last), -1, last.shape[3]) if channels_last else array.reshape(*array.shape[:2], -1)
            sampler = (self._texels32, self.sample_weights, self.sample_starts)
            return from_numpy(_raster.read(np.ascontiguousarray(flat), *sampler, channels_last))
        batch, channels, height, width = maps.shape
        texels, starts, weights = self._on(maps)[2:5]
        table = maps.permute(2, 3, 0, 1).reshape(height * width, batch * channels)
        flat = embedding_bag(texels, table, starts, mode="sum", per_sample_weights=weights, include_last_offset=True)
        return flat.view(self.topology.num_vertices, batch, channels).transpose(0, 1)

    def _blur(self, values: "Tensor") -> "Tensor":
        """(B, V, C) -> what is left of it after baking and reading."""
        from torch.nn.functional import embedding_bag

        batch, count, channels = values.shape
        vertices, starts, weights = self._on(values)[5:8]
        table = values.transpose(0, 1).reshape(count, batch * channels)
        flat = embedding_bag(vertices, table, starts, mode="sum", per_sample_weights=weights, include_last_offset=True)
        return flat.view(count, batch, channels).transpose(0, 1)

    def bake_array(self, attributes: NDArray[np.floating]) -> NDArray[np.float32]:
        """(B, V, C) -> (B, H, W, C) on numpy arrays; the same numbers as `bake`, channels last."""
        from parlante.geometry.uv import _raster

        flat = _raster.gather(np.ascontiguousarray(attributes, np.float32), self.index, self.weights)
        return flat.reshape(len(attributes), self.size, self.size, -1)

    def _on(self, like: "Tensor") -> "tuple[Tensor, ...]":
        import torch

        key = (like.device, like.dtype)
        if key not in self._tensors:
            places = (self.index, self.sample_texels, self.sample_starts, self.blur_vertices, self.blur_starts)
            shares = (self.weights, self.sample_weights, self.blur_weights)
            index, texels, starts, vertices, blur = (torch.from_numpy(array).to(like.device) for array in places)
            baking, sampling, blurring = (torch.from_numpy(array).to(like.device, like.dtype) for array in shares)
            self._tensors[key] = (index, baking, texels, starts, sampling, vertices, blur, blurring)
        return self._tensors[key]


def _plain(tensor: "Tensor") -> bool:
    """Whether numpy may stand in: float32 on the CPU, no gradient wanted."""
    import torch

    wanted = tensor.requires_grad and torch.is_grad_enabled()
    return tensor.device.type == "cpu" and tensor.dtype == torch.float32 and not wanted


@lru_cache(maxsize=8)
def bake_table(topology: Topology, size: int, reference: bool = False) -> BakeTable:
    """The table of a topology at a size, built once and kept."""
    return BakeTable(topology, size, reference=reference)
