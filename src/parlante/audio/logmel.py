"""Log-mel spectra that do not depend on the level of the recording, whole or in pieces.

Frame m is centred at (m + 0.5) * 10 ms. Each band is normalised by its energy-weighted mean over the last 2.5 s and the
next 0.3 s, so that loudness, distance and the colour of the microphone cancel, and a stream gives the same numbers as
the whole recording once the context is there.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SAMPLE_RATE = 16000
HOP = 160
WINDOW = 400
FFT = 512
MEAN_PAST, MEAN_FUTURE = 250, 30
"""Frames that the running mean looks back and ahead."""
FLOOR = 1e-7
"""Power added to every band: about -70 dB below full scale."""


def mel_filters(bands: int, low: float = 60.0, high: float = 7600.0) -> Tensor:
    """(bands, FFT // 2 + 1) triangles of height 1, equal on O'Shaughnessy's mel scale (2595 log10(1 + f/700))."""

    def mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    edges = torch.linspace(mel(low), mel(high), bands + 2, dtype=torch.float64)
    edges = 700 * (10 ** (edges / 2595) - 1)
    bins = torch.arange(FFT // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / FFT
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()


class LogMel(nn.Module):
    """waveform (B, N) at 16 kHz -> log-mel power (B, N // 160, bands), natural logarithm, not normalised."""

    filters: Tensor
    window: Tensor

    def __init__(self, bands: int = 64) -> None:
        super().__init__()
        self.register_buffer("filters", mel_filters(bands), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        frames = waveform.shape[-1] // HOP
        side = (WINDOW - HOP) // 2
        padded = F.pad(waveform[..., : frames * HOP], (side, side))
        pieces = padded.unfold(-1, WINDOW, HOP) * self.window  # (B, M, 400)
        power = torch.fft.rfft(pieces, FFT).abs().square() / self.window.square().sum()
        return (power @ self.filters.mT + FLOOR).log()


def running_normalise(mels: Tensor, past: int = MEAN_PAST, future: int = MEAN_FUTURE) -> tuple[Tensor, Tensor]:
    """Subtract the energy-weighted running mean of each band.

    mels (B, M, bands) -> normalised (B, M, bands) in units of 2.5 nepers, loudness (B, M): log energy above its own
    running mean, in the same units.
    """
    energy = mels.logsumexp(-1, keepdim=True)  # (B, M, 1)
    weight = (0.35 * energy).exp().double()
    both = torch.cat([mels, energy], -1).double()
    total = _window_sum(torch.cat([weight * both, weight], -1), past, future)
    mean = total[..., :-1] / total[..., -1:]
    normal = ((both - mean) / 2.5).to(mels.dtype)
    return normal[..., :-1], normal[..., -1]


def _window_sum(values: Tensor, past: int, future: int) -> Tensor:
    """(B, M, C): the sum over frames m - past .. m + future that exist."""
    frames = values.shape[1]
    running = F.pad(values.cumsum(1), (0, 0, 1, 0))
    at = torch.arange(frames, device=values.device)
    return running[:, (at + future + 1).clamp(max=frames)] - running[:, (at - past).clamp(min=0)]
