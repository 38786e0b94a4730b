"""From a talker's blocks to frames: curves found, silence still, eyes alive, any rate, any cut, same bits twice."""

import math
import wave
from pathlib import Path

import numpy as np
import pytest
from stand_in import StandIn, spoken

from parlante.animation import Talker, animate, animate_to
from parlante.animation.liveliness.layer import EYES
from parlante.core import InputError
from parlante.core.notes import strictly
from parlante.core.options import Liveliness, Picture
from parlante.export.npz import load
from parlante.head import load_head
from parlante.head.arkit import ARKIT_NAMES, INDEX
from parlante.head.mouth import lip_aperture


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()


FACE = np.setdiff1d(np.arange(52), EYES)


def test_known_curves_come_back_and_vertices_are_theirs(stand_in: StandIn) -> None:
    result = animate((spoken(2.0), 16000), model=stand_in, liveliness=False)
    assert result.vertices.shape == (60, load_head().topology.num_vertices, 3)
    np.testing.assert_allclose(result.weights, stand_in.curves(60), atol=0.03)
    truth = result.neutral + np.tensordot(stand_in.curves(60), load_head().shapes(load_head().identity_names[0]), 1)
    skin = load_head().topology.regions["skin"]
    assert np.abs(result.vertices - truth)[:, skin].max() < 2e-5, "skin keeps what the curves cannot explain"
    assert result.head_pose is None and result.weight_names == ARKIT_NAMES


def test_eyes_and_head_come_from_the_liveliness_layer(stand_in: StandIn) -> None:
    result = animate((spoken(8.0), 16000), model=stand_in, seed=3)
    lids = result.weights[:, INDEX["eyeBlinkLeft"]]
    assert lids.max() > 0.8, "it blinks"
    assert np.median(lids) < 0.2, "the talker's half-shut eye is replaced"
    assert np.abs(result.head_pose).max() > 0.005 and result.head_pose.shape == (240, 6)
    np.testing.assert_allclose(result.weights[:, FACE], stand_in.curves(240)[:, FACE], atol=0.03)


def test_silence_is_a_still_closed_mouth_and_a_living_face(stand_in: StandIn) -> None:
    result = animate((spoken(14.0, silent_after=2.0), 16000), model=stand_in, seed=1)
    aperture = lip_aperture(result.vertices, result.topology)
    rest = lip_aperture(result.neutral[None], result.topology)[0]
    assert np.abs(aperture[80:] - rest).max() < 2e-4
    assert aperture[:60].max() > rest + 5e-3
    assert np.abs(np.diff(aperture)).max() < 0.5 * np.ptp(aperture), "no pops"
    assert result.weights[80:, EYES].max() > 0.5, "it still blinks"
    np.testing.assert_allclose(result.weights[80:, INDEX["browInnerUp"]], 0.4, atol=0.02)


def test_teeth_and_eyeballs_stay_rigid(stand_in: StandIn) -> None:
    stand_in.noise = np.random.default_rng(0)
    result = animate((spoken(1.0), 16000), model=stand_in)
    shapes = load_head().shapes(load_head().identity_names[0])
    for name in ("teeth_lower", "eyeball_left"):
        region = load_head().topology.regions[name]
        posed = result.neutral[region] + np.tensordot(result.weights, shapes[:, region], 1)
        np.testing.assert_allclose(result.vertices[:, region], posed, atol=1e-5)


@pytest.mark.parametrize("fps", [24.0, 25.0, 59.94])
def test_other_frame_rates_keep_the_motion(stand_in: StandIn, fps: float) -> None:
    result = animate((spoken(3.0), 16000), model=stand_in, fps=fps, liveliness=False)
    assert len(result.vertices) == math.ceil(3.0 * fps - 1e-9) and result.fps == fps
    time = np.minimum(np.arange(len(result.vertices)) / fps, 89 / 30)
    wanted = 0.3 + 0.25 * np.sin(2 * np.pi * 2 * time)
    np.testing.assert_allclose(result.weights[:, INDEX["jawOpen"]], wanted, atol=0.035)


def test_the_cuts_of_the_talker_leave_no_trace() -> None:
    whole, pieces = (
        animate((spoken(3.0), 16000), model=StandIn(piece), fps=50, liveliness=False) for piece in (1000, 11)
    )
    assert np.abs(whole.vertices - pieces.vertices).max() < 2e-5
    assert np.abs(whole.weights - pieces.weights).max() < 0.02


def test_the_same_seed_gives_the_same_bits_and_another_does_not(stand_in: StandIn) -> None:
    one, two, other = (animate((spoken(4.0), 16000), model=stand_in, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.vertices, two.vertices)
    assert not np.array_equal(one.head_pose, other.head_pose)
    assert one.provenance["seed"] == 5 and one.provenance["model"] == "stand-in"


def test_styles_strengths_and_texture_reach_the_talker(stand_in: StandIn) -> None:
    names = load_head().identity_names
    result = animate(
        (spoken(0.5), 16000), model=stand_in, identity=names[1], style=names[2], wrinkle_style=names[3],
        motion_strength=0.5, texture=False,
    )  # fmt: skip
    face, style, sampling = stand_in.calls[-1]
    assert (face.name, style.name, style.wrinkle_name) == (names[1], names[2], names[3])
    assert sampling.motion_strength == 0.5 and not sampling.wrinkles
    assert result.wrinkle is None and result.albedo is None
    assert result.provenance["motion_style"] == names[2] and result.provenance["wrinkle_style"] == names[3]


def test_unknown_names_and_numbers_out_of_range_are_told(stand_in: StandIn) -> None:
    name = load_head().identity_names[4]
    typo = name[:-1] + "x"
    sound = (spoken(0.2), 16000)
    with pytest.raises(InputError, match=rf"unknown identity '{typo}'; did you mean '{name}'"):
        Talker(stand_in).cast(identity=typo)
    with pytest.raises(InputError, match="unknown style"):
        Talker(stand_in).cast(style="nobody")
    for wrong in ({"fps": 0}, {"fps": math.nan}, {"motion_strength": -1}, {"seed": -1}, {"steps": 0}):
        with pytest.raises(InputError, match="must"):
            animate(sound, model=stand_in, **wrong)


def test_what_a_talker_lacks_is_not_passed_over(stand_in: StandIn) -> None:
    sound = (spoken(0.2), 16000)
    with pytest.raises(InputError, match=r"must lie in 1\.\.1000, got 2000"):
        animate(sound, model=stand_in, steps=2000)
    stand_in.able(solver_steps=0)
    with pytest.raises(InputError, match="has no solver"):
        animate(sound, model=stand_in, steps=4)
    stand_in.able(wrinkle_size=None)
    animate(sound, model=stand_in)
    for wish in ({"wrinkle_style": stand_in.abilities.styles[0]}, {"wrinkle_strength": 2.0}):
        with pytest.raises(InputError, match="makes no wrinkles"):
            animate(sound, model=stand_in, **wish)


def test_files_are_written_as_it_goes(stand_in: StandIn, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    take = animate_to(
        (spoken(3.0), 16000),
        [tmp_path / "a.npz", tmp_path / "a.csv"],
        model=stand_in,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (90, 90) and len(seen) > 1 and take.num_frames == 90
    result = load(tmp_path / "a.npz")
    assert result.vertices.shape[0] == 90 and len((tmp_path / "a.csv").read_text().splitlines()) == 181
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.npz"]


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (192000, 1), (48000, 6), (11111, 1)])
def test_any_rate_and_channel_count(rate: int, channels: int, stand_in: StandIn, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = np.repeat((spoken(1.0, rate) * 32767).astype("<i2")[:, None], channels, axis=1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    result = animate(path, model=stand_in)
    assert len(result.vertices) == 30
    assert abs(len(result.audio) / result.sample_rate - 1.0) < 2e-3
    assert result.sample_rate == (rate if rate in (8000, 44100, 48000) else 48000)


def test_a_moment_of_sound_is_enough(stand_in: StandIn) -> None:
    assert len(animate((spoken(0.004), 16000), model=stand_in).vertices) == 1
    with pytest.raises(InputError, match="no samples"):
        animate((np.zeros(0, np.float32), 16000), model=stand_in)
    noisy = spoken(0.5)
    noisy[100:200] = np.nan
    assert np.isfinite(animate((noisy, 16000), model=stand_in).vertices).all()


def test_a_session_takes_any_sound_and_ends_with_its_block(stand_in: StandIn) -> None:
    sound = (spoken(0.4) * 32768).astype(np.int16)
    whole = Talker(stand_in)((sound, 16000), seed=1)
    with Talker(stand_in).session(seed=1) as session:
        buffer = np.empty(3200, np.int16)
        buffer[:] = sound[:3200]
        session.push(buffer)
        buffer[:] = 0  # a caller's buffer is the caller's
        session.push((sound[3200:] / 32768).tolist())
        session.push([])
        made = np.concatenate([block.vertices for block in session.finish()])
        assert not list(session.finish())
    np.testing.assert_array_equal(made, whole.vertices)
    for wrong in (sound.reshape(2, -1), "line.wav", [[0.0], [0.0, 1.0]], None):
        with pytest.raises(InputError, match=r"push mono audio"):
            Talker(stand_in).session().push(wrong)
    for late in (lambda: session.push(sound), session.finish, session.__enter__):
        with pytest.raises(InputError, match=r"has ended with its `with` block; begin another"):
            late()


def test_a_look_ahead_that_nobody_keeps_is_refused(stand_in: StandIn) -> None:
    with pytest.raises(InputError, match=r"stand-in answers whole recordings only; leave it out"):
        Talker(stand_in).session(look_ahead=0.2)
    with pytest.raises(InputError, match=r"look_ahead must be a number of seconds or none, got '0.2'"):
        Talker(stand_in).session(look_ahead="0.2")  # type: ignore[arg-type]
    stand_in.able(smallest_look_ahead=0.1)
    with pytest.raises(InputError, match=r"needs at least 0.1 s"):
        Talker(stand_in).session(look_ahead=0.05)
    with pytest.raises(InputError, match=r"0.2 s is not possible: these sessions give their frames when the sound has"):
        Talker(stand_in).session(look_ahead=0.2)


def test_wrong_types_are_one_line_each(stand_in: StandIn) -> None:
    """What, got, wanted."""
    for wish, message in (
        ({"seed": "1"}, "seed must be a whole number .*, got '1'"),
        ({"seed": True}, "seed must be a whole number .*, got True"),
        ({"seed": 1.5}, "seed must be a whole number .*, got 1.5"),
        ({"steps": "10"}, "steps must be a whole number or none, got '10'"),
        ({"fps": "30"}, "fps must be a number in 1..240 or none, got '30'"),
        ({"motion_strength": "1"}, "motion_strength must be a number in 0..3, got '1'"),
        ({"wrinkle_strength": None}, "wrinkle_strength must be a number in 0..3, got None"),
        ({"style": {"ada": 1.0}}, r"style must be a name, a mixture such as ada:0.7.* Style, got {'ada': 1.0}"),
        ({"wrinkle_style": ["ada"]}, r"wrinkle_style must be a name, .*, got \['ada'\]"),
        ({"identity": 3}, "identity must be a name, a mesh file, or an instance of Identity, got 3"),
        ({"emotion": {"joy": 0.5}}, "no model shows emotions yet, got joy for stand-in; leave emotion out"),
        ({"emotion": "joy"}, "emotion must be amounts by name such as {'joy': 0.5} or none, got 'joy'"),
    ):
        with pytest.raises(InputError, match=message):
            Talker(stand_in).cast(**wish)  # type: ignore[arg-type]
    casting = Talker(stand_in).cast(seed=np.int64(3), fps=np.float32(25), motion_strength=np.float32(0.5))
    assert casting.facts["seed"] == 3 and type(casting.facts["seed"]) is int and casting.fps == 25
    with pytest.raises(InputError, match=r"size must be an even number in 64..4096, got '512'"):
        Picture(size="512")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"head of the liveliness must be a number in 0..3, got 'much'"):
        Liveliness(head="much")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"outputs must be file names, such as talk.glb, got 3"):
        animate((spoken(0.2), 16000), model=stand_in, outputs=[3])  # type: ignore[list-item]


def test_one_output_needs_no_list(stand_in: StandIn, tmp_path: Path) -> None:
    sound = (spoken(0.2), 16000)
    animate(sound, model=stand_in, outputs=str(tmp_path / "a.csv"))
    Talker(stand_in).write(sound, tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_bytes()[:20] == (tmp_path / "b.csv").read_bytes()[:20]


def test_a_style_that_is_replaced_is_told(stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    first, second, *_ = stand_in.abilities.styles
    talker = Talker(stand_in.able(styles=(first,)))
    talker.cast(identity=first)
    talker.cast(identity=second, style=first)
    assert not caplog.messages
    told = f"stand-in knows no style of {second}, which speaks in the average style; name another as its style"
    cast = talker.cast(identity=second)
    assert cast.facts["motion_style"] == "mean" and cast.notes == (told,) and caplog.messages == [told]
    animation = talker((spoken(0.5), 16000), identity=second)
    assert animation.notes == (told,), "it goes with the animation, and is logged once for it"
    assert caplog.messages == [told, told]
    with strictly(), pytest.raises(InputError, match=r"speaks in the average style.*--strict"):
        talker.cast(identity=second)


def test_a_wrinkle_style_that_changes_nothing_is_told(stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
    first, second, *_ = stand_in.abilities.styles
    Talker(stand_in).cast(wrinkle_style=second)
    assert not caplog.messages
    Talker(stand_in).cast(wrinkle_style=second, texture=False)
    Talker(stand_in).cast(identity=first, wrinkle_style=f"{first}:1,{second}:1")
    assert "no wrinkles are made without texture" in caplog.messages[0]
    assert caplog.messages[1].startswith("stand-in takes wrinkles from persons") and len(caplog.messages) == 2
