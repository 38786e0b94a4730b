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
    solved = CurveSolver(shapes, ridge=1e-9, smooth=0, tolerance=1e-7).solve(np.tensordot(truth, shapes, 1))
    np.testing.assert_allclose(solved, truth, atol=1e-3)


def test_equals_a_slow_bounded_solver_where_bounds_bite() -> None:
    rng = np.random.default_rng(1)
    shapes = _rig(rng)
    offsets = rng.normal(size=(5, 80, 3)).astype(np.float32) * 0.02
    solved = CurveSolver(shapes, ridge=0, smooth=0, tolerance=1e-8, sweeps=2000).solve(offsets)
    for frame, weights in zip(offsets, solved):
        slow = lsq_linear(shapes.reshape(12, -1).T.astype(float), frame.reshape(-1).astype(float), (0, 1), tol=1e-12).x
        np.testing.assert_allclose(weights, slow, atol=2e-3)


def test_only_the_chosen_vertices_count() -> None:
    rng = np.random.default_rng(2)
    shapes = _rig(rng)
    truth = rng.random((3, 12))
    offsets = np.tensordot(truth, shapes, 1)
    offsets[:, 60:] += 1.0
    solved = CurveSolver(shapes, np.arange(60), ridge=1e-9, smooth=0, tolerance=1e-7).solve(offsets)
    np.testing.assert_allclose(solved, truth, atol=2e-3)


def test_smoothing_calms_noise_and_pieces_join_without_a_seam() -> None:
    rng = np.random.default_rng(3)
    shapes = _rig(rng)
    truth = 0.5 + 0.4 * np.sin(np.linspace(0, 3, 60))[:, None] * np.ones(12)
    offsets = np.tensordot(truth, shapes, 1) + rng.normal(size=(60, 80, 3)) * 0.01
    rough = CurveSolver(shapes, smooth=0).solve(offsets)
    solver = CurveSolver(shapes, smooth=0.05)
    whole = solver.solve(offsets)
    solver.reset()
    pieces = np.concatenate([solver.solve(offsets[:30]), solver.solve(offsets[30:])])
    assert np.abs(np.diff(whole, axis=0)).mean() < 0.8 * np.abs(np.diff(rough, axis=0)).mean()
    jumps = np.abs(np.diff(pieces, axis=0)).mean(axis=1)
    assert jumps[29] < 3 * np.median(jumps)


def test_a_shape_that_moves_nothing_stays_at_zero() -> None:
    shapes = _rig(np.random.default_rng(4))
    shapes[5] = 0
    assert (CurveSolver(shapes).solve(np.tensordot(np.ones((2, 12)), shapes, 1))[:, 5] == 0).all()


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(T, 80, 3\).*\(4, 81, 3\)"):
        CurveSolver(_rig(np.random.default_rng(5))).solve(np.zeros((4, 81, 3)))
