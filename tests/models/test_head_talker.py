"""Families on motion coordinates on the embedded head: a tiny untrained one, its styles, its lengths, its files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from stand_in import spoken

from parlante.animation import animate
from parlante.animation.talker import said
from parlante.audio.encoders.phonetic import DIM, PhoneticConfig, PhoneticEncoder
from parlante.core import InputError, Style
from parlante.core.options import Sampling
from parlante.core.style import load_style, save_style
from parlante.head import load_head
from parlante.models.head_network import HeadNetwork, TalkerMetadata
from parlante.models.head_talker import HeadTalker
from parlante.models.motion_basis import MotionBasis
from parlante.models.registry import build, load_model
from parlante.models.talker import SpeechModel

OFFSETS = (-0.05, 0.0, 0.05)


def tiny(family: str = "talkingstyle") -> HeadNetwork:
    torch.manual_seed(0)
    names = load_head().identity_names[:3]
    basis = MotionBasis.load()
    sizes = {"width": 16, "layers": 1, "period": 30, "steps_per_frame": 1, "subjects": 3}
    sizes |= {"motion_dim": len(basis), "audio_dim": DIM * len(OFFSETS)}
    if family == "ptalker":
        sizes |= {"emotion_dim": DIM * len(OFFSETS), "motion_convolutions": 1, "motion_layers": 1}
    network = build(family, sizes)
    for parameter in network.parameters():  # zeros where training starts would show nothing
        torch.nn.init.normal_(parameter, std=0.15)
    return HeadNetwork(
        family, network, TalkerMetadata(frame_offsets=OFFSETS, subjects=names, basis_scale=basis.scale), "c" * 64
    )


@pytest.fixture(scope="module")
def talker() -> HeadTalker:
    torch.manual_seed(0)
    encoder = PhoneticEncoder(PhoneticConfig(width=16, stem=4, dilations=(1, 1))).eval()
    return HeadTalker(tiny(), encoder)


def motion(talker: SpeechModel, audio: np.ndarray, style: str | None = None, **sampling: float) -> np.ndarray:
    face = talker.face()
    session = talker.session(face, talker.style(style, face), sampling=Sampling(wrinkles=False, **sampling))
    return np.concatenate([block.motion for block in said(session, audio)])


@pytest.mark.parametrize("family", ["faceformer", "talkingstyle", "ptalker"])
def test_every_family_animates(family: str, talker: HeadTalker) -> None:
    other = HeadTalker(tiny(family), talker.encoder)
    result = animate((spoken(1.0), 16000), model=other)
    assert result.vertices.shape == (30, load_head().topology.num_vertices, 3)
    assert result.wrinkle is not None and result.wrinkle.std() > 0
    assert result.provenance["model"] == family
    assert np.ptp(result.vertices, axis=0).max() > 1e-4


def test_the_shipped_facediffuser_follows_its_seed() -> None:
    how = {"model": "facediffuser", "texture": False, "liveliness": False}
    first, again, other = (animate((spoken(1.0), 16000), seed=seed, **how).vertices for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    assert np.ptp(first, axis=0).max() > 2e-3  # metres: the mouth opens


def test_long_speech_is_seamless_and_as_long_as_the_speech(talker: HeadTalker) -> None:
    offsets = motion(talker, spoken(47.3))
    assert len(offsets) == round(47.3 * 30)
    step = np.abs(np.diff(offsets, axis=0)).max((1, 2))
    assert step[595:615].max() <= 1.5 * np.quantile(step[30:590], 0.999)


def test_a_block_begins_like_the_speech_before_it(talker: HeadTalker) -> None:
    short = motion(talker, spoken(19.9))
    assert np.allclose(motion(talker, spoken(30.0))[:550], short[:550], atol=1e-6)


def test_strength_and_styles(talker: HeadTalker) -> None:
    audio = spoken(1.0)
    first, second, _ = talker.abilities.styles
    own, other = motion(talker, audio), motion(talker, audio, second)
    assert np.allclose(own, motion(talker, audio, first))
    assert np.abs(own - other).max() > 1e-5
    assert np.allclose(motion(talker, audio, motion_strength=2.0), 2 * own, atol=1e-6)


def test_mixtures(talker: HeadTalker) -> None:
    first, second, _ = talker.abilities.styles
    a, b = talker.style(first), talker.style(second)
    half = talker.style(f"{first}:0.5,{second}:0.5")
    assert isinstance(half, Style) and np.allclose(half.motion, (a.motion + b.motion) / 2, atol=1e-6)
    beyond = talker.style(f"{first}:3,{second}:-1")
    assert isinstance(beyond, Style) and np.allclose(beyond.motion, 1.5 * a.motion - 0.5 * b.motion, atol=1e-5)
    loud = talker.style(f"{first}:1.5")
    mean = talker.style(None).motion
    assert isinstance(loud, Style) and np.allclose(loud.motion, mean + 1.5 * (a.motion - mean), atol=1e-5)
    for amount, wanted in ((0, mean), (-1, 2 * mean - a.motion), (20, 20 * a.motion - 19 * mean)):
        found = talker.style(f"{first}:{amount}")
        assert isinstance(found, Style) and np.allclose(found.motion, wanted, atol=1e-4)


def test_what_is_no_style_is_said(talker: HeadTalker, tmp_path: Path) -> None:
    first, second, _ = talker.abilities.styles
    for amount in ("a", "nan", "inf", "-inf", ""):
        with pytest.raises(InputError, match=r"has no amount: got .*, wanted a number; write"):
            talker.style(f"{first}:{amount}")
    for wrong, wanted in (
        (f"{first}:1,{second}:-1", "sum to zero"),
        (f"{first}:1,2", "'2' in .* is no NAME:AMOUNT; write"),
        (f"{first}:1e300", "no finite numbers"),
        ("nobody:0.5", "unknown style 'nobody'"),
        ("nobody", "unknown style 'nobody'"),
        ("a.npz", r"a\.npz is an animation, wanted a style: .*parlante style extract a\.npz -o a\.style --model talk"),
        ("a.npz:0.5", "is an animation"),
    ):
        with pytest.raises(InputError, match=wanted):
            talker.style(wrong)
    (tmp_path / "me.txt").write_text("x")
    with pytest.raises(InputError, match=r"me\.txt is no \.style file; wanted"):
        talker.style(str(tmp_path / "me.txt"))


def test_style_files(talker: HeadTalker, tmp_path: Path) -> None:
    first, second, _ = talker.abilities.styles
    path = tmp_path / "me.style"
    save_style(talker.style(second), path)
    again = talker.style(str(path))
    assert isinstance(again, Style) and again.name == second and again.checkpoint == "c" * 64
    assert np.array_equal(again.motion, talker.style(second).motion)
    half = talker.style(f"{first}:0.5,{path}:0.5")
    assert isinstance(half, Style)
    save_style(Style(again.motion, again.wrinkle, "x", "talkingstyle", "d" * 64), path)
    with pytest.raises(InputError, match="another talkingstyle"):
        talker.style(str(path))
    save_style(Style(again.motion, again.wrinkle, "x", "ptalker"), path)
    with pytest.raises(InputError, match="belongs to ptalker"):
        talker.style(str(path))
    path.write_bytes(b"\x80\x04not a style")
    with pytest.raises(InputError, match="style"):
        load_style(path)
    save_style(Style(again.motion * np.nan, again.wrinkle, "x"), path)
    with pytest.raises(InputError, match="finite"):
        load_style(path)


def test_folders(talker: HeadTalker, tmp_path: Path) -> None:
    talker.generator.save(tmp_path / "model")
    found = load_model(tmp_path / "model")
    assert found.name == "talkingstyle" and found.abilities == talker.abilities
    with pytest.raises(InputError, match="did you mean 'talkingstyle'"):
        load_model("talkinstyle")
    with pytest.raises(InputError, match=r"config\.json"):
        load_model(tmp_path / "nowhere")


def test_a_talker_without_wrinkles_completes_nothing(talker: HeadTalker) -> None:
    from parlante.animation.completion import encode_motion

    assert not talker.abilities.completes
    with pytest.raises(InputError, match="completed by a textalker that makes both, got a"):
        encode_motion(talker, np.zeros((1, talker.topology.num_vertices, 3), np.float32))
