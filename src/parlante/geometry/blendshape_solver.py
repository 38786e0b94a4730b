"""Vertices to blendshape weights: bounded least squares on any registered set of shapes.

Per frame t, over the vertices that are observed,

    min_w  |w @ B - d_t|^2 + sum_k G_kk (ridge w_k^2 + inertia (w_k - w_{t-1,k})^2 + sparsity w_k)
           + symmetry sum_(l,r) (G_ll + G_rr) / 2 (w_l - w_r)^2,        0 <= w <= upper,   G = B B^T

and of two opposed shapes (jawLeft, jawRight) at most one is on: together they cancel on the head that they were made
for, and twist any other. It is solved by block principal pivoting (Judice and Pires 1994; Kim and Park 2011) from the
active set of the frame before, so that most frames take one or two small linear solves; where both of a pair would be
on, once more with the weaker one at 0. Every term weighs a shape by its own size: they decide what the vertices do not,
such as how much of each of two opposite shapes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_OPPOSED = ("jaw", "mouthLeft", "eyeLookIn", "eyeLookOut")
"""Names that begin so are directions, not the two halves of one movement."""
OPPOSED_PAIRS = (
    ("jawLeft", "jawRight"),
    ("mouthLeft", "mouthRight"),
    *(
        (f"eyeLook{one}{side}", f"eyeLook{other}{side}")
        for side in ("Left", "Right")
        for one, other in (("In", "Out"), ("Up", "Down"))
    ),
)
"""Two directions of one movement."""
_ROWS = 512


class BlendshapeSolver:
    """Blendshape weights for the frames of one identity; the Gram matrix is computed once."""

    def __init__(
        self,
        shapes: ArrayLike,
        vertices: ArrayLike | None = None,
        *,
        ridge: float = 2e-4,
        inertia: float = 1e-3,
        sparsity: float = 0.0,
        symmetry: float = 0.0,
        names: Sequence[str] = (),
        upper: ArrayLike | None = None,
    ) -> None:
        """`shapes` (K, V, 3) metres; `vertices`: numbers of those that are observed, all of them if absent.

        ridge, inertia, sparsity, symmetry: the terms above, as shares of each shape's own size. symmetry draws the two
        halves of a movement together, found by `names` (`mouthSmileLeft`, `mouthSmileRight`); `names` also tell which
        shapes are opposed. upper: (K,) largest
        weights, 1 if absent. Raises ValueError for shapes, names or bounds of another form.
        """
        basis = np.asarray(shapes, np.float32)
        if basis.ndim != 3 or basis.shape[-1] != 3:
            raise ValueError(f"shapes must be (K, V, 3), got {basis.shape}")
        if names and len(names) != len(basis):
            raise ValueError(f"{len(names)} names do not fit {len(basis)} shapes; give one each")
        if symmetry and not names:
            raise ValueError("symmetry needs the names of the shapes, to know left from right")
        highest = np.ones(len(basis)) if upper is None else np.asarray(upper, np.float64)
        if highest.shape != (len(basis),) or not (highest >= 0).all():
            raise ValueError(f"upper must be ({len(basis)},) and not negative, got {highest.shape}")
        self._all_vertices = basis.shape[1]
        self._subset = None if vertices is None else np.asarray(vertices, np.int64)
        if self._subset is not None:
            basis = basis[:, self._subset]
        # double: nearly equal shapes make the rounding of the sums a thousand times larger in the weights
        self._basis = np.ascontiguousarray(basis.reshape(len(basis), -1), np.float64)
        gram = self._basis @ self._basis.T
        size = np.diag(gram).copy()
        self._moving = np.flatnonzero(size > 1e-9 * max(float(size.max(initial=0.0)), 1e-30))
        self._inertia = inertia * size[self._moving]
        self._thrift = 0.5 * sparsity * size[self._moving]
        self._upper = highest[self._moving]
        gram[np.diag_indices(len(gram))] += ridge * size + inertia * size
        for left, right in mirror_pairs(names) if symmetry else ():
            pull = 0.5 * symmetry * (size[left] + size[right])
            gram[[left, right], [left, right]] += pull
            gram[[left, right], [right, left]] -= pull
        self._gram = np.ascontiguousarray(gram[np.ix_(self._moving, self._moving)])
        place = {int(number): row for row, number in enumerate(self._moving)}
        pairs = [[place[number] for number in pair if number in place] for pair in opposed_pairs(names)]
        self._opposed = np.array([pair for pair in pairs if len(pair) == 2], np.int64).reshape(-1, 2)
        self.reset()

    def reset(self) -> None:
        """Forget the previous frames: the next call starts a new animation."""
        self._first = True
        self._last = np.zeros(len(self._moving))
        self._state = np.zeros(len(self._moving), np.int8)

    def solve(self, offsets: ArrayLike) -> NDArray[np.float32]:
        """(T, K) weights in 0..upper for offsets from neutral (T, V, 3) in metres.

        Successive calls are successive pieces of one animation. A shape that moves nothing gets 0.
        """
        from parlante.geometry._blendshape_kernels import solve_frames

        motion = np.asarray(offsets, np.float32)
        if motion.ndim != 3 or motion.shape[1:] != (self._all_vertices, 3):
            raise ValueError(f"offsets must be (T, {self._all_vertices}, 3), got {motion.shape}")
        weights = np.zeros((len(motion), len(self._basis)), np.float32)
        for start in range(0, len(motion), _ROWS):
            rows = motion[start : start + _ROWS]
            if self._subset is not None:
                rows = rows[:, self._subset]
            pull = (rows.reshape(len(rows), -1).astype(np.float64) @ self._basis.T)[:, self._moving] - self._thrift
            solved = np.empty((len(rows), len(self._moving)), np.float32)
            solve_frames(
                self._gram,
                pull,
                self._inertia,
                self._upper,
                self._state,
                self._last,
                self._first,
                self._opposed,
                solved,
            )
            self._first = False
            weights[start : start + len(rows), self._moving] = solved
        return weights


def opposed_pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    """Numbers of the shapes that are two directions of one movement, by ARKit's names."""
    index = {name: number for number, name in enumerate(names)}
    return [(index[one], index[other]) for one, other in OPPOSED_PAIRS if one in index and other in index]


def kept_apart(
    weights: NDArray[np.float32], names: Sequence[str], source: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Weights (T, K) less what two opposed ones have in common: between frames, one fades in while the other fades out.

    source: frames (S, K) that they were made of; pairs that are on together there already stay as they are. The same
    array where nothing changes.
    """

    def common(rows: NDArray[np.float32], pair: tuple[int, int]) -> NDArray[np.float32]:
        return np.minimum(rows[:, pair[0]], rows[:, pair[1]])

    pairs = [pair for pair in opposed_pairs(names) if source is None or not common(source, pair).any()]
    shared = {pair: common(weights, pair) for pair in pairs}
    if not any(both.any() for both in shared.values()):
        return weights
    weights = weights.copy()
    for pair, both in shared.items():
        weights[:, pair] -= both[:, None]
    return weights


def mirror_pairs(names: Sequence[str]) -> list[tuple[int, int]]:
    """(left, right) numbers of the shapes that are the two halves of one movement, by their names' endings."""
    index = {name: number for number, name in enumerate(names)}
    return [
        (number, index[f"{name.removesuffix('Left')}Right"])
        for name, number in index.items()
        if name.endswith("Left") and not name.startswith(_OPPOSED) and f"{name.removesuffix('Left')}Right" in index
    ]
