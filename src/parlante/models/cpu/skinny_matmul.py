"""Linear maps of a few rows by wide matrices, where reading the matrix is what costs.

`F.linear` hands BLAS the rows as the long side; at 5 to 48 rows of 1,024 features that takes up to 1.7 times as long as
asking for the transpose, on the processors at hand, because the matrix is packed before it is used. Two or three rows
cost what one costs, either way the same sums up to their order.
"""

import torch.nn.functional as F
from torch import Tensor, nn

FEW = range(5, 65)
WIDE = 1 << 18
"""Numbers in a matrix from which on it matters."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.linear: x (..., in), weight (out, in), bias (out,) -> (..., out)."""
    rows = x.numel() // max(1, x.shape[-1])
    if rows not in FEW or weight.numel() < WIDE or x.device.type != "cpu":
        return F.linear(x.contiguous(), weight, bias)
    y = (weight @ x.reshape(rows, -1).mT).mT.reshape(*x.shape[:-1], -1)
    return y if bias is None else y + bias


def apply(layer: nn.Linear, x: Tensor) -> Tensor:
    """layer(x), by `linear`."""
    return linear(x, layer.weight, layer.bias)


class Maps:
    """Who multiplies: here the weights as they are. `wide.Rounded` keeps them in bytes."""

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """As `linear`."""
        return linear(x, weight, bias)

    def apply(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """layer(x)."""
        return self.linear(x, layer.weight, layer.bias)


EXACT = Maps()
