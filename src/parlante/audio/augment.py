"""Making clean speech sound like a recording: rooms, microphones, noise, telephones.

Pure functions on (N,) float arrays; every random choice comes from the `rng` given. Speed changes time, so `recolour`
also says by how much; nothing else moves it in time.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import fft

RATE = 16000
Wave = NDArray[np.float32]


def recolour(wave: Wave, rng: np.random.Generator, *, speed: float, tilt: float = 1.0) -> tuple[Wave, float]:
    """Resample by about `speed` (above 1: shorter, higher) and filter; returns the audio and the exact speed.

    The filter is a random walk over frequency of about 3 dB per kHz times `tilt`, with gentle edges.
    """
    size = len(wave)
    pad = 256
    padded = np.pad(wave, (0, pad * 4))
    whole = _fast(len(padded))
    spectrum = fft.rfft(padded, whole)
    keep = _fast(max(2, round(whole / speed)))
    speed = whole / keep
    target = max(1, round(size / speed))
    knots = np.linspace(0, 12000, 13)
    walk = np.cumsum(rng.normal(0, 3 * tilt, len(knots)))
    walk -= walk[1:5].mean()
    decibels = np.interp(np.arange(0, len(spectrum), 32) * (RATE / whole * speed), knots, np.clip(walk, -18, 18))
    spectrum *= np.repeat(10 ** (decibels / 20), 32)[: len(spectrum)].astype(np.float32)
    bins = keep // 2 + 1
    spectrum = np.pad(spectrum[:bins], (0, max(0, bins - len(spectrum))))
    return np.asarray(fft.irfft(spectrum, keep)[:target] * (keep / whole), np.float32), speed


def reverberate(wave: Wave, rng: np.random.Generator, rt60: float, wet: float) -> Wave:
    """A synthetic room: the direct sound, then noise decaying by 60 dB in `rt60` seconds; `wet` is its energy share."""
    length = int(min(rt60, 0.8) * RATE)
    at = np.arange(length, dtype=np.float32) / RATE
    tail = (rng.standard_normal(length, np.float32) * 10 ** (-3 * at / rt60)).astype(np.float32)
    tail[: int(rng.uniform(0.001, 0.01) * RATE)] = 0
    tail = np.convolve(tail, np.full(2, 0.5, np.float32))[:length]  # air and walls swallow the highest sounds
    tail *= np.float32(np.sqrt(wet / (1 - wet) / max(float((tail**2).sum()), 1e-9)))
    tail[0] += 1.0
    whole = _fast(len(wave) + length)
    mixed = fft.irfft(fft.rfft(wave, whole) * fft.rfft(tail, whole), whole)
    return np.asarray(mixed[: len(wave)], np.float32)


def coloured_noise(size: int, rng: np.random.Generator) -> Wave:
    """Noise of unit power with a random slope between white and brown, sometimes with mains hum."""
    whole = _fast(size)
    bins = whole // 2 + 1
    spectrum = rng.standard_normal(2 * bins, np.float32).view(np.complex64)
    spectrum *= ((np.arange(bins) + bins / 100) ** (-rng.uniform(0, 1.2))).astype(np.float32)
    noise = fft.irfft(spectrum, whole)[:size]
    if rng.random() < 0.2:
        base = rng.choice([50.0, 60.0])
        angle = 2 * np.pi * base * np.arange(size) / RATE
        noise = noise / noise.std() + rng.uniform(0.2, 1.5) * (np.sin(angle) + 0.5 * np.sin(3 * angle + 1))
    return np.asarray(noise / max(float(noise.std()), 1e-9), np.float32)


def breath(size: int, rng: np.random.Generator) -> Wave:
    """A breath of about unit power somewhere in `size` samples, silence around it."""
    result = np.zeros(size, np.float32)
    length = min(size, int(rng.uniform(0.15, 0.7) * RATE))
    if length < RATE // 20:
        return result
    start = int(rng.integers(0, size - length + 1))
    low = rng.uniform(200, 900)
    noise = band_limit(coloured_noise(length, rng), low, rng.uniform(2.5, 9) * low)
    result[start : start + length] = noise / max(float(noise.std()), 1e-6) * np.hanning(length) ** 0.7
    return result


def band_limit(wave: Wave, low: float, high: float) -> Wave:
    """Keep `low`..`high` Hz, edges about 10 % wide."""
    whole = _fast(len(wave))
    hertz = np.arange(whole // 2 + 1, dtype=np.float32) * (RATE / whole)
    gain = np.clip((hertz - 0.9 * low) / max(0.1 * low, 1), 0, 1) * np.clip((1.05 * high - hertz) / (0.1 * high), 0, 1)
    return np.asarray(fft.irfft(fft.rfft(wave, whole) * gain.astype(np.float32), whole)[: len(wave)], np.float32)


def companded(wave: Wave, levels: int = 255) -> Wave:
    """Quantised as on the telephone (mu-law)."""
    peak = max(float(np.abs(wave).max()), 1e-9)
    x = wave / peak
    code = np.sign(x) * np.log1p(levels * np.abs(x)) / np.log1p(levels)
    code = np.round(code * 127) / 127
    return np.asarray(np.sign(code) * np.expm1(np.abs(code) * np.log1p(levels)) / levels * peak, np.float32)


def lossy(wave: Wave, rng: np.random.Generator) -> Wave:
    """Like a low bit rate: in each 32 ms of spectrum, what lies far below its band's peak is dropped."""
    size, hop = 512, 256
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size).astype(np.float32)
    frames = 1 + len(wave) // hop
    padded = np.pad(wave, (hop, 2 * size))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:frames] * window
    spectrum = fft.rfft(pieces, size)
    level = np.abs(spectrum)
    bands = level[:, :256].reshape(len(level), 16, 16)
    limit = bands.max(2).max(1)[:, None, None] * 10 ** (-rng.uniform(28, 45) / 20)
    drop = (bands < limit).reshape(len(level), 256)
    spectrum[:, :256][drop] = 0
    pieces = fft.irfft(spectrum, size) * window
    result = np.zeros((frames + 1) * hop)
    result[: frames * hop] += pieces[:, :hop].reshape(-1)
    result[hop:] += pieces[:, hop:].reshape(-1)
    return result[hop : hop + len(wave)].astype(np.float32)


def record(wave: Wave, rng: np.random.Generator, babble: Wave | None = None, *, strength: float = 1.0) -> Wave:
    """One random recording of `wave`: room, noise, band, telephone, codec, gain, clipping. Same length.

    `babble` (N,) is other people's speech. `strength` scales the chances; with 0 only a faint noise floor is added.
    """
    level = max(_speech_level(wave), 1e-4)
    if rng.random() < 0.4 * strength:
        wave = reverberate(wave, rng, rng.uniform(0.08, 0.6), rng.uniform(0.05, 0.5))
    ratio_db = rng.uniform(5, 40) if rng.random() < 0.65 * strength else rng.uniform(35, 65)
    noise = coloured_noise(len(wave), rng)
    wave = wave + noise * np.float32(level * 10 ** (-ratio_db / 20))
    if babble is not None and rng.random() < 0.2 * strength:
        wave = wave + babble * (level / max(_speech_level(babble), 1e-4)) * 10 ** (-rng.uniform(8, 30) / 20)
    kind = rng.random()
    if kind < 0.12 * strength:
        wave = companded(band_limit(wave, rng.uniform(200, 350), rng.uniform(3300, 3700)))
    elif kind < 0.35 * strength:
        wave = band_limit(wave, rng.uniform(20, 150), rng.uniform(3400, 7000))
    if rng.random() < 0.15 * strength:
        wave = lossy(wave, rng)
    wave = wave / max(float(np.abs(wave).max()), 1e-6)
    if rng.random() < 0.25 * strength:
        wave = np.clip(wave * 10 ** (rng.uniform(0, 9) / 20), -1, 1)
    wave = wave * np.float32(10 ** (rng.uniform(-26, -0.3) / 20))
    return np.asarray(wave + np.float32(1e-5) * rng.standard_normal(len(wave), np.float32), np.float32)


def augmented_views(wave: Wave, count: int, *, seed: int, number: int, strength: float) -> Iterator[tuple[Wave, float]]:
    """A clip (N,) as it is, then `count` times recoloured and re-recorded; each with its speed.

    What comes out depends on `seed` and on the clip's `number` in its corpus alone, and on `strength`, as in `record`.
    """
    yield wave, 1.0
    for variant in range(1, count + 1):
        rng = np.random.default_rng([seed, number, variant])
        coloured, speed = recolour(wave, rng, speed=float(np.exp(rng.uniform(-0.12, 0.12))))
        yield record(coloured, rng, strength=strength), speed


def _speech_level(wave: Wave) -> float:
    """Root mean square of the louder third of the audio."""
    pieces = wave[: len(wave) // 320 * 320].reshape(-1, 320)
    power = np.sort((pieces**2).mean(1)) if len(pieces) else np.zeros(1)
    return float(np.sqrt(power[len(power) * 2 // 3 :].mean()))


def _fast(length: int) -> int:
    """An even size of at least `length` whose transform is quick."""
    return 2 * int(fft.next_fast_len((length + 1) // 2, real=True))
