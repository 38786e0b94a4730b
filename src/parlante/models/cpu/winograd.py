"""3 x 3 convolutions on a CPU with a quarter of the multiplications (Winograd's F(4x4, 3x3); Lavin & Gray 2016).

Every 4 x 4 tile of the result comes from a 6 x 6 tile of the input: both are transformed by small constant matrices,
and between the transforms stand 36 matrix products over the channels. A map is worked through block by block, so
that what stands between stays in the cache; the norm before a convolution is applied while a block is gathered, and
the residual sum and the statistics of the next norm while it is written. Inference only, float32, maps (H, W, C).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

LANES = 16
"""Channel counts must divide by this."""
BLOCK_TILES = 128
"""Tiles of a block: enough rows for an efficient matrix product, few enough for the cache."""
_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


@dataclass(frozen=True)
class Affine:
    """A group norm on a map whose statistics are known: x * scale + shift per channel, then swish if `active`."""

    scale: Tensor
    """(C,)."""
    shift: Tensor
    active: bool

    @classmethod
    def of(cls, norm: nn.GroupNorm, sums: NDArray[np.float64], pixels: int, *, active: bool) -> "Affine":
        """From the sums and sums of squares (2, C) over all pixels of a map."""
        total = sums.reshape(2, norm.num_groups, -1).sum(-1) / (pixels * sums.shape[1] // norm.num_groups)
        mean, variance = total[0], np.maximum(total[1] - total[0] ** 2, 0)
        each = sums.shape[1] // norm.num_groups
        rate = np.repeat(1 / np.sqrt(variance + norm.eps), each)
        scale = norm.weight.detach().numpy() * rate
        shift = norm.bias.detach().numpy() - np.repeat(mean, each) * scale
        return cls(torch.from_numpy(scale).float(), torch.from_numpy(shift).float(), active)


def channel_sums(image: Tensor) -> NDArray[np.float64]:
    """(H, W, C) -> sums and sums of squares, (2, C)."""
    flat = image.reshape(-1, image.shape[-1])
    return torch.stack([flat.sum(0, dtype=torch.float64), flat.square().sum(0, dtype=torch.float64)]).numpy()


def four_phases(weight: Tensor) -> Tensor:
    """Kernel (C', C, 3, 3) that follows a nearest-neighbour doubling -> kernels (4 C', C, 3, 3) on the small map.

    Phase (a, b) makes the pixels (2 y + a, 2 x + b): two of three taps fall on one small pixel, so they are summed.
    """
    rows = (((1, 0, 0), (0, 1, 1), (0, 0, 0)), ((0, 0, 0), (1, 1, 0), (0, 0, 1)))
    fold = weight.new_tensor(rows)  # (phase, small tap, tap)
    return torch.einsum("aip,bjq,ocpq->abocij", fold, fold, weight).flatten(0, 2)


class WinogradConv:
    """One 3 x 3 convolution of stride 1 and padding 1; `grow`: after a nearest-neighbour doubling of the map."""

    def __init__(self, conv: nn.Conv2d, *, grow: bool = False) -> None:
        weight = conv.weight.detach().double()
        self.grow = 2 if grow else 1
        self.out_channels, self.in_channels = weight.shape[:2]
        if grow:
            weight = four_phases(weight)
        matrix = torch.tensor(_G, dtype=torch.float64)
        kernels = torch.einsum("ia,ocab,jb->ijco", matrix, weight, matrix)
        self.kernels = kernels.flatten(0, 1).float().contiguous()
        assert conv.bias is not None
        self.bias = conv.bias.detach().float()

    @staticmethod
    def fits(conv: nn.Conv2d) -> bool:
        """Whether a convolution can be done this way."""
        plain = conv.kernel_size == (3, 3) and conv.stride == (1, 1) and conv.padding == (1, 1) and conv.groups == 1
        return plain and conv.in_channels % LANES == 0 and conv.out_channels % LANES == 0

    def __call__(
        self, image: Tensor, norm: Affine, out: Tensor | None = None, added: Tensor | None = None
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """image (H, W, C), sides divisible by 4 -> (H', W', C') and its `channel_sums`.

        added (H', W', C') is added to the result; it may be `out` itself.
        """
        from parlante.models.cpu import winograd_kernels as kernel

        image = image.contiguous()
        height, width, channels = image.shape
        if out is None:
            out = torch.empty(height * self.grow, width * self.grow, self.out_channels)
        rows, columns = _block_of(height // 4, width // 4)
        count, outputs = rows * columns, self.kernels.shape[2]
        block = np.empty((4 * rows + 2, 4 * columns + 2, channels), np.float32)
        before, after = _planes(count, channels), _planes(count, outputs)
        before_array, after_array = before.numpy(), after.numpy()
        scale, shift = norm.scale.numpy(), norm.shift.numpy()
        source, target = image.numpy(), out.numpy()
        extra = target if added is None else added.contiguous().numpy()
        sums = np.zeros((2, self.out_channels))
        for top in range(0, height // 4, rows):
            for left in range(0, width // 4, columns):
                kernel.gather_block(source, scale, shift, norm.active, 4 * top - 1, 4 * left - 1, block)
                kernel.forward_tiles(block, (rows, columns), before_array)
                torch.bmm(before, self.kernels, out=after)
                kernel.inverse_tiles(
                    after_array,
                    (rows, columns),
                    (top, left),
                    self.grow,
                    self.bias.numpy(),
                    extra,
                    added is not None,
                    target,
                    sums,
                )
        return out, sums


def _planes(count: int, channels: int) -> Tensor:
    """Uninitialised (36, count, channels); planes stand apart by no power of two, which caches dislike."""
    plane = count * channels + 80
    return torch.empty(36 * plane).as_strided((36, count, channels), (plane, channels, 1))


@lru_cache(maxsize=64)
def _block_of(rows: int, columns: int) -> tuple[int, int]:
    """Tiles of a block, (down, across): divisors of the map's own, near a square of `BLOCK_TILES`."""
    best, score = (1, 1), -1.0
    for down in (d for d in range(1, rows + 1) if rows % d == 0):
        for across in (a for a in range(1, columns + 1) if columns % a == 0):
            count = down * across
            if count <= BLOCK_TILES:
                gathered = (4 * down + 2) * (4 * across + 2) / (16 * count)
                worth = count / gathered
                if worth > score:
                    best, score = (down, across), worth
    return best
