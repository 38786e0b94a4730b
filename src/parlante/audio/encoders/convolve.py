"""The convolution stack of a speech network, in memory that does not grow with the audio."""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.core import InputError

PIECE_S = 10.0
"""Seconds of audio convolved at once where no gradient is wanted."""


def feature_count(samples: int, settings: Any) -> int:
    """Features that the stack makes of so many samples; 0 where they are too few."""
    for kernel, stride in zip(settings.conv_kernel, settings.conv_stride, strict=True):
        samples = (samples - kernel) // stride + 1
    return max(0, samples)


def convolve(extractor: nn.Module, settings: Any, audio: Tensor) -> Tensor:
    """audio (B, N), clips of equal length -> features (B, C, L), one per 320 samples, each of 400 samples.

    Long audio goes in pieces, which overlap by the reach of the kernels; the group norm of the base layout, whose
    statistics are over the whole clip, gets them in a pass of its own. Pieces give the numbers of the whole up to
    rounding. Raises InputError on less audio than one feature needs.
    """
    count = feature_count(audio.shape[1], settings)
    hop, reach = _geometry(settings)
    if count < 1:
        raise InputError(
            f"the audio is too short: {audio.shape[1]} samples at 16 kHz; a speech network needs at least {reach}"
        )
    layers: Any = extractor.conv_layers
    size = int(PIECE_S * 16000) // hop
    learning = torch.is_grad_enabled() and any(p.requires_grad for p in extractor.parameters())
    if learning or audio.requires_grad or count <= size:
        return _run(layers, audio[:, None], None)
    statistics = None
    if settings.feat_extract_norm == "group":
        statistics = _clip_statistics(layers[0].conv, audio, size * hop)
    edges = [*range(0, count, size), count]
    return torch.cat(
        [_run(layers, audio[:, None, a * hop : (b - 1) * hop + reach], statistics) for a, b in pairwise(edges)], -1
    )


def padding(samples: int) -> int:
    """Samples that `pad_edges` adds on either side."""
    rest = samples % 320
    return -(-(80 - rest) // 2) if rest <= 80 else 0


def pad_edges(audio: Tensor) -> Tensor:
    """Mirror up to 40 samples at both ends so that N samples make N // 320 features: (B, N) -> (B, N').

    As TexTalker does: half of the padding is mirrored, the result mirrored again by as much, and an
    odd last sample repeated. Raises InputError where there is too little to mirror.
    """
    side = padding(audio.shape[-1])
    if side // 2 >= audio.shape[-1]:
        raise InputError(f"the audio is too short: {audio.shape[-1]} samples at 16 kHz; use at least 0.1 s of audio")
    for _ in range(2):
        audio = F.pad(audio, (side // 2, side // 2), mode="reflect")
    return F.pad(audio, (1, 1), mode="replicate") if side % 2 else audio


def _geometry(settings: Any) -> tuple[int, int]:
    """Samples from feature to feature, and samples that one feature sees."""
    hop, reach = 1, 1
    for kernel, stride in zip(settings.conv_kernel, settings.conv_stride, strict=True):
        reach += (kernel - 1) * hop
        hop *= stride
    return hop, reach


def _run(layers: Any, x: Tensor, statistics: tuple[Tensor, Tensor] | None) -> Tensor:
    if statistics is not None:
        first, rest = layers[0], layers[1:]
        mean, spread = statistics
        scale, shift = first.layer_norm.weight[:, None], first.layer_norm.bias[:, None]
        x = first.activation((first.conv(x) - mean) / (spread + first.layer_norm.eps).sqrt() * scale + shift)
        layers = rest
    for layer in layers:
        x = layer(x)
    return x


def _clip_statistics(conv: nn.Conv1d, audio: Tensor, piece: int) -> tuple[Tensor, Tensor]:
    """Mean and population variance over time of the first convolution's channels: twice (B, C, 1)."""
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    total = (audio.shape[1] - kernel) // stride + 1
    edges = [*range(0, total, max(1, piece // stride)), total]
    sums = squares = 0.0 * conv.weight.new_zeros((), dtype=torch.float64)
    for a, b in pairwise(edges):
        x = conv(audio[:, None, a * stride : (b - 1) * stride + kernel]).double()
        sums = sums + x.sum(-1, keepdim=True)
        squares = squares + x.square().sum(-1, keepdim=True)
    mean = sums / total
    return mean.to(audio.dtype), (squares / total - mean.square()).clamp(min=0).to(audio.dtype)
