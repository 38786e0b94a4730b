"""What is written is what is read back: frames, samples, and their agreement in time."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from parlante.core import InputError
from parlante.render.video import VideoWriter

FPS, SIZE, RATE = 30, 64, 16000


def write(path: Path, frames: int, flash: int, audio, rate: int = RATE, fps: float = FPS) -> None:
    with VideoWriter(path, fps, SIZE, audio, rate) as video:
        for number in range(frames):
            video.write(np.full((SIZE, SIZE, 3), 255 if number == flash else 20, np.uint8))


def read_back(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Frame times (s), frame brightness, samples, their rate; sound is laid on the time axis of the file."""
    with av.open(str(path)) as file:
        pictures = [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24").mean()) for f in file.decode(video=0)]
    with av.open(str(path)) as file:
        parts = list(file.decode(audio=0))
        rate = parts[0].sample_rate
        lead = round(float(parts[0].pts * parts[0].time_base) * rate)
        samples = np.concatenate([part.to_ndarray().mean(axis=0) for part in parts])
    samples = np.concatenate([np.zeros(max(lead, 0)), samples[max(-lead, 0) :]])
    times, light = np.array(pictures).T
    return times, light, samples, rate


def click_at(seconds: float, length: int, rate: int = RATE) -> np.ndarray:
    audio = np.zeros(length, np.float32)
    start = round(seconds * rate)
    audio[start : start + rate // 500] = 0.9
    return audio


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_click_and_flash_agree(tmp_path: Path, suffix: str, rate: int) -> None:
    flash = 37
    path = tmp_path / f"sync{suffix}"
    write(path, 60, flash, click_at(flash / FPS, 2 * rate, rate), rate)
    times, light, samples, got = read_back(path)
    assert len(times) == 60
    assert np.argmax(light) == flash
    assert times[flash] == pytest.approx(flash / FPS, abs=0.5 / FPS if suffix == ".webm" else 1e-4)
    loud = np.flatnonzero(np.abs(samples) > 0.4)
    assert loud[0] / got == pytest.approx(flash / FPS, abs=0.001)


@pytest.mark.parametrize("length", [RATE * 2 + 17, RATE // 3, RATE * 4])
def test_mp4_sound_keeps_its_length(tmp_path: Path, length: int) -> None:
    audio = (0.3 * np.sin(np.arange(length) * 2 * np.pi * 440 / RATE)).astype(np.float32)
    path = tmp_path / "length.mp4"
    write(path, 60, 0, audio)
    times, _, samples, _ = read_back(path)
    assert len(times) == 60
    with av.open(str(path)) as file:
        assert file.streams.audio[0].duration == length
        assert file.streams.audio[0].time_base == Fraction(1, RATE)
    assert length <= len(samples) < length + 2048, "AAC decoders hand out the last packet whole"
    tail = slice(length - 800, length - 100)
    assert np.corrcoef(samples[tail], audio[tail])[0, 1] > 0.95


def test_sound_may_come_in_slices(tmp_path: Path) -> None:
    audio = click_at(0.5, RATE)
    whole, sliced = tmp_path / "whole.mp4", tmp_path / "sliced.mp4"
    write(whole, 30, 15, audio)
    write(sliced, 30, 15, (audio[start : start + 777] for start in range(0, RATE, 777)))
    np.testing.assert_allclose(read_back(whole)[2], read_back(sliced)[2], atol=1e-3)


def test_sound_is_taken_as_frames_come(tmp_path: Path) -> None:
    taken = 0

    def slices():
        nonlocal taken
        for _ in range(100):
            taken += 1
            yield np.zeros(RATE // 10, np.float32)

    with VideoWriter(tmp_path / "flat.mp4", FPS, SIZE, slices(), RATE) as video:
        for _ in range(30):
            video.write(np.zeros((SIZE, SIZE, 3), np.uint8))
        assert taken <= 11, "one second of pictures must not draw ten seconds of sound into memory"
    assert taken == 100


def test_colours_survive_and_are_tagged(tmp_path: Path) -> None:
    path = tmp_path / "colour.mp4"
    colour = np.array([200, 120, 90], np.uint8)
    with VideoWriter(path, FPS, SIZE) as video:
        for _ in range(3):
            video.write(np.tile(colour, (SIZE, SIZE, 1)))
    with av.open(str(path)) as file:
        context = file.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        frame = next(file.decode(video=0)).reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
    np.testing.assert_allclose(frame.mean(axis=(0, 1)), colour, atol=3)


def test_index_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "fast.mp4"
    write(path, 10, 0, click_at(0.1, RATE))
    data = path.read_bytes()
    assert 0 < data.find(b"moov") < data.find(b"mdat")


def test_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), VideoWriter(tmp_path / "no.mp4", FPS, SIZE) as video:
        video.write(np.zeros((SIZE, SIZE, 3), np.uint8))
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="no frames"), VideoWriter(tmp_path / "no.mp4", FPS, SIZE):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, size", [("a.avi", 64), ("a.mp4", 63)])
def test_bad_requests_are_named(tmp_path: Path, name: str, size: int) -> None:
    with pytest.raises(InputError):
        VideoWriter(tmp_path / name, FPS, size)
