"""Head pose turns the head rigidly and leaves the base of the neck alone."""

import numpy as np
import pytest

from parlante.geometry.pose import apply_head_pose, neck_joint, neck_weights, rotation_matrices

RNG = np.random.default_rng(3)
POINTS = RNG.normal(size=(2, 40, 3)).astype(np.float32)
PIVOT = np.array([0.1, -0.2, 0.05], np.float32)


def test_rotations_are_rotations_with_the_stated_signs() -> None:
    turn = rotation_matrices(RNG.normal(size=(5, 3)))
    np.testing.assert_allclose(turn @ turn.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (5, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(turn), 1)
    nose = np.array([0.0, 0.0, 1.0])
    assert (rotation_matrices([0.3, 0, 0]) @ nose)[1] < 0, "positive pitch nods down"
    assert (rotation_matrices([0, 0.3, 0]) @ nose)[0] > 0, "positive yaw turns to +x"
    assert (rotation_matrices([0, 0, 0.3]) @ np.array([0.0, 1.0, 0.0]))[0] < 0, "positive roll tips to -x"


def test_rest_pose_and_zero_weight_change_nothing() -> None:
    pose = RNG.normal(size=(2, 6))
    np.testing.assert_allclose(apply_head_pose(POINTS, np.zeros((2, 6)), PIVOT), POINTS, atol=1e-6)
    np.testing.assert_array_equal(apply_head_pose(POINTS, pose, PIVOT, np.zeros(40)), POINTS)


@pytest.mark.parametrize("frames", [2, 70, 129])
def test_full_weight_is_the_rigid_motion_of_every_frame(frames: int) -> None:
    points = RNG.normal(size=(frames, 9, 3)).astype(np.float32)
    pose = 0.5 * RNG.normal(size=(frames, 6))
    share = np.array([1, 1, 1, 0.5, 0.25, 0.2, 0, 0, 0], np.float32)
    moved = apply_head_pose(points, pose, PIVOT, share)
    for t in range(frames):
        turn = rotation_matrices(pose[t, :3])
        np.testing.assert_allclose(moved[t, :3], (points[t, :3] - PIVOT) @ turn.T + PIVOT + pose[t, 3:], atol=1e-5)
        half = rotation_matrices(pose[t, :3] * 128 / 255)
        near = (points[t, 3] - PIVOT) @ half.T + PIVOT + pose[t, 3:] * 128 / 255
        np.testing.assert_allclose(moved[t, 3], near, atol=1e-5)
    np.testing.assert_array_equal(moved[:, 6:], points[:, 6:])
    np.testing.assert_allclose(apply_head_pose(points, pose, PIVOT)[:, :3], moved[:, :3], atol=1e-5)


def test_neck_of_an_unknown_head_is_held_at_its_base() -> None:
    column = np.stack([np.zeros(50), np.linspace(-0.2, 0.2, 50), np.zeros(50)], axis=1)
    pivot = neck_joint(column)
    share = neck_weights(column, pivot)
    assert share[0] == 0 and share[-1] == 1 and np.all(np.diff(share) >= 0)
    assert -0.2 < pivot[1] < 0


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="head pose needs"):
        apply_head_pose(POINTS, np.zeros((3, 6)), PIVOT)
    with pytest.raises(ValueError, match="pose weights"):
        apply_head_pose(POINTS, np.zeros((2, 6)), PIVOT, np.ones(3))
