"""What people really have: several tracks, late sound, gaps, channels that cancel, pipes, names that look like URLs."""

import os
import threading
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from stand_in import spoken

from parlante.audio import audio_file
from parlante.audio.io import iter_audio, mono, read_audio
from parlante.audio.recording import load_audio
from parlante.cli import main
from parlante.core import InputError
from parlante.core.notes import gathered

RATE = 16000


def voice(seconds: float = 1.0) -> np.ndarray:
    return spoken(seconds).astype(np.float32)


def write_wav(path: Path, channels: list[np.ndarray], rate: int = RATE) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.stack(channels, 1) * 32767).astype("<i2").tobytes())
    return path


def write_tracks(path: Path, tracks: list[list[tuple[float, np.ndarray]]], codec: str = "aac") -> Path:
    """Audio tracks of (start in seconds, samples) pieces, and a picture from 0 on."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 32
        streams = [container.add_stream(codec, rate=RATE, layout="mono") for _ in tracks]
        for _ in range(3):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24")))
        container.mux(picture.encode(None))
        for stream, pieces in zip(streams, tracks, strict=True):
            size = 1024
            for start, samples in pieces:
                for at in range(0, len(samples) // size * size, size):
                    frame = av.AudioFrame.from_ndarray(samples[None, at : at + size], "fltp", "mono")
                    frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
                    frame.pts = round(start * RATE) + at
                    container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def begins(audio: np.ndarray) -> float:
    """Seconds until there is sound."""
    return int((np.abs(audio) > 0.02).argmax()) / RATE


def read(path: Path, **more: object) -> tuple[np.ndarray, list[str]]:
    with gathered(log=False) as notes:
        return read_audio(path, **more), notes


def test_the_track_with_sound_is_used(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "screen.mkv", [[(0, np.zeros(RATE, np.float32))], [(0, voice())]])
    audio, notes = read(path)
    assert np.abs(audio).max() > 0.1
    assert notes == [f"{path}: audio track 2 of 2 is used, track 1 is silent; --audio-track chooses another"]
    assert np.abs(read(path, track=1)[0]).max() < 1e-3
    with pytest.raises(InputError, match="has 2 audio tracks, got track 3; give 1 to 2"):
        read_audio(path, track=3)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.mov"])
def test_sound_that_begins_late_keeps_its_place(tmp_path: Path, name: str) -> None:
    on_time, _ = read(write_tracks(tmp_path / f"on-time-{name}", [[(0, voice())]]))
    late, notes = read(write_tracks(tmp_path / name, [[(1.5, voice())]]))
    assert begins(late) - begins(on_time) == pytest.approx(1.5, abs=0.03)
    assert len(late) - len(on_time) == pytest.approx(1.5 * RATE, abs=0.05 * RATE)
    assert len(notes) == 1 and "the sound begins 1." in notes[0]


def test_gaps_are_silence(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "gap.mkv", [[(0, voice()), (2.0, voice())]], "pcm_s16le")
    audio, notes = read(path)
    size = RATE // 1024 * 1024
    assert len(audio) == pytest.approx(2 * RATE + size, abs=40)
    assert not np.abs(audio[size + 40 : 2 * RATE - 40]).any()
    np.testing.assert_allclose(audio[2 * RATE : 2 * RATE + 8000], audio[:8000], atol=0.02)
    assert len(notes) == 1 and "nothing was recorded at 0.9" in notes[0]
    native = load_audio(path)
    assert len(native.audio) == len(native.audio_16k)


def test_channels_that_cancel(tmp_path: Path) -> None:
    for weaker in (1.0, 0.5):
        audio, notes = read(write_wav(tmp_path / "phase.wav", [voice(), -weaker * voice()]))
        np.testing.assert_allclose(audio, voice(), atol=1e-3)
        assert len(notes) == 1 and "cancel each other; channel 1, the loudest, is used" in notes[0]
    for other in (0 * voice(), voice(), 0.3 * np.roll(voice(), 400)):
        audio, notes = read(write_wav(tmp_path / "plain.wav", [voice(), other]))
        np.testing.assert_allclose(audio, (voice() + other) / 2, atol=1e-3)
        assert not notes
    with gathered(log=False) as notes:
        np.testing.assert_array_equal(mono(np.stack([voice(), -voice()], 1)), voice())
    assert "cancel" in notes[0]


def test_wav_files_one_behind_another(tmp_path: Path) -> None:
    parts = [write_wav(tmp_path / f"{k}.wav", [piece]).read_bytes() for k, piece in enumerate(np.split(voice(), 4))]
    path = tmp_path / "glued.wav"
    path.write_bytes(b"".join(parts))
    audio, notes = read(path)
    np.testing.assert_allclose(audio, voice(), atol=1e-4)
    assert "holds 4 WAV files one behind another" in notes[0]
    for placeholder in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0"):
        path.write_bytes(parts[0][:4] + placeholder + parts[0][8:])
        assert len(read(path)[0]) == RATE // 4


@pytest.mark.parametrize("peak", [1e20, 32768.0, 100.0])
def test_floats_of_another_scale(tmp_path: Path, peak: float) -> None:
    path = tmp_path / "float.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_f32le", rate=RATE, layout="mono")
        samples = voice() / np.abs(voice()).max() * np.float32(peak)
        samples[100] = np.nan
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "flt", "mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    audio, notes = read(path)
    assert np.isfinite(audio).all() and np.abs(audio).max() == pytest.approx(1.0)
    assert "times full scale; all are divided by that" in notes[0] and "1 samples are not finite" in notes[1]


@pytest.mark.parametrize("name", ["take:1.wav", "concat:a|b.wav", "http:/x.wav", "pipe:0", "%03d.wav", "a?b.wav"])
def test_names_are_only_ever_files(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).parent.mkdir(exist_ok=True)
    write_wav(Path(name), [voice()])
    assert len(read_audio(name)) == RATE
    assert main(["info", name]) == 0 and "1 channel at 16000 Hz, 1.00 s" in capsys.readouterr().out
    with pytest.raises(InputError, match="no such file"):
        read_audio(f"other-{name}")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{wav}\n#EXT-X-ENDLIST\n"),
        ("list.wav", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{wav}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile {wav}\n"),
    ],
)
def test_a_file_that_names_others_is_no_recording(tmp_path: Path, name: str, text: str) -> None:
    wav = write_wav(tmp_path / "a.wav", [voice()])
    (tmp_path / name).write_text(text.format(wav=wav))
    with pytest.raises(InputError, match="is not a recording that can be read"):
        read_audio(tmp_path / name)


def test_pipes_are_read_and_devices_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_wav(tmp_path / "a.wav", [voice()]).read_bytes()
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    heard = load_audio(pipe)
    writer.join()
    assert len(heard.audio) == RATE and heard.name == "pipe.wav"
    monkeypatch.setattr(audio_file, "PIPE_S", 0.05)
    with pytest.raises(InputError, match="nothing came through the pipe"):
        load_audio(pipe)
    for device in ("/dev/zero", "/dev/null"):
        with pytest.raises(InputError, match="is a device or a terminal"):
            load_audio(device)
    with pytest.raises(InputError, match="cannot be opened"):
        load_audio("a" * 300)


def test_headers_that_say_nothing_are_one_line(tmp_path: Path) -> None:
    data = bytearray(write_wav(tmp_path / "a.wav", [voice()]).read_bytes())
    data[34:36] = b"\0\0"  # bits of a sample
    data[32:34] = b"\0\0"
    (tmp_path / "b.wav").write_bytes(data)
    with pytest.raises(InputError, match=r"b\.wav"):
        list(iter_audio(tmp_path / "b.wav"))
    assert main(["info", str(tmp_path / "b.wav")]) == 2


def test_long_recordings_have_facts_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(tmp_path / "long.wav", [np.zeros(8000 * 2200, np.float32)], 8000)
    assert main(["info", str(tmp_path / "long.wav")]) == 0
    assert "2200.00 s from its beginning to its end" in capsys.readouterr().out
