"""The liveliness layer: natural rates, any part off, the same at every frame rate and cut, nothing where it is off."""

import numpy as np
import pytest
from stand_in import StandIn, spoken

from parlante.animation import Talker, animate
from parlante.animation.liveliness.eyes import blinks, gaze
from parlante.animation.liveliness.head import breaths, nods, sway
from parlante.animation.liveliness.layer import BLOCK_S, LOOK_SHAPES, LivelinessLayer, prosody_of
from parlante.core import Identity, InputError
from parlante.core.frames import AnimationInfo
from parlante.core.options import NO_LIVELINESS, PARTS, Liveliness
from parlante.core.timing import FPS
from parlante.head import load_head
from parlante.head.arkit import INDEX
from parlante.head.rig import LOOK
from parlante.head.speaker_profile import SpeakerProfile
from parlante.synth.prosody import prosody

RATE = 16000
GRID = 50.0
LIDS = [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]


def phrases(seconds: float, speak: float = 3.0, pause: float = 1.0) -> np.ndarray:
    """(T,) loudness at 50 Hz: phrases of syllables with pauses between them."""
    time = np.arange(round(seconds * GRID)) / GRID
    return np.where(time % (speak + pause) < speak, 0.6 + 0.3 * np.sin(2 * np.pi * 4 * time), 0.0)


def layer(audio: np.ndarray, parts: Liveliness | None = None, **how: object) -> tuple[np.ndarray, np.ndarray | None]:
    """Everything that the layer lays over resting curves."""
    frames = int(np.ceil(len(audio) / RATE * float(how.get("fps", FPS))))
    return LivelinessLayer(audio, RATE, parts, **how)(np.zeros((frames, 52), np.float32), 0)  # type: ignore[arg-type]


def test_off_is_bit_for_bit_the_talker() -> None:
    talker = StandIn()
    plain = Talker(talker)
    _, chunks = plain.stream((spoken(3.0), RATE), plain.cast(liveliness="none", texture=False))
    weights = np.concatenate([chunk.weights for chunk in chunks])
    audio = spoken(3.0)
    untouched = np.random.default_rng(0).random((90, 52)).astype(np.float32)
    same, pose = LivelinessLayer(audio, RATE, NO_LIVELINESS)(untouched, 0)
    assert same is untouched and pose is None
    off, plain = (animate((audio, RATE), model=talker, liveliness=wish) for wish in ("none", False))
    for name in ("vertices", "weights", "wrinkle"):
        np.testing.assert_array_equal(getattr(off, name), getattr(plain, name))
    np.testing.assert_array_equal(off.weights, weights)
    np.testing.assert_allclose(weights[:, LIDS[0]], 0.5, atol=0.03)  # the talker's own half-shut eye
    assert off.head_pose is None and off.provenance["liveliness"] == "none"


def test_a_part_alone_leaves_everything_else_to_the_talker() -> None:
    audio = spoken(10.0, silent_after=6.0)
    talker = np.random.default_rng(0).random((300, 52)).astype(np.float32)
    touched = {"blinks": [*LIDS, INDEX["eyeWideLeft"], INDEX["eyeWideRight"]], "gaze": list(LOOK_SHAPES)}
    for part in PARTS:
        weights, pose = LivelinessLayer(audio, RATE, Liveliness.parse(part), seed=2)(talker, 0)
        others = np.setdiff1d(np.arange(52), touched.get(part, []))
        np.testing.assert_array_equal(weights[:, others], talker[:, others])
        assert (pose is not None and np.ptp(pose) > 0) == (part in ("head", "breath"))
        assert (not np.array_equal(weights, talker)) == (part in touched)


def test_switching_a_part_off_does_not_move_the_others() -> None:
    audio = spoken(12.0, silent_after=8.0)
    everything, pose = layer(audio, seed=4)
    blinking, none = layer(audio, Liveliness.parse("blinks"), seed=4)
    without = everything[:, LIDS] > 0
    np.testing.assert_array_equal(blinking[:, LIDS] > 0, without)
    assert none is None
    apart = sum(layer(audio, Liveliness.parse(part), seed=4)[1].astype(float) for part in ("head", "breath"))  # type: ignore[union-attr]
    np.testing.assert_allclose(pose, apart, atol=1e-7)


@pytest.mark.parametrize("fps", [25.0, 60.0, 59.94])
def test_every_frame_rate_shows_the_same_events(fps: float) -> None:
    audio = spoken(20.0)
    fine, pose = layer(audio, seed=1, fps=1200.0)
    some, turned = layer(audio, seed=1, fps=fps)
    at = np.minimum(np.round(np.arange(len(some)) / fps * 1200).astype(int), len(fine) - 1)
    np.testing.assert_allclose(turned, pose[at], atol=2e-4)  # type: ignore[index]
    assert np.abs(some[:, LIDS] - fine[at][:, LIDS]).max() < 0.02
    assert (some[:, LIDS[0]] > 0.98).sum() >= np.count_nonzero(np.diff((fine[:, LIDS[0]] > 0).astype(int)) == 1)


def test_cuts_and_blocks_leave_no_trace() -> None:
    audio = np.tile(spoken(7.0, silent_after=5.0), 20)  # longer than two blocks
    assert len(audio) / RATE > 2 * BLOCK_S
    whole = LivelinessLayer(audio, RATE, seed=3)
    weights, pose = whole(np.zeros((4200, 52), np.float32), 0)
    again = LivelinessLayer(audio, RATE, seed=3)
    pieces = [again(np.zeros((min(37, 4200 - start), 52), np.float32), start) for start in range(0, 4200, 37)]
    np.testing.assert_array_equal(np.concatenate([piece[0] for piece in pieces]), weights)
    np.testing.assert_array_equal(np.concatenate([piece[1] for piece in pieces]), pose)
    assert np.abs(np.diff(np.degrees(pose[:, :3]), axis=0)).max() < 1.5, "no jumps, at the joins of blocks neither"
    sound, one = prosody_of(audio, RATE), prosody(audio, RATE, GRID)
    assert np.abs(sound.energy - one.energy).max() < 0.05


def test_the_seed_decides() -> None:
    audio = spoken(8.0)
    one, two, other = (layer(audio, seed=seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert not np.array_equal(one[0], other[0]) and not np.array_equal(one[1], other[1])


@pytest.mark.parametrize("rate", [0.15, 0.3, 0.6])
def test_blinks_keep_their_rate_their_shape_and_their_distance(rate: float) -> None:
    energy = phrases(1200)
    made = blinks(energy, GRID, np.zeros(0), rate, np.random.default_rng(0))
    assert abs(len(made.starts) / 1200 / rate - 1) < 0.12
    gaps = np.diff(made.starts)
    assert gaps.min() >= min(0.9, 0.5 / rate) - 1e-9
    assert 0.3 < gaps.std() / gaps.mean() < 1.2, "irregular"
    assert gaps.max() < 5 / rate, "and never long away"
    assert np.all(made.shut - made.starts < made.ends - made.rise), "they close faster than they open"
    lids = made.at(np.arange(1200 * 30) / 30)
    assert lids.max() == 1 and lids.min() == 0 and (lids > 0).mean() < 0.5
    pause_ends = np.arange(3.0, 1200, 4.0)  # where phrases end
    after = np.array([np.any((made.starts >= end) & (made.starts < end + 0.35)) for end in pause_ends])
    assert after.mean() > 1.5 * (1 - np.exp(-rate * 0.35)), "likelier at the end of a phrase"


def test_eighteen_blinks_a_minute_by_default() -> None:
    audio = np.tile(spoken(5.0, silent_after=4.0), 24)
    counts = []
    for seed in range(4):
        lids = layer(audio, Liveliness.parse("blinks"), seed=seed)[0][:, LIDS[0]]
        counts.append(np.count_nonzero((lids[1:] > 0) & (lids[:-1] == 0)) / 2)
    assert 15 <= np.mean(counts) <= 20


def test_saccades_follow_the_main_sequence_and_fixations_last() -> None:
    looks = gaze(phrases(600), GRID, 1.0, np.random.default_rng(0))
    assert np.diff(looks.starts).min() >= 0.25 and 0.4 < np.median(np.diff(looks.starts)) < 1.0
    sizes = np.linalg.norm(np.diff(looks.targets, axis=0), axis=1)
    for low, high in ((4, 6), (9, 12), (18, 25)):
        number = int(np.flatnonzero((sizes > low) & (sizes < high))[0]) + 1
        times = looks.starts[number] + np.arange(-0.01, 0.2, 0.0005)
        course = looks.at(times)
        speed = np.linalg.norm(np.diff(course, axis=0), axis=1) / 0.0005
        size = sizes[number - 1]
        assert abs(np.count_nonzero(speed > 1) * 0.0005 - (0.021 + 0.0022 * size)) < 0.004
        published = 500 * (1 - np.exp(-size / 11))  # deg/s, a main sequence of peak velocities
        assert 0.7 < speed.max() / published < 1.4
    away = np.linalg.norm(looks.at(np.arange(0, 600, 0.02)), axis=1) > 4
    assert 0.1 < away.mean() < 0.4, "it looks at the other most of the time"
    listening = gaze(np.zeros(30000), GRID, 1.0, np.random.default_rng(0))
    assert (np.linalg.norm(listening.at(np.arange(0, 600, 0.02)), axis=1) > 4).mean() < away.mean()


def test_eyes_stay_on_their_target_while_the_head_moves() -> None:
    audio = spoken(20.0)
    weights, pose = layer(audio, Liveliness.parse("gaze,head:2,breath"), seed=5, fps=200.0)
    still, _ = layer(audio, Liveliness.parse("gaze"), seed=5, fps=200.0)

    def yaw(curves: np.ndarray) -> np.ndarray:
        return curves[:, INDEX["eyeLookOutLeft"]] * LOOK["Out"] - curves[:, INDEX["eyeLookInLeft"]] * LOOK["In"]

    def pitch(curves: np.ndarray) -> np.ndarray:
        return curves[:, INDEX["eyeLookUpLeft"]] * LOOK["Up"] - curves[:, INDEX["eyeLookDownLeft"]] * LOOK["Down"]

    inside = (np.abs(yaw(weights)) < 25) & (np.abs(pitch(weights)) < 17)  # not at the stops
    assert inside.mean() > 0.9
    np.testing.assert_allclose((yaw(weights) + np.degrees(pose[:, 1]))[inside], yaw(still)[inside], atol=0.02)  # type: ignore[index]
    np.testing.assert_allclose((pitch(weights) - np.degrees(pose[:, 0]))[inside], pitch(still)[inside], atol=0.02)  # type: ignore[index]


def test_upper_lids_follow_the_eyes() -> None:
    head = load_head()
    name = head.identity_names[0]
    margin = np.asarray(head.topology.regions["skin"])
    blink = head.shapes(name)[INDEX["eyeBlinkLeft"], :, 1]
    lid = margin[np.argsort(blink[margin])[:20]]  # what a blink lowers most
    down = head.shapes(name)[INDEX["eyeLookDownLeft"], lid, 1].mean() / blink[lid].mean()
    up = head.shapes(name)[INDEX["eyeLookUpLeft"], lid, 1].mean()
    assert 0.3 < down < 0.6 and up > 0
    layer_ = LivelinessLayer(spoken(30.0), RATE, Liveliness.parse("blinks"), seed=0)
    looking_down = np.zeros((900, 52), np.float32)
    looking_down[:, [INDEX["eyeLookDownLeft"], INDEX["eyeLookDownRight"]]] = 1.0
    weights, _ = layer_(looking_down, 0)
    closure = weights[:, INDEX["eyeBlinkLeft"]] + 0.42 * weights[:, INDEX["eyeLookDownLeft"]]
    assert abs(closure.max() - 1) < 1e-5, "lids meet and go no further"


def test_nods_come_with_accents_and_only_with_them() -> None:
    accent = np.zeros(3000)
    peaks = np.arange(100, 2950, 75)
    for peak in peaks:
        accent[peak - 8 : peak + 9] = np.maximum(accent[peak - 8 : peak + 9], np.hanning(17) * 0.8)
    made = nods(accent, GRID, 1.0, np.random.default_rng(0))
    assert 0.4 * len(peaks) < len(made.tops) < 0.8 * len(peaks)
    distance = np.abs(made.tops[:, None] * GRID - peaks).min(1)
    assert distance.max() <= 6, "within 120 ms"
    course = np.degrees(made.at(np.arange(6000) / 100))
    assert 1.5 < course.max() < 4 and course.min() >= 0, "downwards"
    assert not len(nods(np.zeros(3000), GRID, 1.0, np.random.default_rng(0)).tops)


@pytest.mark.parametrize("amount", [1.0, 4.0])
def test_sway_stays_under_two_degrees_and_never_stops(amount: float) -> None:
    for seed in range(5):
        pose = np.degrees(sway(np.arange(0, 600, 0.1), np.ones(6000), amount, np.random.default_rng(seed))[:, :3])
        assert np.abs(pose).max() < 2
        assert np.ptp(pose[:100], axis=0).min() > 0.1
        assert np.abs(np.diff(pose, axis=0)).max() / 0.1 < 6, "degrees a second"


def test_breath_is_drawn_in_pauses() -> None:
    energy = phrases(400, speak=4.0, pause=0.8)
    made = breaths(energy, GRID, np.random.default_rng(0))
    assert 8 < len(made.starts) / 400 * 60 < 20
    for start, top in zip(made.starts, made.tops):
        assert energy[round(start * GRID) + 3 : round(top * GRID) - 4].max(initial=0) == 0, "nobody speaks inhaling"
    calm = breaths(np.zeros(20000), GRID, np.random.default_rng(0))
    assert 12 < len(calm.starts) / 400 * 60 < 18
    course = calm.at(np.arange(40000) / 100)
    assert course.min() >= 0 and course.max() <= 0.6 + 1e-9 and np.abs(np.diff(course)).max() < 0.02
    assert not len(breaths(np.ones(500), GRID, np.random.default_rng(0)).starts), "no pause, no breath"


def test_nothing_to_hear_and_very_little() -> None:
    for count in (0, 1, 100, 700):
        weights, pose = layer(np.zeros(count, np.float32))
        assert np.isfinite(weights).all() and np.isfinite(pose if pose is not None else 0).all()


def test_livelier_people_move_more() -> None:
    audio = spoken(20.0)
    calm, vivid = (layer(audio, profile=SpeakerProfile(head_motion=amount), seed=1)[1] for amount in (0.4, 1.5))
    assert vivid[:, :3].std() > 2 * calm[:, :3].std()  # type: ignore[index]


def test_wishes_are_read_and_refused() -> None:
    assert Liveliness.parse("all") == Liveliness() == Liveliness.parse(True) and Liveliness.parse(
        "none"
    ) == NO_LIVELINESS == Liveliness.parse(False)
    wish = Liveliness.parse("blinks, head:0.5")
    assert wish == Liveliness(1, 0, 0.5, 0) and Liveliness.parse(str(wish)) == wish
    assert str(NO_LIVELINESS) == "none"
    for bad, said in (("winks", "winks.*choose all"), ("head:much", "much"), ("head:9", "0..3"), ("", "choose"),
                      ("head,head", "head"), ("head:nan", "0..3")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            Liveliness.parse(bad)
    with pytest.raises(InputError, match="mesh of its own"):
        _mesh_talker("blinks")
    assert _mesh_talker(True).provenance["liveliness"] == "none"


def _mesh_talker(wish: bool | str) -> AnimationInfo:
    class Meshy(StandIn):
        def face(self, wish: object = None, *, paint: bool = True) -> Identity:
            return load_head().identity(load_head().identity_names[0])

    talker = Talker(Meshy())
    return talker.stream((spoken(1.0), RATE), talker.cast(liveliness=wish))[0]
