"""Run folders and the Lightning loop that every scheme goes through.

A run folder holds recipe.yaml (as used), versions.json, git.json, data.json, training.log, log-N/metrics.csv, last.ckpt
(with `patience` also best.ckpt) and, when done, `export/`. It is never written over.
"""

import inspect
import logging
import pickle
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, TQDMProgressBar

from parlante.core import InputError, atomic_path
from parlante.training.engine.logs import LogFile, MetricsLog, next_sitting
from parlante.training.engine.processes import first_process
from parlante.training.engine.recipe import PRECISIONS
from parlante.training.engine.scheme import Scheme

Learning = TypeVar("Learning", bound=Scheme)

log = logging.getLogger("parlante.training")


class _Saver(Callback):
    """Writes last.ckpt every `save_every` steps and best.ckpt after the best validation; each whole or not at all."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Scheme)
        if pl_module.better:
            pl_module.better = False
            if trainer.is_global_zero:
                assert pl_module.ema is not None
                kept = {"ema": pl_module.ema.state, "step": pl_module.steps_done}
                with _checkpoint(self.run_dir / "best.ckpt") as path:
                    torch.save(kept, path)
        if pl_module.steps_done % pl_module.loop.save_every == 0:
            _save(trainer, self.run_dir / "last.ckpt")


@contextmanager
def _checkpoint(target: Path) -> Iterator[Path]:
    """A path to write a checkpoint to. Raises InputError where it does not fit; the one before stays as it is."""
    try:
        with atomic_path(target) as path:
            yield path
    except (InputError, RuntimeError, OSError) as error:  # torch tells a full disk by a RuntimeError
        if isinstance(error, RuntimeError) and "write" not in str(error) and "PytorchStream" not in str(error):
            raise
        before = "the one before is intact" if target.is_file() else "there is none before"
        raise InputError(
            f"cannot write the checkpoint {target} ({error}); {before}: make room, then go on with --resume"
        ) from error


def _save(trainer: Trainer, path: Path) -> None:
    """Write a checkpoint whole or not at all; all processes take part, the first one writes."""
    if not trainer.is_global_zero:
        trainer.save_checkpoint(path)
        return
    with _checkpoint(path) as partial:
        trainer.save_checkpoint(partial)


def _load(path: Path) -> dict[str, Any]:
    """A checkpoint of a run; nothing in it is executed. Raises InputError."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read the checkpoint {path}: {first}; move it away to train from the start") from error


def _trainer(scheme: Scheme, run_dir: Path) -> Trainer:
    loop = scheme.loop
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    show = sys.stderr.isatty()
    warnings.filterwarnings(
        "ignore", message=".*(does not have many workers|LeafSpec|`IterableDataset` has `__len__`).*"
    )
    alone = loop.devices == 1 and loop.nodes == 1
    strategy = "ddp_find_unused_parameters_true" if loop.strategy == "auto" and not alone else loop.strategy
    return Trainer(
        accelerator=loop.accelerator,
        devices=loop.devices,
        num_nodes=loop.nodes,
        strategy=strategy,
        precision=PRECISIONS[loop.precision],  # type: ignore[arg-type]
        max_epochs=1,
        max_time=timedelta(minutes=loop.max_minutes * 2) if loop.max_minutes else None,
        logger=False,
        callbacks=[_Saver(run_dir), *([TQDMProgressBar(refresh_rate=10)] if show else [])],
        enable_checkpointing=False,
        enable_progress_bar=show,
        enable_model_summary=False,
        log_every_n_steps=10**9,
        default_root_dir=run_dir,
        use_distributed_sampler=False,
    )


def fit(scheme: Learning, run_dir: Path) -> Learning:
    """Train until max_steps, max_minutes or the end of patience; returns the scheme, whose network then holds the
    averaged weights, with patience the best ones.

    Goes on from run_dir/last.ckpt where there is one. Interrupting saves first. Raises InputError where the folder
    cannot be written to (what was saved before stays whole), or where the checkpoint cannot be read.
    """
    loop = scheme.loop
    if loop.threads:
        torch.set_num_threads(loop.threads)
    torch.manual_seed(loop.seed)
    last = run_dir / "last.ckpt"
    if last.is_file():
        _load(last)
    options: dict[str, Any] = {"ckpt_path": str(last) if last.is_file() else None}
    if "weights_only" in inspect.signature(Trainer.fit).parameters:
        options["weights_only"] = True
    if not first_process():
        _run(scheme, run_dir, options)
        return scheme
    run_dir.mkdir(parents=True, exist_ok=True)
    for left in run_dir.glob(".*.part*"):  # of a sitting that was cut off
        left.unlink(missing_ok=True)
    with LogFile(run_dir / "training.log"):
        scheme.figures_log = MetricsLog(next_sitting(run_dir), loop.tensorboard)
        scheme.sample_dir = run_dir / "samples"
        try:
            _run(scheme, run_dir, options)
        except BaseException as error:
            log.info("stopped at step %d: %s", scheme.steps_done, error or type(error).__name__)
            raise
        finally:
            scheme.figures_log.close()
    return scheme


def _run(scheme: Scheme, run_dir: Path, options: dict[str, Any]) -> None:
    trainer = _trainer(scheme, run_dir)
    started = time.monotonic()
    log.info("%s on %d x %s", type(scheme).__name__, trainer.world_size, trainer.strategy.root_device)
    trainer.fit(scheme, **options)
    _save(trainer, run_dir / "last.ckpt")
    if trainer.interrupted:
        raise KeyboardInterrupt
    log.info("%d steps done, %.1f minutes in this sitting", scheme.steps_done, (time.monotonic() - started) / 60)
    assert scheme.ema is not None
    weights = scheme.ema.state
    if scheme.loop.patience and (run_dir / "best.ckpt").is_file():
        kept = _load(run_dir / "best.ckpt")
        log.info("the weights of step %d are the best", kept["step"])
        weights = kept["ema"]
    scheme.network.load_state_dict(weights)
    scheme.network.eval()
