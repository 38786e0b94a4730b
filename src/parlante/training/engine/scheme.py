"""What every training scheme shares: steps, gradients, averages, figures, and exact resumption.

A scheme says what a batch is, what its losses are and how it is judged. Batches and random draws are functions of
(seed, step, number of the batch among all batches of that step), so a run that is cut off goes on to the same bits, and
two processes with one batch each do what one process does with two.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from parlante.core import InputError
from parlante.training.engine.logs import MetricsLog
from parlante.training.engine.recipe import LoopConfig

HIGHER = ("psnr", "accuracy", "auc")
"""In the names of figures that are better when higher."""

log = logging.getLogger("parlante.training")


class Batches(IterableDataset):
    """`make(step)` for each step from `first` on; several workers take turns."""

    def __init__(self, make: Callable[[int], Any], first: int, last: int) -> None:
        self.make, self.first, self.last = make, first, last

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return (self.make(step) for step in range(self.first + number, self.last, count))


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
    `validate() -> dict`, `after_step` and `sample`.
    """

    network: nn.Module

    def __init__(self, loop: LoopConfig) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.loop = loop
        self.steps_done = 0
        self.seconds_done = 0.0
        self.part = 0
        """Number of the batch within its step."""
        self.best: dict[str, Any] = {}
        """figure, step, waited: what `patience` goes by."""
        self.better = False
        """Whether the last validation was the best so far."""
        self.figures_log: MetricsLog | None = None
        self.sample_dir: Path | None = None
        self._clock = self._idle_since = time.monotonic()
        self._idle = self._busy = 0.0
        self.ema: Ema | None = None

    # -- what a scheme provides

    def batch(self, step: int) -> Any:
        """The batch of a step, the same whenever it is asked for."""
        raise NotImplementedError(f"{type(self).__name__}.batch")

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Named losses; "loss" is minimised, the others logged."""
        raise NotImplementedError(f"{type(self).__name__}.losses")

    def after_step(self, step: int, batch: Any) -> dict[str, float]:
        """Anything after the optimiser's step, given the step's last batch; what it returns is logged."""
        return {}

    def validate(self) -> dict[str, float]:
        """Figures of the EMA weights on held-out data, never on test clips. `motion_spread`, the deviation of what
        is predicted over the true one, is watched for collapse."""
        return {}

    def sample(self, stem: Path) -> None:
        """Write what the EMA weights make of a validation clip to `stem` with a suffix."""

    def export(self, folder: Path, figures: dict[str, float]) -> None:
        """Write the trained model to a new folder; figures: what it is worth."""
        raise NotImplementedError(f"{type(self).__name__}.export")

    def figures(self) -> dict[str, float]:
        """`validate` of the trained network, on the CPU."""
        return self.cpu().validate()

    # -- the loop

    def configure_optimizers(self) -> Any:
        """Adam with the betas of the published trainings."""
        return torch.optim.Adam(self.groups(), self.loop.lr, (0.9, 0.99), fused=True)

    def groups(self) -> list[dict[str, Any]]:
        """What the optimiser moves; a group's `share` is its learning rate over the loop's, 1 where it has none."""
        return [{"params": [p for p in self.network.parameters() if p.requires_grad]}]

    def rate(self, step: int) -> float:
        """Learning rate as a share of `lr`: linear warm-up, cosine to `final_lr` by the step or the clock."""
        done = step / self.loop.max_steps
        if self.loop.max_minutes:
            done = max(done, self.seconds_done / (60 * self.loop.max_minutes))
        share = 1.0
        if self.loop.schedule == "cosine":
            share = self.loop.final_lr + (1 - self.loop.final_lr) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        return share * min(1.0, (step + 1) / max(self.loop.warmup, 1))

    def on_fit_start(self) -> None:
        """Start the average from the weights as they are."""
        if self.ema is None:
            self.ema = Ema(self.network, self.loop.ema)
        self._clock = time.monotonic()

    def _parts(self, step: int) -> list[Any]:
        """This process's batches of a step."""
        rank, world, count = self.trainer.global_rank, self.trainer.world_size, self.loop.accumulate
        return [self.batch((step * count + part) * world + rank) for part in range(count)]

    def train_dataloader(self) -> Any:
        """Batches from the first step that is not done; each of several processes gets batches of its own."""
        last = self.steps_done if self._waited_enough() else self.loop.max_steps
        data = Batches(self._parts, self.steps_done, last)
        workers = self.loop.workers
        return DataLoader(
            data, batch_size=None, num_workers=workers, multiprocessing_context="fork" if workers else None
        )

    def optimise(self, optimizer: Any, loss: Tensor, parameters: Sequence[Tensor]) -> None:
        """One step of an optimiser at this step's learning rate."""
        optimizer.zero_grad()
        self.manual_backward(loss)
        self._move(optimizer, parameters)

    def _move(self, optimizer: Any, parameters: Sequence[Tensor]) -> None:
        for group in optimizer.param_groups:
            group["lr"] = self.loop.lr * group.get("share", 1.0) * self.rate(self.steps_done)
        if self.loop.clip:
            scaler = getattr(self.trainer.precision_plugin, "scaler", None)  # of mixed 16-bit training on a GPU
            scale = 1.0 if scaler is None else scaler.get_scale()
            nn.utils.clip_grad_norm_(parameters, self.loop.clip * scale)
        optimizer.step()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Count the time that was spent waiting for the batch."""
        self._idle += time.monotonic() - self._idle_since

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Waiting for the next batch begins."""
        self._idle_since = time.monotonic()

    def training_step(self, batch: list[Any], batch_idx: int) -> None:
        """Losses, optimiser, average, log."""
        rank, world = self.trainer.global_rank, self.trainer.world_size
        optimizer = self.optimizers()
        if isinstance(optimizer, list):
            optimizer = optimizer[0]
        optimizer.zero_grad()
        sums: dict[str, Tensor] = {}
        strategy: Any = self.trainer.strategy
        for self.part, one in enumerate(batch):
            torch.manual_seed(self.loop.seed * 1_000_003 + self.steps_done + 499_979 * (self.part * world + rank))
            values = self.losses(one)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / len(batch)
            wait = world > 1 and self.part + 1 < len(batch)  # gradients are exchanged once, with the last batch
            with strategy.block_backward_sync() if wait else nullcontext():
                self.manual_backward(values["loss"] / len(batch))
        self._move(optimizer, list(self.network.parameters()))
        extra = self.after_step(self.steps_done, batch[-1])
        assert self.ema is not None
        self.ema.update(self.network)
        self._count_time()
        self.steps_done += 1
        if self.steps_done % self.loop.log_every == 0 or self.steps_done == 1:
            self._log_step(sums, extra)
        if self.steps_done % self.loop.validate_every == 0 or self.steps_done == self.loop.max_steps:
            self._judge(self.validated())
        if self.loop.sample_every and self.steps_done % self.loop.sample_every == 0 and self.trainer.is_global_zero:
            self._with_average(self._sample)
        if self.loop.max_minutes:
            self._stop_if(self.seconds_done > 60 * self.loop.max_minutes)

    def _stop_if(self, over: bool) -> None:
        self.trainer.should_stop |= self.trainer.strategy.reduce_boolean_decision(over, all=False)

    def _count_time(self) -> None:
        now = time.monotonic()
        self._busy += now - self._clock
        self.seconds_done, self._clock = self.seconds_done + now - self._clock, now
        if self.loop.max_minutes and self.trainer.world_size > 1:  # the learning rate goes by it
            self.seconds_done = self.trainer.strategy.broadcast(self.seconds_done)

    def _log_step(self, sums: dict[str, Tensor], extra: dict[str, float]) -> None:
        """One row: losses as means over all processes, and how much of the time went into waiting for batches."""
        shown = {name: float(value) for name, value in sums.items()} | extra
        if self.trainer.world_size > 1:
            table = torch.tensor(list(shown.values()), dtype=torch.float64, device=self.device)
            dist.all_reduce(table)
            shown = dict(zip(shown, (table / self.trainer.world_size).tolist(), strict=True))
        if not all(math.isfinite(shown[name]) for name in sums):
            raise InputError(
                f"losses are no longer finite at step {self.steps_done}: {shown}; lower loop.lr or use precision 32"
            )
        waiting = self._idle / max(self._busy, 1e-9)
        self._idle = self._busy = 0.0
        self.note(shown | {"waiting": min(waiting, 1.0), "minutes": self.seconds_done / 60})

    def note(self, figures: dict[str, float]) -> None:
        """One row of metrics.csv."""
        if self.figures_log is not None:
            self.figures_log.write(self.steps_done, figures)

    def _judge(self, figures: dict[str, float]) -> None:
        """Write down a validation, look for collapse, and stop when it got no better for long."""
        self.note({f"val_{name}": value for name, value in figures.items()})
        spread = figures.get("motion_spread")
        if self.loop.collapse and spread is not None and spread < self.loop.collapse:
            log.warning(
                "step %d: the predicted motion hardly moves (%.3f of the true deviation); the model has collapsed to "
                "a mean face or has not begun to learn: look at the data, the learning rate and the style inputs",
                self.steps_done,
                spread,
            )
        if not self.loop.patience:
            return
        name = self.loop.monitor or next(iter(figures), "")
        if name not in figures:
            raise InputError(f"loop.monitor is {name!r}, the validation gives {', '.join(figures) or 'nothing'}")
        figure = -figures[name] if any(word in name for word in HIGHER) else figures[name]
        self.better = not self.best or figure < self.best["figure"]
        if self.better:
            self.best = {"figure": figure, "step": self.steps_done, "waited": 0}
        else:
            self.best["waited"] += 1
        self._stop_if(self._waited_enough())

    def _waited_enough(self) -> bool:
        return bool(self.loop.patience and self.best.get("waited", 0) >= self.loop.patience)

    def validated(self) -> dict[str, float]:
        """`validate` with the averaged weights in place, in full precision."""
        return self._with_average(self.validate)

    def _sample(self) -> None:
        if self.sample_dir is not None:
            try:
                self.sample_dir.mkdir(exist_ok=True)
                self.sample(self.sample_dir / f"step-{self.steps_done:06d}")
            except Exception as error:  # hours of training are worth more than a picture of them
                log.warning("step %d: no sample could be made: %s", self.steps_done, error)

    def _with_average(self, do: Callable[[], Any]) -> Any:
        assert self.ema is not None
        own = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self.ema.state)
        self.network.eval()
        try:
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                return do()
        finally:
            self.network.load_state_dict(own)
            self.network.train()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what resumption needs beside the weights."""
        assert self.ema is not None
        checkpoint["scheme"] = {
            "steps": self.steps_done,
            "seconds": self.seconds_done,
            "best": dict(self.best),
            "ema": self.ema.state,
            "ema_steps": self.ema.steps,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The inverse of `on_save_checkpoint`."""
        kept = checkpoint["scheme"]
        self.steps_done, self.seconds_done = kept["steps"], kept["seconds"]
        self.best = dict(kept.get("best", {}))
        self.ema = Ema(self.network, self.loop.ema)
        self.ema.state, self.ema.steps = kept["ema"], kept["ema_steps"]


def one_clip(clips: Sequence[Any], is_training: Callable[[Any], bool]) -> list[Any]:
    """The first training clip alone, for `loop.one_clip`. Raises InputError where there is none."""
    for clip in clips:
        if is_training(clip):
            return [clip]
    raise InputError("the corpus has no training clips; write a larger one")
