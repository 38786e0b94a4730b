"""Latent diffusion over windows: the trainable top of TexTalker, its samplers included.

Latents here are offsets from style pivots, motion numbers first. A window of L new frames sees the P frames before it;
the first window sees learnt start features. Guidance replaces the audio of new frames by a learnt null feature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from parlante.models.textalker.denoiser import DenoiserConfig, DenoisingNetwork
from parlante.models.textalker.sampling import Estimate, Noise, ancestral, solve
from parlante.models.textalker.schedule import DiffusionSchedule


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
        dropped: Tensor,
        style: Tensor | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Training pass: noise the new frames, estimate them clean; (B, P + L, M + W).

        clean, noise (B, L, M + W); audio (B, L, D) mapped features; step (B,); dropped (B,) bool: audio of the new
        frames replaced by the null feature; known (B, M + W) bool: numbers of all new frames that get no noise; the
        rest as in `DenoisingNetwork`.
        """
        past = past or self.start(len(clean))
        audible = torch.where(dropped[:, None, None], self.null_audio_feat, audio)
        noisy = self.diffusion_sched.add_noise(clean, step, noise)
        if known is not None:
            noisy = torch.where(known[:, None], clean, noisy)
        return self.denoising_net(noisy, audible, past.latents, past.audio, step, indicator, style)

    def estimator(
        self,
        audio: Tensor,
        past: Past | None,
        indicator: Tensor,
        *,
        style: Tensor | None = None,
        guidance: float | None = 1.0,
        threshold: DynamicThreshold | None = None,
    ) -> Estimate:
        """(noisy new frames (B, L, M + W), step) -> clean ones u + guidance * (c - u), for one window.

        What no step changes is computed here, once. At guidance 1 (or None) only the conditional estimate c is made;
        the published code makes both. Arguments as in `sample`.
        """
        past = past or self.start(len(audio))
        network, single = self.denoising_net, guidance is None or guidance == 1.0
        inputs = [audio, past.latents, past.audio, indicator, style]
        if not single:
            inputs = [None if x is None else torch.cat([x, x]) for x in inputs]
            inputs[0] = torch.cat([self.null_audio_feat.expand_as(audio), audio])
        speech, latents, before, real, style_condition = inputs
        assert speech is not None and latents is not None and before is not None and real is not None
        context = network.prepare(speech, latents, before, style_condition)

        def estimate(noisy: Tensor, step: int) -> Tensor:
            both = noisy if single else torch.cat([noisy, noisy])
            steps = torch.full((len(both),), step, device=both.device)
            answer = network.estimate(both, steps, real, context)
            answer = threshold(answer) if threshold else answer
            if guidance is None or single:
                return answer
            without, with_audio = answer.chunk(2)
            return without + guidance * (with_audio - without)

        return estimate

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
        """One call of `estimator`: clean new frames (B, L, M + W) from noisy ones."""
        make = self.estimator(audio, past, indicator, style=style, guidance=guidance, threshold=threshold)
        return make(noisy, step)

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
        estimate = self.estimator(audio, past, indicator, style=style, guidance=guidance, threshold=threshold)
        return ancestral(estimate, self.diffusion_sched, start, noise, flexibility=flexibility, watch=watch)

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
        solver: str = "ddim",
        spacing: str = "even",
        noise: Noise | None = None,
    ) -> Tensor:
        """Clean new frames (B, L, M + W) by any of `sampling.SOLVERS` in `steps` steps.

        audio (B, L, D) mapped features; past of the window, or none for a first one; indicator (B, L); start
        (B, L, M + W) is x_T: everything else follows from it, but for the stochastic solvers, for which
        `noise(t, like)` draws; spacing: of few steps, even or quadratic.
        """
        estimate = self.estimator(audio, past, indicator, style=style, guidance=guidance)
        return solve(solver, estimate, self.diffusion_sched, start, steps, noise, spacing)
