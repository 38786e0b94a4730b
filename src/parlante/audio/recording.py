"""A recording at its own rate and at the model's, without keeping hours of audio in memory."""

import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from parlante.audio.audio_file import opened
from parlante.audio.io import SAMPLE_RATE, blocks, mono, survey
from parlante.core import InputError
from parlante.core.notes import gathered
from parlante.core.timing import num_frames

KEPT_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Sample rates kept as they are; any other becomes 48 kHz."""
IN_MEMORY = 64 << 20
"""Bytes of audio that are held in memory; more waits in a temporary file."""
_BLOCK = 1 << 18


class SpooledAudio:
    """Samples in a temporary file that slice like an array (N,) of float32. A memory map would count as memory used."""

    dtype, ndim = np.dtype(np.float32), 1

    def __init__(self, file: Any, size: int) -> None:
        self._file, self._lock = file, threading.Lock()
        self.shape = (size // 4,)
        self.nbytes = size

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        start, stop, step = rows.indices(len(self))
        assert step == 1, "read forwards, without gaps"
        with self._lock:  # the talker and the writers read from two threads
            self._file.seek(4 * start)
            return np.frombuffer(bytearray(self._file.read(4 * max(0, stop - start))), np.float32)

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(self), _BLOCK):
            yield self[start : start + _BLOCK]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording, mono."""

    name: str
    audio: NDArray[np.float32]
    """(N,) at `sample_rate`, as outputs carry it."""
    sample_rate: int
    audio_16k: NDArray[np.float32]
    """(N',) the same at 16 kHz, as the model takes it."""

    def digital_silence(self, fps: float) -> NDArray[np.float32]:
        """(T,) 1 where there is no sound at all, from the level alone.

        The level must lie under -60 dB of full scale and 40 dB under the loud parts; a recording that never rises above
        -75 dB is silent throughout.
        """
        count = num_frames(len(self.audio_16k), SAMPLE_RATE, fps)
        half = round(0.75 * SAMPLE_RATE / fps)
        middle = np.round(np.arange(count) * SAMPLE_RATE / fps).astype(np.int64)
        level = np.full(count, -120.0)
        for first in range(0, count, 1000):
            rows = middle[first : first + 1000]
            offset = max(0, rows[0] - half)
            power = np.asarray(self.audio_16k[offset : rows[-1] + half], np.float64) ** 2
            total = np.concatenate([[0.0], np.cumsum(power)])
            low, high = (np.clip(rows + side - offset, 0, len(power)) for side in (-half, half))
            level[first : first + 1000] = 10 * np.log10((total[high] - total[low]) / np.maximum(high - low, 1) + 1e-12)
        loud = float(np.percentile(level, 95)) if count else -120.0
        threshold = np.inf if loud < -75 else min(-60.0, loud - 40.0)
        return (level < threshold).astype(np.float32)


def load_audio(speech: Path | str | tuple[NDArray[np.floating], int], *, track: int | None = None) -> Recording:
    """A recording from a file, or from (samples (N,) or (N, channels), sample rate).

    track: which audio track of a file with several, from 1 on; none: the first that is not silent. Raises InputError if
    it cannot be read, holds no samples, or has samples of another shape or range.
    """
    if isinstance(speech, tuple) and len(speech) == 2:
        if track is not None:
            raise InputError(f"samples have no tracks, got track {track}; leave it out")
        return _from_array(*speech)
    if not isinstance(speech, str | Path):
        raise InputError(
            f"the speech is a {type(speech).__name__}; give a file, or (samples, sample rate), such as (samples, 16000)"
        )
    with opened(speech) as source:
        found = survey(source, track)
        found.tell()
        rate = found.chosen.sample_rate if found.chosen.sample_rate in KEPT_RATES else 48000
        audio = audio_16k = _spool(blocks(found, SAMPLE_RATE))
        if rate != SAMPLE_RATE:
            with gathered(log=False):  # it tells the same
                audio = _spool(blocks(found, rate))
    return Recording(Path(speech).name, audio, rate, audio_16k)


def _from_array(samples: NDArray[np.floating], rate: int) -> Recording:
    audio = mono(samples, "the speech")
    if not len(audio):
        raise InputError("the speech has no samples; give a recording of some length")
    if isinstance(rate, bool) or not isinstance(rate, int | float | np.integer | np.floating):
        raise InputError(f"the sample rate must be a number of Hz, got {rate!r}; the order is (samples, sample rate)")
    if not 1000 <= rate <= 768000:
        raise InputError(f"the sample rate must lie in 1000..768000 Hz, got {rate}")
    peak = float(np.abs(audio).max())
    if peak > 4:
        raise InputError(f"samples must lie in -1..1, got {peak:g}; divide by the full scale first")
    if rate == SAMPLE_RATE:
        return Recording("array", audio, rate, audio)
    if rate not in KEPT_RATES:
        return Recording("array", _resample(audio, rate, 48000), 48000, _resample(audio, rate, SAMPLE_RATE))
    return Recording("array", audio, rate, _resample(audio, rate, SAMPLE_RATE))


def _resample(audio: NDArray[np.float32], rate: int, wanted: int) -> NDArray[np.float32]:
    import av

    resampler = av.AudioResampler(format="fltp", layout="mono", rate=wanted)
    made: list[NDArray[np.float32]] = []
    for start in range(0, len(audio), rate):
        frame = av.AudioFrame.from_ndarray(audio[None, start : start + rate], format="fltp", layout="mono")
        frame.sample_rate = rate
        made += [out.to_ndarray()[0] for out in resampler.resample(frame)]
    made += [out.to_ndarray()[0] for out in resampler.resample(None)]
    count = max(1, round(len(audio) * wanted / rate))
    return np.concatenate(made)[:count].astype(np.float32)


def _spool(blocks: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    file = tempfile.TemporaryFile(prefix="parlante-")  # noqa: SIM115 - lives as long as the audio
    size = 0
    for block in blocks:
        size += file.write(np.ascontiguousarray(block, np.float32).data)
    file.flush()
    if not size:
        raise InputError("the recording holds no samples; give one of some length")
    audio = SpooledAudio(file, size)
    return audio[:] if size <= IN_MEMORY else cast("NDArray[np.float32]", audio)
