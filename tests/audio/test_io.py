"""Reading recordings: every format gives the same sound in the same place; bad files are refused clearly."""

import logging
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from parlante.audio.io import iter_audio, mono, read_audio
from parlante.core import InputError


def sound(rate: int, seconds: float = 1.5) -> np.ndarray:
    """A chirp with a click at 0.5 s, so that a shift in time shows."""
    t = np.arange(int(rate * seconds)) / rate
    return (0.4 * np.sin(2 * np.pi * (200 + 400 * t) * t) * np.exp(-20 * (t - 0.5) ** 2)).astype(np.float32)


def write(path: Path, codec: str, rate: int, channels: int, form: str) -> Path:
    mono = sound(rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono" if channels == 1 else "stereo"
        resampler = av.AudioResampler(format=stream.format, layout=stream.layout, rate=rate)
        frame = av.AudioFrame.from_ndarray(np.stack([mono] * channels), "fltp", stream.layout.name)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        fifo = av.AudioFifo()
        for piece in resampler.resample(frame):
            fifo.write(piece)
        size = stream.codec_context.frame_size or 1024
        while (part := fifo.read(size, partial=True)) is not None:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


FORMATS = [
    ("a.wav", "pcm_s16le", 44100, 2, "s16"),
    ("a.wav", "pcm_f32le", 8000, 1, "flt"),
    ("a.flac", "flac", 48000, 2, "s16"),
    ("a.mp3", "libmp3lame", 44100, 2, "fltp"),
    ("a.ogg", "libopus", 24000, 2, "flt"),
    ("a.m4a", "aac", 44100, 2, "fltp"),
    ("a.opus", "libopus", 48000, 1, "flt"),
]


@pytest.mark.parametrize("case", FORMATS, ids=lambda c: f"{c[0]}-{c[1]}-{c[2]}")
def test_formats_agree_in_place_and_level(tmp_path, case):
    name, codec, rate, channels, form = case
    audio = read_audio(write(tmp_path / name, codec, rate, channels, form))
    assert audio.dtype == np.float32 and audio.ndim == 1
    expected = sound(16000)
    assert abs(len(audio) - len(expected)) <= 0.002 * 16000
    size = min(len(audio), len(expected))
    lags = range(-200, 201)
    middle = slice(4000, 14000)
    score = [float(np.dot(np.roll(audio[:size], -lag)[middle], expected[:size][middle])) for lag in lags]
    assert abs(lags[int(np.argmax(score))]) <= 16, "moved by more than a millisecond"
    assert np.abs(audio).max() == pytest.approx(np.abs(expected).max(), rel=0.1)


def test_blocks_join_to_the_whole(tmp_path):
    path = write(tmp_path / "a.flac", "flac", 44100, 2, "s16")
    blocks = list(iter_audio(path, block_s=0.4))
    assert all(len(block) == 6400 for block in blocks[:-1])
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(path))


def test_bad_files_are_refused(tmp_path):
    empty = tmp_path / "empty.wav"
    empty.touch()
    text = tmp_path / "text.wav"
    text.write_text("this is no sound at all\n" * 50)
    silent = tmp_path / "none.wav"
    with wave.open(str(silent), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
    mute = tmp_path / "mute.mp4"
    with av.open(str(mute), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
        container.mux(stream.encode(None))
    for path, words in (
        (tmp_path / "absent.wav", "no such file"),
        (tmp_path, "folder"),
        (empty, "empty"),
        (text, "cannot be|not a recording"),
        (silent, "no samples|not a recording"),
        (mute, "no audio track"),
    ):
        with pytest.raises(InputError, match=words):
            read_audio(path)


def test_not_a_number_becomes_silence(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        out = mono(np.array([0.5, np.nan, -np.inf, 0.25]), "x")
    np.testing.assert_array_equal(out, np.float32([0.5, 0, 0, 0.25]))
    assert "2 samples" in caplog.text
    np.testing.assert_allclose(mono(np.array([[16384, 0], [0, 16384]], np.int16)), [0.25, 0.25])
    np.testing.assert_allclose(mono(np.array([[0, 64], [128, 128], [255, 255]], np.uint8)), [-0.75, 0, 127 / 128])
