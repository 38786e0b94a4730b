"""Known weights come back; the answer is the bounded optimum, also where the bounds bite."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from parlante.models.curves import CurveSolver


def _rig(rng: np.random.Generator, count: int = 12, vertices: int = 80) -> np.ndarray:
    shapes = rng.normal(size=(count, vertices, 3)) * 0.01
    shapes[1] = shapes[0] * 0.9 + shapes[1] * 0.3  # two that look alike, as blink and squint do
    return shapes.astype(np.float32)


def test_known_weights_come_back() -> None:
    rng = np.random.default_rng(0)
    shapes = _rig(rng)
    walk = np.cumsum(rng.normal(size=(40, 12)) * 0.05, axis=0)
    truth = np.clip(np.abs(walk), 0, 1) * (rng.random(12) < 0.7)
    solved = CurveSolver(shapes, ridge=1e-9, inertia=0).solve(np.tensordot(truth, shapes, 1))
    np.testing.assert_allclose(solved, truth, atol=1e-3)


def test_equals_a_slow_bounded_solver_where_bounds_bite() -> None:
    rng = np.random.default_rng(1)
    shapes = _rig(rng)
    offsets = rng.normal(size=(5, 80, 3)).astype(np.float32) * 0.02
    solved = CurveSolver(shapes, ridge=0, inertia=0).solve(offsets)
    for frame, weights in zip(offsets, solved):
        slow = lsq_linear(shapes.reshape(12, -1).T.astype(float), frame.reshape(-1).astype(float), (0, 1), tol=1e-12).x
        np.testing.assert_allclose(weights, slow, atol=1e-3)


def test_only_the_chosen_vertices_count() -> None:
    rng = np.random.default_rng(2)
    shapes = _rig(rng)
    truth = rng.random((3, 12))
    offsets = np.tensordot(truth, shapes, 1)
    offsets[:, 60:] += 1.0
    solved = CurveSolver(shapes, np.arange(60), ridge=1e-9, inertia=0).solve(offsets)
    np.testing.assert_allclose(solved, truth, atol=1e-3)


def test_inertia_calms_what_vertices_do_not_tell_and_pieces_are_the_whole() -> None:
    rng = np.random.default_rng(3)
    shapes = _rig(rng)
    shapes[1] = shapes[0] + 0.02 * shapes[1]  # nearly one and the same
    truth = 0.5 + 0.3 * np.sin(np.linspace(0, 3, 60))[:, None] * np.ones(12)
    offsets = np.tensordot(truth, shapes, 1) + rng.normal(size=(60, 80, 3)) * 0.002
    rough = CurveSolver(shapes, ridge=1e-9, inertia=0).solve(offsets)
    solver = CurveSolver(shapes)
    whole = solver.solve(offsets)
    solver.reset()
    pieces = np.concatenate([solver.solve(offsets[:7]), solver.solve(offsets[7:])])
    np.testing.assert_allclose(pieces, whole, atol=1e-6)
    jitter = [np.abs(np.diff(curves[:, :2], axis=0)).mean() for curves in (rough, whole)]
    assert jitter[1] < 0.3 * jitter[0]
    np.testing.assert_allclose(whole[:, 2:], rough[:, 2:], atol=0.02)


def test_opposite_shapes_do_not_fight() -> None:
    shapes = _rig(np.random.default_rng(6))
    shapes[3] = -shapes[2]
    truth = np.zeros((5, 12))
    truth[:, 2] = 0.4
    solved = CurveSolver(shapes).solve(np.tensordot(truth, shapes, 1))
    np.testing.assert_allclose(solved[:, 2:4], truth[:, 2:4], atol=0.01)


def test_a_shape_that_moves_nothing_stays_at_zero() -> None:
    shapes = _rig(np.random.default_rng(4))
    shapes[5] = 0
    assert (CurveSolver(shapes).solve(np.tensordot(np.ones((2, 12)), shapes, 1))[:, 5] == 0).all()


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(T, 80, 3\).*\(4, 81, 3\)"):
        CurveSolver(_rig(np.random.default_rng(5))).solve(np.zeros((4, 81, 3)))
