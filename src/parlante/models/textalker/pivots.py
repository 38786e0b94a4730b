"""A style pivot for somebody who was never seen speaking, guessed from the face at rest.

A pivot is the mean latent of a person's motion or wrinkles (TexTalker, CVPR 2025, section "style pivots"). Faces alike
in shape and skin may have pivots alike; how somebody likes to speak shows in neither. Kernel ridge regression over the
known persons, with its strength chosen by leaving each of them out, uses as much of that likeness as there is and
returns the mean pivot where there is no more gain than chance would give. Ours: the paper gives no way to animate a
person without a recording.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, Style, read_npz
from parlante.core.style import load_style

SKIN = 16
"""Side of the thumbnails in which skins are compared."""
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Weights of skin against shape that are tried."""
_RIDGES = (1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, np.inf)


@dataclass(frozen=True)
class Prediction:
    """A guessed style and what to expect of it."""

    style: Style
    motion_error: float
    """Of a left-out person's motion pivot: RMS distance over the RMS distance of the mean pivot. 1 is no better."""
    wrinkle_error: float
    """The same of the wrinkle pivot."""
    nearest: tuple[str, ...]
    """The known persons most alike."""


class PivotPredictor:
    """Fitted to known persons.

    neutrals (N, V, 3) in one topology; albedos: N pictures (H, W, 3) uint8 of one texture layout, or none; styles: N
    pivots of one model. Raises InputError for fewer than three persons, or faces and pivots that do not match.
    """

    def __init__(
        self,
        neutrals: NDArray[np.floating],
        albedos: Sequence[NDArray[np.uint8] | None] | None,
        styles: Sequence[Style],
    ) -> None:
        if len(styles) < 3 or len(neutrals) != len(styles):
            raise InputError(f"predicting pivots needs three persons or more, got {len(neutrals)} with {len(styles)}")
        self.styles = list(styles)
        shapes = np.stack([aligned(face, neutrals[0]) for face in neutrals])
        self.reference = np.asarray(shapes.mean(0))
        self._shape = _Kernel(np.stack([aligned(face, self.reference).ravel() for face in neutrals]))
        skins = None if albedos is None or any(a is None for a in albedos) else albedos
        self._skin = None if skins is None else _Kernel(np.stack([thumbnail(a) for a in skins if a is not None]))
        self._parts = {
            part: _Ridge(self._kernels(), np.stack([getattr(s, part) for s in styles]))
            for part in ("motion", "wrinkle")
        }

    @classmethod
    def open(cls, folder: Path | str) -> "PivotPredictor":
        """From a folder written by `parlante encode`. Raises InputError if it is none, or knows too few persons."""
        folder = Path(folder)
        if not (folder / "faces.npz").is_file():
            raise InputError(f"{folder} holds no known faces; give a folder written by parlante encode")
        arrays = read_npz(folder / "faces.npz", ("names", "neutrals"))
        styles = [load_style(folder / "pivots" / f"{name}.style") for name in arrays["names"]]
        skins = arrays.get("skins")
        return cls(arrays["neutrals"], None if skins is None else list(skins), styles)

    @property
    def errors(self) -> tuple[float, float]:
        """Left-out errors of motion and wrinkle pivots over those of the mean pivot; see `Prediction`."""
        return self._parts["motion"].error, self._parts["wrinkle"].error

    def _kernels(self) -> list[tuple[float, NDArray[np.float64]]]:
        """(share of skin, (N, N) likeness of the known) of every mixture tried."""
        if self._skin is None:
            return [(0.0, self._shape.gram)]
        return [(s, (1 - s) * self._shape.gram + s * self._skin.gram) for s in _SHARES]

    def predict(self, neutral: NDArray[np.floating], albedo: NDArray[np.uint8] | None, name: str) -> Prediction:
        """The likely style of a face (V, 3), in the known persons' topology and any place, size or turn.

        Raises InputError for a face of another topology, or without skin where the known persons have theirs.
        """
        if neutral.shape != self.reference.shape:
            raise InputError(f"the face has {neutral.shape} vertices, the known persons {self.reference.shape}")
        if self._skin is not None and albedo is None:
            raise InputError("the face has no texture; give its albedo, as the known persons have theirs")
        shape = self._shape.towards(aligned(neutral, self.reference).ravel())
        skin = None if self._skin is None or albedo is None else self._skin.towards(thumbnail(albedo))
        made: dict[str, Any] = {}
        for part, ridge in self._parts.items():
            near = shape if skin is None else (1 - ridge.share) * shape + ridge.share * skin
            made[part] = ridge.predict(near).astype(np.float32)
        best = np.argsort(np.diag(self._shape.gram) - 2 * shape)[:3]  # squared distances, but for a constant
        first = self.styles[0]
        style = Style(made["motion"], made["wrinkle"], name, first.model, first.checkpoint)
        return Prediction(style, *self.errors, tuple(self.styles[k].name for k in best))


class _Kernel:
    """Likeness of rows (N, D): inner products about their mean, one on average for a row with itself."""

    def __init__(self, rows: NDArray[np.floating]) -> None:
        self.mean = rows.mean(0)
        self.rows = np.asarray(rows - self.mean, np.float64)
        self.scale = max(float(np.square(self.rows).sum(1).mean()), 1e-30)
        self.gram: NDArray[np.float64] = self.rows @ self.rows.T / self.scale

    def towards(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N,) likeness of a new row with the known."""
        near: NDArray[np.float64] = self.rows @ (row - self.mean) / self.scale
        return near


class _Ridge:
    """Targets (N, ...) from likeness, with the mixture and the ridge that predict left-out persons best."""

    def __init__(self, kernels: list[tuple[float, NDArray[np.float64]]], targets: NDArray[np.floating]) -> None:
        self.shape = targets.shape[1:]
        flat = targets.reshape(len(targets), -1).astype(np.float64)
        self.mean = flat.mean(0)
        known = flat - self.mean
        gram = known @ known.T  # all that errors depend on
        scored = [
            (_left_out(kernel, ridge, gram), share, ridge, kernel) for share, kernel in kernels for ridge in _RIDGES
        ]
        best, self.share, self.ridge, kernel = min(scored, key=lambda entry: float(entry[0].mean()))
        mean_only = _left_out(kernel, np.inf, gram)
        gain = mean_only - best
        if gain.mean() <= gain.std(ddof=1) / np.sqrt(len(gain)):  # less than a standard error: chance
            best, self.ridge = mean_only, np.inf
        self.error = float(np.sqrt(best.sum() / mean_only.sum())) if mean_only.any() else 1.0
        self.weights = np.zeros_like(known)
        if np.isfinite(self.ridge):
            self.weights = np.linalg.solve(kernel + self.ridge * np.eye(len(kernel)), known)

    def predict(self, near: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) likeness -> one target."""
        made: NDArray[np.float64] = (self.mean + near @ self.weights).reshape(self.shape)
        return made


def _left_out(kernel: NDArray[np.float64], ridge: float, gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) squared distance of each person's target from the one predicted without that person.

    Closed form: with hat matrix H of the fit (its mean included), the residual of row k is that of the whole fit over
    1 - H_kk. gram (N, N): inner products of the centred targets.
    """
    count = len(kernel)
    hat = np.full((count, count), 1 / count)
    if np.isfinite(ridge):
        hat = hat + kernel @ np.linalg.inv(kernel + ridge * np.eye(count))
    rest = (np.eye(count) - hat) / (1 - np.diag(hat))[:, None]
    return np.asarray(((rest @ gram) * rest).sum(1))


def aligned(face: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.float64]:
    """(V, 3) moved, turned and scaled onto `reference` (V, 3) by least squares (Umeyama 1991)."""
    face, reference = np.asarray(face, np.float64), np.asarray(reference, np.float64)
    centre, goal = face.mean(0), reference.mean(0)
    moved, wanted = face - centre, reference - goal
    left, values, right = np.linalg.svd(wanted.T @ moved)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    scale = float((values * sign).sum() / np.square(moved).sum())
    return np.asarray(scale * moved @ ((left * sign) @ right).T + goal)


def thumbnail(albedo: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(H, W, 3) -> flat colours 0..1 of a small picture; sides need not divide."""
    rows, columns = (np.linspace(0, side, SKIN + 1).astype(int) for side in albedo.shape[:2])
    if min(albedo.shape[:2]) < SKIN:
        raise InputError(f"the albedo has {albedo.shape[:2]} pixels, wanted {SKIN} a side at least")
    image = albedo.astype(np.float64) / 255
    sums = np.add.reduceat(np.add.reduceat(image, rows[:-1], 0), columns[:-1], 1)
    areas = np.diff(rows)[:, None, None] * np.diff(columns)[None, :, None]
    return np.asarray((sums / areas).ravel())
