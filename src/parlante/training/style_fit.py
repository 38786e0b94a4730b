"""The style of a stranger: the code under which a frozen autoregressive model speaks as the stranger's clips do.

The search stays where known styles are: in the linear space of their codes, with a Gaussian prior of their spread (the
maximum a posteriori estimate). It begins at the known style that fits best: all of them speak the clips.
The loss is that of running free: the past is the model's own, renewed as the code moves, and the gradient flows through
the last few of its frames (parallel passes), so that a style is judged by what it leads to, not by one step of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class StyleFitConfig:
    """How hard to search."""

    steps: int = 60
    lr: float = 0.1
    """In deviations of known codes."""
    prior: float = 2e-3
    """Weight of the squared distance from the mean code, in deviations, against the relative squared error."""
    rank: int = 12
    """Directions searched: the strongest in which known codes differ."""
    passes: int = 2
    """Parallel passes the gradient flows through."""
    renew: int = 4
    """Run free every so many steps."""
    lips: float = 1.0
    """Weight of the lips' squared error over their variance."""


@dataclass(frozen=True)
class StyleFit:
    """What was found."""

    code: Tensor
    """(D,)."""
    nearest: int
    """The known style that fits best by itself."""
    errors: dict[str, float]
    """Relative squared error, running free: of the mean code, the nearest known style, and the code found."""


def fit_style(
    network: Any,
    codes: Tensor,
    clips: Sequence[tuple[Tensor, Tensor]],
    lips: Tensor,
    config: StyleFitConfig | None = None,
    *,
    voiced: Callable[[Tensor, Tensor], Tensor] = lambda code, features: code,
) -> StyleFit:
    """codes (N, D) of known styles; clips: features (T, A) and coordinates (T, R); lips (R, 3 n) as `MotionBasis.part`.

    `voiced(code (B, D), features (B, T, A))` adds what the model hears of the voice itself.
    Takes seconds for a few clips. Raises ValueError without clips.
    """
    if not clips:
        raise ValueError("at least one clip is needed")
    config = config or StyleFitConfig()
    lengths = torch.tensor([len(motion) for _, motion in clips])
    features = torch.nn.utils.rnn.pad_sequence([heard for heard, _ in clips], batch_first=True)
    truth = torch.nn.utils.rnn.pad_sequence([motion for _, motion in clips], batch_first=True)
    real = (torch.arange(truth.shape[1]) < lengths[:, None]).float()[..., None]
    everything = torch.cat([motion for _, motion in clips])
    spread = (everything - everything.mean(0)).square().mean().clamp(min=1e-12)
    lip_spread = ((everything - everything.mean(0)) @ lips).square().mean().clamp(min=1e-12)

    def judge(made: Tensor) -> Tensor:
        """(...) relative squared error of made (..., B, T, R), averaged over real frames."""
        error = (made - truth) * real
        count = real.sum()
        whole = error.square().sum((-3, -2, -1)) / (count * error.shape[-1] * spread)
        mouth = (error @ lips).square().sum((-3, -2, -1)) / (count * lips.shape[1] * lip_spread)
        return (whole + config.lips * mouth) / (1 + config.lips)

    @torch.no_grad()
    def free(code: Tensor) -> Tensor:
        """(B, T, R) of a code (D,)."""
        return network.generate(features, voiced(code.expand(len(features), -1), features), lengths=lengths)

    mean = codes.mean(0)
    directions, spreads = _directions(codes, config.rank)
    with torch.no_grad():
        known = torch.stack([judge(free(code)) for code in codes])
    nearest = int(known.argmin())
    place = ((codes[nearest] - mean) @ directions.T / spreads).requires_grad_(True)  # in deviations
    optimizer = torch.optim.Adam([place], config.lr, (0.8, 0.95))
    past = free(codes[nearest])
    best, found = float(known[nearest]), codes[nearest]
    for step in range(config.steps + 1):
        code = mean + (place * spreads) @ directions
        if step % config.renew == 0:
            past = free(code.detach())
            error = float(judge(past))
            if error < best:
                best, found = error, code.detach().clone()
        if step == config.steps:
            break
        told = voiced(code.expand(len(features), -1), features)
        made = past
        for _ in range(config.passes):
            made = network(features, made, told)
        loss = judge(made) + config.prior * place.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    errors = {"mean": float(judge(free(mean))), "nearest": float(known[nearest]), "found": best}
    return StyleFit(found, nearest, errors)


def _directions(codes: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Principal directions (k, D) of codes (N, D), and their deviations (k,)."""
    centred = codes - codes.mean(0)
    _, strength, rows = torch.linalg.svd(centred, full_matrices=False)
    spreads = strength / max(1, len(codes) - 1) ** 0.5
    count = max(1, min(rank, int((spreads > 1e-4 * spreads[0]).sum())))
    return rows[:count], spreads[:count].clamp(min=1e-8)
