"""Samplers of the latent diffusion: from noise x_T to a clean window, given an estimate of the clean one.

ancestral        the published loop: every step, fresh noise (Ho et al. 2020, with x_0 estimated)
ddim             deterministic, few steps (Song et al. 2021, eta 0)
dpmsolver++      deterministic, second order in log signal-to-noise (Lu et al. 2022); from `diffusers`
sde-dpmsolver++  the same with fresh noise in each step, a few-step stand-in for `ancestral`; from `diffusers`
unipc            deterministic, with a corrector (Zhao et al. 2023), evenly spaced only; from `diffusers`

Few steps may be spaced evenly or, as Song et al. do too, quadratically: denser towards the clean end.
"""

import importlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from parlante.core import InputError, MissingExtra
from parlante.models.textalker.schedule import SPACINGS, DiffusionSchedule

Estimate = Callable[[Tensor, int], Tensor]
"""(x_t, t) -> clean estimate of x_t's shape."""
Noise = Callable[[int, Tensor], Tensor]
"""(step, like) -> a standard normal draw of like's shape."""

SOLVERS = ("ancestral", "ddim", "dpmsolver++", "sde-dpmsolver++", "unipc")
"""What `solver` may be."""


def check_solver(solver: str, steps: int, table_steps: int, spacing: str = "even") -> None:
    """Raises InputError for an unknown solver, or a number or spacing of steps it cannot take."""
    if solver not in SOLVERS:
        raise InputError(f"no solver named {solver!r}; known: {', '.join(SOLVERS)}")
    if solver == "ancestral" and steps != table_steps:
        raise InputError(f"the ancestral solver takes all {table_steps} steps, got {steps}; use another for fewer")
    if not 1 <= steps <= table_steps:
        raise InputError(f"steps must lie in 1..{table_steps}, got {steps}")
    if spacing not in SPACINGS:
        raise InputError(f"no spacing of steps named {spacing!r}; known: {', '.join(SPACINGS)}")
    if solver == "unipc" and spacing != "even":
        raise InputError(f"unipc takes even steps, got {spacing!r}; dpmsolver++ takes both kinds")


def solve(
    solver: str,
    estimate: Estimate,
    table: DiffusionSchedule,
    start: Tensor,
    steps: int,
    noise: Noise | None = None,
    spacing: str = "even",
) -> Tensor:
    """The clean window (B, L, D) that `solver` finds from x_T = start (B, L, D) in `steps` calls of `estimate`.

    noise: draws for `ancestral` and `sde-dpmsolver++`, default torch's global ones; spacing: of the steps, even or
    quadratic. Raises InputError as `check_solver`, MissingExtra without diffusers where it is needed.
    """
    check_solver(solver, steps, table.steps, spacing)
    draw = noise or (lambda step, like: torch.randn_like(like))
    if solver == "ancestral":
        return ancestral(estimate, table, start, draw)
    if solver == "ddim":
        return ddim(estimate, table, start, steps, spacing)
    scheduler, x = library_scheduler(solver, table, steps, spacing), start
    stochastic = solver.startswith("sde")
    for time in scheduler.timesteps:
        step = int(time) + 1
        more = {"variance_noise": draw(step, x)} if stochastic else {}
        x = scheduler.step(estimate(x, step), time, x, **more).prev_sample
    return x


def ancestral(
    estimate: Estimate,
    table: DiffusionSchedule,
    start: Tensor,
    noise: Noise,
    *,
    flexibility: float = 0.0,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Every step from T to 1 with fresh noise `noise(t, like)`; `watch(t, x_t)` sees every state after its step."""
    x = start
    for t in range(table.steps, 0, -1):
        x0 = estimate(x, t)
        alpha, bar, before = table.alphas[t], table.alpha_bars[t], table.alpha_bars[t - 1]
        mean = alpha.sqrt() * (1 - before) / (1 - bar) * x + before.sqrt() * table.betas[t] / (1 - bar) * x0
        x = mean + table.sigma(t, flexibility) * noise(t, x) if t > 1 else mean
        if watch:
            watch(t - 1, x)
    return x


def ddim(estimate: Estimate, table: DiffusionSchedule, start: Tensor, steps: int, spacing: str = "even") -> Tensor:
    """Few steps from T down; the last answer is the last estimate."""
    x = start
    for now, after in pairwise([*table.few(steps, spacing), 0]):
        x0 = estimate(x, now)
        bar, next_bar = table.alpha_bars[now], table.alpha_bars[after]
        direction = (x - bar.sqrt() * x0) / (1 - bar).sqrt()
        x = next_bar.sqrt() * x0 + (1 - next_bar).sqrt() * direction if after else x0
    return x


def library_scheduler(solver: str, table: DiffusionSchedule, steps: int, spacing: str = "even") -> Any:
    """A scheduler of `diffusers` on our table, its steps set. Its time i is our step i + 1. Raises MissingExtra."""
    try:
        library: Any = importlib.import_module("diffusers")
    except ImportError as error:
        raise MissingExtra("diffusers", "samplers") from error
    settings: dict[str, Any] = {
        "num_train_timesteps": table.steps,
        "trained_betas": table.betas[1:].cpu().numpy(),
        "prediction_type": "sample",
        "timestep_spacing": "trailing",
    }
    if solver == "ddim":
        scheduler = library.DDIMScheduler(**settings, clip_sample=False, set_alpha_to_one=True)
    elif solver in ("dpmsolver++", "sde-dpmsolver++"):
        scheduler = library.DPMSolverMultistepScheduler(**settings, final_sigmas_type="zero", algorithm_type=solver)
        if spacing != "even":
            scheduler.set_timesteps(timesteps=[step - 1 for step in table.few(steps, spacing)])
            return scheduler
    elif solver == "unipc":
        scheduler = library.UniPCMultistepScheduler(**settings, final_sigmas_type="zero")
    else:
        raise InputError(f"{solver!r} does not come from diffusers")
    scheduler.set_timesteps(steps)
    return scheduler
