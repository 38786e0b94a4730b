"""Which blendshape weights are learnt from speech."""

import numpy as np
from numpy.typing import NDArray

from parlante.head.arkit import ARKIT_NAMES

EYES = np.array([name.startswith(("eyeBlink", "eyeLook")) for name in ARKIT_NAMES])
"""Shapes of blinks and glances, which no speech foretells: they are added to the motion of a talker later."""


def spoken(weights: NDArray[np.floating]) -> NDArray[np.float32]:
    """Blendshape weights (T, 52) without blinks and glances."""
    return np.where(EYES, 0.0, weights).astype(np.float32)
