"""The small autoregressive talkers in the pipeline: a tiny untrained one, its styles, its lengths, its files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from stand_in import spoken

from parlante.animation import Request, animate
from parlante.animation.sources import find_source
from parlante.animation.styles import find_style
from parlante.animation.vertex import VertexSource
from parlante.audio.encoders.phonetic import DIM, PhoneticConfig, PhoneticEncoder
from parlante.core import InputError, Style
from parlante.core.style import load_style, save_style
from parlante.head import load_head
from parlante.models.embedded import EmbeddedTalker, Surroundings, build
from parlante.models.motion_basis import MotionBasis

TAPS = (-0.05, 0.0, 0.05)


def tiny(family: str = "talkingstyle") -> EmbeddedTalker:
    torch.manual_seed(0)
    names = load_head().identity_names[:3]
    basis = MotionBasis.load()
    sizes = {"width": 16, "layers": 1, "period": 30, "steps_per_frame": 1, "subjects": 3}
    sizes |= {"motion_dim": len(basis), "audio_dim": DIM * len(TAPS)}
    if family == "ptalker":
        sizes |= {"emotion_dim": DIM * len(TAPS), "motion_convolutions": 1, "motion_layers": 1}
    network = build(family, sizes)
    for parameter in network.parameters():  # zeros where training starts would show nothing
        torch.nn.init.normal_(parameter, std=0.15)
    return EmbeddedTalker(family, network, Surroundings(taps=TAPS, subjects=names, basis_scale=basis.scale), "c" * 64)


@pytest.fixture(scope="module")
def source() -> VertexSource:
    torch.manual_seed(0)
    ear = PhoneticEncoder(PhoneticConfig(width=16, stem=4, dilations=(1, 1))).eval()
    return VertexSource(tiny(), ear)


def request(**how: object) -> Request:
    return Request(identity=load_head().identity(load_head().identity_names[0]), texture=False, **how)


def motion(source: VertexSource, **how: object) -> np.ndarray:
    return np.concatenate([window.offsets for window in source.windows(request(**how))])


@pytest.mark.parametrize("family", ["faceformer", "talkingstyle", "ptalker"])
def test_every_family_animates(family: str, source: VertexSource) -> None:
    other = VertexSource(tiny(family), source.encoder)
    result = animate((spoken(1.0), 16000), source=other)
    assert result.vertices.shape == (30, load_head().topology.num_vertices, 3)
    assert result.wrinkle is not None and result.wrinkle.std() > 0
    assert result.provenance["model"] == family
    assert np.ptp(result.vertices, axis=0).max() > 1e-4


def test_the_shipped_facediffuser_follows_its_seed() -> None:
    how = {"source": "facediffuser", "texture": False, "liveliness": False}
    first, again, other = (animate((spoken(1.0), 16000), seed=seed, **how).vertices for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    assert np.ptp(first, axis=0).max() > 2e-3  # metres: the mouth opens


def test_long_speech_is_seamless_and_as_long_as_the_speech(source: VertexSource) -> None:
    source.listen(spoken(47.3))
    offsets = motion(source)
    assert len(offsets) == round(47.3 * 30)
    step = np.abs(np.diff(offsets, axis=0)).max((1, 2))
    assert step[595:615].max() <= 1.5 * np.quantile(step[30:590], 0.999)


def test_a_block_begins_like_the_speech_before_it(source: VertexSource) -> None:
    source.listen(spoken(19.9))
    short = motion(source)
    source.listen(spoken(30.0))
    assert np.allclose(motion(source)[:550], short[:550], atol=1e-6)


def test_strength_and_styles(source: VertexSource) -> None:
    source.listen(spoken(1.0))
    first, second, _ = source.style_names
    own, other = motion(source), motion(source, motion_style=second)
    assert np.allclose(own, motion(source, motion_style=first))
    assert np.abs(own - other).max() > 1e-5
    assert np.allclose(motion(source, motion_strength=2.0), 2 * own, atol=1e-6)


def test_mixtures(source: VertexSource) -> None:
    first, second, _ = source.style_names
    a, b = source.style(first), source.style(second)
    half = find_style(f"{first}:0.5,{second}:0.5", source)
    assert isinstance(half, Style) and np.allclose(half.motion, (a.motion + b.motion) / 2, atol=1e-6)
    beyond = find_style(f"{first}:3,{second}:-1", source)
    assert isinstance(beyond, Style) and np.allclose(beyond.motion, 1.5 * a.motion - 0.5 * b.motion, atol=1e-5)
    loud = find_style(f"{first}:1.5", source)
    mean = source.style(None).motion
    assert isinstance(loud, Style) and np.allclose(loud.motion, mean + 1.5 * (a.motion - mean), atol=1e-5)
    for amount, wanted in ((0, mean), (-1, 2 * mean - a.motion), (20, 20 * a.motion - 19 * mean)):
        found = find_style(f"{first}:{amount}", source)
        assert isinstance(found, Style) and np.allclose(found.motion, wanted, atol=1e-4)


def test_what_is_no_style_is_said(source: VertexSource, tmp_path: Path) -> None:
    first, second, _ = source.style_names
    for amount in ("a", "nan", "inf", "-inf", ""):
        with pytest.raises(InputError, match=r"has no amount: got .*, wanted a number; write"):
            find_style(f"{first}:{amount}", source)
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
            find_style(wrong, source)
    (tmp_path / "me.txt").write_text("x")
    with pytest.raises(InputError, match=r"me\.txt is no \.style file; wanted"):
        find_style(str(tmp_path / "me.txt"), source)


def test_style_files(source: VertexSource, tmp_path: Path) -> None:
    first, second, _ = source.style_names
    path = tmp_path / "me.style"
    save_style(source.style(second), path)
    again = find_style(str(path), source)
    assert isinstance(again, Style) and again.name == second and again.checkpoint == "c" * 64
    assert np.array_equal(again.motion, source.style(second).motion)
    half = find_style(f"{first}:0.5,{path}:0.5", source)
    assert isinstance(half, Style)
    save_style(Style(again.motion, again.wrinkle, "x", "talkingstyle", "d" * 64), path)
    with pytest.raises(InputError, match="another talkingstyle"):
        find_style(str(path), source)
    save_style(Style(again.motion, again.wrinkle, "x", "ptalker"), path)
    with pytest.raises(InputError, match="belongs to ptalker"):
        find_style(str(path), source)
    path.write_bytes(b"\x80\x04not a style")
    with pytest.raises(InputError, match="style"):
        load_style(path)
    save_style(Style(again.motion * np.nan, again.wrinkle, "x"), path)
    with pytest.raises(InputError, match="finite"):
        load_style(path)


def test_folders(source: VertexSource, tmp_path: Path) -> None:
    source.talker.save(tmp_path / "model")
    found = find_source(tmp_path / "model")
    assert isinstance(found, VertexSource) and found.style_names == source.style_names
    with pytest.raises(InputError, match="did you mean 'talkingstyle'"):
        find_source("talkinstyle")
    with pytest.raises(InputError, match=r"config\.json"):
        find_source(tmp_path / "nowhere")
