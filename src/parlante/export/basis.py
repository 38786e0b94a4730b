"""Any motion of vertices as a few targets and their weights, no vertex farther off than a stated distance.

Principal components of evenly spread frames; where some frame still has a vertex too far off, what is missing there
becomes one more target, until the bound holds. Frames wait in a file without a name, so memory stays flat.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from parlante.core.notes import note

SAMPLE = 512
"""Frames whose principal components are taken."""
MOST = 128
"""Targets at most."""
_ADDED = 4  # targets added per pass over the frames
_ROWS = 64


@dataclass(frozen=True, eq=False)
class Basis:
    """offsets (T, V, 3) = weights (T, K) @ shapes (K, V, 3), within `worst` metres."""

    shapes: NDArray[np.float32]
    weights: NDArray[np.float32]
    """-1..1"""
    worst: float
    """Metres: the farthest that any vertex of any frame stands off."""
    mean: float
    """Metres: the same on average."""


class Frames:
    """Offsets of frames, (V, 3) each, kept in a file without a name beside the output."""

    def __init__(self, folder: Path, num_vertices: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as the basis
        self._width = 3 * num_vertices
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, offsets: NDArray[np.floating]) -> None:
        """Add (n, V, 3)."""
        self._file.write(np.ascontiguousarray(offsets, np.float32).tobytes())
        self._count += len(offsets)

    def close(self) -> None:
        """Give the disk back."""
        self._file.close()

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """(n, 3 V) rows, a few at a time."""
        rows = self._mapped()
        for start in range(0, self._count, _ROWS):
            yield np.asarray(rows[start : start + _ROWS])

    def spread(self, count: int) -> NDArray[np.float32]:
        """(n, 3 V): at most `count` rows, evenly spread, first and last among them."""
        chosen = np.unique(np.linspace(0, self._count - 1, min(count, self._count)).round().astype(int))
        return np.asarray(self._mapped()[chosen])

    def _mapped(self) -> Any:
        self._file.flush()
        return np.memmap(self._file, np.float32, "r", shape=(self._count, self._width))


def fit_basis(frames: Frames, error: float, most: int = MOST) -> Basis:
    """A basis of `frames` within `error` metres, or as near as `most` targets come, which is logged."""
    axes = _principal(frames.spread(SAMPLE), error, most)
    while True:
        weights, worst, mean, missing = _project(frames, axes, error)
        if worst <= error or len(axes) >= most:
            break
        grown = np.concatenate([axes, missing[: most - len(axes)]]).T.astype(np.float64)
        axes = np.ascontiguousarray(np.linalg.qr(grown)[0].T.astype(np.float32))
    if worst > error:
        note(f"{len(axes)} targets leave a vertex {1e3 * worst:.3f} mm off, {1e3 * error:.3f} mm was asked for")
    size = np.maximum(np.abs(weights).max(axis=0, initial=0.0), 1e-12)
    shapes = (axes * size[:, None]).reshape(len(axes), -1, 3)
    return Basis(shapes.astype(np.float32), (weights / size).astype(np.float32), worst, mean)


def _principal(rows: NDArray[np.float32], error: float, most: int) -> NDArray[np.float32]:
    """(K, 3 V) orthonormal: as few principal components as bring every vertex of `rows` within `error`."""
    gram = (rows @ rows.T).astype(np.float64)
    values, vectors = np.linalg.eigh(gram)
    order = np.argsort(values)[::-1][:most]
    order = order[values[order] > 1e-12 * max(float(values.max(initial=0.0)), 1e-30)]
    axes = (vectors[:, order].T @ rows) / np.sqrt(values[order])[:, None]
    axes = np.linalg.qr(axes.T.astype(np.float64))[0].T.astype(np.float32) if len(order) else axes.astype(np.float32)
    low, high = 0, len(axes)
    while low < high:  # the fewest that are enough
        middle = (low + high) // 2
        left = rows - (rows @ axes[:middle].T) @ axes[:middle]
        low, high = (low, middle) if _farthest(left) <= error else (middle + 1, high)
    return np.ascontiguousarray(axes[:high])


def _project(
    frames: Frames, axes: NDArray[np.float32], error: float
) -> tuple[NDArray[np.float32], float, float, NDArray[np.float32]]:
    """Weights (T, K), worst and mean distance in metres, and what the worst frames miss (n, 3 V)."""
    weights, total, count = [], 0.0, 0
    worst: list[tuple[float, NDArray[np.float32]]] = []
    farthest = 0.0
    for rows in frames.pieces():
        found = rows @ axes.T
        left = rows - found @ axes
        distance = np.linalg.norm(left.reshape(len(left), -1, 3), axis=-1)
        total, count = total + float(distance.sum()), count + distance.size
        per_frame = distance.max(axis=1)
        row = int(per_frame.argmax())
        farthest = max(farthest, float(per_frame[row]))
        if per_frame[row] > error:  # one of each piece, so that they differ
            worst.append((float(per_frame[row]), left[row].copy()))
            worst = sorted(worst, key=lambda pair: -pair[0])[:_ADDED]
        weights.append(found)
    missing = np.stack([left for _, left in worst]) if worst else np.zeros((0, axes.shape[1]), np.float32)
    return np.concatenate(weights), farthest, total / max(count, 1), missing


def _farthest(rows: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(rows.reshape(len(rows), -1, 3), axis=-1).max(initial=0.0))
