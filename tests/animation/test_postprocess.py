"""Silence closes the mouth smoothly; another frame rate keeps motion, timing and bounds however it is cut."""

import itertools

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from parlante.animation.postprocess import MouthCloser, Resampler, close_mouth, mouth_gain
from parlante.core.frames import FrameBlock


def test_the_mouth_is_shut_in_silence_and_free_in_speech() -> None:
    silence = np.ones(90)
    silence[30:60] = 0
    gain = mouth_gain(silence, 30)
    assert (gain[:18] < 1e-2).all() and (gain[70:] < 1e-3).all(), "still in silence"
    assert (gain[30:60] > 0.9).all(), "nothing is taken from speech"
    assert np.abs(np.diff(gain)).max() < 0.3, "no pops"


def test_short_gaps_are_not_closed() -> None:
    silence = np.zeros(60)
    silence[30:35] = 1
    assert (mouth_gain(silence, 30) > 0.999).all()
    assert len(mouth_gain(np.zeros(0), 30)) == 0


def _motion(frames: int, seed: int = 0) -> FrameBlock:
    rng = np.random.default_rng(seed)
    weights = np.clip(np.cumsum(rng.normal(size=(frames, 4)) * 0.2, axis=0) + 0.5, 0, 1).astype(np.float32)
    residual = rng.normal(size=(frames, 5, 3)).astype(np.float32)
    wrinkle = rng.integers(0, 255, (frames, 2, 2, 3)).astype(np.uint8)
    return FrameBlock(0, weights=weights, motion=residual, wrinkle=wrinkle)


def test_only_the_lower_face_is_closed() -> None:
    motion = _motion(3)
    lower, mask = np.array([True, False, True, False]), np.array([0, 0, 1, 1, 0.5], np.float32)
    shut = close_mouth(motion, np.array([0, 1, 0.5], np.float32), lower, mask)
    assert (shut.weights[0, lower] == 0).all() and (shut.motion[0, 2:4] == 0).all()
    np.testing.assert_array_equal(shut.weights[:, ~lower], motion.weights[:, ~lower])
    np.testing.assert_array_equal(shut.motion[:, :2], motion.motion[:, :2])
    np.testing.assert_array_equal(shut.weights[1], motion.weights[1])


def _resample(motion: FrameBlock, fps: float, total: int, cuts: list[int]) -> FrameBlock:
    stretch = Resampler(30, fps, total)
    edges = [0, *cuts, len(motion)]
    pieces = [motion[a:b] for a, b in itertools.pairwise(edges)]
    made = [stretch.feed(piece) for piece in pieces[:-1]] + [stretch.finish(pieces[-1])]
    whole = made[0]
    for piece in made[1:]:
        whole = whole.joined(piece)
    return whole


@pytest.mark.parametrize("fps", [12, 24, 25, 29.97, 48, 60, 120])
def test_cuts_do_not_matter_and_counts_are_exact(fps: float) -> None:
    motion = _motion(50)
    total = int(np.ceil(50 / 30 * fps))
    whole = _resample(motion, fps, total, [])
    pieces = _resample(motion, fps, total, [1, 2, 9, 30, 49])
    assert len(whole) == len(pieces) == total
    np.testing.assert_allclose(pieces.weights, whole.weights, atol=1e-6)
    np.testing.assert_allclose(pieces.motion, whole.motion, atol=1e-6)
    np.testing.assert_array_equal(pieces.wrinkle, whole.wrinkle)
    assert whole.weights.min() >= 0 and whole.weights.max() <= 1, "no overshoot"


def test_curves_follow_pchip_and_the_face_is_held_at_the_end() -> None:
    motion = _motion(20)
    made = _resample(motion, 60, 44, [7])
    inside = np.arange(2, 36) / 2
    slow = PchipInterpolator(np.arange(20), motion.weights)(inside)
    np.testing.assert_allclose(made.weights[2:36], slow, atol=1e-5)
    np.testing.assert_array_equal(made.weights[40:], np.repeat(motion.weights[-1:], 4, axis=0))
    np.testing.assert_array_equal(made.motion[:40:2], motion.motion)


def test_a_single_frame_can_be_stretched() -> None:
    made = _resample(_motion(1), 60, 2, [])
    assert len(made) == 2 and (made.weights[0] == made.weights[1]).all()


@pytest.mark.parametrize("cuts", [[], [1], [7, 8, 9, 40], list(range(1, 90, 3))])
def test_blocks_wait_for_the_silence_after_them(cuts: list[int]) -> None:
    silence = np.ones(90, np.float32)
    silence[20:31] = silence[60:75] = 0
    names, shapes = ("jawOpen", "browInnerUp"), np.full((2, 5, 3), 1e-2, np.float32)
    whole = FrameBlock(0, weights=np.ones((90, 2), np.float32), motion=np.ones((90, 5, 3), np.float32), silence=silence)
    edges = [0, *cuts, 90]
    closed = list(MouthCloser(shapes, names, 30.0)(whole[a:b] for a, b in itertools.pairwise(edges)))
    assert [len(block) for block in closed] == list(np.diff(edges))
    weights = np.concatenate([block.weights for block in closed])  # type: ignore[misc]
    np.testing.assert_allclose(weights[:, 0], mouth_gain(silence, 30.0), atol=1e-6)
    assert (weights[:, 1] == 1).all()
