"""Frames and audio into one video file, written as they come."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, atomic_path

_BT709 = 1
_LIMITED = 1
_AUDIO_STEP = 4096
"""Samples handed to the encoder at a time."""

# suffix: container, video codec, its options, audio codec, bit rate, sample rates it takes
FORMATS: dict[str, tuple[str, str, dict[str, str], str, int, tuple[int, ...]]] = {
    ".mp4": (
        "mp4", "libx264", {"preset": "veryfast", "crf": "17"}, "aac", 128_000,
        (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    ),
    ".webm": (
        "webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "6", "crf": "24", "b": "0", "row-mt": "1"},
        "libopus", 64_000, (8000, 12000, 16000, 24000, 48000),
    ),
}  # fmt: skip


class VideoWriter:
    """Writes an MP4 (H.264, AAC, ready for the web) or a WebM (VP9, Opus), chosen by the suffix.

    Frame t is shown at t / fps seconds of the audio. Audio is encoded as the frames arrive, so memory does not grow
    with length. The audio keeps its length to the sample in MP4, even if it is longer than the pictures.
    Use it as a context manager: the file appears under its name on success and not at all on failure.

        with VideoWriter("talk.mp4", 30, 512, audio, 16000) as video:
            for frame in frames:
                video.write(frame)

    path: `.mp4` or `.webm`. fps: frames per second. size: edge in pixels or (width, height), even numbers.
    audio: (N,) mono float -1..1, an iterable of such slices, or none. sample_rate: Hz.
    Raises InputError for an unknown suffix, an odd size, or a file that cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        fps: float,
        size: int | tuple[int, int],
        audio: NDArray[Any] | Iterable[NDArray[Any]] | None = None,
        sample_rate: int = 16000,
    ) -> None:
        self.path = Path(path)
        if self.path.suffix.lower() not in FORMATS:
            raise InputError(f"cannot write video {self.path}: unknown suffix; choose {' or '.join(FORMATS)}")
        self.width, self.height = (size, size) if isinstance(size, int) else size
        if self.width % 2 or self.height % 2 or min(self.width, self.height) < 2:
            raise InputError(f"video size must be even, got {self.width} x {self.height}; H.264 halves the colour")
        if not 0 < fps <= 1000:
            raise InputError(f"fps must be above 0 and at most 1000, got {fps}")
        self.fps = Fraction(fps).limit_denominator(100_000)
        self.frames = 0
        """Frames written so far."""
        self._sample_rate = int(sample_rate)
        self._slices = None if audio is None else _slices(audio)
        self._samples = 0
        self._stack = ExitStack()

    def __enter__(self) -> "VideoWriter":
        container, codec, options, audio_codec, bit_rate, rates = FORMATS[self.path.suffix.lower()]
        with ExitStack() as stack:
            partial = stack.enter_context(atomic_path(self.path))
            rate = self._sample_rate if self._sample_rate in rates else 48000
            # edit lists count in movie time: in samples, so that the audio ends where it should
            flags = {"movflags": "+faststart", "movie_timescale": str(rate)} if container == "mp4" else {}
            self._file: Any = stack.enter_context(av.open(f"file:{partial}", "w", format=container, options=flags))
            self._video: Any = self._file.add_stream(codec, rate=self.fps, options=options)
            self._video.width, self._video.height, self._video.pix_fmt = self.width, self.height, "yuv420p"
            context = self._video.codec_context
            context.time_base = 1 / self.fps
            context.color_primaries = context.color_trc = context.colorspace = _BT709
            context.color_range = _LIMITED
            self._audio: Any = None
            self._resampler: Any = None
            if self._slices is not None:
                self._audio = self._file.add_stream(audio_codec, rate=rate, layout="mono")
                self._audio.bit_rate = bit_rate
                if rate != self._sample_rate:
                    self._resampler = av.AudioResampler(format=self._audio.format.name, layout="mono", rate=rate)
            self._stack = stack.pop_all()
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append a picture: (height, width, 3) sRGB bytes. Raises ValueError for another shape or type."""
        if frame.shape != (self.height, self.width, 3) or frame.dtype != np.uint8:
            raise ValueError(f"frame must be ({self.height}, {self.width}, 3) uint8, got {frame.shape} {frame.dtype}")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU709", src_color_range="JPEG", dst_color_range="MPEG"
        )
        picture.pts, picture.time_base = self.frames, 1 / self.fps
        picture.colorspace, picture.color_range = _BT709, _LIMITED
        self._mux(self._video.encode(picture))
        self.frames += 1
        self._write_audio(self.frames / self.fps)

    def _write_audio(self, until: Fraction | None) -> None:
        """Encode audio up to a time in seconds, or all that is left."""
        if self._slices is None:
            return
        while until is None or self._samples < until * self._sample_rate:
            part = next(self._slices, None)
            if part is None:
                return
            frame: Any = av.AudioFrame.from_ndarray(part[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = (
                self._sample_rate,
                self._samples,
                Fraction(1, self._sample_rate),
            )
            self._samples += len(part)
            self._encode_audio([frame] if self._resampler is None else self._resampler.resample(frame))

    def _encode_audio(self, frames: Iterable[Any]) -> None:
        for frame in frames:
            self._mux(self._audio.encode(frame))

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            self._file.mux(packet)

    def __exit__(self, *error: Any) -> bool | None:
        with self._stack as stack:
            if error[0] is not None:
                return stack.__exit__(*error)
            if not self.frames:
                raise InputError(f"no frames for {self.path}: the range or the animation is empty")
            self._write_audio(None)
            if self._audio is not None:
                if self._resampler is not None:
                    self._encode_audio(self._resampler.resample(None))
                self._mux(self._audio.encode(None))
            self._mux(self._video.encode(None))
        return None


def _slices(audio: NDArray[Any] | Iterable[NDArray[Any]]) -> Iterator[NDArray[np.float32]]:
    """Any audio as contiguous pieces of at most `_AUDIO_STEP` samples. Raises ValueError if a piece is not mono."""
    for piece in [audio] if isinstance(audio, np.ndarray) else audio:
        if piece.ndim != 1:
            raise ValueError(f"audio must be (N,) mono, got {piece.shape}; average the channels first")
        for start in range(0, len(piece), _AUDIO_STEP):
            part = np.asarray(piece[start : start + _AUDIO_STEP], dtype=np.float32)
            yield np.ascontiguousarray(np.clip(np.nan_to_num(part), -1.0, 1.0))
