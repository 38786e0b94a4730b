"""Noise schedules (TexTalker, section "diffusion"; cosine: Nichol & Dhariwal 2021). Step 0 is clean, step T noise."""

import math

import torch
from torch import Tensor, nn

SPACINGS = ("even", "quadratic")
"""How few steps may be spread over all of them."""


def betas(steps: int, kind: str = "cosine") -> Tensor:
    """(T,) variances of the noise added at steps 1..T."""
    if kind == "cosine":
        x = torch.arange(steps + 1) / steps
        bar = torch.cos((x + 0.008) / 1.008 * math.pi / 2).square()
        bar = bar / bar[0]
        return (1 - bar[1:] / bar[:-1]).clip(1e-4, 0.999)
    low, high = 1e-4, 0.02
    if kind == "linear":
        return torch.linspace(low, high, steps)
    if kind == "quadratic":
        return torch.linspace(low**0.5, high**0.5, steps).square()
    if kind == "sigmoid":
        return torch.sigmoid(torch.linspace(-5, 5, steps)) * (high - low) + low
    raise ValueError(f"schedule must be cosine, linear, quadratic or sigmoid, got {kind!r}")


class DiffusionSchedule(nn.Module):
    """Tables of T + 1 entries, indexed by the step; names are those of the released checkpoint."""

    betas: Tensor
    alphas: Tensor
    alpha_bars: Tensor
    sigmas_flex: Tensor
    sigmas_inflex: Tensor

    def __init__(self, steps: int, kind: str = "cosine") -> None:
        super().__init__()
        beta = torch.cat([torch.zeros(1), betas(steps, kind)])
        alpha = 1 - beta
        bar = alpha.log().cumsum(0).exp()
        inflexible = torch.zeros_like(beta)
        inflexible[1:] = ((1 - bar[:-1]) / (1 - bar[1:]) * beta[1:]).sqrt()
        self.register_buffer("betas", beta)
        self.register_buffer("alphas", alpha)
        self.register_buffer("alpha_bars", bar)
        self.register_buffer("sigmas_flex", beta.sqrt())
        self.register_buffer("sigmas_inflex", inflexible)

    @property
    def steps(self) -> int:
        """T."""
        return len(self.betas) - 1

    def sigma(self, step: int, flexibility: float = 0.0) -> Tensor:
        """Noise of the ancestral sampler at a step, between its two published extremes."""
        return flexibility * self.sigmas_flex[step] + (1 - flexibility) * self.sigmas_inflex[step]

    def add_noise(self, clean: Tensor, step: Tensor, noise: Tensor) -> Tensor:
        """sqrt(abar_t) x_0 + sqrt(1 - abar_t) e for clean (B, T, D) and step (B,)."""
        bar = self.alpha_bars[step].view(-1, 1, 1)
        return bar.sqrt() * clean + (1 - bar).sqrt() * noise

    def few(self, count: int, spacing: str = "even") -> list[int]:
        """`count` different steps from T down: even, the last one T / count; or quadratic, T (j / count)^2 for j from
        `count` to 1 where these differ. Raises ValueError for a count outside 1..T."""
        if not 1 <= count <= self.steps:
            raise ValueError(f"steps must lie in 1..{self.steps}, got {count}")
        if spacing == "quadratic":
            return [max(j, round(self.steps * (j / count) ** 2)) for j in range(count, 0, -1)]
        return [round(float(t)) for t in torch.linspace(self.steps, 0, count + 1)[:-1]]
