"""Vertices to blendshape weights: bounded least squares on the head's own shapes.

Per frame t, over the vertices that the shapes share with the observation,

    min_w  |w @ B - d_t|^2 + ridge * scale * |w|^2 + smooth * scale * (|w - w_{t-1}|^2 + |w - w_{t+1}|^2),  0 <= w <= 1

by projected coordinate descent on the Gram matrix B B^T, all frames at once, even and odd ones in turn.
`scale` is the mean diagonal of the Gram matrix, so that the two factors are pure numbers.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


class CurveSolver:
    """Blendshape weights for frames of one identity; the Gram matrix is computed once."""

    def __init__(
        self,
        shapes: ArrayLike,
        vertices: ArrayLike | None = None,
        *,
        ridge: float = 1e-6,
        smooth: float = 1e-4,
        sweeps: int = 400,
        tolerance: float = 1e-4,
    ) -> None:
        """`shapes` (K, V, 3) metres; `vertices`: numbers of those to fit, all of them if absent.

        A solve stops when no weight moved more than `tolerance` in a sweep. Raises ValueError for wrong shapes.
        """
        basis = np.asarray(shapes, np.float32)
        if basis.ndim != 3 or basis.shape[-1] != 3:
            raise ValueError(f"shapes must be (K, V, 3), got {basis.shape}")
        self._all_vertices = basis.shape[1]
        self._subset = None if vertices is None else np.asarray(vertices, np.int64)
        if self._subset is not None:
            basis = basis[:, self._subset]
        self._basis = np.ascontiguousarray(basis.reshape(len(basis), -1))
        gram = (self._basis @ self._basis.T).astype(np.float64)
        diagonal = np.diag(gram)
        self._scale = float(diagonal.mean()) or 1.0
        self._gram = gram + ridge * self._scale * np.eye(len(gram))
        self._smooth = smooth * self._scale
        self._free = np.flatnonzero(diagonal > 1e-9 * self._scale)  # a shape that moves nothing stays at 0
        self._sweeps, self._tolerance = sweeps, tolerance
        self._last: NDArray[np.float64] | None = None

    def reset(self) -> None:
        """Forget the previous frames: the next call starts a new take."""
        self._last = None

    def solve(self, offsets: ArrayLike) -> NDArray[np.float32]:
        """(T, K) weights in 0..1 for offsets from neutral (T, V, 3) in metres.

        Successive calls are successive pieces of one take: the last frame of one is the neighbour of the next's first.
        """
        motion = np.asarray(offsets, np.float32)
        if motion.ndim != 3 or motion.shape[1:] != (self._all_vertices, 3):
            raise ValueError(f"offsets must be (T, {self._all_vertices}, 3), got {motion.shape}")
        if self._subset is not None:
            motion = motion[:, self._subset]
        target = (motion.reshape(len(motion), -1) @ self._basis.T).astype(np.float64)
        weights = self._descend(target)
        if len(weights):
            self._last = weights[-1].copy()
        return weights.astype(np.float32)

    def _descend(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Projected coordinate descent; `target` (T, K) is B d_t."""
        frames, count = target.shape
        weights = np.clip(np.linalg.solve(self._gram, target.T).T, 0.0, 1.0)
        weights[:, np.setdiff1d(np.arange(count), self._free)] = 0.0
        before = weights[:1] if self._last is None else self._last[None]
        neighbours = np.full(frames, 2.0)
        if frames:
            neighbours[-1] -= 1  # nothing follows the last frame
            neighbours[0] -= self._last is None
        for _ in range(self._sweeps):
            largest = 0.0
            for parity in (0, 1):
                rows = slice(parity, None, 2)
                mine = weights[rows]
                if not len(mine):
                    continue
                pull = np.zeros_like(weights)
                pull[1:] += weights[:-1]
                pull[:-1] += weights[1:]
                if self._last is not None:
                    pull[0] += before[0]
                goal = target[rows] + self._smooth * pull[rows]
                stiff = self._smooth * neighbours[rows]
                residual = goal - mine @ self._gram - stiff[:, None] * mine
                for k in self._free:
                    step = residual[:, k] / (self._gram[k, k] + stiff)
                    new = np.clip(mine[:, k] + step, 0.0, 1.0)
                    change = new - mine[:, k]
                    size = float(np.abs(change).max())
                    if size > 1e-9:
                        residual -= change[:, None] * self._gram[k]
                        residual[:, k] -= stiff * change
                        mine[:, k] = new
                        largest = max(largest, size)
            if largest < self._tolerance:
                break
        return weights
