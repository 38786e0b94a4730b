"""What a face does besides articulating: brows, blinks, glances and small head movements, led by the audio.

Everything here follows from the audio, a profile and a seed; no phones are needed, so it serves any speech.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from parlante.core.timing import FPS, frame_times, num_frames
from parlante.head.arkit import ARKIT_NAMES, INDEX
from parlante.head.speaker_profile import NEUTRAL, SpeakerProfile

_WINDOW_S = 0.05
_PITCH_HZ = (65.0, 420.0)


class Prosody(NamedTuple):
    """How speech is said, per frame."""

    energy: NDArray[np.float64]
    """(T,) 0..1: loudness between the noise floor and the loudest part."""
    pitch: NDArray[np.float64]
    """(T,) Hz; 0 where unvoiced."""
    accent: NDArray[np.float64]
    """(T,) 0..1: prominence, from pitch above the speaker's median and loudness."""


def prosody(audio: NDArray[np.float32], sample_rate: int, fps: float = FPS) -> Prosody:
    """Loudness, pitch (autocorrelation) and accents of mono speech (N,) at `fps`."""
    count = num_frames(len(audio), sample_rate, fps)
    size = int(_WINDOW_S * sample_rate)
    if count == 0:
        empty = np.zeros(0)
        return Prosody(empty, empty, empty)
    padded = np.pad(np.asarray(audio, np.float32), (size // 2, size))
    starts = np.round(frame_times(count, fps) * sample_rate).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[np.minimum(starts, len(padded) - size)]
    level = 10 * np.log10(np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-9)
    top = np.percentile(level, 95)
    floor = np.clip(np.percentile(level, 5), top - 35, top - 20)
    energy = np.clip((level - floor) / (top - floor), 0, 1) * (top > -60)  # below that nobody speaks
    pitch = _pitch(frames, sample_rate) * (energy > 0.3)
    return Prosody(energy, pitch, _accent(energy, pitch, fps))


def _pitch(frames: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """(T,) Hz by the first strong peak of the window-corrected autocorrelation; 0 if none reaches 0.5."""
    size = frames.shape[1]
    window = np.hanning(size)
    spectrum = np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * window, 2 * size)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, :size]
    correlation = correlation / (correlation[:, :1] + 1e-9)
    taper = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * size)) ** 2)[:size]
    low, high = int(sample_rate / _PITCH_HZ[1]), min(int(sample_rate / _PITCH_HZ[0]), int(0.7 * size))
    part = correlation[:, low:high] / (taper[low:high] / taper[0])
    best = part.max(axis=1)
    lag = np.argmax(part >= 0.9 * best[:, None], axis=1)  # the first good peak, not its multiple
    ahead = np.minimum(lag[:, None] + np.arange(12), part.shape[1] - 1)
    lag = np.take_along_axis(ahead, np.argmax(np.take_along_axis(part, ahead, 1), axis=1)[:, None], 1)[:, 0]
    return np.where(best > 0.5, sample_rate / (lag + low), 0.0)


def _accent(energy: NDArray[np.float64], pitch: NDArray[np.float64], fps: float) -> NDArray[np.float64]:
    voiced = pitch > 0
    if voiced.sum() < 3:
        return np.zeros(len(energy))
    semitones = 12 * np.log2(np.maximum(pitch, 1) / np.median(pitch[voiced]))
    height = np.where(voiced & (np.abs(semitones) < 14), np.clip(semitones / 5, -1, 1), 0)
    raw = np.clip(0.65 * height + 0.9 * (energy - 0.62), 0, 1) * voiced
    return np.clip(1.6 * smooth(raw, 0.09 * fps), 0, 1)


def smooth(signal: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """(T,) convolved with a Gaussian of `sigma` frames; ends are held."""
    reach = max(1, int(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-6)) ** 2)
    return np.convolve(np.pad(signal, reach, mode="edge"), kernel / kernel.sum(), mode="valid")


def liveliness(
    audio: NDArray[np.float32], sample_rate: int, profile: SpeakerProfile = NEUTRAL, seed: int = 0, fps: float = FPS
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Eyes, brows and head of someone saying `audio` (N,).

    Returns:
        (T, 52) ARKit weights (mouth and jaw 0), and (T, 6) head pose: pitch, yaw, roll in radians, x, y, z in metres.
    """
    rng = np.random.default_rng([seed, 0x11FE])
    speech = prosody(audio, sample_rate, fps)
    count = len(speech.energy)
    weights = np.zeros((count, len(ARKIT_NAMES)))
    if count == 0:
        return weights.astype(np.float32), np.zeros((0, 6), np.float32)
    _brows(weights, speech, profile, rng, fps)
    pose = _head(speech, profile, rng, fps)
    _gaze(weights, pose, profile, rng, fps)
    blink = blinks(speech.energy, profile.blink_rate, rng, fps)
    for side in ("Left", "Right"):
        lid = weights[:, INDEX["eyeBlink" + side]]
        weights[:, INDEX["eyeBlink" + side]] = lid + (1 - lid) * blink
        weights[:, INDEX["eyeWide" + side]] *= 1 - blink
        weights[:, INDEX["cheekSquint" + side]] += 0.08 * blink
    return np.clip(weights, 0, 1).astype(np.float32), pose.astype(np.float32)


def _brows(
    weights: NDArray[np.float64], speech: Prosody, profile: SpeakerProfile, rng: np.random.Generator, fps: float
) -> None:
    """Brows rise with pitch accents and knit with loud, low ones; cheeks and nose join in with effort."""
    energy = smooth(speech.energy, 0.12 * fps)
    rise = smooth(speech.accent, 0.06 * fps) * profile.upper_face
    knit = smooth(np.clip(speech.energy - 0.7, 0, 1) * (1 - speech.accent), 0.12 * fps) * profile.upper_face
    mood = _drift(len(energy), rng, fps, 0.25)
    inner = 0.62 * rise + 0.05 * profile.upper_face * np.clip(mood, 0, 1)
    outer = 0.48 * rise
    tilt = float(rng.uniform(-0.2, 0.2)) + 0.5 * profile.asymmetry
    weights[:, INDEX["browInnerUp"]] = inner
    for sign, side in ((1, "Left"), (-1, "Right")):
        weights[:, INDEX["browOuterUp" + side]] = outer * (1 + sign * tilt * 0.6)
        weights[:, INDEX["browDown" + side]] = 0.9 * knit + 0.04 * profile.upper_face * np.clip(-mood, 0, 1)
        weights[:, INDEX["eyeWide" + side]] = 0.22 * rise
        weights[:, INDEX["eyeSquint" + side]] = 0.5 * knit + 0.04 * energy + 0.25 * max(profile.smile, 0)
        weights[:, INDEX["cheekSquint" + side]] = 0.10 * energy * profile.upper_face + 0.4 * max(profile.smile, 0)
        weights[:, INDEX["noseSneer" + side]] = 0.18 * knit


def _head(speech: Prosody, profile: SpeakerProfile, rng: np.random.Generator, fps: float) -> NDArray[np.float64]:
    """(T, 6): slow sway, and a nod with each accent."""
    count = len(speech.energy)
    speaking = 0.35 + 0.65 * smooth(speech.energy, 0.4 * fps)
    sway = np.stack([_drift(count, rng, fps, 0.22) for _ in range(6)], axis=1)
    scale = np.array([0.022, 0.035, 0.020, 0.0012, 0.0010, 0.0015])
    pose = sway * scale * speaking[:, None]
    pose[:, 0] += 0.055 * smooth(speech.accent, 0.10 * fps) - 0.010 * speaking
    return np.asarray(pose * profile.head_motion)


def _drift(count: int, rng: np.random.Generator, fps: float, hertz: float) -> NDArray[np.float64]:
    """(count,) smooth wandering of about unit amplitude: three slow waves of random speed and phase."""
    time = frame_times(count, fps)
    rates = hertz * rng.uniform(0.4, 1.7, 3)
    phases = rng.uniform(0, 2 * np.pi, 3)
    return np.asarray(np.sin(2 * np.pi * rates * time[:, None] + phases).sum(axis=1) / 1.8)


def _gaze(
    weights: NDArray[np.float64],
    pose: NDArray[np.float64],
    profile: SpeakerProfile,
    rng: np.random.Generator,
    fps: float,
) -> None:
    """Fixations of 0.4-3 s joined by quick saccades; eyes counter the head; the lids follow by the rig."""
    count = len(weights)
    aim = np.zeros((count, 2))  # + = the character's left, + = up
    start = 0
    while start < count:
        stop = start + int(fps * (0.4 + min(rng.exponential(1.1), 2.6)))
        away = rng.random() < 0.25
        spread = (0.22, 0.12) if away else (0.05, 0.04)
        aim[start:stop] = rng.normal(0, spread) * profile.gaze_motion if start else 0.0
        start = stop
    kernel = np.array([0.25, 0.5, 0.25])  # a saccade takes about 60 ms
    aim = np.stack([np.convolve(np.pad(aim[:, k], 1, mode="edge"), kernel, "valid") for k in (0, 1)], axis=1)
    aim[:, 0] -= 1.5 * pose[:, 1]
    aim[:, 1] += 1.5 * pose[:, 0]
    aim = np.clip(aim, -0.7, 0.7)
    left, right = np.clip(aim[:, 0], 0, None), np.clip(-aim[:, 0], 0, None)
    up, down = np.clip(aim[:, 1], 0, None), np.clip(-aim[:, 1], 0, None)
    for side, outward, inward in (("Left", left, right), ("Right", right, left)):
        weights[:, INDEX["eyeLookOut" + side]] = outward
        weights[:, INDEX["eyeLookIn" + side]] = inward
        weights[:, INDEX["eyeLookUp" + side]] = up
        weights[:, INDEX["eyeLookDown" + side]] = down


def blinks(energy: NDArray[np.float64], rate: float, rng: np.random.Generator, fps: float = FPS) -> NDArray[np.float64]:
    """(T,) lid closure 0..1 at `rate` blinks a second: 200-300 ms, closing faster than opening, likelier in pauses."""
    count = len(energy)
    times = frame_times(count, fps)
    lids = np.zeros(count)
    pause = smooth(energy, 0.1 * fps) < 0.15
    hazard = rate / fps * np.where(pause, 1.8, 0.8)
    chance = rng.random(count)
    next_allowed = rng.uniform(0.2, 1.0)
    for frame in np.flatnonzero(chance < hazard):
        start = frame / fps
        length = rng.uniform(0.20, 0.30)
        if start < next_allowed or start + length > times[-1]:
            continue
        closing = 0.36 * length
        phase = times - start
        shut = np.clip(phase / closing, 0, 1)
        open_ = np.clip((length - phase) / (length - closing), 0, 1)
        shape = np.minimum(shut, open_)
        lids = np.maximum(lids, np.clip(1.25 * shape * shape * (3 - 2 * shape), 0, 1))
        next_allowed = start + length + rng.uniform(0.4, 1.2)
    return lids
