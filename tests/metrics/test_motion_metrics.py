"""Each measure says what its name says, on motions whose answer is known."""

import numpy as np
import pytest

from parlante.metrics import (
    closure_recall,
    lag_and_correlation,
    lip_dynamics,
    silence_motion_ratio,
    style_distance,
    style_vector,
    temporal_jitter,
)

FPS = 30.0


def wave(frames: int = 90, gain: float = 1.0, hertz: float = 2.0, vertices: int = 4) -> np.ndarray:
    time = np.arange(frames) / FPS
    motion = np.zeros((frames, vertices, 3))
    motion[:, :, 1] = gain * 0.01 * np.sin(2 * np.pi * hertz * time)[:, None]
    return motion


def test_jitter_of_a_cubic_is_its_third_derivative() -> None:
    time = np.arange(30) / FPS
    motion = np.zeros((30, 2, 3))
    motion[:, :, 0] = (0.5 * time**3)[:, None]
    assert temporal_jitter(motion, FPS) == pytest.approx(3.0, rel=1e-6)
    with pytest.raises(ValueError, match="four frames"):
        temporal_jitter(motion[:3], FPS)


def test_noise_is_jitter() -> None:
    noisy = wave() + np.random.default_rng(0).normal(0, 2e-4, wave().shape)
    assert temporal_jitter(noisy, FPS) > 2 * temporal_jitter(wave(), FPS)


def test_silence() -> None:
    motion, silent = wave(), np.arange(90) >= 45
    assert silence_motion_ratio(motion, silent) == pytest.approx(1.0, abs=0.15)
    motion[45:] = motion[44]
    assert silence_motion_ratio(motion, silent) == 0.0
    assert np.isnan(silence_motion_ratio(motion, np.zeros(90, bool)))
    with pytest.raises(ValueError, match="one flag for each frame"):
        silence_motion_ratio(motion, silent[:10])


def test_lip_dynamics() -> None:
    assert lip_dynamics(wave(gain=0.3), wave(), [0, 1]) == pytest.approx(1.0)
    assert lip_dynamics(np.roll(wave(hertz=1.0), 4, axis=0), wave(hertz=1.0), [0, 1]) < 0.9
    assert np.isnan(lip_dynamics(wave() * 0, wave(), [0]))


def test_closure() -> None:
    aperture = 0.5 + 0.5 * np.cos(2 * np.pi * np.arange(90) / 30)  # closed at 0.5, 1.5 and 2.5 s
    assert closure_recall(aperture, [(0.48, 0.52), (1.48, 1.52), (2.48, 2.52)], FPS) == 1.0
    assert closure_recall(aperture, [(0.48, 0.52), (0.95, 1.05)], FPS) == 0.5
    assert closure_recall(np.ones(90), [(0.48, 0.52)], FPS) == 0.0
    assert np.isnan(closure_recall(aperture, [], FPS))
    assert closure_recall(aperture, [(9.0, 9.1)], FPS) == 0.0


@pytest.mark.parametrize("late", [-3, 0, 4])
def test_lag(late: int) -> None:
    sound = np.random.default_rng(1).normal(size=200)
    lag, correlation = lag_and_correlation(np.roll(sound, late), sound)
    assert lag == late and correlation > 0.95
    assert lag_and_correlation(np.ones(9), sound[:9]) == (0, 0.0)


def test_styles_that_move_alike_lie_near() -> None:
    gains = [0.5, 1.0, 2.0]
    neutral = np.zeros((4, 3))
    true = [style_vector(wave(gain=g, hertz=1.5), neutral) for g in gains]
    pred = [style_vector(wave(gain=1.1 * g, hertz=1.6), neutral) for g in gains]
    for number, style in enumerate(pred):
        assert min(range(3), key=lambda other: style_distance(style, true[other])) == number
    assert style_distance(true[0], true[0]) == 0.0
    assert style_distance(true[0], true[1]) == pytest.approx(np.log(2.0), rel=1e-6)


def test_a_clip_shorter_than_the_reach_of_the_lag() -> None:
    beat = np.array([0.0, 3.0, 1.0, 4.0, 2.0])
    assert lag_and_correlation(beat, beat) == (0, pytest.approx(1.0))
    assert lag_and_correlation(beat[:1], beat[:1]) == (0, 0.0)
