"""A scheme: what a training does in a step, how it is judged, and what it exports. The loop is `loop.fit`.

A scheme says what a batch is, what its losses are and how it is judged. Batches and random draws are functions of
(seed, step, number of the batch among all batches of that step), so a run that is cut off goes on to the same bits, and
two processes with one batch each do what one process does with two.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from parlante.core import InputError
from parlante.training.engine.recipe import LoopConfig


class HasSplit(Protocol):
    """A clip of a corpus."""

    @property
    def split(self) -> str:
        """train, val, ..."""


Clip = TypeVar("Clip", bound=HasSplit)


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


class Scheme(nn.Module):
    """A training scheme.

    It gives `batch(step)`, `losses(batch) -> dict` (its "loss" is minimised), `network` and `export`; it may override
    `validate`, `after_step`, `sample`, `groups` and `optimizers`, and bring a rival: a second network with an optimiser
    and a loss of its own.
    """

    network: nn.Module

    def __init__(self, loop: LoopConfig) -> None:
        super().__init__()
        self.loop = loop
        self.steps_done = 0
        self.seconds_done = 0.0
        self.part = 0
        """Number of the batch within its step."""
        self.ema: Ema | None = None
        """Average of the network's weights; the loop makes it."""

    # -- what a scheme provides

    def batch(self, step: int) -> Any:
        """The batch of a step, the same whenever it is asked for."""
        raise NotImplementedError(f"{type(self).__name__}.batch")

    def losses(self, batch: Any) -> dict[str, Tensor]:
        """Named losses; "loss" is minimised, the others logged."""
        raise NotImplementedError(f"{type(self).__name__}.losses")

    def rival_losses(self, batch: Any) -> dict[str, Tensor]:
        """Named losses of the rival, after the network's step; their sum is minimised. Empty: it has no turn."""
        return {}

    def after_step(self, step: int, batch: Any) -> dict[str, float]:
        """Anything after the optimiser's step, given the step's last batch; what it returns is logged."""
        return {}

    def validate(self) -> dict[str, float]:
        """Figures of the average on held-out data, never on test clips. `motion_spread`, the deviation of what is
        predicted over the true one, is watched for collapse."""
        return {}

    def judged(self) -> Sequence[str]:
        """Names of the clips that `validate` judges, for the log."""
        return ()

    def sample(self, stem: Path) -> None:
        """Write what the average makes of a validation clip to `stem` with a suffix."""

    def export(self, folder: Path, figures: dict[str, float]) -> None:
        """Write the trained model to a new folder; figures: what it is worth."""
        raise NotImplementedError(f"{type(self).__name__}.export")

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam with the betas of the published trainings; a second one is the rival's."""
        return [torch.optim.Adam(self.groups(), self.loop.lr, (0.9, 0.99), fused=True)]

    def groups(self) -> list[dict[str, Any]]:
        """What the optimiser moves; a group's `share` is its learning rate over the loop's, 1 where it has none."""
        return [{"params": [p for p in self.network.parameters() if p.requires_grad]}]

    # -- for the loop

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @property
    def progress(self) -> float:
        """Share of the training that is done, by the step or the clock; above 1 past the last minute."""
        done = self.steps_done / self.loop.max_steps
        if self.loop.max_minutes:
            done = max(done, self.seconds_done / (60 * self.loop.max_minutes))
        return done

    def rate(self) -> float:
        """Learning rate of this step as a share of `lr`: linear warm-up, then constant, or cosine to `final_lr`."""
        share = 1.0
        if self.loop.schedule == "cosine":
            final = self.loop.final_lr
            share = final + (1 - final) * 0.5 * (1 + math.cos(math.pi * min(self.progress, 1.0)))
        return share * min(1.0, (self.steps_done + 1) / max(self.loop.warmup, 1))

    def forward(self, held: Any) -> dict[str, Tensor]:
        """`losses` of `held.batch`, of which only the "loss" has a gradient."""
        return {k: v if k == "loss" else v.detach() for k, v in self.losses(held.batch).items()}

    def with_average(self, do: Callable[[], Any]) -> Any:
        """`do` with the averaged weights in place, in full precision, without gradients."""
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

    def figures(self) -> dict[str, float]:
        """`validate` of the trained network, on the CPU."""
        return self.cpu().validate()


def validation_clips(clips: Sequence[Clip], *, one_clip: bool = False) -> list[Clip]:
    """The validation clips among those of a corpus; for `loop.one_clip` the training clip. Never test clips.

    Raises InputError where there are none: figures of training clips would say nothing.
    """
    found = [clip for clip in clips if clip.split == ("train" if one_clip else "val")]
    if not found:
        raise InputError(
            "the corpus has no validation clips (split val), by which a training is judged; give some of its clips the "
            "split val, or write a larger corpus"
        )
    return found


def one_clip(clips: Sequence[Any], is_training: Callable[[Any], bool]) -> list[Any]:
    """The first training clip alone, for `loop.one_clip`. Raises InputError where there is none."""
    for clip in clips:
        if is_training(clip):
            return [clip]
    raise InputError("the corpus has no training clips; write a larger one")
