"""The command a stranger types: bad input is one clear line and exit code 2; nothing half-written ever stays."""

import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from stand_in import StandIn, spoken

from parlante.cli import main
from parlante.export.npz import load
from parlante.models import registry


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A stand-in talker, and an empty folder to work in."""
    monkeypatch.setattr(registry, "_load_shipped", lambda name, device: StandIn())
    monkeypatch.chdir(tmp_path)


def write_wav(path: Path, samples: np.ndarray, rate: int = 16000, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.repeat((samples * 32767).astype("<i2")[:, None], channels, axis=1).tobytes())
    return path


def write_float_wav(path: Path, samples: np.ndarray, rate: int = 16000) -> Path:
    """32-bit float PCM, which can hold what is not a number."""
    data = samples.astype("<f4").tobytes()
    head = b"WAVEfmt " + (16).to_bytes(4, "little") + (3).to_bytes(2, "little") + (1).to_bytes(2, "little")
    head += rate.to_bytes(4, "little") + (rate * 4).to_bytes(4, "little") + b"\x04\x00\x20\x00"
    head += b"data" + len(data).to_bytes(4, "little")
    path.write_bytes(b"RIFF" + (len(head) + len(data)).to_bytes(4, "little") + head + data)
    return path


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "speech.wav", spoken(0.5))


def fails(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    """Run, expect exit code 2, one line of error and no new file; returns the line."""
    before = {path for path in Path().rglob("*")}
    code = main(["animate", *map(str, arguments)])
    error = capsys.readouterr().err.strip()
    assert code == 2, error
    assert error.startswith("parlante animate: ") and len(error.splitlines()) == 1, error
    assert "Traceback" not in error
    assert {path for path in Path().rglob("*")} == before, "nothing is left behind"
    return error


def test_every_output_at_once(speech: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["a.mp4", "a.glb", "a.csv", "a.npz"]
    arguments = [word for name in names for word in ("-o", f"out/{name}")]
    assert main(["animate", str(speech), *arguments, "-o", "out/pictures/", "--size", "64"]) == 0
    assert sorted(path.name for path in Path("out").iterdir()) == sorted([*names, "pictures"])
    assert len(list(Path("out/pictures/frames").glob("*.png"))) == 15
    assert {path.name for path in Path("out/pictures").iterdir()} == {"frames", "audio.wav", "curves.csv", "albedo.png"}
    import av

    with av.open("out/a.mp4") as video:
        assert len(video.streams.audio) == 1 and sum(1 for _ in video.decode(video=0)) == 15


@pytest.mark.parametrize(
    ("content", "wanted"),
    [(b"", "empty"), (b"these are only words, dear reader\n" * 9, "not a recording"), (b"RIFF\x24\0\0\0WAVE", "")],
)
def test_files_that_are_no_recordings(content: bytes, wanted: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.wav").write_bytes(content)
    assert wanted in fails(["bad.wav", "-o", "a.csv"], capsys)


def test_no_samples_no_file_no_recording(capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(Path("none.wav"), np.zeros(0))
    Path("folder.wav").mkdir()
    assert "none.wav" in fails(["none.wav", "-o", "a.csv"], capsys)
    assert "no such file" in fails(["absent.wav", "-o", "a.csv"], capsys)
    assert "folder" in fails(["folder.wav", "-o", "a.csv"], capsys)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (192000, 1), (48000, 6)])
def test_odd_rates_and_channels_simply_work(rate: int, channels: int) -> None:
    write_wav(Path("a.wav"), spoken(0.3, rate), rate, channels)
    assert main(["animate", "a.wav", "-o", "a.csv"]) == 0
    assert len(Path("a.csv").read_text().splitlines()) == 19, "60 rows a second, and the header"


def test_samples_that_are_no_numbers_become_silence() -> None:
    samples = spoken(0.3)
    samples[50:90], samples[100] = np.nan, np.inf
    write_float_wav(Path("nan.wav"), samples)
    assert main(["animate", "nan.wav", "-o", "a.npz"]) == 0
    with np.load("a.npz", allow_pickle=False) as archive:
        assert np.isfinite(archive["vertices"]).all() and np.isfinite(archive["audio"]).all()


def test_names_and_numbers_that_make_no_sense(speech: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = StandIn().abilities.styles[0]
    assert f"did you mean {first!r}" in fails([speech, "--identity", first + "x", "-o", "a.csv"], capsys)
    assert "unknown style" in fails([speech, "--style", "nobody", "-o", "a.csv"], capsys)
    for flag, value in (
        ("--fps", "0"), ("--fps", "nan"), ("--seed", "-3"), ("--steps", "0"), ("--motion-strength", "9"),
        ("--size", "33"), ("--size", "100000"), ("--view", "behind"),
    ):  # fmt: skip
        assert value in fails([speech, flag, value, "-o", "a.mp4"], capsys), flag


def test_outputs_are_checked_before_any_work(
    speech: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(*_: object) -> None:
        raise AssertionError("the work had begun")

    monkeypatch.setattr(registry, "_load_shipped", too_late)
    Path("fixed.csv").write_text("x")
    Path("fixed.csv").chmod(0o444)
    assert "read-only" in fails([speech, "-o", "fixed.csv"], capsys)
    assert ".fbx" in fails([speech, "-o", "a.fbx"], capsys)
    assert "is a file" in fails([speech, "-o", "speech.wav/a.csv"], capsys)
    assert "twice" in fails([speech, "-o", "a.csv", "-o", "a.csv"], capsys)
    if Path("/proc/self").exists():
        assert "cannot write" in fails([speech, "-o", "/proc/none/a.mp4"], capsys)


def test_the_recording_itself_is_not_overwritten(capsys: pytest.CaptureFixture[str], speech: Path) -> None:
    speech.rename("speech.mp4")
    assert "the recording itself" in fails(["speech.mp4", "-o", "speech.mp4"], capsys)
    assert "the recording itself" in fails(["speech.mp4"], capsys)


SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
from stand_in import StandIn
from parlante.models import registry
from parlante.cli import main

class Slow(StandIn):
    def _frames(self, *given):
        for block in super()._frames(*given):
            print("window", flush=True)
            yield block
            time.sleep(0.3)

registry._load_shipped = lambda name, device: Slow(15)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        signal.SIGKILL,
    ],
)
def test_killed_half_way(number: signal.Signals, tmp_path: Path) -> None:
    write_wav(Path("long.wav"), spoken(20.0))
    Path("a.csv").write_text("an older one")
    outputs = ["-o", "a.npz", "-o", "a.csv", "-o", "a.glb"]
    if number == signal.SIGTERM:
        outputs += ["-o", "a.mp4", "--size", "64"]
    code = SLOW.format(tests=str(Path(__file__).parents[1]))
    process = subprocess.Popen(
        [sys.executable, "-c", code, "animate", "long.wav", *outputs],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell ignore it
    )
    assert process.stdout is not None and process.stderr is not None
    for _ in range(2):
        assert process.stdout.readline() == "window\n"
    time.sleep(0.1)
    process.send_signal(number)
    error = process.stderr.read()
    code_ = process.wait(timeout=30)
    visible = sorted(path.name for path in Path().iterdir() if not path.name.startswith("."))
    assert visible == ["a.csv", "long.wav"] and Path("a.csv").read_text() == "an older one"
    if number == signal.SIGKILL:  # cannot be caught; the next run sweeps
        assert main(["animate", "long.wav", *outputs[:2], "-q"]) == 0
    else:
        assert code_ == 128 + number and "nothing half-written" in error and "Traceback" not in error
    assert not [path.name for path in Path().iterdir() if ".part" in path.name]


def test_info(speech: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["animate", str(speech), "-o", "a.npz", "-o", "a.glb", "-q"]) == 0
    capsys.readouterr()
    assert main(["info"]) == 0
    assert StandIn().abilities.styles[0] in capsys.readouterr().out
    assert main(["info", "a.npz", "a.glb", str(speech)]) == 0
    out = capsys.readouterr().out
    assert "15 frames" in out and "jawOpen" in out and "1 channel at 16000 Hz, 0.50 s" in out and "stand-in" in out
    Path("bad.glb").write_bytes(b"glTF....")
    Path("bad.npz").write_bytes(b"PK")
    for name in ("bad.glb", "bad.npz", "absent"):
        assert main(["info", name]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_live_sends_the_curves_of_the_file_beside_it(speech: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(20)
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        arguments = ["animate", str(speech), "--live", where, "--live-subject", "Ada", "--no-texture"]
        assert main([*arguments, "-o", "a.csv"]) == 0
        told = capsys.readouterr().err
        assert f"15 frames sent to {where} as Ada" in told
        packets = [listener.recv(2048) for _ in range(15)]
        assert main(arguments) == 0 and sorted(path.name for path in Path().iterdir()) == ["a.csv", "speech.wav"]
    rows = [line.split(",")[2:] for line in Path("a.csv").read_text().splitlines()]
    jaw = rows[0].index("JawOpen")
    for row, packet in zip(rows[1::2], packets, strict=True):  # the file has 60 rows a second
        values = struct.unpack(">61f", packet[-244:])
        assert values[jaw] == pytest.approx(float(row[jaw]), abs=1e-6), "JawOpen has the same place in both"
        assert sorted(values) == pytest.approx(sorted(map(float, row)), abs=1e-6)


def test_live_to_another_machine_is_refused(speech: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--allow-remote" in fails([speech, "--live", "192.0.2.1"], capsys)
    assert "1..65535" in fails([speech, "--live", "127.0.0.1:0"], capsys)


def test_an_interrupted_live_show_ends_at_once(speech: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket
    import threading

    long = write_wav(Path("long.wav"), spoken(60.0))

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))

        def interrupt() -> None:
            listener.recv(2048)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=interrupt, daemon=True).start()
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        # a minute of one frame a second
        assert main(["animate", str(long), "--live", where, "--no-texture", "--fps", "1"]) == 143
    assert "interrupted" in capsys.readouterr().err
    assert not [thread for thread in threading.enumerate() if thread.name in ("parlante-live", "parlante-ahead")]


def test_a_performance_is_changed_on_its_way(speech: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["animate", str(speech), "-o", "a.npz", "-o", "b.csv", "-q"]) == 0
    assert main(["animate", str(speech), "-o", "c.npz", "-q", "--mirror", "--gain", "jaw=0.5"]) == 0
    assert "note: mirrored" in capsys.readouterr().err
    one, other = load("a.npz"), load("c.npz")
    names = list(one.weight_names)
    jaw, left, right = (names.index(name) for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight"))
    np.testing.assert_allclose(other.weights[:, jaw], 0.5 * one.weights[:, jaw], atol=1e-6)
    np.testing.assert_allclose(other.weights[:, left], one.weights[:, right], atol=1e-6)
    assert other.notes and other.notes[0].startswith("mirrored")
    assert "must look like jaw=1.2" in fails([str(speech), "--gain", "jaw", "-o", "d.npz"], capsys)
    assert "with --strict this is an error" in fails([str(speech), "--mirror", "--strict", "-o", "d.npz"], capsys)
    assert not Path("d.npz").exists()
