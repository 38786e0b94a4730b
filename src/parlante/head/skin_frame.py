"""Where things are on a face, in one flat chart that every identity shares.

The reference face is unrolled onto a cylinder: s = R atan2(x, z - Z0) to the character's left, y up, both in metres.
Since all identities share one topology, a place in this chart is a place in the texture, whoever wears it. The
numbers used for painting (eyes at y = 31 mm, mouth corners at s = 30 mm, ...) are those of MakeHuman's base mesh; the
reference is moved and scaled so that its eyes, nose and mouth fall on them.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import Topology
from parlante.geometry.uv import bake_table

RADIUS, CENTRE_Z = 0.11, 0.03
EYE_X, EYE_Y, NOSE_TIP_Y, MOUTH_Y = 0.0308, 0.0309, -0.005, -0.0375
"""Base mesh, metres, origin at the head joint."""
EYE_Z, CROWN_Y = 0.1085, 0.1516


class FaceFrame:
    """Flat coordinates of the vertices of a topology's reference face: position (V, 3) and chart (V, 2), metres."""

    def __init__(self, topology: Topology, reference: NDArray[np.floating]) -> None:
        self.topology = topology
        eyes = [reference[topology.regions[f"eyeball_{side}"]].mean(0) for side in ("left", "right")]
        marks = topology.landmarks
        mouth_y = np.mean([reference[marks["mouth_left"]][1], reference[marks["mouth_right"]][1]])
        eye_y, tip_y = np.mean([eye[1] for eye in eyes]), reference[marks["nose_tip"]][1]
        crown_y = reference[:, 1].max()
        x_scale = EYE_X / (0.5 * abs(eyes[0][0] - eyes[1][0]))
        y_scale = (EYE_Y - MOUTH_Y) / (eye_y - mouth_y)
        low = mouth_y - 0.2
        anchors = np.array([low, mouth_y, tip_y, eye_y, crown_y])
        targets = np.array([MOUTH_Y - 0.2 * y_scale, MOUTH_Y, NOSE_TIP_Y, EYE_Y, CROWN_Y])
        z = (reference[:, 2] - np.mean([eye[2] for eye in eyes])) * x_scale + EYE_Z
        self.position: NDArray[np.float32] = np.stack(
            [reference[:, 0] * x_scale, np.interp(reference[:, 1], anchors, targets), z], -1
        ).astype(np.float32)
        self.chart: NDArray[np.float32] = unroll(self.position)

    def mask(self, *names: str) -> NDArray[np.float32]:
        """(V,) 1 on the vertices of the named regions (those that the topology has)."""
        values = np.zeros(self.topology.num_vertices, np.float32)
        for name in names:
            if name in self.topology.regions:
                values[self.topology.regions[name]] = 1
        return values

    def texels(self, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Position (H, W, 3) and chart (H, W, 2) of every texel."""
        position = bake_table(self.topology, size).bake_array(self.position[None])[0]
        return position, unroll(position)


def unroll(position: NDArray[np.float32]) -> NDArray[np.float32]:
    """Positions (..., 3) on the base mesh's scale -> chart (..., 2)."""
    s = RADIUS * np.arctan2(position[..., 0], position[..., 2] - CENTRE_Z)
    return np.stack([s, position[..., 1]], -1).astype(np.float32)


@lru_cache(maxsize=4)
def face_frame(head: Any) -> FaceFrame:
    """The frame of a head: its reference is the mean of the identities."""
    mean = np.mean([head.neutral(name) for name in head.identity_names], 0)
    return FaceFrame(head.topology, mean)
