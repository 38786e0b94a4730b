"""CodeTalker's two stages: a training of a few steps each, and an error that falls."""

import json
from pathlib import Path

import pytest
import torch
from tiny import arguments

from parlante.cli.train import run as train
from parlante.core import InputError
from parlante.models.codetalker.autoencoder import MotionAutoencoder, MotionAutoencoderConfig
from parlante.models.codetalker.model import CodeTalker, CodeTalkerConfig
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.scheme import Ema, Scheme
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.features.motion_store import MotionStore, prepare
from parlante.training.schemes.codetalker import CodeTalkerScheme
from parlante.training.schemes.codetalker_autoencoder import AutoencoderScheme, CodebookConfig
from parlante.training.schemes.motion_basis import MotionBasisConfig, fit_basis
from parlante.training.schemes.motion_scheme import MotionSchemeConfig

RECIPES = Path(__file__).parents[3] / "recipes" / "codetalker"
SMALL = {"width": 16, "layers": 1, "heads": 2, "hidden": 16, "groups": 2, "code_dim": 8, "codes": 16}


@pytest.fixture
def data(tiny_corpus: Path, tmp_path: Path) -> MotionDataConfig:
    basis, _ = fit_basis(MotionBasisConfig(corpus=str(tiny_corpus), size=30, stride=1))
    basis.save(tmp_path / "basis.npz")
    cache = str(tmp_path / "cache")
    return MotionDataConfig(
        corpus=str(tiny_corpus), basis=str(tmp_path / "basis.npz"), cache=cache, num_augmentations=1
    )


def run(recipe: str, data: MotionDataConfig, out: Path, *changes: str) -> Path:
    short = ("scheme.batch=2", "scheme.frames=24", "loop.max_steps=3", "loop.validate_every=3", "loop.log_every=1")
    kept = [f"data.{name}={getattr(data, name)}" for name in ("corpus", "basis", "cache", "num_augmentations")]
    options = arguments(None, out, *kept, *short, *changes)
    options.recipe = RECIPES / f"{recipe}.yaml"
    assert train(options) == 0
    return next(out.iterdir())


def test_both_recipes_train(data: MotionDataConfig, tmp_path: Path) -> None:
    sizes = [f"model.{name}={value}" for name, value in SMALL.items()]
    first = run("autoencoder", data, tmp_path / "first", *sizes)
    autoencoder = MotionAutoencoder.from_pretrained(first / "export")
    assert autoencoder.config.codes == 16
    second = run("small", data, tmp_path / "second", "model.width=16", f"data.autoencoder={first / 'export'}")
    for each in (first, second):
        figures = json.loads((each / "figures.json").read_text())
        assert 0 < figures["lip_mm"] < 5 * figures["lip_mm_mean_face"]
    config = json.loads((second / "export" / "config.json").read_text())
    assert config["model"] == "codetalker" and config["config"]["embedded"]["subjects"] == ["ann", "bob"]
    assert config["config"]["family"]["autoencoder"]["groups"] == 2


def test_the_second_stage_wants_the_first(data: MotionDataConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs data\.autoencoder"):
        run("small", data, tmp_path / "runs")


def test_errors_fall(data: MotionDataConfig) -> None:
    """Stage 1 learns to reconstruct, and stage 2 to speak its codes, without touching it."""
    torch.manual_seed(0)
    store, own = prepare(data), MotionSchemeConfig(batch=4, frames=40, frame_offsets=(-2, 0, 2), scheduled_sampling=0.5)
    motion_dim = len(store.basis)
    autoencoder = MotionAutoencoder(MotionAutoencoderConfig(motion_dim=motion_dim, **SMALL))
    loop = LoopConfig(max_steps=60)
    first = AutoencoderScheme(autoencoder, store, loop, own, CodebookConfig(revive_every=10))
    before, after = improved(first, 60)
    assert after < 0.8 * before
    frozen = {k: v.clone() for k, v in autoencoder.state_dict().items()}
    talker = small_talker(store, autoencoder, own)
    second = CodeTalkerScheme("codetalker", talker, store, loop, own)
    before, after = improved(second, 60)
    assert after < 0.9 * before
    assert all(torch.equal(frozen[k], v) for k, v in talker.autoencoder.state_dict().items())


def small_talker(store: MotionStore, autoencoder: MotionAutoencoder, own: MotionSchemeConfig) -> CodeTalker:
    config = CodeTalkerConfig(
        motion_dim=autoencoder.config.motion_dim,
        audio_dim=store.features.shape[-1] * len(own.frame_offsets),
        subjects=2,
        width=16,
        layers=1,
        dropout=0.0,
        autoencoder=autoencoder.config,
    )
    talker = CodeTalker(config)
    talker.autoencoder.load_state_dict(autoencoder.state_dict())
    return talker


def improved(scheme: Scheme, steps: int) -> tuple[float, float]:
    """The loss of one and the same batch before and after some steps."""
    model = scheme.network
    scheme.ema = Ema(model, 0.9)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)
    losses = []
    for step in range(steps):
        scheme.steps_done = step
        optimizer.zero_grad()
        batch = scheme.batch(0)
        loss = scheme.losses(batch)["loss"]
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
        scheme.after_step(step, batch)
    return losses[0], min(losses[-10:])
