"""TexTalker on the embedded head: shapes, styles, strengths and seeds, on a tiny untrained model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stand_in import spoken

from parlante.animation import animate
from parlante.animation.style_extraction import extract_style
from parlante.animation.talker import said
from parlante.audio.encoders.phonetic import DIM, PhoneticConfig, PhoneticEncoder
from parlante.core import InputError, Style
from parlante.core.options import Sampling
from parlante.core.style import combined
from parlante.head import load_head
from parlante.models.head_talker import HeadTalker
from parlante.models.textalker.denoiser import DenoiserConfig
from parlante.models.textalker.head_generator import TexTalkerGenerator
from parlante.models.textalker.load import load
from parlante.models.textalker.model import TexTalker, TexTalkerConfig
from parlante.models.textalker.vqgan import VQGANConfig

MAP = {"nf": 8, "ch_mult": (1, 1), "res_blocks": 1, "attn_resolutions": (), "norm_groups": 4, "codebook_size": 16}


@pytest.fixture(scope="module")
def talker() -> HeadTalker:
    torch.manual_seed(0)
    names = load_head().identity_names
    config = TexTalkerConfig(
        motion=VQGANConfig(img_size=64, patch=4, **MAP),
        wrinkle=VQGANConfig(img_size=64, patch=4, **MAP),
        denoiser=DenoiserConfig(
            motion_dim=12, wrinkle_dim=10, width=16, heads=2, layers=1, frames=20, previous=4, steps=50, style_dim=4
        ),
        feature_dim=DIM,
        stats={"minimum": [-0.01, -0.01, -0.01], "maximum": [0.01, 0.01, 0.01]},
        style_dims=(2, 2),
        styles=(names[0], names[1]),
        overlap=3,
        steps=2,
    )
    network = TexTalker(config).eval().requires_grad_(False)
    for name in ("motion_basis", "wrinkle_basis", "motion_style", "wrinkle_style"):
        torch.nn.init.orthogonal_(getattr(network, name).components)
    network.motion_pivots.normal_()
    network.wrinkle_pivots.normal_()
    encoder = PhoneticEncoder(PhoneticConfig(width=32, dilations=(1,))).eval().requires_grad_(False)
    return HeadTalker(TexTalkerGenerator(network), encoder)


SPEECH = spoken(1.0)


def performed(
    talker: HeadTalker,
    audio: np.ndarray = SPEECH,
    motion_style: str | Style | None = None,
    wrinkle_style: str | Style | None = None,
    **sampling: Any,
) -> tuple[np.ndarray, np.ndarray | None]:
    face = talker.face()
    style = combined(talker.style(motion_style, face), talker.style(wrinkle_style, face))
    blocks = list(said(talker.session(face, style, sampling=Sampling(**sampling)), audio))
    wrinkles = [block.wrinkle for block in blocks if block.wrinkle is not None]
    return np.concatenate([block.motion for block in blocks]), np.concatenate(wrinkles) if wrinkles else None


@pytest.mark.parametrize("samples", [1, 300, 700, 16000, 40001])
def test_as_many_frames_as_begin_within_the_sound(talker: HeadTalker, samples: int) -> None:
    audio = spoken(3.0)[:samples]
    offsets, wrinkle = performed(talker, audio)
    blocks = said(talker.session(talker.face(), talker.style()), audio)
    silence = np.concatenate([block.silence for block in blocks])
    frames = -(-samples * 30 // 16000)
    assert silence.shape == (frames,) and 0 <= silence.min() <= silence.max() <= 1
    assert offsets.shape == (frames, load_head().topology.num_vertices, 3) and offsets.dtype == np.float32
    assert wrinkle is not None and wrinkle.shape == (frames, 64, 64, 3) and wrinkle.dtype == np.uint8


def test_styles_and_strengths_do_what_they_say(talker: HeadTalker) -> None:
    offsets, wrinkle = performed(talker)
    assert wrinkle is not None
    first, second = talker.abilities.styles
    np.testing.assert_array_equal(performed(talker, motion_style=first, wrinkle_style=first)[0], offsets)
    assert np.abs(performed(talker, motion_style=second)[0] - offsets).max() > 1e-5
    skin = performed(talker, wrinkle_style=second)[1]
    assert skin is not None and np.abs(skin.astype(int) - wrinkle).max() > 1
    np.testing.assert_allclose(performed(talker, motion_strength=0.5)[0], 0.5 * offsets, atol=1e-7)
    smooth = performed(talker, wrinkle_strength=0.0)[1]
    assert smooth is not None and (smooth == 118).all()
    assert performed(talker, wrinkles=False)[1] is None
    mixed = Style(talker.style(first).motion, talker.style(second).wrinkle, "mix")
    assert np.isfinite(performed(talker, motion_style=mixed, wrinkle_style=mixed)[0]).all()
    with pytest.raises(InputError, match="unknown style"):
        performed(talker, motion_style="nobody")


def test_the_seed_decides(talker: HeadTalker) -> None:
    np.testing.assert_array_equal(performed(talker, seed=1)[0], performed(talker, seed=1)[0])
    assert not np.array_equal(performed(talker, seed=1)[0], performed(talker, seed=2)[0])


def test_from_sound_to_face(talker: HeadTalker) -> None:
    result = animate((spoken(1.5), 16000), model=talker)
    assert result.vertices.shape[0] == 45 and np.isfinite(result.vertices).all()
    assert result.wrinkle is not None and result.wrinkle.shape[:2] == (45, 64)


def test_a_style_is_extracted_from_what_the_talker_itself_said(talker: HeadTalker) -> None:
    head = load_head()
    result = animate(
        (spoken(1.5), 16000), identity=head.identity_names[0], style=talker.abilities.styles[0], model=talker
    )
    found = extract_style([result], talker, "me")
    assert found.seconds == pytest.approx(1.5) and found.facts["wrinkles"] == "from the clips"
    assert found.facts["nearest known style"] in talker.abilities.styles
    for part, shape in zip((found.style.motion, found.style.wrinkle), talker.generator.network.shapes, strict=True):
        assert part.shape == shape and np.isfinite(part).all()
    bare = extract_style([replace(result, wrinkle=None)], talker, "me")
    assert bare.facts["wrinkles"] == "average" and bare.style.name == "me"
    np.testing.assert_allclose(bare.style.wrinkle, talker.style(None).wrinkle, atol=1e-6)
    assert np.isfinite(performed(talker, motion_style=found.style, wrinkle_style=found.style)[0]).all()


def test_a_missing_checkpoint_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no checkpoint"):
        load(tmp_path)
