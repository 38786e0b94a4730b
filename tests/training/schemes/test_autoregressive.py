"""The small autoregressive models: their basis, their data, a training of a few steps, and styles of strangers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TinyHead, arguments

from parlante.cli.train import run as train
from parlante.core import InputError
from parlante.data.datasets.synthtalk import SynthTalk
from parlante.models.head_network import HeadNetwork
from parlante.models.motion_basis import MotionBasis
from parlante.models.registry import build
from parlante.training.engine.recipe import LoopConfig
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.features.motion_store import prepare
from parlante.training.features.speech_curves import spoken
from parlante.training.features.speech_features import GRID
from parlante.training.schemes.motion_basis import MotionBasisConfig, fit_basis
from parlante.training.schemes.motion_scheme import MotionScheme, MotionSchemeConfig

RECIPES = Path(__file__).parents[3] / "recipes"


@pytest.fixture
def basis_file(tiny_corpus: Path, tmp_path: Path) -> Path:
    basis, _ = fit_basis(MotionBasisConfig(corpus=str(tiny_corpus), size=30, stride=1))
    basis.save(tmp_path / "basis.npz")
    return tmp_path / "basis.npz"


def test_the_basis_is_orthonormal_and_keeps_the_motion(tiny_corpus: Path, basis_file: Path) -> None:
    basis = MotionBasis.load(basis_file)
    rows = basis.rows.reshape(len(basis), -1)
    assert np.allclose(rows @ rows.T, np.eye(len(basis)), atol=2e-3)
    data, head = SynthTalk(tiny_corpus), TinyHead()
    clip = data[0]
    offsets = np.tensordot(spoken(clip.known_weights()), head.shapes(clip.face), 1)
    coordinates = basis.encode(offsets)
    assert np.abs(basis.decode(coordinates) - offsets).max() < 0.1 * np.abs(offsets).max()
    # squared error of coordinates is squared error of vertices
    other = coordinates + 0.1
    vertices = np.square(basis.decode(other) - basis.decode(coordinates)).sum()
    assert vertices == pytest.approx(basis.scale**2 * np.square(other - coordinates).sum(), rel=1e-2)
    lips = head.topology.regions["lips"]
    part = (coordinates @ basis.part(lips)).reshape(len(coordinates), -1, 3)
    assert np.allclose(part, 1000 * basis.decode(coordinates)[:, lips], atol=1e-3)


def test_the_shipped_basis_serves_the_embedded_head() -> None:
    from parlante.head import load_head

    head, basis = load_head(), MotionBasis.load()
    assert basis.topology == head.topology.name and basis.num_vertices == head.topology.num_vertices
    weights = np.zeros((1, 52), np.float32)
    weights[0, head.shape_names.index("jawOpen")] = 0.5
    offsets = np.tensordot(weights, head.shapes(head.identity_names[-1]), 1)
    assert np.abs(basis.decode(basis.encode(offsets)) - offsets).max() < 2e-4


def test_features_are_those_of_the_talker(tiny_corpus: Path, basis_file: Path, tmp_path: Path) -> None:
    """What the training hears through its index is what `HeadNetwork.features` reads from the sound."""
    from parlante.audio.align import align
    from parlante.audio.encoders.phonetic import PhoneticEncoder

    store = prepare(_data(tiny_corpus, basis_file, tmp_path))
    clip = store.clips[1]
    at = np.arange(clip.start, clip.start + clip.frames)
    taps = (-3, 0, 4)
    heard = store.features_at(at, np.zeros_like(at), taps)
    audio = SynthTalk(tiny_corpus)[clip.number].audio
    features = torch.from_numpy(PhoneticEncoder.from_pretrained().encode(audio))[None]
    direct = align(features, clip.frames, fps=30, frame_offsets=[tap / (30 * GRID) for tap in taps])[0]
    assert np.allclose(heard[3:-4], direct[3:-4], atol=2e-3)


@pytest.mark.parametrize("family", ["faceformer", "talkingstyle", "ptalker"])
def test_a_recipe_trains(family: str, tiny_corpus: Path, basis_file: Path, tmp_path: Path) -> None:
    options = arguments(
        None,
        tmp_path / "runs",
        f"data.corpus={tiny_corpus}",
        f"data.basis={basis_file}",
        f"data.cache={tmp_path / 'cache'}",
        "data.num_augmentations=1",
        "model.width=16",
        "model.layers=1",
        "scheme.batch=2",
        "scheme.frames=24",
        "loop.max_steps=4",
        "loop.validate_every=4",
        "loop.log_every=1",
    )
    options.recipe = RECIPES / family / "small.yaml"
    assert train(options) == 0
    run = next((tmp_path / "runs").iterdir())
    figures = json.loads((run / "figures.json").read_text())
    assert 0 < figures["lip_mm"] < 5 * figures["lip_mm_mean_face"]
    config = json.loads((run / "export" / "config.json").read_text())
    assert config["model"] == family and config["config"]["embedded"]["subjects"] == ["ann", "bob"]
    with pytest.raises(InputError, match="another motion basis"):  # that of the real head
        HeadNetwork.from_pretrained(run / "export")


def test_training_lowers_the_error_of_running_free(tiny_corpus: Path, basis_file: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    store = prepare(_data(tiny_corpus, basis_file, tmp_path))
    own = MotionSchemeConfig(batch=4, frames=40, frame_offsets=(-2, 0, 2), scheduled_sampling=0.8)
    audio = store.features.shape[-1] * len(own.frame_offsets)
    sizes = {"motion_dim": len(store.basis), "audio_dim": audio, "subjects": 2, "width": 32, "layers": 1}
    model = build("faceformer", sizes | {"dropout": 0.0})
    scheme = MotionScheme("faceformer", model, store, LoopConfig(max_steps=60), own)
    before = scheme.validate()["lip_mm"]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for step in range(60):
        scheme.steps_done = step
        optimizer.zero_grad()
        scheme.losses(scheme.batch(step))["loss"].backward()
        optimizer.step()
    model.eval()
    assert scheme.validate()["lip_mm"] < 0.9 * before


def test_batches_depend_on_the_step_alone(tiny_corpus: Path, basis_file: Path, tmp_path: Path) -> None:
    store = prepare(_data(tiny_corpus, basis_file, tmp_path))
    model = torch.nn.Linear(1, 1)
    scheme = MotionScheme("any", model, store, LoopConfig(), MotionSchemeConfig(batch=3, frames=150))
    first, again, other = scheme.batch(5), scheme.batch(5), scheme.batch(6)
    assert torch.equal(first.motion, again.motion) and torch.equal(first.features, again.features)
    assert not torch.equal(first.motion, other.motion)
    assert first.motion.shape == (3, 150, len(store.basis))


def _data(corpus: Path, basis: Path, tmp_path: Path) -> MotionDataConfig:
    return MotionDataConfig(corpus=str(corpus), basis=str(basis), cache=str(tmp_path / "cache"), num_augmentations=1)
