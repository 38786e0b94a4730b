"""The denoising Transformer (TexTalker, section "latent diffusion").

    [step t | previous frames | new frames]  + positions -> decoder layers over [previous | new] audio -> clean latents

It predicts the clean latent offsets of previous and new frames. Names are those of the released checkpoint. Ours:
a style vector added to every token (`style_dim`, 0 in the published network, whose pivots are accepted and unused).
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from parlante.core.ranges import Count, Share
from parlante.models.components.aligned import AlignedDecoderLayer, AlignedMemory, alignment_mask


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig:
    """Sizes; the defaults are the published ones."""

    motion_dim: int = 4096
    """Numbers per frame of the motion latent (or of its linear basis); 0: this model makes no motion."""
    wrinkle_dim: int = 4096
    """Numbers per frame of the wrinkle latent; 0: this model makes no wrinkles."""
    width: Count = 1024
    """Width of the Transformer."""
    heads: Count = 4
    """Attention heads; must divide `width`."""
    layers: Count = 8
    """Decoder layers."""
    mlp_ratio: Count = 4
    """Inner width of a layer, in widths."""
    frames: Count = 90
    """New frames of a window."""
    previous: Count = 15
    """Frames of the window before that are seen as context."""
    steps: Count = 500
    """Diffusion steps in training."""
    dropout: Share = 0.1
    """In training."""
    style_dim: int = 0
    """Numbers that say who to move like; 0 switches the input off."""

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"heads must divide width, got width={self.width} and heads={self.heads}")
        if not 0 < self.previous < self.frames:
            raise ValueError(f"previous must lie between 1 and frames, got {self.previous} and {self.frames}")
        if min(self.motion_dim, self.wrinkle_dim) < 0 or not self.latent_dim:
            raise ValueError(f"a model makes motion, wrinkles or both, got {self.motion_dim} and {self.wrinkle_dim}")

    @property
    def latent_dim(self) -> int:
        """Motion and wrinkle numbers together."""
        return self.motion_dim + self.wrinkle_dim


class StepTable(nn.Module):
    """Sinusoid table of the diffusion step, (1, T + 1, D): sine in even columns, cosine in odd ones."""

    pe: Tensor

    def __init__(self, width: int, steps: int) -> None:
        super().__init__()
        position = torch.arange(steps + 1)[:, None]
        frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        table = torch.zeros(1, steps + 1, width)
        table[0, :, 0::2] = torch.sin(position * frequency)
        table[0, :, 1::2] = torch.cos(position * frequency)
        self.register_buffer("pe", table)


class Context(NamedTuple):
    """A window's surroundings as the network sees them: the same in all denoising steps."""

    previous: Tensor
    """(B, P, D) tokens of the frames before the window, positions included."""
    memory: tuple[AlignedMemory, ...]
    """Audio of previous and new frames, for each layer."""
    style: Tensor | None
    """(B, 1, D) or none."""


class DenoisingNetwork(nn.Module):
    """One call estimates the clean window from a noisy one."""

    alignment_mask: Tensor

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        width, tokens = config.width, config.previous + config.frames
        self.TE = StepTable(width, config.steps)
        self.diff_step_map = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.feature_proj = nn.Linear(config.latent_dim + 1, width)
        self.PE = nn.Parameter(torch.randn(1, 1 + tokens, width) * 0.02)
        self.register_buffer("alignment_mask", alignment_mask(tokens))
        self.transformer = nn.Module()
        self.transformer.layers = nn.ModuleList(
            AlignedDecoderLayer(width, config.heads, config.mlp_ratio, config.dropout) for _ in range(config.layers)
        )
        self.motion_dec = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, config.latent_dim))
        if config.style_dim:
            self.style_proj = nn.Linear(config.style_dim, width)

    def prepare(self, audio: Tensor, previous: Tensor, previous_audio: Tensor, style: Tensor | None = None) -> Context:
        """Everything that no denoising step changes; arguments as in `forward`."""
        if (style is not None) != bool(self.config.style_dim):
            raise ValueError(f"this network takes {self.config.style_dim} style numbers; style is {style is not None}")
        style_condition = None if style is None else self.style_proj(style)[:, None]
        tokens = self._tokens(previous, previous.new_zeros(previous.shape[:2]), 1, style_condition)
        memory = torch.cat([previous_audio, audio], 1)
        return Context(tokens, tuple(layer.encode_memory(memory) for layer in self._layers), style_condition)

    def estimate(
        self, noisy: Tensor, step: Tensor, indicator: Tensor, context: Context, *, new_only: bool = True
    ) -> Tensor:
        """Clean latents (B, L, M + W) of the new frames alone, or (B, P + L, M + W) of previous ones too.

        noisy (B, L, M + W), step (B,) in 0..T, indicator (B, L) as in `forward`; context from `prepare`.
        """
        time = self.diff_step_map(self.TE.pe[0, step])[:, None] + self.PE[:, :1]
        time = time if context.style is None else time + context.style
        fresh = self._tokens(noisy, indicator, 1 + self.config.previous, context.style)
        x = torch.cat([time, context.previous, fresh], 1)
        *inner, final = zip(self._layers, context.memory, strict=True)
        for layer, memory in inner:
            x = layer(x, memory)
        layer, memory = final
        count = noisy.shape[1] + (0 if new_only else self.config.previous)
        return self.motion_dec(layer(x, memory, last=count))

    def forward(
        self,
        noisy: Tensor,
        audio: Tensor,
        previous: Tensor,
        previous_audio: Tensor,
        step: Tensor,
        indicator: Tensor,
        style: Tensor | None = None,
    ) -> Tensor:
        """Clean latents of previous and new frames, (B, P + L, M + W).

        noisy (B, L, M + W) new frames; audio (B, L, D) and previous_audio (B, P, D) features; previous (B, P, M + W)
        clean latents before the window; step (B,) in 0..T; indicator (B, L) 1 for real new frames and 0 for padding;
        style (B, S) if the network has a style input.
        """
        return self.estimate(
            noisy, step, indicator, self.prepare(audio, previous, previous_audio, style), new_only=False
        )

    @property
    def _layers(self) -> list[AlignedDecoderLayer]:
        return list(self.transformer.layers)  # type: ignore[arg-type]

    def _tokens(self, frames: Tensor, real: Tensor, first: int, style: Tensor | None) -> Tensor:
        """Frames (B, n, M + W) and their indicator (B, n) as tokens at places `first` and on, (B, n, D)."""
        tokens = (
            self.feature_proj(torch.cat([frames, real[..., None]], -1)) + self.PE[:, first : first + frames.shape[1]]
        )
        return tokens if style is None else tokens + style
