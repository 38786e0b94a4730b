"""How far the lips are apart and how wide the mouth is, for any topology that names the landmarks."""

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, Topology


def lip_aperture(vertices: NDArray[np.floating], topology: Topology) -> NDArray[np.float64]:
    """(...,) metres between the middles of the inner lips of `vertices` (..., V, 3).

    Raises InputError if the topology does not name `upper_lip_inner` and `lower_lip_inner`.
    """
    return _between(vertices, topology, "upper_lip_inner", "lower_lip_inner")


def lip_width(vertices: NDArray[np.floating], topology: Topology) -> NDArray[np.float64]:
    """(...,) metres between the corners of the mouth of `vertices` (..., V, 3).

    Raises InputError if the topology does not name `mouth_left` and `mouth_right`.
    """
    return _between(vertices, topology, "mouth_left", "mouth_right")


def _between(vertices: NDArray[np.floating], topology: Topology, first: str, second: str) -> NDArray[np.float64]:
    missing = [name for name in (first, second) if name not in topology.landmarks]
    if missing:
        raise InputError(
            f"topology {topology.name} has no landmark {' or '.join(missing)}; "
            "give landmarks with the topology to measure its mouth"
        )
    apart = vertices[..., topology.landmarks[first], :] - vertices[..., topology.landmarks[second], :]
    return np.asarray(np.linalg.norm(apart.astype(np.float64), axis=-1))
