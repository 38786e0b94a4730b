"""A camera, and where to put it so that a head fills the picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parlante.core import InputError, Topology
from parlante.core.options import VIEWS

_BODY, _HEAD, _NECK = 9.0, 2.9, 0.6
"""In ways from nose tip to chin: what is no head alone, how far a head reaches, how much neck is shown."""


@dataclass(frozen=True)
class Camera:
    """A perspective camera with a square picture. Camera space: x right, y up, z towards the viewer."""

    eye: tuple[float, float, float]
    """metres"""
    target: tuple[float, float, float]
    """the point in the middle of the picture, metres"""
    fov: float = 18.0
    """full angle of view, degrees; long, as in portrait photography"""
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)

    @property
    def distance(self) -> float:
        """Metres from the eye to the target."""
        return float(np.linalg.norm(np.subtract(self.eye, self.target)))

    @property
    def view(self) -> NDArray[np.float64]:
        """(4, 4) world to camera space, for column vectors."""
        back = np.subtract(self.eye, self.target) / self.distance
        right = np.cross(self.up, back)
        right /= np.linalg.norm(right)
        matrix = np.eye(4)
        matrix[:3, :3] = right, np.cross(back, right), back
        matrix[:3, 3] = -matrix[:3, :3] @ np.asarray(self.eye)
        return matrix

    @property
    def focal(self) -> float:
        """Projection scale: picture coordinate -1..1 = focal * x / -z."""
        return float(1.0 / np.tan(np.radians(self.fov) / 2))

    @property
    def clip_planes(self) -> tuple[float, float]:
        """Near and far, metres; wide enough for a head and shoulders about the target."""
        return 0.3 * self.distance, 2.0 * self.distance

    @property
    def projection(self) -> NDArray[np.float64]:
        """(4, 4) camera space to OpenGL clip space."""
        near, far = self.clip_planes
        matrix = np.zeros((4, 4))
        matrix[0, 0] = matrix[1, 1] = self.focal
        matrix[2, 2:] = (far + near) / (near - far), 2 * far * near / (near - far)
        matrix[3, 2] = -1
        return matrix


def head_of(neutral: ArrayLike, topology: Topology) -> NDArray[np.float64]:
    """(N, 3) what a picture of a head should hold: the vertices that are drawn; of a whole body those of its head.

    A body is what is nine times as large as the way from the tip of its nose to its chin, if the topology names these.
    """
    points = np.asarray(neutral, dtype=np.float64)
    drawn = points[np.unique(topology.triangles)]
    marks = topology.landmarks
    if not {"nose_tip", "chin"} <= marks.keys():
        return drawn
    nose, chin = points[marks["nose_tip"]], points[marks["chin"]]
    size = float(np.linalg.norm(nose - chin))
    if not size or np.ptp(drawn, axis=0).max() < _BODY * size:
        return drawn
    # the middle of a head lies behind its nose and above it, as seen from the chin
    middle = nose + size * np.array([0.0, 0.3, -1.2])
    near = np.linalg.norm(drawn - middle, axis=1) < _HEAD * size
    near &= drawn[:, 1] > chin[1] - _NECK * size
    return drawn[near] if near.sum() > 3 else drawn


def frame_head(neutral: ArrayLike, view: str | float = "front", *, fov: float = 18.0, fill: float = 0.94) -> Camera:
    """A camera that shows the whole of `neutral` (V, 3) from a view of `VIEWS`, or from an angle in degrees.

    fill: share of the picture's height that the head takes. The middle and the distance do not depend on the view,
    so that the views cut together. Raises InputError for an unknown view.
    """
    if isinstance(view, str):
        if view not in VIEWS:
            raise InputError(f"unknown view {view!r}; choose one of {', '.join(VIEWS)} or an angle in degrees")
        angle = VIEWS[view]
    else:
        angle = float(view)
    points = np.asarray(neutral, dtype=np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    target = (low + high) / 2
    reach = max(high[1] - low[1], high[0] - low[0], 0.9 * (high[2] - low[2])) / 2
    distance = reach / fill / np.tan(np.radians(fov) / 2) + (high[2] - low[2]) / 4
    turn = np.radians(angle)
    eye = target + distance * np.array([np.sin(turn), 0.0, np.cos(turn)])
    return Camera(
        (float(eye[0]), float(eye[1]), float(eye[2])), (float(target[0]), float(target[1]), float(target[2])), fov
    )
