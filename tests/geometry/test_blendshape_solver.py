"""Known weights come back; the answer is the bounded optimum, also where the bounds bite."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from parlante.audio.phones import PHONES, Phone
from parlante.geometry.blendshape_solver import BlendshapeSolver, mirror_pairs, opposed_pairs
from parlante.head import load_head
from parlante.head.arkit import ARKIT_NAMES
from parlante.head.speaker_profile import SpeakerProfile
from parlante.synth.articulation import articulate


def _rig(rng: np.random.Generator, count: int = 12, vertices: int = 80) -> np.ndarray:
    shapes = rng.normal(size=(count, vertices, 3)) * 0.01
    shapes[1] = shapes[0] * 0.9 + shapes[1] * 0.3  # two that look alike, as blink and squint do
    return shapes.astype(np.float32)


def test_known_weights_come_back() -> None:
    rng = np.random.default_rng(0)
    shapes = _rig(rng)
    walk = np.cumsum(rng.normal(size=(40, 12)) * 0.05, axis=0)
    truth = np.clip(np.abs(walk), 0, 1) * (rng.random(12) < 0.7)
    solved = BlendshapeSolver(shapes, ridge=1e-9, inertia=0).solve(np.tensordot(truth, shapes, 1))
    np.testing.assert_allclose(solved, truth, atol=1e-3)


def test_equals_a_slow_bounded_solver_where_bounds_bite() -> None:
    rng = np.random.default_rng(1)
    shapes = _rig(rng)
    offsets = rng.normal(size=(5, 80, 3)).astype(np.float32) * 0.02
    solved = BlendshapeSolver(shapes, ridge=0, inertia=0).solve(offsets)
    for frame, weights in zip(offsets, solved):
        slow = lsq_linear(shapes.reshape(12, -1).T.astype(float), frame.reshape(-1).astype(float), (0, 1), tol=1e-12).x
        np.testing.assert_allclose(weights, slow, atol=1e-3)


def test_only_the_chosen_vertices_count() -> None:
    rng = np.random.default_rng(2)
    shapes = _rig(rng)
    truth = rng.random((3, 12))
    offsets = np.tensordot(truth, shapes, 1)
    offsets[:, 60:] += 1.0
    solved = BlendshapeSolver(shapes, np.arange(60), ridge=1e-9, inertia=0).solve(offsets)
    np.testing.assert_allclose(solved, truth, atol=1e-3)


def test_inertia_calms_what_vertices_do_not_tell_and_pieces_are_the_whole() -> None:
    rng = np.random.default_rng(3)
    shapes = _rig(rng)
    shapes[1] = shapes[0] + 0.02 * shapes[1]  # nearly one and the same
    truth = 0.5 + 0.3 * np.sin(np.linspace(0, 3, 60))[:, None] * np.ones(12)
    offsets = np.tensordot(truth, shapes, 1) + rng.normal(size=(60, 80, 3)) * 0.002
    rough = BlendshapeSolver(shapes, ridge=1e-9, inertia=0).solve(offsets)
    solver = BlendshapeSolver(shapes)
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
    solved = BlendshapeSolver(shapes).solve(np.tensordot(truth, shapes, 1))
    np.testing.assert_allclose(solved[:, 2:4], truth[:, 2:4], atol=0.01)


def test_a_shape_that_moves_nothing_stays_at_zero() -> None:
    shapes = _rig(np.random.default_rng(4))
    shapes[5] = 0
    assert (BlendshapeSolver(shapes).solve(np.tensordot(np.ones((2, 12)), shapes, 1))[:, 5] == 0).all()


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(T, 80, 3\).*\(4, 81, 3\)"):
        BlendshapeSolver(_rig(np.random.default_rng(5))).solve(np.zeros((4, 81, 3)))


def test_a_sparse_answer_moves_fewer_shapes_and_explains_nearly_as_much() -> None:
    rng = np.random.default_rng(7)
    shapes = _rig(rng)
    truth = rng.random((20, 12)) * (rng.random(12) < 0.4)
    offsets = np.tensordot(truth, shapes, 1) + rng.normal(size=(20, 80, 3)) * 0.004
    dense, sparse = (BlendshapeSolver(shapes, inertia=0, sparsity=much).solve(offsets) for much in (0.0, 0.05))
    assert (sparse > 0.01).sum() < 0.9 * (dense > 0.01).sum()
    lost = [np.square(np.tensordot(weights, shapes, 1) - offsets).sum() for weights in (dense, sparse)]
    assert lost[1] < 1.1 * lost[0]


def test_symmetry_draws_the_halves_of_a_movement_together() -> None:
    rng = np.random.default_rng(8)
    shapes = _rig(rng, 4)
    shapes[1] = shapes[0] + 0.1 * shapes[1]  # the vertices hardly tell left from right
    names = ("smileLeft", "smileRight", "jawLeft", "jawRight")
    truth = np.array([[0.5, 0.5, 0.8, 0.0]])
    offsets = np.tensordot(truth, shapes, 1) + rng.normal(size=(1, 80, 3)) * 0.003
    free, tied = (BlendshapeSolver(shapes, names=names, symmetry=much).solve(offsets)[0] for much in (0.0, 0.1))
    assert abs(tied[0] - tied[1]) < 0.2 * abs(free[0] - free[1])
    np.testing.assert_allclose(tied[2:], truth[0, 2:], atol=0.05)


def test_pairs_are_halves_not_directions() -> None:
    pairs = {(ARKIT_NAMES[left], ARKIT_NAMES[right]) for left, right in mirror_pairs(ARKIT_NAMES)}
    assert ("mouthSmileLeft", "mouthSmileRight") in pairs and ("eyeBlinkLeft", "eyeBlinkRight") in pairs
    assert not {name for pair in pairs for name in pair} & {"jawLeft", "mouthLeft", "mouthRight", "eyeLookInLeft"}


def test_no_weight_passes_its_own_limit_and_others_make_up_for_it() -> None:
    rng = np.random.default_rng(9)
    shapes = _rig(rng)
    upper = np.ones(12)
    upper[0] = 0.3
    solved = BlendshapeSolver(shapes, ridge=0, inertia=0, upper=upper).solve(shapes[:1])
    slow = lsq_linear(shapes.reshape(12, -1).T.astype(float), shapes[0].reshape(-1).astype(float), (0, upper)).x
    np.testing.assert_allclose(solved[0], slow, atol=1e-3)
    assert solved[0, 0] == np.float32(0.3) and solved[0, 1] > 0.3


def test_speech_on_the_embedded_head_comes_back() -> None:
    """Spoken phones of a random manner, 0.1 mm of noise on every coordinate."""
    rng = np.random.default_rng(10)
    head = load_head()
    name = head.identity_names[0]
    spoken = rng.permutation(PHONES)
    phones = [Phone(symbol, 0.1 * n, 0.1 * (n + 1)) for n, symbol in enumerate(spoken)]
    truth = articulate(phones, np.arange(0, 4, 1 / 30), SpeakerProfile.random(rng))
    truth[:, :14] = rng.random((1, 14)) * (rng.random(14) < 0.5)
    shapes = head.shapes(name)
    offsets = head.deform(name, truth) - head.neutral(name)
    noisy = offsets + rng.normal(size=offsets.shape).astype(np.float32) * 1e-4
    solved = BlendshapeSolver(shapes).solve(noisy)
    posed = np.tensordot(solved, shapes, 1)
    assert np.linalg.norm(posed - offsets, axis=-1).mean() < 2e-5
    assert np.abs(solved - truth).mean() < 0.005


def test_opposed_shapes_are_never_on_together() -> None:
    """Real shapes, and motion that both directions of the jaw together would explain a little better."""
    head = load_head()
    shapes, names = head.shapes(head.identity_names[0]), ARKIT_NAMES
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 0.3, (40, len(names))) * (rng.random((40, len(names))) < 0.2)
    left, right = names.index("jawLeft"), names.index("jawRight")
    truth[:20, left], truth[:20, right] = 0.35, 0.3
    offsets = np.tensordot(truth, shapes, 1).astype(np.float32)
    free = BlendshapeSolver(shapes).solve(offsets)
    solver = BlendshapeSolver(shapes, names=names)
    apart = solver.solve(offsets)
    assert np.minimum(free[:, left], free[:, right]).max() > 0.1
    pairs = opposed_pairs(names)
    assert len(pairs) == 6
    for one, other in pairs:
        assert not np.minimum(apart[:, one], apart[:, other]).any()
    skin = np.asarray(head.topology.regions["skin"])
    off = [np.linalg.norm(np.tensordot(w, shapes, 1) - offsets, axis=2)[:, skin].max() for w in (free, apart)]
    assert off[1] - off[0] < 3e-4, "metres, by which the worst vertex of the skin may be farther off"
    assert (apart[:20, left] > 0).all(), "the stronger direction stays"
    solver.reset()
    np.testing.assert_array_equal(np.concatenate([solver.solve(offsets[:9]), solver.solve(offsets[9:])]), apart)
