"""A fixed orthonormal basis of a head's displacements: a few numbers a frame in place of thousands of vertices.

Because the rows are orthonormal, the squared error of coordinates is the squared error of the vertices (times
`1 / scale**2`), so a model that is published with a vertex decoder trains on coordinates with the loss it was published
with. A part of the face, such as the lips, is judged through the same rows restricted to its vertices.

    >>> basis = MotionBasis.load()
    >>> offsets = basis.decode(np.zeros((10, len(basis)), np.float32))  # (10, V, 3) metres
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, atomic_path, read_npz
from parlante.core.assets import ASSETS

ASSET = ASSETS / "motion_basis" / "basis.npz"


@dataclass(frozen=True, eq=False)
class MotionBasis:
    """Offsets (V, 3) metres = `scale * coordinates @ rows`, on the topology that is named."""

    rows: NDArray[np.float32]
    """(R, V, 3) orthonormal over V * 3, the strongest first."""
    scale: float
    """Metres (root of the summed squares) that a coordinate of 1 stands for."""
    topology: str

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_vertices(self) -> int:
        """V."""
        return self.rows.shape[1]

    def encode(self, offsets: NDArray[np.floating]) -> NDArray[np.float32]:
        """Offsets (T, V, 3) metres -> nearest coordinates (T, R). Raises InputError for another vertex count."""
        if offsets.shape[1:] != self.rows.shape[1:]:
            raise InputError(
                f"motion has {offsets.shape[1]} vertices, the basis of {self.topology} has {self.num_vertices}; "
                "give an animation of that head"
            )
        flat = np.asarray(offsets, np.float32).reshape(len(offsets), -1)
        return np.asarray(flat @ self.rows.reshape(len(self), -1).T / self.scale, np.float32)

    def decode(self, coordinates: NDArray[np.floating]) -> NDArray[np.float32]:
        """Coordinates (T, R) -> offsets (T, V, 3) metres."""
        flat = np.asarray(coordinates, np.float32) @ (self.scale * self.rows.reshape(len(self), -1))
        return np.asarray(flat.reshape(len(coordinates), *self.rows.shape[1:]), np.float32)

    def shapes(self, shapes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Blendshapes (K, V, 3) -> (K, R): curves (T, K) times this are coordinates, since faces move linearly."""
        return self.encode(shapes)

    def part(self, vertices: NDArray[np.integer]) -> NDArray[np.float32]:
        """(R, 3 n): coordinates -> offsets of `vertices` (n,) in millimetres, flattened."""
        return np.asarray(1000 * self.scale * self.rows[:, vertices].reshape(len(self), -1), np.float32)

    @classmethod
    def fit(
        cls,
        motions: Iterable[NDArray[np.floating]],
        size: int,
        *,
        weight: NDArray[np.floating],
        topology: str,
        fewer: bool = False,
    ) -> "MotionBasis":
        """The `size` rows that keep most of `motions` (n_i, V, 3) when vertex v's error counts `weight` (V,) times.

        Principal directions about rest, so that the neutral face is all zeros; weighting moves the subspace, after
        which the rows are made orthonormal in plain metres and sorted by variance. `scale` makes coordinates of unit
        size. With fewer independent motions than rows InputError is raised, or, if `fewer`, there are fewer rows.
        """
        data = np.concatenate([np.asarray(m, np.float64).reshape(len(m), -1) for m in motions])
        root = np.repeat(np.sqrt(np.asarray(weight, np.float64)), 3)
        heavy = data * root
        variance, mixtures = np.linalg.eigh(heavy @ heavy.T)  # ascending; far fewer motions than coordinates
        known = int((variance > max(1e-10 * variance[-1], 0.0)).sum())
        size = min(size, known) if fewer and known else size
        if known < size:
            raise InputError(f"{known} independent motions cannot give {size} rows; ask for fewer")
        plain, _ = np.linalg.qr((mixtures[:, -size:].T @ data).T)  # (3 V, R), the same span in plain metres
        coordinates = data @ plain
        _, strength, turn = np.linalg.svd(coordinates, full_matrices=False)
        scale = float(np.sqrt(np.square(strength).sum() / (len(data) * size)))
        rows = (plain @ turn.T).T.reshape(size, -1, 3)
        return cls(rows.astype(np.float32), scale, topology)

    def save(self, path: Path | str) -> None:
        """One `.npz`, rows in half precision."""
        # numbers are stored as multiples of the step of a half at 1, which packs well where little moves
        peak = float(np.abs(self.rows).max())
        stored = np.rint(self.rows / peak * 4095).astype(np.int16)
        with atomic_path(path) as partial:
            np.savez_compressed(partial, rows=stored, peak=peak, scale=self.scale, topology=self.topology)

    @classmethod
    def load(cls, path: Path | str = ASSET) -> "MotionBasis":
        """The basis in `path`, by default the shipped one. Raises InputError if unreadable."""
        return _load(Path(path))


@lru_cache(maxsize=4)
def _load(path: Path) -> MotionBasis:
    arrays = read_npz(path, ("rows", "peak", "scale", "topology"))
    rows = arrays["rows"]
    if rows.ndim != 3 or rows.shape[2] != 3 or rows.dtype != np.int16:
        raise InputError(f"{path} is no motion basis: rows are {rows.dtype} {rows.shape}, wanted int16 (R, V, 3)")
    values = rows.astype(np.float32) * np.float32(float(arrays["peak"]) / 4095)
    values.setflags(write=False)
    return MotionBasis(values, float(arrays["scale"]), str(arrays["topology"]))
