"""The loop that every family goes through: exact resumption, honest validation, its options, and its errors."""

import importlib.machinery
import importlib.util
import json
import logging
import os
import resource
import signal
import sys
import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from families import FAMILIES, Bench, PowerCut, power_cut, same, weights
from tiny import arguments, write_corpus
from torch import Tensor, nn

from parlante.cli.train import run as train
from parlante.core import InputError, MissingExtra
from parlante.core.interruption import Interrupted
from parlante.training.engine.logs import read_curve
from parlante.training.engine.loop import fit
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.scheme import Scheme


@pytest.fixture
def bench(tiny_corpus: Path, tmp_path: Path) -> Bench:
    return Bench(tiny_corpus, tmp_path / "bench")


# -- resumption


@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_that_was_cut_off_ends_in_the_same_bits(family: str, bench: Bench) -> None:
    whole = bench.train(family, "whole")
    with pytest.raises(PowerCut), power_cut(3):
        bench.train(family, "cut")
    assert int(torch.load(bench.root / "cut" / "last.ckpt", weights_only=True)["scheme"]["steps"]) == 2
    assert train(arguments(None, bench.root, resume=bench.root / "cut")) == 0
    assert same(whole, bench.root / "cut")
    curve = read_curve(whole)
    assert list(curve["loss"]) == [1, 2, 3, 4, 5, 6] and read_curve(bench.root / "cut") == curve
    assert len(list((bench.root / "cut").glob("log-*"))) == 2


def test_a_run_that_is_over_goes_on(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    steady = ("loop.schedule=constant", "scheme.scheduled_sampling=0")  # nothing goes by the length
    run = bench.train("faceformer", "run", *steady)
    first = (run / "export" / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match=r"loop.max_steps of .* is 6, got 5; give more"):
        train(arguments(None, bench.root, "loop.max_steps=5", resume=run))
    with pytest.raises(InputError, match=r"give nothing else but --set loop.max_steps"):
        train(arguments(None, bench.root, "loop.lr=1", resume=run))
    assert train(arguments(None, bench.root, "loop.max_steps=8", resume=run)) == 0
    assert "what it left so far is in" in capsys.readouterr().out
    assert max(read_curve(run)["loss"]) == 8
    assert (run / "earlier-1" / "export" / "model.safetensors").read_bytes() == first
    assert (run / "export" / "model.safetensors").read_bytes() != first
    assert same(bench.train("faceformer", "whole", *steady, "loop.max_steps=8"), run)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_waits_for_the_step(number: int, code: int, tmp_path: Path) -> None:
    """In the middle of a step: the step is finished and saved, and the run goes on to the same bits."""

    class Ended(Toy):
        def losses(self, batch: Tensor) -> dict[str, Tensor]:
            if self.steps_done == 2:
                os.kill(os.getpid(), number)
            return super().losses(batch)

    with pytest.raises(Interrupted, match="step 3 is saved; go on with parlante train --resume") as stop:
        fit(Ended(LOOP), tmp_path / "cut")
    assert stop.value.exit_code == code
    assert torch.load(tmp_path / "cut" / "last.ckpt", weights_only=True)["scheme"]["steps"] == 3
    fit(Toy(LOOP), tmp_path / "cut")
    fit(Toy(LOOP), tmp_path / "whole")
    assert same(tmp_path / "cut", tmp_path / "whole")


# -- honesty


@pytest.mark.parametrize("family", ["faceformer", "facediffuser", "codetalker", "motion_vqgan"])
def test_test_clips_do_not_matter(family: str, bench: Bench) -> None:
    """Whatever test clips hold, weights and validation figures are the same."""
    run = bench.train(family, "run", "loop.max_steps=2", "loop.validate_every=2")
    other = Bench(write_corpus(bench.root / "other-corpus"), bench.root / "other")
    rng = np.random.default_rng(5)
    for row in json.loads((other.corpus / "index.json").read_text())["clips"]:
        if row["split"].startswith("test"):
            path = other.corpus / "clips" / f"{row['key']}.npz"
            with np.load(path) as kept:
                arrays = dict(kept)
            arrays["curves"] = rng.uniform(0, 1, arrays["curves"].shape).astype(np.float32)
            arrays["audio"] = rng.integers(-9000, 9000, arrays["audio"].shape).astype(np.int16)
            np.savez(path, **arrays)
    again = other.train(family, "run", "loop.max_steps=2", "loop.validate_every=2")
    assert same(run, again) and read_curve(run) == read_curve(again)


class Toy(Scheme):
    """A line through points; `figures` are what its validations say, one after the other."""

    def __init__(self, loop: LoopConfig, figures: list[dict[str, float]] | None = None, bad: int = -1) -> None:
        super().__init__(loop)
        torch.manual_seed(0)
        self.network, self.figures, self.bad = nn.Linear(2, 1), list(figures or []), bad

    def batch(self, step: int) -> Tensor:
        return torch.from_numpy(np.random.default_rng(step).normal(size=(4, 2)).astype(np.float32))

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        loss = (self.network(batch)[:, 0] - batch.sum(1) + 0.1 * torch.randn(len(batch))).square().mean()
        return {"loss": loss * (float("nan") if self.steps_done == self.bad else 1.0)}

    def validate(self) -> dict[str, float]:
        return self.figures.pop(0) if self.figures else {}


LOOP = LoopConfig(max_steps=8, log_every=1, validate_every=1, save_every=2, threads=1, accelerator="cpu", warmup=1)


def test_a_collapse_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "parlante"):
        fit(Toy(replace(LOOP, max_steps=2), [{"motion_spread": 0.8}, {"motion_spread": 0.01}]), tmp_path)
    assert [r.message.split(":")[0] for r in caplog.records if "collapsed" in r.message] == ["step 2"]
    assert "collapsed" in (tmp_path / "training.log").read_text()


def test_patience_keeps_the_best(tmp_path: Path) -> None:
    """Better twice, then never: stops after two more, with the weights of the best; resuming adds nothing."""
    figures = [{"lip_mm": value} for value in (3.0, 2.0, 2.5, 2.4, 1.0)]
    scheme = Toy(replace(LOOP, patience=2), figures)
    fit(scheme, tmp_path)
    assert scheme.steps_done == 4
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert best["step"] == 2 and torch.equal(best["ema"]["weight"], scheme.network.weight)
    again = Toy(replace(LOOP, patience=2), figures)
    fit(again, tmp_path)
    assert again.steps_done == 4 and torch.equal(again.network.weight, scheme.network.weight)


def test_losses_that_are_no_numbers_stop_the_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no longer finite at step 4"):
        fit(Toy(LOOP, bad=3), tmp_path)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["scheme"]["steps"] == 2


# -- options


def test_workers_make_the_same_batches(tmp_path: Path) -> None:
    for workers in (0, 2):
        fit(Toy(replace(LOOP, workers=workers, max_steps=5)), tmp_path / str(workers))
    assert same(tmp_path / "0", tmp_path / "2")


def test_a_schedule_warms_up_and_stays_or_falls() -> None:
    falling, staying = (Toy(replace(LOOP, warmup=4, max_steps=100, schedule=s)) for s in ("cosine", "constant"))

    def rate(scheme: Toy, step: int) -> float:
        scheme.steps_done = step
        return scheme.rate()

    assert [rate(staying, step) for step in (0, 1, 3, 50, 99)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert rate(falling, 3) > rate(falling, 50) > rate(falling, 99) > 0.02


@pytest.mark.parametrize("family", ["faceformer", "ptalker", "facediffuser", "codetalker"])
def test_options_work_together(family: str, bench: Bench) -> None:
    """Whole clips with masks, mixed precision, accumulation, TensorBoard, a sample video."""
    pytest.importorskip("tensorboard")
    options = ("scheme.whole=true", "loop.precision=bf16", "loop.accumulate=2", "loop.max_steps=2")
    video = ("loop.tensorboard=true", "loop.sample_every=2") if family == "faceformer" else ()
    run = bench.train(family, "run", *options, *video)
    assert np.isfinite(list(read_curve(run)["loss"].values())).all()
    assert all(v.dtype != torch.bfloat16 for v in weights(run).values())
    if video:
        assert list((run / "log-0").glob("events.out.tfevents.*"))
        assert (run / "samples" / "step-000002.mp4").stat().st_size > 1000


def test_a_project_on_weights_and_biases_gets_the_figures(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: dict[int, dict[str, float]] = {}
    begun: dict[str, Any] = {}

    class Online:
        def log(self, figures: dict[str, float], step: int) -> None:
            rows.setdefault(step, {}).update(figures)

        def finish(self) -> None:
            begun["finished"] = True

    def init(**facts: Any) -> Online:
        begun.update(facts)
        return Online()

    fake = types.ModuleType("wandb")
    fake.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    fake.init = init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    run = bench.train("faceformer", "run", "loop.max_steps=2", "loop.wandb=faces")
    assert begun["project"] == "faces" and begun["name"] == run.name and begun["finished"]
    assert rows[2]["loss"] == pytest.approx(read_curve(run)["loss"][2])


def test_a_logger_that_is_missing_is_told_before_anything_is_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "wandb" else found(name, *rest)
    )
    with pytest.raises(MissingExtra, match="wandb"):
        bench.train("faceformer", "run", "loop.wandb=faces")
    assert not list((bench.root / "cache").glob("motion-*"))


def test_padding_does_not_count(bench: Bench) -> None:
    """The loss of a padded clip is the one it has alone."""
    from parlante.models.registry import build
    from parlante.training.features.motion_data import MotionDataConfig
    from parlante.training.features.motion_store import prepare
    from parlante.training.schemes.motion_scheme import MotionScheme, MotionSchemeConfig, Stretches

    data = MotionDataConfig(
        corpus=str(bench.corpus), basis=str(bench._basis()), cache=str(bench.root / "cache"), num_augmentations=0
    )
    store = prepare(data)
    own = MotionSchemeConfig(batch=2, frame_offsets=(0,), whole=True, scheduled_sampling=0.0, noise=0.0)
    sizes = {"motion_dim": len(store.basis), "audio_dim": store.features.shape[-1], "subjects": 2, "width": 16}
    scheme = MotionScheme("faceformer", build("faceformer", sizes | {"dropout": 0.0, "layers": 1}), store, LOOP, own)
    batch = next(b for b in map(scheme.batch, range(99)) if b.lengths is not None and b.lengths.diff() != 0)
    assert batch.lengths is not None
    short = int(batch.lengths.argmin())
    frames = int(batch.lengths[short])
    one = Stretches(*(part[short : short + 1] for part in batch[:3]), batch.lengths[short : short + 1])
    alone = Stretches(one.motion[:, :frames], one.features[:, :frames], one.subjects)
    assert one.motion.shape[1] > frames
    padded, plain = scheme.losses(one), scheme.losses(alone)
    assert all(torch.allclose(padded[name], plain[name], rtol=1e-4) for name in plain)


def test_one_clip_is_learnt(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, changes = bench.recipe("faceformer")
    easy = ("model.width=64", "model.dropout=0", "scheme.scheduled_sampling=0", "scheme.noise=0", "loop.lr=5e-3")
    options = arguments(None, bench.root / "runs", *changes, *easy, "loop.max_steps=200")
    options.recipe, options.overfit_one_clip = recipe, True
    assert train(options) == 0
    assert "learnt" in capsys.readouterr().out
    options.set += ["loop.lr=0", "loop.max_steps=4"]
    assert train(options) == 1
    assert "NOT learnt" in capsys.readouterr().out


# -- run folders and errors


def test_a_run_folder_tells_where_it_came_from(bench: Bench) -> None:
    run = bench.train("faceformer", "run", "loop.max_steps=1")
    assert {"parlante", "torch", "lightning", "command"} <= json.loads((run / "versions.json").read_text()).keys()
    assert {"data.corpus", "data.basis"} <= json.loads((run / "data.json").read_text()).keys()
    assert (run / "git.json").is_file() and "steps done" in (run / "training.log").read_text()
    with pytest.raises(InputError, match="another recipe"):
        bench.train("faceformer", "run", "loop.max_steps=2")
    path = bench.corpus / "clips" / "ann" / "000.npz"
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(InputError, match=r"data\.corpus .* is not what the run began with"):
        train(arguments(None, bench.root, resume=run))


def test_a_run_that_began_under_old_names_goes_on(bench: Bench) -> None:
    """A recipe and fingerprints as earlier versions wrote them; the run ends as it would have."""
    whole = bench.train("codetalker", "whole")
    with pytest.raises(PowerCut), power_cut(3):
        bench.train("codetalker", "cut")
    recipe, data = bench.root / "cut" / "recipe.yaml", bench.root / "cut" / "data.json"
    config = yaml.safe_load(recipe.read_text())
    config["model"]["autoencoder"] = config["data"].pop("autoencoder")
    config["data"]["variants"] = config["data"].pop("num_augmentations")
    config["scheme"]["own_past"] = config["scheme"].pop("scheduled_sampling")
    recipe.write_text(yaml.safe_dump(config))
    data.write_text(data.read_text().replace("data.autoencoder", "model.autoencoder"))
    assert train(arguments(None, bench.root, resume=bench.root / "cut")) == 0
    assert same(whole, bench.root / "cut")


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    """Writing fails half-way; the error says so, the checkpoint before is whole, and the run can go on."""

    class Growing(Toy):
        def state_dict(self, *arguments: Any, **options: Any) -> Any:
            ballast = {"ballast": torch.zeros(1 << 20)} if self.steps_done >= full else {}
            return super().state_dict(*arguments, **options) | ballast

        def load_state_dict(self, state: Any, *arguments: Any, **options: Any) -> Any:
            return super().load_state_dict({k: v for k, v in state.items() if k != "ballast"})

    full, limits = 4, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write the checkpoint .* the one before is intact"):
            fit(Growing(LOOP), tmp_path / "full")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert torch.load(tmp_path / "full" / "last.ckpt", weights_only=True)["scheme"]["steps"] == 2
    assert not list((tmp_path / "full").glob(".*.part*"))
    full = 99
    fit(Growing(LOOP), tmp_path / "full")
    fit(Growing(LOOP), tmp_path / "whole")
    assert same(tmp_path / "full", tmp_path / "whole")


def test_targets_that_cannot_be_written_are_named(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    recipe, changes = bench.recipe("faceformer")
    for out in (tmp_path / "file", Path("/proc/runs")):
        options = arguments(None, out, *changes)
        options.recipe = recipe
        with pytest.raises(InputError, match="cannot make"):
            train(options)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="cannot read the checkpoint"):
        fit(Toy(LOOP), tmp_path)
    assert (tmp_path / "last.ckpt").read_bytes() == b"nonsense"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("data.corpus=nowhere", "nowhere"),
        ("loop.max_steps=many", "max_steps must be a whole number from 1 on, got 'many'"),
        ("loop.tensorboard=2", "tensorboard must be true or false, got 2"),
        ("loop=3", "the recipe's loop is 3, wanted settings"),
        ("lop.lr=1", "has no section lop; did you mean loop?"),
        ("model.width=[a", "'[a' is no YAML value"),
        ("loss.l1=1", "a recipe of the stage faceformer has no section loss; did you mean loop?"),
        ("scheme.lr=1", "the recipe's scheme has no lr; did you mean loop.lr?"),
        ("scheme.batches=4", "scheme has no batches; did you mean batch?"),
        ("model.widht=4", "model has no widht; did you mean width?"),
    ],
)
def test_what_cannot_be_used_leaves_no_run_folder(bench: Bench, tmp_path: Path, change: str, said: str) -> None:
    recipe, changes = bench.recipe("faceformer")
    options = arguments(None, tmp_path / "runs", *changes, change)
    options.recipe = recipe
    with pytest.raises(InputError) as told:
        train(options)
    assert said in str(told.value) and len(str(told.value).splitlines()) == 1
    assert not list((tmp_path / "runs").glob("*"))
    options.run = tmp_path / "here"
    with pytest.raises(InputError):
        train(options)
    assert not options.run.exists()


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    options = arguments(None, tmp_path / "runs")
    for options.recipe, said in ((tmp_path / "no.yaml", "no such file"), (tmp_path, "it is a folder")):
        with pytest.raises(InputError, match=rf"{said}.*give a recipe, a YAML file such as recipes/"):
            train(options)


def test_a_run_that_fails_later_stays(bench: Bench) -> None:
    with pytest.raises(InputError, match=r"loop\.monitor"):
        bench.train("faceformer", "run", "loop.patience=1", "loop.monitor=beauty")
    assert {"recipe.yaml", "training.log", "last.ckpt"} <= {path.name for path in (bench.root / "run").iterdir()}
