"""Wrinkles for a given motion, motion for given wrinkles: what is given is kept, and what is not given follows it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from parlante.animation.completion import (
    animation_of_curves,
    default_model,
    encode_motion,
    motion_offsets,
    wrinkle_maps,
)
from parlante.animation.talker import said
from parlante.audio.io import iter_audio
from parlante.cli import main
from parlante.core import Animation, InputError
from parlante.export import save
from parlante.export.npz import load
from parlante.geometry.uv.ratio import ratio_from_bytes
from parlante.head import load_head
from parlante.head.arkit import ARKIT_NAMES
from parlante.models.head_talker import HeadTalker
from parlante.models.textalker.completion import complete_latents

NAME = "abena"


@pytest.fixture(scope="module")
def model() -> HeadTalker:
    return default_model()


def mouthing(frames: int = 40) -> Animation:
    """Opening and smiling, silently."""
    curves = np.zeros((frames, 3), np.float32)
    beat = 0.5 - 0.5 * np.cos(np.arange(frames) * 0.5)
    curves[:, 0], curves[:, 1], curves[:, 2] = 0.35 * beat, 0.6 * (1 - beat), 0.6 * (1 - beat)
    return animation_of_curves(curves, NAME, names=("jawOpen", "mouthSmileLeft", "mouthSmileRight"))


@pytest.fixture(scope="module")
def spoken(model: HeadTalker) -> Animation:
    """Two seconds of the demo sentence as the joint model performs it: motion and the skin that goes with it."""
    audio = np.concatenate(list(iter_audio(Path(__file__).parents[2] / "assets" / "demo.wav", sample_rate=16000)))[
        :32000
    ]
    person = model.face(NAME)
    blocks = list(said(model.session(person, model.style(None, person)), audio))
    offsets = np.concatenate([block.motion for block in blocks])
    stored = np.concatenate([block.wrinkle for block in blocks if block.wrinkle is not None])
    return replace(mouthing(len(offsets)), vertices=person.neutral + offsets, wrinkle=stored, weights=None)


def test_wrinkles_follow_motion_without_sound(model: HeadTalker, spoken: Animation) -> None:
    """Their changes go with those of the skin that went with the motion."""
    made = np.concatenate([maps for _, maps in wrinkle_maps(spoken, model=model)])
    assert spoken.wrinkle is not None and made.shape == spoken.wrinkle.shape and made.dtype == np.uint8
    want, got = (np.log(ratio_from_bytes(maps)) for maps in (spoken.wrinkle, made))
    want, got = want - want.mean(0), got - got.mean(0)
    assert (want * got).sum() / np.sqrt(np.square(want).sum() * np.square(got).sum()) > 0.45
    again = next(maps for _, maps in wrinkle_maps(spoken, model=model))
    assert (again == made[: len(again)]).all()


def test_motion_follows_wrinkles_without_sound(model: HeadTalker, spoken: Animation) -> None:
    assert spoken.wrinkle is not None
    offsets = spoken.vertices - spoken.neutral
    made = np.concatenate([piece for _, piece in motion_offsets(spoken, audio=None, model=model)])
    assert made.shape == offsets.shape
    lips = load_head().topology.regions["lips"]
    distance = np.linalg.norm((made - offsets)[:, lips], axis=-1).mean()
    assert distance < 0.7 * np.linalg.norm((offsets - offsets.mean(0))[:, lips], axis=-1).mean()
    coarse = replace(spoken, wrinkle=np.ascontiguousarray(spoken.wrinkle[:, ::2, ::2]))
    halved = np.concatenate([piece for _, piece in motion_offsets(coarse, model=model)])
    assert np.linalg.norm((halved - made)[:, lips], axis=-1).mean() < 0.5 * distance
    with pytest.raises(InputError, match="no wrinkle maps"):
        next(motion_offsets(replace(spoken, wrinkle=None), model=model))


def test_what_is_given_is_kept(model: HeadTalker) -> None:
    """The known half comes back as given, over several windows, but for what the basis of latents cannot say."""
    animation = mouthing(200)
    known = encode_motion(model, animation.vertices - animation.neutral)
    style, talker = model.style(NAME), model.generator.network
    windows = list(
        complete_latents(talker, "motion", known, style, steps=2, generator=torch.Generator().manual_seed(0))
    )
    assert [w.start for w in windows] == [0, 84, 168]
    made = torch.cat([w.motion[0] for w in windows])
    pivot = torch.from_numpy(style.motion)
    basis: Any = talker.motion_basis
    said = basis.decode(basis.encode((known - pivot).flatten(1))).unflatten(1, pivot.shape) + pivot
    torch.testing.assert_close(made, said, atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="lips"):
        next(complete_latents(talker, "lips", known, style))
    with pytest.raises(ValueError, match="latents must be"):
        next(complete_latents(talker, "motion", known[:, :4], style))


def test_command(model: HeadTalker, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    animation = replace(mouthing(20), fps=25.0, audio=np.zeros(12800, np.float32))
    save(animation, tmp_path / "bare.npz")
    command = ["wrinkles", str(tmp_path / "bare.npz"), "-o", str(tmp_path / "out.npz"), "-q", "--steps", "2"]
    assert main([*command, "--no-audio"]) == 0
    back = load(tmp_path / "out.npz")
    assert back.wrinkle is not None and back.wrinkle.shape == (20, *model.abilities.wrinkle_size, 3)
    assert (back.vertices == animation.vertices).all() and back.fps == 25
    assert back.weights is not None and (back.weights == animation.weights).all()
    noise = np.random.default_rng(0).normal(0, 0.1, 12800).astype(np.float32)
    heard = np.concatenate([maps for _, maps in wrinkle_maps(animation, audio=(noise, 16000), steps=2)])
    assert (heard != back.wrinkle).any()
    assert main([*command, "--style", "nobody"]) == 2 and "nobody" in capsys.readouterr().err
    assert main([*command, "--audio", "none.wav"]) == 2 and "none.wav" in capsys.readouterr().err
    assert main([*command, "--steps", "0"]) == 2


def test_motion_command(spoken: Animation, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is written moves as the maps say, at the file's frame rate, with its maps and without curves."""
    given = replace(spoken, vertices=spoken.neutral + 0 * spoken.vertices, weights=np.zeros((len(spoken.vertices), 52)))
    save(given, tmp_path / "skin.npz")
    command = ["motion", str(tmp_path / "skin.npz"), "-o", str(tmp_path / "out.npz"), "-q"]
    assert main([*command, "--no-audio"]) == 0
    back = load(tmp_path / "out.npz")
    assert back.weights is None and back.wrinkle is not None and (back.wrinkle == spoken.wrinkle).all()
    lips = load_head().topology.regions["lips"]
    distance = np.linalg.norm((back.vertices - spoken.vertices)[:, lips], axis=-1).mean()
    assert distance < 0.7 * np.linalg.norm((spoken.vertices - spoken.vertices.mean(0))[:, lips], axis=-1).mean()
    save(replace(given, wrinkle=None), tmp_path / "skin.npz")
    assert main(command) == 2 and "no wrinkle maps" in capsys.readouterr().err


def test_other_heads_are_refused() -> None:
    animation = mouthing(3)
    topology = animation.topology
    smaller = replace(
        topology, num_vertices=3, triangles=topology.triangles[:0], uv_triangles=topology.uv_triangles[:0], regions={}
    )
    other = replace(animation, topology=smaller, neutral=animation.neutral[:3], vertices=animation.vertices[:, :3])
    with pytest.raises(InputError, match="vertices"):
        next(wrinkle_maps(other))
    with pytest.raises(InputError, match="unknown curve 'jawopen'"):
        animation_of_curves(np.zeros((2, 1)), NAME, names=("jawopen",))
    with pytest.raises(InputError, match="one column per name"):
        animation_of_curves(np.zeros((2, 3)), NAME)
    assert animation.weight_names == tuple(ARKIT_NAMES)
