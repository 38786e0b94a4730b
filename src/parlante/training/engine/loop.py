"""The loop that every scheme goes through, and the run folder that it fills.

A run folder holds recipe.yaml (as used), versions.json, git.json, data.json, training.log, log-N/metrics.csv, last.ckpt
(with `patience` also best.ckpt) and, when done, `export/`. It is never written over.

Lightning Fabric owns devices, processes, gradient exchange and mixed precision; steps, averages, figures and
checkpoints are ours, because a resumed run must end in the same bits.
"""

import logging
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from parlante.core import InputError, MissingExtra
from parlante.core.interruption import Interrupted, noted
from parlante.training.engine import checkpoint
from parlante.training.engine.logs import LogFile, MetricsLog, next_sitting
from parlante.training.engine.processes import all_together, first_process
from parlante.training.engine.recipe import PRECISIONS, LoopConfig
from parlante.training.engine.scheme import Ema, Scheme

HIGHER = ("psnr", "accuracy", "auc")
"""In the names of figures that are better when higher."""
Learning = TypeVar("Learning", bound=Scheme)

log = logging.getLogger("parlante.training")


def fit(scheme: Learning, run_dir: Path) -> Learning:
    """Train until max_steps, max_minutes or the end of patience; returns the scheme, whose network then holds the
    averaged weights, with patience the best ones.

    Goes on from run_dir/last.ckpt where there is one. Interrupting ends the step and saves first. Raises InputError
    where the folder cannot be written to (what was saved before stays whole), or where the checkpoint cannot be read.
    """
    loop = scheme.loop
    if loop.threads:
        torch.set_num_threads(loop.threads)
    torch.manual_seed(loop.seed)
    if loop.export_from:
        return _with_weights(scheme, Path(loop.export_from))
    last = run_dir / "last.ckpt"
    kept = checkpoint.load(last) if last.is_file() else None
    if not first_process():
        Loop(scheme, run_dir, kept).run()
        return scheme
    run_dir.mkdir(parents=True, exist_ok=True)
    for left in run_dir.glob(".*.part*"):  # of a sitting that was cut off
        left.unlink(missing_ok=True)
    with LogFile(run_dir / "training.log"):
        figures = MetricsLog(next_sitting(run_dir), loop.tensorboard, loop.wandb)
        try:
            Loop(scheme, run_dir, kept, figures).run()
        except BaseException as error:
            log.info("stopped at step %d: %s", scheme.steps_done, error or type(error).__name__)
            raise
        finally:
            figures.close()
    return scheme


def _with_weights(scheme: Learning, path: Path) -> Learning:
    """The scheme with the averaged weights of a checkpoint. Raises InputError where they are of another model."""
    kept = checkpoint.load(path)
    try:
        scheme.network.load_state_dict(kept["ema"] if "ema" in kept else kept["scheme"]["ema"])
    except (RuntimeError, KeyError) as error:
        raise InputError(
            f"loop.export_from: {path} does not fit the recipe: {str(error).splitlines()[0]}; give a checkpoint of a "
            "run with the same recipe"
        ) from error
    scheme.network.eval()
    return scheme


class Loop:
    """One sitting of a training, in one of its processes."""

    def __init__(
        self, scheme: Scheme, run_dir: Path, kept: dict[str, Any] | None = None, figures: MetricsLog | None = None
    ) -> None:
        """kept: the checkpoint to go on from; figures: where the first process logs."""
        self.scheme, self.run_dir, self.figures = scheme, run_dir, figures
        self.best: dict[str, Any] = {}
        """figure, step, waited: what `patience` goes by."""
        self.fabric = _fabric(scheme.loop)
        self.fabric.launch()
        made = scheme.optimizers()
        self.model, *self.optimizers = self.fabric.setup(scheme, *made)
        scheme.ema = Ema(scheme.network, scheme.loop.ema)
        if kept is not None:
            self._restore(kept)
        self._clock = time.monotonic()
        self._idle = self._busy = 0.0

    # -- a sitting

    def run(self) -> None:
        """Train, save, and put the averaged weights into the network."""
        scheme, started = self.scheme, time.monotonic()
        log.info("%s on %d x %s", type(scheme).__name__, self.fabric.world_size, self.fabric.device)
        if names := scheme.judged():
            log.info("validation on %d clips: %s", len(names), ", ".join(names))
        scheme.train()
        with noted() as signalled:
            self._steps(signalled)
        self._save()
        if number := signalled():
            raise Interrupted(
                number,
                f"step {scheme.steps_done} is saved; go on with parlante train --resume {self.run_dir}",
            )
        log.info("%d steps done, %.1f minutes in this sitting", scheme.steps_done, (time.monotonic() - started) / 60)
        assert scheme.ema is not None
        weights = scheme.ema.state
        best = self.run_dir / "best.ckpt"
        if scheme.loop.patience and best.is_file():
            kept = checkpoint.load(best)
            log.info("the weights of step %d are the best", kept["step"])
            weights = kept["ema"]
        scheme.network.load_state_dict(weights)
        scheme.network.eval()

    def _steps(self, signalled: Callable[[], int]) -> None:
        loop = self.scheme.loop
        with _bar(self.scheme, self.figures is not None) as bar:
            begun = time.monotonic()
            for batches in self._batches():
                self._idle += time.monotonic() - begun
                over = self.step(batches)
                if self.scheme.steps_done % loop.save_every == 0:
                    self._save()
                if loop.keep_every and self.scheme.steps_done % loop.keep_every == 0:
                    self._keep()
                bar.update()
                if self._agreed(over or signalled() != 0):
                    break
                begun = time.monotonic()

    def _batches(self) -> DataLoader[Any]:
        """This process's batches of each step from the first that is not done."""
        scheme, workers = self.scheme, self.scheme.loop.workers
        rank, world, count = self.fabric.global_rank, self.fabric.world_size, scheme.loop.accumulate

        def parts(step: int) -> list[Any]:
            return [scheme.batch((step * count + part) * world + rank) for part in range(count)]

        last = scheme.steps_done if self._waited_enough() else scheme.loop.max_steps
        data = Batches(parts, scheme.steps_done, last)
        return DataLoader(
            data, batch_size=None, num_workers=workers, multiprocessing_context="fork" if workers else None
        )

    def step(self, batches: Sequence[Any]) -> bool:
        """Losses, optimiser, average, log, validation; says whether the training is over."""
        scheme, loop, fabric = self.scheme, self.scheme.loop, self.fabric
        rank, world = fabric.global_rank, fabric.world_size
        self.optimizers[0].zero_grad()
        sums: dict[str, Tensor] = {}
        for scheme.part, one in enumerate(batches):
            batch = fabric.to_device(one)
            torch.manual_seed(loop.seed * 1_000_003 + scheme.steps_done + 499_979 * (scheme.part * world + rank))
            wait = world > 1 and scheme.part + 1 < len(batches)  # gradients are exchanged once, with the last batch
            with fabric.no_backward_sync(self.model) if wait else nullcontext():
                values = self.model(_Whole(batch))
                fabric.backward(values["loss"] / len(batches))
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value.detach() / len(batches)
        self._move(self.optimizers[0], list(scheme.network.parameters()))
        extra = self._rival(batch)
        with fabric.autocast():
            extra |= scheme.after_step(scheme.steps_done, batch)
        assert scheme.ema is not None
        scheme.ema.update(scheme.network)
        self._count_time()
        scheme.steps_done += 1
        if scheme.steps_done % loop.log_every == 0 or scheme.steps_done == 1:
            self._log_step(sums, extra)
        over = False
        if scheme.steps_done % loop.validate_every == 0 or scheme.steps_done == loop.max_steps:
            over = self._judge(scheme.with_average(scheme.validate))
        if loop.sample_every and scheme.steps_done % loop.sample_every == 0 and fabric.is_global_zero:
            scheme.with_average(self._sample)
        return over or bool(loop.max_minutes and scheme.seconds_done > 60 * loop.max_minutes)

    def _rival(self, batch: Any) -> dict[str, float]:
        """The second optimiser's turn; its gradients are exchanged here, for they lie outside the wrapped module."""
        with self.fabric.autocast():
            losses = self.scheme.rival_losses(batch)
        if not losses:
            return {}
        optimizer = self.optimizers[1]
        optimizer.zero_grad()
        self.fabric.backward(sum(losses.values(), start=torch.zeros((), device=self.fabric.device)))
        moved = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter in moved:
            if parameter.grad is not None and self.fabric.world_size > 1:
                all_together(parameter.grad).div_(self.fabric.world_size)
        self._move(optimizer, moved)
        return {name: value.item() for name, value in losses.items()}

    def _move(self, optimizer: Any, parameters: Sequence[nn.Parameter]) -> None:
        """One step of an optimiser at this step's learning rate."""
        loop = self.scheme.loop
        for group in optimizer.param_groups:
            group["lr"] = loop.lr * group.get("share", 1.0) * self.scheme.rate()
        if loop.clip:
            scale = self.fabric.strategy.precision.state_dict().get("scale", 1.0)  # of mixed 16-bit training on a GPU
            nn.utils.clip_grad_norm_(parameters, loop.clip * scale)
        optimizer.step()

    def _agreed(self, over: bool) -> bool:
        """Whether any process says so."""
        if self.fabric.world_size == 1:
            return over
        return bool(all_together(torch.tensor(float(over), device=self.fabric.device)) > 0)

    # -- figures

    def _count_time(self) -> None:
        now = time.monotonic()
        self._busy += now - self._clock
        self.scheme.seconds_done, self._clock = self.scheme.seconds_done + now - self._clock, now
        if self.scheme.loop.max_minutes and self.fabric.world_size > 1:  # the learning rate goes by it
            self.scheme.seconds_done = self.fabric.broadcast(self.scheme.seconds_done)

    def _log_step(self, sums: dict[str, Tensor], extra: dict[str, float]) -> None:
        """One row: losses as means over all processes, and how much of the time went into waiting for batches."""
        shown = {name: float(value) for name, value in sums.items()} | extra
        if self.fabric.world_size > 1:
            table = torch.tensor(list(shown.values()), dtype=torch.float64, device=self.fabric.device)
            shown = dict(zip(shown, (all_together(table) / self.fabric.world_size).tolist(), strict=True))
        if not all(math.isfinite(shown[name]) for name in sums):
            raise InputError(
                f"losses are no longer finite at step {self.scheme.steps_done}: {shown}; lower loop.lr or use "
                "precision 32"
            )
        waiting = self._idle / max(self._busy, 1e-9)
        self._idle = self._busy = 0.0
        self._note(shown | {"waiting": min(waiting, 1.0), "minutes": self.scheme.seconds_done / 60})

    def _note(self, figures: dict[str, float]) -> None:
        """One row of metrics.csv."""
        if self.figures is not None:
            self.figures.write(self.scheme.steps_done, figures)

    def _judge(self, figures: dict[str, float]) -> bool:
        """Write down a validation, look for collapse, keep the best; says whether it got no better for too long."""
        loop, step = self.scheme.loop, self.scheme.steps_done
        self._note({f"val_{name}": value for name, value in figures.items()})
        spread = figures.get("motion_spread")
        if loop.collapse and spread is not None and spread < loop.collapse:
            log.warning(
                "step %d: the predicted motion hardly moves (%.3f of the true deviation); the model has collapsed to "
                "a mean face or has not begun to learn: look at the data, the learning rate and the style inputs",
                step,
                spread,
            )
        if not loop.patience:
            return False
        name = loop.monitor or next(iter(figures), "")
        if name not in figures:
            raise InputError(f"loop.monitor is {name!r}, the validation gives {', '.join(figures) or 'nothing'}")
        figure = -figures[name] if any(word in name for word in HIGHER) else figures[name]
        if not self.best or figure < self.best["figure"]:
            self.best = {"figure": figure, "step": step, "waited": 0}
            if self.fabric.is_global_zero:
                assert self.scheme.ema is not None
                checkpoint.save({"ema": self.scheme.ema.state, "step": step}, self.run_dir / "best.ckpt")
        else:
            self.best["waited"] += 1
        return self._waited_enough()

    def _waited_enough(self) -> bool:
        patience = self.scheme.loop.patience
        return bool(patience and self.best.get("waited", 0) >= patience)

    def _sample(self) -> None:
        step, folder = self.scheme.steps_done, self.run_dir / "samples"
        try:
            folder.mkdir(exist_ok=True)
            self.scheme.sample(folder / f"step-{step:06d}")
        except Exception as error:  # hours of training are worth more than a picture of them
            log.warning("step %d: no sample could be made: %s", step, error)

    # -- checkpoints

    def _save(self) -> None:
        """Write last.ckpt, by the first process; in data-parallel training all hold the same."""
        if self.fabric.is_global_zero:
            checkpoint.save(self.state(), self.run_dir / "last.ckpt")
        self.fabric.barrier()

    def _keep(self) -> None:
        """Write step-N.ckpt, with the averaged weights alone."""
        if self.fabric.is_global_zero:
            step = self.scheme.steps_done
            assert self.scheme.ema is not None
            checkpoint.save({"ema": self.scheme.ema.state, "step": step}, self.run_dir / f"step-{step:06d}.ckpt")
        self.fabric.barrier()

    def state(self) -> dict[str, Any]:
        """What the next step depends on."""
        scheme = self.scheme
        assert scheme.ema is not None
        return {
            "state_dict": scheme.state_dict(),
            "optimizer_states": [optimizer.state_dict() for optimizer in self.optimizers],
            "precision": self.fabric.strategy.precision.state_dict(),
            "scheme": {
                "steps": scheme.steps_done,
                "seconds": scheme.seconds_done,
                "best": dict(self.best),
                "ema": scheme.ema.state,
                "ema_steps": scheme.ema.steps,
            },
        }

    def _restore(self, kept: dict[str, Any]) -> None:
        """The inverse of `state`. Raises InputError where the checkpoint is of another model."""
        scheme, own = self.scheme, kept["scheme"]
        assert scheme.ema is not None
        try:
            scheme.load_state_dict(kept["state_dict"])
            for optimizer, state in zip(self.optimizers, kept["optimizer_states"], strict=True):
                optimizer.load_state_dict(state)
        except (RuntimeError, ValueError, KeyError) as error:
            raise InputError(
                f"{self.run_dir / 'last.ckpt'} does not fit the recipe: {str(error).splitlines()[0]}; move it away to "
                "train from the start"
            ) from error
        self.fabric.strategy.precision.load_state_dict(kept.get("precision", {}))
        scheme.steps_done, scheme.seconds_done = own["steps"], own["seconds"]
        self.best = dict(own.get("best", {}))
        scheme.ema.state = {name: value.to(self.fabric.device) for name, value in own["ema"].items()}
        scheme.ema.steps = own["ema_steps"]


class Batches(IterableDataset[Any]):
    """`make(step)` for each step from `first` on; several workers take turns."""

    def __init__(self, make: Callable[[int], Any], first: int, last: int) -> None:
        self.make, self.first, self.last = make, first, last

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return (self.make(step) for step in range(self.first + number, self.last, count))


class _Whole:
    """A batch that is handed to the scheme as it is; Fabric would round its numbers in mixed precision."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch


def _fabric(loop: LoopConfig) -> Any:
    """Devices and precision of a loop. Raises MissingExtra."""
    try:
        from lightning.fabric import Fabric
    except ModuleNotFoundError as error:
        raise MissingExtra("lightning", "train") from error
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    alone = loop.devices == 1 and loop.nodes == 1
    strategy = "ddp_find_unused_parameters_true" if loop.strategy == "auto" and not alone else loop.strategy
    return Fabric(
        accelerator=loop.accelerator,
        devices=loop.devices,
        num_nodes=loop.nodes,
        strategy=strategy,
        precision=PRECISIONS[loop.precision],  # type: ignore[arg-type]
    )


def _bar(scheme: Scheme, wanted: bool) -> Any:
    """A progress bar on a terminal."""
    from tqdm import tqdm

    shown = wanted and sys.stderr.isatty()
    return tqdm(total=scheme.loop.max_steps, initial=scheme.steps_done, unit=" steps", disable=not shown)
