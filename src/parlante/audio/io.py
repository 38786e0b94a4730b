"""Any recording to mono 16 kHz: whatever FFmpeg decodes (wav, flac, mp3, ogg, m4a, video files with audio, ...).

A file is gone through once for its facts (`survey`), and then decoded: the track with sound, the channels mixed unless
they cancel each other, every sample where its time stamp puts it. Whatever was chosen or mended is told (`core.notes`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.audio.audio_file import AudioFile, containers, opened, reason
from parlante.core import InputError
from parlante.core.notes import note

SAMPLE_RATE = 16000
LOWEST_RATE, HIGHEST_RATE = 1000, 768_000
"""Samples a second that recordings have; others are damage."""
SILENT = 1e-3
"""A track whose samples never exceed this share of full scale (-60 dB) is silent, where another one is not."""
CANCELLED = 0.4
"""Channels cancel where their mean has less than this share of the power that unrelated channels would leave."""
LOUD = 4.0
"""Samples beyond this are no sound a little too loud, but numbers of another scale; they are scaled to 1."""
LEAP = 0.04
"""Seconds by which time stamps must leave the samples before them to count as a gap."""
LONGEST_GAP = 3600.0
"""Seconds; longer ones are taken for broken time stamps."""


@dataclass
class Track:
    """One audio track of a file."""

    number: int
    """From 1 on."""
    codec: str = ""
    sample_rate: int = 0
    channels: int = 0
    samples: int = 0
    """Decoded ones, at `sample_rate`."""
    peak: float = 0.0
    """Largest sample of any channel."""
    not_finite: int = 0
    power: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """(channels,) sums of squares."""
    mean_power: float = 0.0
    """Sum of squares of the mean of the channels."""

    @property
    def seconds(self) -> float:
        """Of sound; gaps are not counted."""
        return self.samples / self.sample_rate if self.sample_rate else 0.0

    @property
    def channel(self) -> int | None:
        """The loudest channel where the channels cancel each other in their mean, else none: the mean is taken."""
        if self.channels < 2 or self.mean_power >= CANCELLED * self.power.sum() / self.channels**2:
            return None
        return int(self.power.argmax())

    @property
    def scale(self) -> float:
        """Factor on all samples: 1, but for numbers of another scale."""
        return 1.0 if self.peak <= LOUD else 1.0 / self.peak

    def add(self, samples: NDArray[np.float32]) -> None:
        """Count (channels, n) decoded samples."""
        finite = np.isfinite(samples)
        if not finite.all():
            self.not_finite += int((~finite).sum())
            samples = np.where(finite, samples, np.float32(0))
        if len(samples) != self.channels:
            self.channels, self.power = len(samples), np.zeros(len(samples))
        self.samples += samples.shape[1]
        self.peak = max(self.peak, float(np.abs(samples).max(initial=0.0)))
        wide = samples.astype(np.float64)
        self.power = self.power + np.square(wide).sum(1)
        self.mean_power += float(np.square(wide.mean(0)).sum())


@dataclass(frozen=True)
class Survey:
    """What is in a recording."""

    source: AudioFile
    container: str
    """FFmpeg's name of the format."""
    tracks: tuple[Track, ...]
    chosen: Track

    def tell(self) -> None:
        """A note for each thing that was chosen or mended."""
        name, own = self.source.name, self.chosen
        others = [track for track in self.tracks if track is not own]
        if others:
            kinds = ", ".join(
                f"track {each.number} is {'silent' if each.peak < SILENT else 'left out'}" for each in others
            )
            of = f"{own.number} of {len(self.tracks)}"
            note(f"{name}: audio track {of} is used, {kinds}; --audio-track chooses another")
        if own.channel is not None:
            one = f"channel {own.channel + 1}, the loudest,"
            note(f"{name}: its {own.channels} channels cancel each other; {one} is used")
        if own.scale != 1.0:
            note(f"{name}: samples reach {own.peak:.3g} times full scale; all are divided by that")
        if own.not_finite:
            note(f"{name}: {own.not_finite} samples are not finite numbers; replaced by silence")
        if len(self.source.parts) > 1:
            note(f"{name} holds {len(self.source.parts)} WAV files one behind another; they are read in a row")


def read_audio(path: Path | str, sample_rate: int = SAMPLE_RATE, *, track: int | None = None) -> NDArray[np.float32]:
    """The whole recording, mono (N,), -1..1, at `sample_rate`; arguments and errors as in `iter_audio`."""
    return np.concatenate(list(iter_audio(path, sample_rate=sample_rate, track=track)))


def iter_audio(
    path: Path | str, *, sample_rate: int = SAMPLE_RATE, block_s: float = 10.0, track: int | None = None
) -> Iterator[NDArray[np.float32]]:
    """The same in blocks of `block_s` seconds (the last may be shorter), with memory that does not grow.

    track: which audio track of several, from 1 on; none: the first that is not silent. Raises InputError if the file is
    missing, empty, not audio, or has no sound in it.
    """
    with opened(path) as source:
        found = survey(source, track)
        found.tell()
        yield from blocks(found, sample_rate, block_s)


def blocks(found: Survey, sample_rate: int, block_s: float = 10.0) -> Iterator[NDArray[np.float32]]:
    """The chosen track, mono, in blocks of `block_s` seconds. Raises InputError if there is no sound in it."""
    size = max(1, round(block_s * sample_rate))
    kept: list[NDArray[np.float32]] = []
    length = total = 0
    for piece in _decoded(found, sample_rate):
        kept.append(piece)
        length, total = length + len(piece), total + len(piece)
        while length >= size:
            joined = np.concatenate(kept)
            yield joined[:size]
            kept, length = [joined[size:]], length - size
    if total == 0:
        name = found.source.name
        raise InputError(f"{name} has an audio track with no samples in it; give a recording of some length")
    if length:
        yield np.concatenate(kept)


def mono(samples: NDArray[Any], source: str = "audio") -> NDArray[np.float32]:
    """Mono (N,) float32, -1..1, of samples (N,) or (N, channels): the mean of the channels, or the loudest one where
    they cancel each other, with a note.

    Integers are divided by their full scale. Samples that are not finite are replaced by 0, with a note. Raises
    InputError for another shape, and for more channels than samples.
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
    found = Track(1)
    channels = np.atleast_2d(np.asarray(samples, np.float32).T)
    found.add(channels)
    if found.not_finite:
        note(f"{source}: {found.not_finite} samples are not finite numbers; replaced by silence")
    if found.channel is not None:
        note(f"{source}: its {found.channels} channels cancel each other; channel {found.channel + 1} is used")
    return _mixed(channels, found.channel)


def _mixed(channels: NDArray[np.float32], channel: int | None, scale: float = 1.0) -> NDArray[np.float32]:
    """(n,) of (channels, n) decoded samples."""
    made = channels.mean(0) if channel is None else channels[min(channel, len(channels) - 1)]
    made = made.astype(np.float32) * np.float32(scale)
    return made if np.isfinite(made).all() else np.nan_to_num(made, nan=0.0, posinf=0.0, neginf=0.0)


# -- a pass over a file


def survey(source: AudioFile, track: int | None = None) -> Survey:
    """All audio tracks, decoded once, and which one is used. Raises InputError, see `iter_audio`."""
    tracks: list[Track] = []
    kind = ""
    with containers(source) as parts:
        for container in parts:
            kind = kind or container.format.name
            streams = container.streams.audio
            if not streams and not tracks:
                kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
                raise InputError(f"{source.name} has no audio track (it holds: {kinds}); give a recording")
            if any(stream.codec_context is None for stream in streams):
                raise InputError(f"{source.name} has audio of a kind that nobody can decode; give wav, flac or mp3")
            tracks = tracks or [Track(number) for number in range(1, len(streams) + 1)]
            for each, stream in zip(tracks, streams, strict=False):
                each.codec, each.sample_rate = stream.codec_context.name, int(stream.rate or 0)
                if each.sample_rate and not LOWEST_RATE <= each.sample_rate <= HIGHEST_RATE:
                    wanted = f"{LOWEST_RATE} to {HIGHEST_RATE}"
                    raise InputError(
                        f"{source.name} has {each.sample_rate} samples a second, wanted {wanted}; export it again"
                    )
            _count(source, container, tracks)
    if track is not None and not 1 <= track <= len(tracks):
        raise InputError(f"{source.name} has {len(tracks)} audio tracks, got track {track}; give 1 to {len(tracks)}")
    heard = [each for each in tracks if each.peak >= SILENT]
    chosen = tracks[track - 1] if track is not None else heard[0] if heard else max(tracks, key=lambda each: each.peak)
    return Survey(source, kind, tuple(tracks), chosen)


def _count(source: AudioFile, container: Any, tracks: list[Track]) -> None:
    """Add the samples of all tracks of a container."""
    import av

    converters = [av.AudioResampler(format="fltp") for _ in tracks]
    places = {stream.index: number for number, stream in enumerate(container.streams.audio[: len(tracks)])}
    for number, frame in _frames(source, container, places):
        for made in converters[number].resample(frame):
            tracks[number].add(np.asarray(made.to_ndarray(), np.float32))


def _frames(source: AudioFile, container: Any, places: dict[int, int], tell: bool = False) -> Iterator[tuple[int, Any]]:
    """(number of the stream, decoded frame) for stream indices in `places`; damage is skipped. Raises InputError where
    nothing can be decoded."""
    import av

    streams = [stream for stream in container.streams.audio if stream.index in places]
    decoded, at = 0, 0.0
    try:
        for packet in container.demux(streams):
            try:
                frames: list[Any] = list(packet.decode())
            except av.error.InvalidDataError:
                if decoded and tell:  # before the first frame it is junk, as in mp3 with tags
                    note(f"{source.name}: damaged data near {at:.1f} s skipped")
                continue
            for frame in frames:
                decoded += 1
                at = frame.time if frame.time is not None else at
                yield places[packet.stream.index], frame
    except av.error.FFmpegError as error:
        if not decoded:
            raise InputError(
                f"{source.name} cannot be decoded ({reason(error)}); give wav, flac, mp3, ogg or m4a"
            ) from error
        if tell:
            note(f"{source.name}: reading stopped at {at:.1f} s ({reason(error)})")


def _decoded(found: Survey, sample_rate: int) -> Iterator[NDArray[np.float32]]:
    """The chosen track in pieces."""
    with containers(found.source) as parts:
        for container in parts:
            if len(container.streams.audio) >= found.chosen.number:
                yield from _Timeline(found, container, sample_rate).pieces()


class _Timeline:
    """One container's track with every sample where its time stamp puts it."""

    def __init__(self, found: Survey, container: Any, sample_rate: int) -> None:
        self.found, self.container, self.rate = found, container, sample_rate
        self.stream = container.streams.audio[found.chosen.number - 1]
        self.name = found.source.name
        self.made = 0
        """Samples so far, at the rate that is wanted."""
        self.zero = max(0.0, (container.start_time or 0) / 1e6)
        """When the file begins, in its own time; sound and picture share it."""
        self.longest = _known_length(container, self.stream, sample_rate)

    def pieces(self) -> Iterator[NDArray[np.float32]]:
        """(n,) each, mono."""
        import av

        resampler = av.AudioResampler(format="fltp", rate=self.rate)
        due: float | None = None  # when the next frame should begin, in the stream's time
        for _, frame in _frames(self.found.source, self.container, {self.stream.index: 0}, tell=True):
            if frame.time is not None and frame.sample_rate:
                gap = self._gap(frame.time, due)
                if gap > 0:
                    yield from self._flush(resampler)
                    resampler = av.AudioResampler(format="fltp", rate=self.rate)
                    yield from self._silence(gap)
                due = frame.time + frame.samples / frame.sample_rate
            frame.pts = None  # the resampler would fill or cut by itself
            yield from self._taken(resampler.resample(frame))
        yield from self._flush(resampler)

    def _gap(self, time: float, due: float | None) -> float:
        """Seconds of silence before a frame, with a note."""
        gap = time - (self.zero if due is None else due)
        if abs(gap) <= LEAP:
            return 0.0
        place = self.made / self.rate
        if gap > LONGEST_GAP or (gap < 0 and due is not None):
            note(f"{self.name}: time stamps leap by {gap:.2f} s at {place:.2f} s; the sound goes on without a gap")
            return 0.0
        if gap > 0:
            what = "the sound begins" if due is None else f"nothing was recorded at {place:.2f} s for"
            note(f"{self.name}: {what} {gap:.2f} s{' after the file' if due is None else ''}; silence stands there")
        return max(gap, 0.0)

    def _silence(self, seconds: float) -> Iterator[NDArray[np.float32]]:
        left = round(seconds * self.rate)
        while left > 0:
            piece = np.zeros(min(left, 10 * self.rate), np.float32)
            left -= len(piece)
            yield self._counted(piece)

    def _flush(self, resampler: Any) -> Iterator[NDArray[np.float32]]:
        yield from self._taken(resampler.resample(None))

    def _taken(self, frames: list[Any]) -> Iterator[NDArray[np.float32]]:
        own = self.found.chosen
        for frame in frames:
            yield self._counted(_mixed(np.asarray(frame.to_ndarray(), np.float32), own.channel, own.scale))

    def _counted(self, piece: NDArray[np.float32]) -> NDArray[np.float32]:
        piece = piece[: max(0, self.longest - self.made)]
        self.made += len(piece)
        return piece


def _known_length(container: Any, stream: Any, sample_rate: int) -> int:
    """Samples of the track where its container states them exactly: mp4 does, and pads the last block beyond."""
    if "mp4" in container.format.name and stream.duration and stream.time_base:
        late = max(0, stream.start_time or 0)
        return int(np.ceil((late + stream.duration) * stream.time_base * sample_rate))
    return 2**62
