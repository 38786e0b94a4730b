"""Rows of numbers kept until an animation ends."""

import numpy as np
from numpy.typing import NDArray


class RowBuffer:
    """Rows (T, K) float32 collected block by block in one block that doubles when full.

    A list of small arrays, made between the large ones of every block, would keep the heap from shrinking over a long
    animation; and a kept view would keep its whole block.
    """

    def __init__(self) -> None:
        self._block: NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, rows: NDArray[np.floating]) -> None:
        """Add rows (n, K); K is that of the first."""
        end = self._count + len(rows)
        if end > len(self._block):
            larger = np.empty((max(end, 2 * len(self._block), 1024), rows.shape[1]), np.float32)
            if self._count:
                larger[: self._count] = self._block[: self._count]
            self._block = larger
        self._block[self._count : end] = rows
        self._count = end

    def array(self) -> NDArray[np.float32]:
        """All rows (T, K) so far."""
        return self._block[: self._count]
