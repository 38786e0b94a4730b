import numpy as np

from parlante.head.arkit import INDEX
from parlante.head.speaker_profile import SpeakerProfile
from parlante.synth.prosody import blinks, liveliness, prosody

RATE = 16000


def tone(hertz: np.ndarray, loud: np.ndarray) -> np.ndarray:
    phase = np.cumsum(2 * np.pi * hertz / RATE)
    wave = sum(np.sin(k * phase) / k for k in range(1, 6))
    return (0.2 * loud * wave + np.random.default_rng(0).normal(0, 1e-4, len(loud))).astype(np.float32)


def test_pitch_and_energy_are_heard() -> None:
    time = np.arange(3 * RATE) / RATE
    loud = ((time > 1) & (time < 2)).astype(float)
    sound = prosody(tone(np.full(len(time), 160.0), loud), RATE)
    frames = np.arange(len(sound.energy)) / 30
    inside, outside = (frames > 1.1) & (frames < 1.9), (frames < 0.9) | (frames > 2.1)
    assert np.abs(sound.pitch[inside] - 160).max() < 4
    assert sound.energy[inside].min() > 0.8 and sound.energy[outside].max() < 0.2
    assert not sound.pitch[outside].any()


def test_brows_rise_with_pitch_accents() -> None:
    time = np.arange(4 * RATE) / RATE
    accent = np.exp(-0.5 * ((time - 2) / 0.15) ** 2)
    audio = tone(120 * 2 ** (accent * 0.6), 0.5 + 0.5 * accent)
    weights, pose = liveliness(audio, RATE, SpeakerProfile(upper_face=1.5), seed=1)
    brow = weights[:, INDEX["browInnerUp"]]
    assert abs(int(np.argmax(brow)) - 60) <= 4 and brow.max() > 0.2
    assert pose.shape == (120, 6) and np.abs(pose[:, :3]).max() < 0.3 and np.abs(pose[:, 3:]).max() < 0.02
    calm, _ = liveliness(audio, RATE, SpeakerProfile(upper_face=0.4), seed=1)
    assert calm[:, INDEX["browInnerUp"]].max() < 0.5 * brow.max()


def test_blinks_come_at_their_rate_and_close_faster_than_they_open() -> None:
    lids = blinks(np.full(30 * 300, 0.5), 0.4, np.random.default_rng(0))
    starts = np.flatnonzero((lids[1:] > 0) & (lids[:-1] == 0))
    assert 0.15 < len(starts) / 300 < 0.6
    assert lids.max() == 1 and lids.min() == 0
    fine = blinks(np.full(1000 * 20, 0.5), 0.4, np.random.default_rng(1), fps=1000)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], fine > 0, [0]])))
    for start, stop in edges.reshape(-1, 2):
        shut = np.flatnonzero(fine[start:stop] >= 0.999)
        assert 0.19 < (stop - start) / 1000 < 0.31
        assert shut[0] < stop - start - shut[-1]


def test_seeded_and_safe_on_nothing() -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    first, second = (liveliness(audio, RATE, seed=3) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], liveliness(audio, RATE, seed=4)[0])
    assert liveliness(np.zeros(0, np.float32), RATE)[0].shape == (0, 52)
    weights, _ = liveliness(np.zeros(RATE, np.float32), RATE)
    assert np.isfinite(weights).all() and weights[:, INDEX["browInnerUp"]].max() < 0.1


def test_mouth_is_left_to_articulation() -> None:
    audio = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    weights, _ = liveliness(audio, RATE, seed=3)
    assert not any(weights[:, INDEX[name]].any() for name in INDEX if name.startswith(("mouth", "jaw", "tongue")))
