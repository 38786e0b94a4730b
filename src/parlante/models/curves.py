"""Vertices to blendshape weights: bounded least squares on the head's own shapes.

Per frame t, over the vertices that are observed,

    min_w  |w @ B - d_t|^2 + sum_k G_kk (ridge w_k^2 + inertia (w_k - w_{t-1,k})^2),   0 <= w <= 1,   G = B B^T

solved exactly by block principal pivoting (Judice and Pires 1994; Kim and Park 2011) from the active set of the frame
before, so that most frames take one or two small linear solves. Ridge and inertia weigh each shape by its own size:
they decide only what the vertices do not, such as how much of each of two opposite shapes.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LOW, _FREE, _HIGH = -1, 0, 1
_TRIES = 3
"""Exchanges of whole blocks that may fail to help before variables are exchanged one at a time."""


class CurveSolver:
    """Blendshape weights for the frames of one identity; the Gram matrix is computed once."""

    def __init__(
        self, shapes: ArrayLike, vertices: ArrayLike | None = None, *, ridge: float = 2e-4, inertia: float = 1e-3
    ) -> None:
        """`shapes` (K, V, 3) metres; `vertices`: numbers of those that are observed, all of them if absent.

        Raises ValueError for shapes of another form.
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
        size = np.diag(gram).copy()
        self._moving = np.flatnonzero(size > 1e-9 * max(float(size.max(initial=0.0)), 1e-30))
        self._gram = gram[np.ix_(self._moving, self._moving)]
        self._inertia = inertia * size[self._moving]
        self._gram[np.diag_indices(len(self._moving))] += ridge * size[self._moving] + self._inertia
        self.reset()

    def reset(self) -> None:
        """Forget the previous frames: the next call starts a new take."""
        self._last: NDArray[np.float64] | None = None
        self._state = np.zeros(len(self._moving), np.int8)

    def solve(self, offsets: ArrayLike) -> NDArray[np.float32]:
        """(T, K) weights in 0..1 for offsets from neutral (T, V, 3) in metres.

        Successive calls are successive pieces of one take. A shape that moves nothing gets 0.
        """
        motion = np.asarray(offsets, np.float32)
        if motion.ndim != 3 or motion.shape[1:] != (self._all_vertices, 3):
            raise ValueError(f"offsets must be (T, {self._all_vertices}, 3), got {motion.shape}")
        if self._subset is not None:
            motion = motion[:, self._subset]
        pull = (motion.reshape(len(motion), -1) @ self._basis.T).astype(np.float64)[:, self._moving]
        weights = np.zeros((len(motion), len(self._basis)), np.float32)
        for row, goal in zip(weights, pull):
            row[self._moving] = self._frame(goal)
        return weights

    def _frame(self, goal: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._last is None:  # the frame before the first is the first itself
            self._last = self._pivot(goal * (1 + 1e-12), self._inertia)
        self._last = self._pivot(goal + self._inertia * self._last, None)
        return self._last

    def _pivot(self, goal: NDArray[np.float64], less: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """The minimum of w G w / 2 - goal w within the box; `less` is taken off the diagonal first."""
        gram = self._gram if less is None else self._gram - np.diag(less)
        state, fewest, tries = self._state, len(goal) + 1, _TRIES
        tolerance = 1e-9 * float(np.abs(goal).max(initial=0.0)) + 1e-18
        weights = np.zeros(len(goal))
        for _ in range(20 * len(goal)):
            free = state == _FREE
            weights = np.where(state == _HIGH, 1.0, 0.0)
            index = np.flatnonzero(free)
            weights[index] = np.linalg.solve(gram[np.ix_(index, index)], goal[index] - gram[index] @ weights)
            slope = gram @ weights - goal
            under, over = free & (weights < -1e-12), free & (weights > 1 + 1e-12)
            freed = ((state == _LOW) & (slope < -tolerance)) | ((state == _HIGH) & (slope > tolerance))
            wrong = under | over | freed
            count = int(wrong.sum())
            if not count:
                break
            if count < fewest:
                fewest, tries = count, _TRIES
            elif tries:
                tries -= 1
            else:  # one at a time cannot cycle
                wrong[: np.flatnonzero(wrong)[-1]] = False
            state = np.where(wrong & under, _LOW, np.where(wrong & over, _HIGH, np.where(wrong & freed, _FREE, state)))
            state = state.astype(np.int8)
        self._state = state
        return np.clip(weights, 0.0, 1.0)
