"""What faces look like: the mean of the embedded people and how they differ, as principal components."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from parlante.head import Head, load_head

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FacePrior:
    """vertices = mean + coefficients @ basis, coefficients of unit variance over the embedded people. Metres."""

    head: Head
    mean: Floats
    """(V, 3)"""
    basis: Floats
    """(C, V, 3)"""
    eyes: Floats
    """(1 + C, 2, 3) centres of the eyeballs: of the mean, then per component."""
    hinge: Floats
    """(1 + C, 3) middle of the jaw's axis, likewise."""
    radius: float
    """of the eyeballs, mean"""

    def shape(self, coefficients: Floats) -> Floats:
        """(V, 3)"""
        return np.asarray(self.mean + np.tensordot(coefficients, self.basis, 1))


@cache
def face_prior(components: int = 24) -> FacePrior:
    """The prior of the embedded head; a mirrored copy of nobody is needed, its people vary in asymmetry too."""
    head = load_head()
    faces = np.stack([head.neutral(name) for name in head.identity_names]).astype(np.float64)
    anatomy = [head.anatomy(name) for name in head.identity_names]
    extra = np.stack([np.concatenate([a.eyes.ravel(), a.hinge]) for a in anatomy])
    mean, centre = faces.mean(0), extra.mean(0)
    centred = (faces - mean).reshape(len(faces), -1)
    left, size, right = np.linalg.svd(centred, full_matrices=False)
    kept = min(components, len(faces) - 1)
    scale = size[:kept] / np.sqrt(len(faces) - 1)
    basis = (right[:kept] * scale[:, None]).reshape(kept, -1, 3)
    # what belongs to a unit of each component, as a regression on the people's own coefficients
    scores = left[:, :kept] * np.sqrt(len(faces) - 1)
    along = scores.T @ (extra - centre) / (len(faces) - 1)
    rows = np.concatenate([centre[None], along])
    return FacePrior(
        head, mean, basis, rows[:, :6].reshape(-1, 2, 3), rows[:, 6:], float(np.mean([a.eye_radius for a in anatomy]))
    )
