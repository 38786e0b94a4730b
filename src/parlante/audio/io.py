"""Any recording to mono 16 kHz: whatever FFmpeg decodes (wav, flac, mp3, ogg, m4a, video files with audio, ...)."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError

SAMPLE_RATE = 16000
_log = logging.getLogger(__name__)


def read_audio(path: Path | str, sample_rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """The whole recording, mono (N,), -1..1, at `sample_rate`.

    Samples that are not finite are replaced by 0, with a warning in the log. Raises InputError if the file is missing,
    empty, not audio, or has no sound in it.
    """
    return np.concatenate(list(iter_audio(path, sample_rate=sample_rate)))


def iter_audio(
    path: Path | str, *, sample_rate: int = SAMPLE_RATE, block_s: float = 10.0
) -> Iterator[NDArray[np.float32]]:
    """The same in blocks of `block_s` seconds (the last may be shorter), with memory that does not grow."""
    size = max(1, round(block_s * sample_rate))
    kept: list[NDArray[np.float32]] = []
    length = total = 0
    for piece in _decode(Path(path), sample_rate):
        kept.append(piece)
        length, total = length + len(piece), total + len(piece)
        while length >= size:
            joined = np.concatenate(kept)
            yield joined[:size]
            kept, length = [joined[size:]], length - size
    if total == 0:
        raise InputError(f"{path} has an audio track with no samples in it; give a recording of some length")
    if length:
        yield np.concatenate(kept)


def mono(samples: NDArray[Any], source: str = "audio") -> NDArray[np.float32]:
    """Mono (N,) float32, -1..1, of samples (N,) or (N, channels), the mean of the channels.

    Integers are divided by their full scale. Samples that are not finite are replaced by 0, with a warning in the log.
    Raises InputError for another shape, and for more channels than samples.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2):
        raise InputError(f"{source} must be (N,) or (N, channels), got {samples.shape}")
    if samples.ndim == 2 and 0 < len(samples) < samples.shape[1]:
        raise InputError(
            f"{source} must be (N,) or (N, channels), got {samples.shape}: more channels than samples; give samples.T"
        )
    if np.issubdtype(samples.dtype, np.integer):
        half = 2.0 ** (8 * samples.itemsize - 1)
        samples = samples / half - np.issubdtype(samples.dtype, np.unsignedinteger)
    return _finite(samples if samples.ndim == 1 else samples.mean(1), source)


def _finite(audio: NDArray[Any], source: str) -> NDArray[np.float32]:
    audio = audio.astype(np.float32)
    bad = ~np.isfinite(audio)
    if bad.any():
        _log.warning("%s: %d samples are not finite numbers; replaced by silence", source, int(bad.sum()))
        audio = np.where(bad, np.float32(0), audio)
    return audio


def _decode(path: Path, sample_rate: int) -> Iterator[NDArray[np.float32]]:
    import av

    if not path.is_file():
        raise InputError(f"no such file: {path}" if not path.exists() else f"{path} is a folder; give an audio file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes); give an audio file")
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError(
            f"{path} is not a recording that can be read ({_reason(error)}); give wav, flac, mp3, ogg or m4a"
        ) from error
    with container:
        if not container.streams.audio:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise InputError(f"{path} has no audio track (it holds: {kinds}); give a recording")
        stream = container.streams.audio[0]
        resampler = av.AudioResampler(format="fltp", rate=sample_rate)
        decoded, longest = 0, _known_length(container, stream, sample_rate)
        try:
            for packet in container.demux(stream):
                try:
                    frames: list[Any] = list(packet.decode())
                except av.error.InvalidDataError:
                    if not decoded:
                        continue  # junk before the first frame, as in mp3 with tags
                    _log.warning("%s: damaged data near %.1f s skipped", path, decoded / sample_rate)
                    continue
                for frame in frames:
                    for out in resampler.resample(frame):
                        piece = _finite(out.to_ndarray().mean(0), str(path))[: longest - decoded]
                        decoded += len(piece)
                        yield piece
            for out in resampler.resample(None):
                piece = _finite(out.to_ndarray().mean(0), str(path))[: longest - decoded]
                decoded += len(piece)
                yield piece
        except av.error.FFmpegError as error:
            if not decoded:
                raise InputError(
                    f"{path} cannot be decoded ({_reason(error)}); give wav, flac, mp3, ogg or m4a"
                ) from error
            _log.warning("%s: reading stopped at %.1f s (%s)", path, decoded / sample_rate, _reason(error))


def _known_length(container: Any, stream: Any, sample_rate: int) -> int:
    """Samples of the track where its container states them exactly: mp4 does, and pads the last block beyond."""
    if "mp4" in container.format.name and stream.duration and stream.time_base:
        return int(np.ceil(stream.duration * stream.time_base * sample_rate))
    return 2**62


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
