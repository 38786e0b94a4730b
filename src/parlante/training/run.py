"""What every training shares: recipes, run folders, the Lightning loop, exact resumption.

A run folder holds recipe.yaml (as used), versions.json, log-N/metrics.csv, last.ckpt and, when done, `export/`.
Batches and random draws are functions of (seed, step), so a resumed run goes on to the same bits.
"""

import dataclasses
import json
import logging
import math
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from parlante.core import InputError, atomic_path

Section = TypeVar("Section")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how fast; the `loop:` part of a recipe."""

    max_steps: int = 10000
    max_minutes: float | None = None
    """Stop (and anneal the learning rate to the end) by then, whichever comes first."""
    lr: float = 1e-3
    final_lr: float = 0.02
    """Learning rate at the end, as a share of `lr` (cosine)."""
    warmup: int = 100
    ema: float = 0.995
    clip: float = 1.0
    """Gradient norm limit; 0 switches it off."""
    log_every: int = 20
    save_every: int = 500
    validate_every: int = 500
    threads: int | None = None
    """CPU threads; default torch's choice."""
    accelerator: str = "auto"
    devices: int = 1
    """Of each machine; the batch of a recipe is that of one device."""
    nodes: int = 1
    strategy: str = "auto"
    """Lightning's; auto on several devices is data-parallel training that allows for weights without a gradient."""
    seed: int = 0


def section(cls: type[Section], config: dict[str, Any], name: str) -> Section:
    """Build the dataclass of a recipe's part. Raises InputError naming unknown keys and values that do not fit."""
    values = dict(config.get(name) or {})
    known = {field.name: str(field.type) for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"the recipe's {name} has no {', '.join(unknown)}; it may have {', '.join(sorted(known))}")
    try:
        for key, value in values.items():  # YAML reads 1e-3 as text
            if isinstance(value, str) and "float" in known[key] and "tuple" not in known[key]:
                values[key] = float(value)
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"the recipe's {name} cannot be used: {error}") from error


def read_recipe(path: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """A YAML recipe with `a.b=value` changes applied (values are YAML too). Raises InputError if either is unusable."""
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot read the recipe {path}: {error}") from error
    if not isinstance(config, dict) or "stage" not in config:
        raise InputError(f"{path} is no recipe: it must be a YAML mapping with a `stage`")
    for change in changes:
        keys, equals, text = change.partition("=")
        if not equals:
            raise InputError(f"--set wants key=value, got {change!r}; for example --set loop.max_steps=100")
        *parents, last = keys.split(".")
        place = config
        for key in parents:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise InputError(f"--set {change}: {key} is a value in the recipe, not a section")
        place[last] = yaml.safe_load(text)
    return config


def keep_provenance(config: dict[str, Any], run_dir: Path) -> None:
    """Write recipe.yaml and versions.json into a new run folder."""
    from parlante import __version__

    with atomic_path(run_dir / "recipe.yaml") as path:
        path.write_text(yaml.safe_dump(config, sort_keys=False))
    versions = {"parlante": __version__, "torch": torch.__version__, "python": platform.python_version()}
    with atomic_path(run_dir / "versions.json") as path:
        path.write_text(json.dumps({**versions, "command": sys.argv}, indent=1) + "\n")


class Batches(IterableDataset):
    """`make(step)` for each step from `first` on."""

    def __init__(self, make: Callable[[int], Any], first: int, last: int) -> None:
        self.make, self.first, self.last = make, first, last

    def __iter__(self) -> Iterator[Any]:
        return (self.make(step) for step in range(self.first, self.last))


class Ema:
    """An exponential moving average of a module's floating tensors; starts fast, ends at `decay`."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move towards the module as it is now."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        moving, still = [], []
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                moving.append(self.state[name])
                still.append(tensor.detach())
            else:
                self.state[name].copy_(tensor)
        torch._foreach_lerp_(moving, still, share)


class Scheme(LightningModule):
    """A training scheme: manual optimisation, draws and learning rate from the step, EMA.

    A scheme gives `batch(step)`, `losses(batch) -> dict` (its "loss" is minimised) and `network`; it may override
    `validate() -> dict` and `after_step`.
    """

    network: nn.Module

    def __init__(self, loop: LoopConfig) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.loop = loop
        self.steps_done = 0
        self.seconds_done = 0.0
        self._clock = time.monotonic()
        self.ema: Ema | None = None

    # -- what a scheme provides

    def batch(self, step: int) -> Any:
        """The batch of a step, the same whenever it is asked for."""
        raise NotImplementedError(f"{type(self).__name__}.batch")

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Named losses; "loss" is minimised, the others logged."""
        raise NotImplementedError(f"{type(self).__name__}.losses")

    def after_step(self, step: int, batch: Any) -> dict[str, float]:
        """Anything after the optimiser's step; what it returns is logged."""
        return {}

    def validate(self) -> dict[str, float]:
        """Figures of the EMA weights on held-out data."""
        return {}

    # -- the loop

    def configure_optimizers(self) -> Any:
        """Adam with the betas of the published trainings."""
        return torch.optim.Adam(
            [p for p in self.network.parameters() if p.requires_grad], self.loop.lr, (0.9, 0.99), fused=True
        )

    def rate(self, step: int) -> float:
        """Learning rate as a share of `lr`: linear warm-up, cosine to `final_lr` by the step or the clock."""
        done = step / self.loop.max_steps
        if self.loop.max_minutes:
            done = max(done, self.seconds_done / (60 * self.loop.max_minutes))
        share = self.loop.final_lr + (1 - self.loop.final_lr) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return share * min(1.0, (step + 1) / max(self.loop.warmup, 1))

    def on_fit_start(self) -> None:
        """Start the average from the weights as they are."""
        if self.ema is None:
            self.ema = Ema(self.network, self.loop.ema)
        self._clock = time.monotonic()

    def train_dataloader(self) -> Any:
        """Batches from the first step that is not done; each of several processes gets batches of its own."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        make = self.batch if world == 1 else lambda step: self.batch(step * world + rank)
        return DataLoader(Batches(make, self.steps_done, self.loop.max_steps), batch_size=None)

    def optimise(self, optimizer: Any, loss: Tensor, parameters: Sequence[Tensor]) -> None:
        """One step of an optimiser at this step's learning rate."""
        for group in optimizer.param_groups:
            group["lr"] = self.loop.lr * self.rate(self.steps_done)
        optimizer.zero_grad()
        self.manual_backward(loss)
        if self.loop.clip:
            nn.utils.clip_grad_norm_(parameters, self.loop.clip)
        optimizer.step()

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Losses, optimiser, average, log."""
        torch.manual_seed(self.loop.seed * 1_000_003 + self.steps_done + 499_979 * self.trainer.global_rank)
        optimizer = self.optimizers()
        if isinstance(optimizer, list):
            optimizer = optimizer[0]
        values = self.losses(batch)
        self.optimise(optimizer, values["loss"], list(self.network.parameters()))
        extra = self.after_step(self.steps_done, batch)
        assert self.ema is not None
        self.ema.update(self.network)
        now = time.monotonic()
        self.seconds_done, self._clock = self.seconds_done + now - self._clock, now
        self.steps_done += 1
        if self.steps_done % self.loop.log_every == 0 or self.steps_done == 1:
            shown = {k: float(v.detach()) for k, v in values.items()} | extra
            self.note(shown | {"minutes": self.seconds_done / 60})
        if self.steps_done % self.loop.validate_every == 0 or self.steps_done == self.loop.max_steps:
            self.note({f"val_{k}": v for k, v in self.validated().items()})
        if self.loop.max_minutes:
            over = self.seconds_done > 60 * self.loop.max_minutes
            self.trainer.should_stop |= self.trainer.strategy.reduce_boolean_decision(over, all=False)

    def note(self, figures: dict[str, float]) -> None:
        """One row of metrics.csv."""
        if isinstance(self.logger, CSVLogger):
            self.logger.log_metrics(dict(figures), self.steps_done)
            self.logger.save()

    def validated(self) -> dict[str, float]:
        """`validate` with the averaged weights in place."""
        assert self.ema is not None
        own = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.ema.state)
        self.network.eval()
        try:
            with torch.no_grad():
                return self.validate()
        finally:
            self.network.load_state_dict(own)
            self.network.train()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what resumption needs beside the weights."""
        assert self.ema is not None
        checkpoint["scheme"] = {
            "steps": self.steps_done,
            "seconds": self.seconds_done,
            "ema": self.ema.state,
            "ema_steps": self.ema.steps,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The inverse of `on_save_checkpoint`."""
        kept = checkpoint["scheme"]
        self.steps_done, self.seconds_done = kept["steps"], kept["seconds"]
        self.ema = Ema(self.network, self.loop.ema)
        self.ema.state, self.ema.steps = kept["ema"], kept["ema_steps"]


class _Saver(Callback):
    """Writes last.ckpt every `save_every` steps; it appears whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Scheme)
        if pl_module.steps_done % pl_module.loop.save_every == 0:
            _save(trainer, self.path)


def _save(trainer: Trainer, path: Path) -> None:
    """Write a checkpoint whole or not at all; all processes take part, the first one writes."""
    if not trainer.is_global_zero:
        trainer.save_checkpoint(path)
        return
    with atomic_path(path) as partial:
        trainer.save_checkpoint(partial)


def first_process() -> bool:
    """Whether this process is the only one of a training, or the one that writes its results."""
    return all(int(os.environ.get(name) or 0) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def fit(scheme: Scheme, run_dir: Path) -> None:
    """Train until max_steps or max_minutes; afterwards the network holds the averaged weights.

    Goes on from run_dir/last.ckpt where there is one. Interrupting saves first.
    """
    loop = scheme.loop
    if loop.threads:
        torch.set_num_threads(loop.threads)
    torch.manual_seed(loop.seed)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    number = len(list(run_dir.glob("log-*")))
    logger = CSVLogger(run_dir, name="", version=f"log-{number}")
    show = sys.stderr.isatty()
    warnings.filterwarnings(
        "ignore", message=".*(does not have many workers|LeafSpec|`IterableDataset` has `__len__`).*"
    )
    alone = loop.devices == 1 and loop.nodes == 1
    strategy = "ddp_find_unused_parameters_true" if loop.strategy == "auto" and not alone else loop.strategy
    trainer = Trainer(
        accelerator=loop.accelerator,
        devices=loop.devices,
        num_nodes=loop.nodes,
        strategy=strategy,
        max_epochs=1,
        max_time=timedelta(minutes=loop.max_minutes * 2) if loop.max_minutes else None,
        logger=logger,
        callbacks=[_Saver(run_dir / "last.ckpt"), *([TQDMProgressBar(refresh_rate=10)] if show else [])],
        enable_checkpointing=False,
        enable_progress_bar=show,
        enable_model_summary=False,
        log_every_n_steps=10**9,
        default_root_dir=run_dir,
        use_distributed_sampler=False,
    )
    last = run_dir / "last.ckpt"
    trainer.fit(scheme, ckpt_path=str(last) if last.is_file() else None)
    _save(trainer, last)
    if trainer.interrupted:
        raise KeyboardInterrupt
    assert scheme.ema is not None
    scheme.network.load_state_dict(scheme.ema.state)
    scheme.network.eval()
