"""What anyone can see on a mouth: closures close, silence is still, styles differ."""

import itertools

import numpy as np
import pytest

from parlante.audio.phones import PHONES, Phone
from parlante.core.timing import frame_times
from parlante.head.arkit import ARKIT_NAMES, INDEX
from parlante.head.speaker_profile import NAMES, NEUTRAL, SpeakerProfile
from parlante.synth.articulation import articulate

VOWELS = ("aa", "ae", "iy", "uw", "ow", "ah", "ey")


def chain(*pairs: tuple[str, float]) -> list[Phone]:
    phones, now = [], 0.0
    for symbol, length in pairs:
        phones.append(Phone(symbol, now, now + length))
        now += length
    return phones


def gap(weights: np.ndarray) -> np.ndarray:
    """Opening of the lips as jawOpen minus mouthClose plus what the lips add; 0 when closed."""
    return (
        weights[:, INDEX["jawOpen"]]
        - weights[:, INDEX["mouthClose"]]
        + 0.2 * weights[:, INDEX["mouthLowerDownLeft"]]
        + 0.2 * weights[:, INDEX["mouthUpperUpLeft"]]
    )


@pytest.mark.parametrize("symbol", ["p", "b", "m"])
@pytest.mark.parametrize("length", [0.035, 0.05, 0.08, 0.15])
@pytest.mark.parametrize("offset", np.linspace(0, 1 / 30, 5))
def test_every_closure_is_seen_at_thirty_frames(symbol: str, length: float, offset: float) -> None:
    for vowel in VOWELS:
        phones = chain(("sil", 0.3 + offset), (vowel, 0.12), (symbol, length), (vowel, 0.12), ("sil", 0.3))
        times = frame_times(30)
        weights = articulate(phones, times, SpeakerProfile.random(np.random.default_rng(3)))
        inside = (times >= phones[2].start - 1e-9) & (times < phones[2].end + 1e-9)
        assert gap(weights)[inside].min() < 0.01


@pytest.mark.parametrize("symbol", ["p", "b", "m"])
def test_closure_is_held_for_most_of_the_segment(symbol: str) -> None:
    phones = chain(("aa", 0.2), (symbol, 0.1), ("aa", 0.2))
    weights = articulate(phones, np.linspace(0.2, 0.3, 100))
    assert np.mean(gap(weights) < 1e-3) > 0.6


def test_silence_is_closed_and_still() -> None:
    phones = chain(("sil", 0.6), ("aa", 0.2), ("t", 0.1), ("sil", 0.8))
    times = frame_times(60)
    weights = articulate(phones, times)
    quiet = (times < 0.35) | (times > 1.15)
    assert gap(weights)[quiet].max() < 0.01
    assert np.abs(np.diff(weights[times > 1.2], axis=0)).max() < 2e-3
    assert not articulate([], times).any()


def test_openness_follows_the_vowel() -> None:
    def opening(symbol: str) -> float:
        phones = chain(("sil", 0.2), ("t", 0.08), (symbol, 0.16), ("t", 0.08), ("sil", 0.2))
        return float(gap(articulate(phones, [0.36]))[0])

    groups = [("aa", "ae"), ("eh", "ah"), ("ih", "iy"), ("s", "z"), ("p", "b", "m")]
    levels = [[opening(symbol) for symbol in group] for group in groups]
    for wider, narrower in itertools.pairwise(levels):
        assert min(wider) > max(narrower)


def test_lip_bites_rounds_and_spreads() -> None:
    def at(symbol: str, name: str) -> float:
        phones = chain(("sil", 0.2), ("ah", 0.1), (symbol, 0.12), ("ah", 0.1), ("sil", 0.2))
        return float(articulate(phones, [0.36])[0, INDEX[name]])

    assert at("f", "mouthRollLower") > 0.3 > at("t", "mouthRollLower")
    assert min(at("uw", "mouthPucker"), at("w", "mouthPucker")) > 0.35 > at("iy", "mouthPucker")
    assert at("iy", "mouthStretchLeft") > at("ah", "mouthStretchLeft") + 0.1
    assert at("th", "tongueOut") > 0.05


def test_rounding_leads_and_lingers() -> None:
    phones = chain(("sil", 0.2), ("t", 0.15), ("uw", 0.12), ("t", 0.15), ("sil", 0.2))
    pucker = articulate(phones, [0.27, 0.55])[:, INDEX["mouthPucker"]]
    assert pucker.min() > 0.1


def test_no_lag_against_the_sound() -> None:
    rng = np.random.default_rng(5)
    symbols = ["sil"] + [str(s) for s in rng.choice(["aa", "p", "iy", "s", "m", "ae", "t", "uw"], 60)] + ["sil"]
    phones = chain(*[(s, 0.09) for s in symbols])
    fine = np.arange(0, phones[-1].end, 0.005)
    openness = {"aa": 3.0, "ae": 3.0, "iy": 1.5, "uw": 1.0, "s": 0.7, "t": 0.7}
    wanted = np.array([openness.get(symbols[min(int(t / 0.09), len(symbols) - 1)], 0) for t in fine])
    got = gap(articulate(phones, fine))
    scores = [np.corrcoef(np.roll(got, -lag), wanted)[0, 1] for lag in range(-12, 13)]
    assert abs(int(np.argmax(scores)) - 12) <= 4  # 20 ms


def test_style_changes_how_it_is_said() -> None:
    phones = chain(("sil", 0.2), ("m", 0.08), ("aa", 0.2), ("w", 0.1), ("iy", 0.15), ("sil", 0.2))
    times = frame_times(28)
    plain = articulate(phones, times)
    wide = articulate(phones, times, SpeakerProfile(jaw_gain=1.4))
    flat = articulate(phones, times, SpeakerProfile(protrusion=0.6))
    crooked = articulate(phones, times, SpeakerProfile(asymmetry=0.6))
    assert wide[:, INDEX["jawOpen"]].max() > 1.2 * plain[:, INDEX["jawOpen"]].max()
    assert flat[:, INDEX["mouthPucker"]].max() < 0.7 * plain[:, INDEX["mouthPucker"]].max()
    left, right = (crooked[:, INDEX[f"mouthStretch{side}"]].max() for side in ("Left", "Right"))
    assert left > 1.3 * right


def test_all_phones_all_in_range() -> None:
    phones = chain(*[(symbol, 0.08) for symbol in PHONES])
    for seed in range(4):
        weights = articulate(phones, frame_times(100), SpeakerProfile.random(np.random.default_rng(seed)))
        assert weights.shape == (100, len(ARKIT_NAMES)) and weights.dtype == np.float32
        assert weights.min() >= 0 and weights.max() <= 1 and np.isfinite(weights).all()


def test_bad_phones_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown phone"):
        articulate([Phone("qq", 0, 1)], [0.0])
    with pytest.raises(ValueError, match="before it starts"):
        articulate([Phone("aa", 1, 0.5)], [0.0])
    assert articulate([], []).shape == (0, 52)


def test_manner_is_a_vector_and_spread_wide() -> None:
    many = np.stack([SpeakerProfile.random(np.random.default_rng(seed)).vector() for seed in range(200)])
    jaw = many[:, NAMES.index("jaw_gain")]
    assert jaw.min() < 0.7 and jaw.max() > 1.35
    np.testing.assert_allclose(SpeakerProfile.from_vector(NEUTRAL.vector()).vector(), NEUTRAL.vector())
    with pytest.raises(ValueError, match="jaw_gain"):
        SpeakerProfile(jaw_gain=-1)
