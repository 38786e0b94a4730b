"""How it is said: voicing and pitch, by the normalised autocorrelation of the low band."""

import torch
import torch.nn.functional as F
from torch import Tensor

SAMPLE_RATE = 16000
HOP = 320
WINDOW = 640
LOWEST_HZ, HIGHEST_HZ = 60, 400
REFERENCE_HZ = 150.0


def voicing_and_pitch(waveform: Tensor) -> tuple[Tensor, Tensor]:
    """waveform (B, N) at 16 kHz -> voicing (B, S) 0..1 and pitch (B, S), S = N // 320, centred at (s + 0.5) / 50 s.

    Voicing is the height of the highest autocorrelation peak between 60 and 400 Hz (Boersma 1993, without path search);
    pitch is log2(f / 150 Hz), 0 where voicing is below 0.45.
    """
    frames = waveform.shape[-1] // HOP
    side = (WINDOW - HOP) // 2
    window = torch.hann_window(WINDOW, device=waveform.device)
    pieces = F.pad(waveform[..., : frames * HOP], (side, side)).unfold(-1, WINDOW, HOP)
    pieces = (pieces - pieces.mean(-1, keepdim=True)) * window
    size = 2 * WINDOW
    low = int(1000 / SAMPLE_RATE * size)

    def autocorrelation(x: Tensor, bins: int) -> Tensor:
        power = torch.fft.rfft(x, size).abs().square()
        power[..., bins:] = 0
        return torch.fft.irfft(power, size)[..., : WINDOW // 2]

    signal = autocorrelation(pieces, low)
    shape = autocorrelation(window, size)
    first, last = SAMPLE_RATE // HIGHEST_HZ, SAMPLE_RATE // LOWEST_HZ
    ratio = signal / (signal[..., :1] + 1e-4) / (shape / shape[0]).clamp(min=0.05)
    lags = torch.arange(ratio.shape[-1], device=waveform.device)
    search = ratio - 0.0006 * lags  # prefer the shorter of two equal periods
    best, lag = search[..., first:last].max(-1)
    lag = lag + first
    voicing = best.clamp(0, 1)
    pitch = (SAMPLE_RATE / lag.to(waveform.dtype) / REFERENCE_HZ).log2()
    return voicing, torch.where(voicing > 0.45, pitch, torch.zeros_like(pitch))
