"""Latent diffusion over windows: the trainable top of TexTalker, its samplers included.

Latents here are offsets from style pivots, motion numbers first. A window of L new frames sees the P frames before it;
the first window sees learnt start features. Guidance replaces the audio of new frames by a learnt null feature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from parlante.models.textalker.denoiser import DenoiserConfig, DenoisingNetwork
from parlante.models.textalker.schedule import DiffusionSchedule

Noise = Callable[[int, Tensor], Tensor]
"""(step, like) -> a standard normal draw of like's shape."""


class Past(NamedTuple):
    """What came before a window."""

    latents: Tensor
    """(B, P, M + W) clean latent offsets."""
    audio: Tensor
    """(B, P, D) mapped audio features."""


@dataclass(frozen=True, kw_only=True)
class DynamicThreshold:
    """Clip each estimate at clamp(quantile(|x|, ratio), low, high), per batch entry, before guidance."""

    ratio: float
    low: float
    high: float

    def __call__(self, x: Tensor) -> Tensor:
        """(B, L, D) -> clipped."""
        limit = torch.quantile(x.abs().flatten(1), self.ratio, dim=1).clamp(self.low, self.high)
        limit = limit.view(-1, *[1] * (x.ndim - 1))
        return x.clamp(-limit, limit)


class LatentDiffusion(nn.Module):
    """Denoiser, start and null features, audio projection and noise schedule; names as released."""

    def __init__(self, config: DenoiserConfig, feature_dim: int = 768) -> None:
        super().__init__()
        self.config = config
        self.start_audio_feat = nn.Parameter(torch.randn(1, config.previous, config.width))
        self.start_motion_feat = nn.Parameter(torch.randn(1, config.previous, config.motion_dim))
        self.start_tex_feat = nn.Parameter(torch.randn(1, config.previous, config.wrinkle_dim))
        self.null_audio_feat = nn.Parameter(torch.randn(1, 1, config.width))
        self.audio_feature_map = nn.Linear(feature_dim, config.width)
        self.denoising_net = DenoisingNetwork(config)
        self.diffusion_sched = DiffusionSchedule(config.steps)

    def start(self, batch: int) -> Past:
        """The learnt past of a first window."""
        latents = torch.cat([self.start_motion_feat, self.start_tex_feat], -1)
        return Past(latents.expand(batch, -1, -1), self.start_audio_feat.expand(batch, -1, -1))

    def forward(
        self,
        clean: Tensor,
        audio: Tensor,
        past: Past | None,
        indicator: Tensor,
        step: Tensor,
        noise: Tensor,
        unheard: Tensor,
        style: Tensor | None = None,
    ) -> Tensor:
        """Training pass: noise the new frames, estimate them clean; (B, P + L, M + W).

        clean, noise (B, L, M + W); audio (B, L, D) mapped features; step (B,); unheard (B,) bool: audio of the new
        frames replaced by the null feature; the rest as in `DenoisingNetwork`.
        """
        past = past or self.start(len(clean))
        heard = torch.where(unheard[:, None, None], self.null_audio_feat, audio)
        noisy = self.diffusion_sched.add_noise(clean, step, noise)
        return self.denoising_net(noisy, heard, past.latents, past.audio, step, indicator, style)

    def estimate(
        self,
        noisy: Tensor,
        audio: Tensor,
        past: Past,
        indicator: Tensor,
        step: int,
        *,
        style: Tensor | None = None,
        guidance: float | None = 1.0,
        threshold: DynamicThreshold | None = None,
    ) -> Tensor:
        """Clean new frames from noisy ones, (B, L, M + W): u + guidance * (c - u).

        At guidance 1 (or None) only the conditional estimate c is computed; the published code computes both.
        """
        steps = torch.full((len(noisy),), step, device=noisy.device)
        previous = self.config.previous
        if guidance is None or guidance == 1.0:
            answer = self.denoising_net(noisy, audio, past.latents, past.audio, steps, indicator, style)[:, previous:]
            return threshold(answer) if threshold else answer
        twice = [None if x is None else torch.cat([x, x]) for x in (noisy, past.latents, past.audio, indicator, style)]
        heard = torch.cat([self.null_audio_feat.expand_as(audio), audio])
        noisy2, latents2, audio2, indicator2, style2 = twice
        assert noisy2 is not None and latents2 is not None and audio2 is not None and indicator2 is not None
        answer = self.denoising_net(noisy2, heard, latents2, audio2, steps.repeat(2), indicator2, style2)[:, previous:]
        without, with_audio = (threshold(answer) if threshold else answer).chunk(2)
        return without + guidance * (with_audio - without)

    @torch.no_grad()
    def sample_ancestral(
        self,
        audio: Tensor,
        past: Past | None,
        indicator: Tensor,
        start: Tensor,
        noise: Noise,
        *,
        style: Tensor | None = None,
        guidance: float | None = 1.15,
        flexibility: float = 0.0,
        threshold: DynamicThreshold | None = None,
        watch: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """The published sampler: every step from T to 1 with fresh noise; (B, L, M + W).

        start (B, L, M + W) is x_T; `noise(t, like)` draws; `watch(t, x_t)` sees every state after its step.
        """
        past = past or self.start(len(audio))
        table, x = self.diffusion_sched, start
        for t in range(table.steps, 0, -1):
            x0 = self.estimate(x, audio, past, indicator, t, style=style, guidance=guidance, threshold=threshold)
            alpha, bar, before = table.alphas[t], table.alpha_bars[t], table.alpha_bars[t - 1]
            mean = alpha.sqrt() * (1 - before) / (1 - bar) * x + before.sqrt() * table.betas[t] / (1 - bar) * x0
            x = mean + table.sigma(t, flexibility) * noise(t, x) if t > 1 else mean
            if watch:
                watch(t - 1, x)
        return x

    @torch.no_grad()
    def sample(
        self,
        audio: Tensor,
        past: Past | None,
        indicator: Tensor,
        start: Tensor,
        *,
        steps: int = 10,
        style: Tensor | None = None,
        guidance: float | None = 1.15,
    ) -> Tensor:
        """Few-step deterministic sampler (DDIM with eta 0, Song et al. 2021); (B, L, M + W).

        start (B, L, M + W) is x_T; everything else follows from it.
        """
        past = past or self.start(len(audio))
        table, x = self.diffusion_sched, start
        times = [*table.few(steps), 0]
        for now, after in pairwise(times):
            x0 = self.estimate(x, audio, past, indicator, now, style=style, guidance=guidance)
            bar, next_bar = table.alpha_bars[now], table.alpha_bars[after]
            direction = (x - bar.sqrt() * x0) / (1 - bar).sqrt()
            x = next_bar.sqrt() * x0 + (1 - next_bar).sqrt() * direction if after else x0
        return x
