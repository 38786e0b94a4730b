"""FaceDiffuser's training: its recipe runs, its estimates improve."""

import json
from pathlib import Path

import pytest
import torch
from tiny import arguments

from parlante.cli.train import run as train
from parlante.core import InputError
from parlante.models.head_network import HeadNetwork
from parlante.models.registry import build
from parlante.training.engine.recipe import LoopConfig
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.features.motion_store import prepare
from parlante.training.schemes.facediffuser import FaceDiffuserScheme
from parlante.training.schemes.motion_basis import MotionBasisConfig, fit_basis
from parlante.training.schemes.motion_scheme import MotionSchemeConfig

RECIPE = Path(__file__).parents[3] / "recipes" / "facediffuser" / "small.yaml"


@pytest.fixture
def basis_file(tiny_corpus: Path, tmp_path: Path) -> Path:
    basis, _ = fit_basis(MotionBasisConfig(corpus=str(tiny_corpus), size=30, stride=1))
    basis.save(tmp_path / "basis.npz")
    return tmp_path / "basis.npz"


def test_the_recipe_trains(tiny_corpus: Path, basis_file: Path, tmp_path: Path) -> None:
    changes = [
        f"data.corpus={tiny_corpus}", f"data.basis={basis_file}", f"data.cache={tmp_path / 'cache'}",
        "data.num_augmentations=1", "model.width=16", "model.steps=10", "model.sample_steps=3", "scheme.batch=2",
        "scheme.frames=24", "loop.max_steps=2", "loop.validate_every=2", "loop.log_every=1",
    ]  # fmt: skip
    options = arguments(None, tmp_path / "runs", *changes)
    options.recipe = RECIPE
    assert train(options) == 0
    run = next((tmp_path / "runs").iterdir())
    assert json.loads((run / "figures.json").read_text())["lip_mm"] > 0
    config = json.loads((run / "export" / "config.json").read_text())["config"]
    assert config["family"]["sample_steps"] == 3 and config["embedded"]["subjects"] == ["ann", "bob"]
    with pytest.raises(InputError, match="another motion basis"):  # that of the real head
        HeadNetwork.from_pretrained(run / "export")


def test_training_lowers_the_error_of_what_is_sampled(tiny_corpus: Path, basis_file: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = MotionDataConfig(
        corpus=str(tiny_corpus), basis=str(basis_file), cache=str(tmp_path / "cache"), num_augmentations=1
    )
    store = prepare(data)
    own = MotionSchemeConfig(batch=4, frames=40, frame_offsets=(-2, 0, 2))
    audio = store.features.shape[-1] * len(own.frame_offsets)
    sizes = {"motion_dim": len(store.basis), "audio_dim": audio, "subjects": 2, "width": 32, "steps_per_frame": 1}
    model = build("facediffuser", sizes | {"steps": 20, "sample_steps": 4, "dropout": 0.0})
    scheme = FaceDiffuserScheme("facediffuser", model, store, LoopConfig(max_steps=60), own)
    before = scheme.validate()["lip_mm"]
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for step in range(60):
        optimizer.zero_grad()
        scheme.losses(scheme.batch(step))["loss"].backward()
        optimizer.step()
    model.eval()
    assert scheme.validate()["lip_mm"] < 0.9 * before
