"""Head pose: turn the head about the neck joint while the base of the neck stays where it is."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from parlante.core.topology import Topology

POSE_SIZE = 6
"""pitch, yaw, roll in radians (about +x, +y, +z), then a translation x, y, z in metres."""

_FRAMES = 64


def rotation_matrices(angles: ArrayLike) -> NDArray[np.float64]:
    """(..., 3, 3) rotations from (..., 3) pitch, yaw, roll in radians: roll first, then pitch, then yaw.

    Positive pitch nods down, positive yaw turns to the character's left (+x), positive roll tips
    the head towards the character's right (-x). R = Ry(yaw) Rx(pitch) Rz(roll).
    """
    angles = np.asarray(angles, dtype=np.float64)
    (cx, cy, cz), (sx, sy, sz) = np.moveaxis(np.cos(angles), -1, 0), np.moveaxis(np.sin(angles), -1, 0)
    rows = (
        (cy * cz + sy * sx * sz, -cy * sz + sy * sx * cz, sy * cx),
        (cx * sz, cx * cz, -sx),
        (-sy * cz + cy * sx * sz, sy * sz + cy * sx * cz, cy * cx),
    )
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def apply_head_pose(
    vertices: ArrayLike, pose: ArrayLike, pivot: ArrayLike, weights: ArrayLike | None = None
) -> NDArray[np.float32]:
    """Vertices with the head pose applied.

    vertices: (T, V, 3) metres. pose: (T, 6), see `POSE_SIZE`. pivot: (3,) the neck joint, metres.
    weights: (V,) share of the rotation and translation that each vertex follows, 0..1; all 1 if absent.
    A vertex of weight w turns by w times the angles, so that the neck twists instead of shearing.
    Returns (T, V, 3) float32. Raises ValueError where the shapes do not belong together.
    """
    points = np.asarray(vertices, dtype=np.float32)
    poses = np.asarray(pose, dtype=np.float64)
    if points.ndim != 3 or points.shape[-1] != 3 or poses.shape != (len(points), POSE_SIZE):
        raise ValueError(
            f"head pose needs vertices (T, V, 3) and pose (T, {POSE_SIZE}), got {points.shape} and {poses.shape}"
        )
    centre = np.asarray(pivot, dtype=np.float32).reshape(3)
    if weights is None:
        turned = np.einsum("tij,tvj->tvi", rotation_matrices(poses[:, :3]).astype(np.float32), points - centre)
        return turned + centre + poses[:, None, 3:].astype(np.float32)
    share = np.asarray(weights, dtype=np.float32)
    if share.shape != points.shape[1:2]:
        raise ValueError(f"pose weights must be ({points.shape[1]},), one per vertex, got {share.shape}")
    posed = np.array(points)
    whole, partly = np.flatnonzero(share >= 1), np.flatnonzero((share > 0) & (share < 1))
    levels, level = np.unique(np.round(share[partly] * 255) / 255, return_inverse=True)
    for start in range(0, len(points), _FRAMES):
        rows = slice(start, start + _FRAMES)
        some = poses[rows]
        turn = rotation_matrices(some[:, :3]).astype(np.float32)
        shift = centre + some[:, None, 3:].astype(np.float32)
        posed[rows, whole] = (points[rows, whole] - centre) @ turn.transpose(0, 2, 1) + shift
        scaled = some[:, None, :] * levels[:, None]
        turns = rotation_matrices(scaled[..., :3]).astype(np.float32)[:, level]
        shifts = centre + scaled[:, level, 3:].astype(np.float32)
        posed[rows, partly] = np.einsum("tvij,tvj->tvi", turns, points[rows, partly] - centre) + shifts
    return posed


def neck_joint(neutral: ArrayLike, topology: Topology | None = None) -> NDArray[np.float32]:
    """(3,) an estimate of the joint between skull and neck for a head that does not come with one.

    It lies on the mid-plane, below the ears if they are named in the regions, otherwise at a fixed share of the
    bounding box (a third of the way up, somewhat behind the middle).
    """
    points = np.asarray(neutral, dtype=np.float32)
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    ears = np.asarray(() if topology is None else topology.regions.get("ears", ()), dtype=np.int64)
    if ears.size:
        ear_low = float(points[ears, 1].min())
        return np.array([middle[0], ear_low - 0.02, points[ears, 2].mean()], dtype=np.float32)
    return np.array(
        [middle[0], low[1] + 0.33 * (high[1] - low[1]), middle[2] - 0.1 * (high[2] - low[2])], dtype=np.float32
    )


def neck_weights(neutral: ArrayLike, pivot: ArrayLike, topology: Topology | None = None) -> NDArray[np.float32]:
    """(V,) how far each vertex follows the head: 1 from a little above `pivot` up, 0 at the base of the neck.

    Only vertices of the region `neck` are held back, where the topology names one; a mask without a neck turns whole.
    """
    points = np.asarray(neutral, dtype=np.float32)
    low = float(points[:, 1].min())
    top = float(np.asarray(pivot).reshape(3)[1])
    height = float(points[:, 1].max()) - low
    if top - low < 0.08 * height or (topology is not None and topology.regions and "neck" not in topology.regions):
        return np.ones(len(points), dtype=np.float32)
    share = np.clip((points[:, 1] - low) / (top - low), 0.0, 1.0)
    return (share * share * (3 - 2 * share)).astype(np.float32)
