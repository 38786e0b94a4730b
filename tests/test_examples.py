"""Every numbered example runs, on half a second of sound, and leaves the files that it names."""

import importlib.util
import wave
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from stand_in import spoken

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("[0-9]*.py"))


@pytest.fixture
def speech(tmp_path: Path) -> str:
    """A second of something like speech."""
    path = tmp_path / "line.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((spoken(1.0) * 32767).astype("<i2").tobytes())
    return str(path)


def example(number: str) -> ModuleType:
    (name,) = (name for name in NAMES if name.startswith(number))
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_01_speak_a_file(speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("01").main(speech, str(tmp_path / "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"line.glb", "line.csv", "line.npz"}
    assert "weights (30, 52)" in capsys.readouterr().out


def test_02_styles_and_mixing(speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("02").main(speech, str(tmp_path / "out"))
    lines = [line for line in capsys.readouterr().out.splitlines() if "the jaw opens" in line]
    openings = [float(line.split("by ")[1].split(" ")[0]) for line in lines]
    assert len(lines) == 6 and openings[-1] < openings[0], "half the motion opens the mouth less"
    assert (tmp_path / "out" / "mixed.style").is_file()


def test_03_own_character(speech: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("03").main(speech, str(tmp_path / "out"))
    assert "52 shapes" in capsys.readouterr().out
    assert (tmp_path / "out" / "me.character").is_dir() and (tmp_path / "out" / "me.glb").stat().st_size > 10_000
    example("03").main(speech, str(tmp_path / "out"))
    assert "52 shapes" not in capsys.readouterr().out, "a second run takes the character that is there"


def test_04_frames_in_a_session(speech: str, capsys: pytest.CaptureFixture[str]) -> None:
    example("04").main(speech)
    assert "to 29:" in capsys.readouterr().out.splitlines()[-1]


def test_05_released_checkpoint(speech: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    example("05").main(speech, str(tmp_path / "out"))
    frames = np.frombuffer((tmp_path / "out" / "cube.pc2").read_bytes()[32:], "<f4").reshape(-1, 8, 3)
    assert len(frames) == 30 and np.ptp(frames, axis=0).max() > 0


def test_06_train_two_steps(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    example("06").main(str(tmp_path))
    assert (tmp_path / "first-run" / "export" / "model.safetensors").is_file()


def test_07_evaluate_two_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("espeakng_loader")
    example("07").main(str(tmp_path), "1")
    assert "talkingstyle worst lip vertex" in capsys.readouterr().out


def test_08_plugin(capsys: pytest.CaptureFixture[str]) -> None:
    example("08").main()
    assert "textalker" in capsys.readouterr().out


@pytest.mark.slow
def test_09_textalker_from_scans(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    pytest.importorskip("espeakng_loader")
    example("09").main(str(tmp_path), "100", "loop.max_steps=2")
    assert (tmp_path / "line.mp4").stat().st_size > 10_000
    with np.load(tmp_path / "line.npz") as made:
        assert np.ptp(made["vertices"], axis=0).max() > 1e-4 and np.ptp(made["wrinkle"], axis=0).max() > 0


def test_each_example_has_a_test() -> None:
    for name in NAMES:
        assert f"test_{name}" in globals(), f"{name}.py is not run by any test"


@pytest.mark.parametrize("name", NAMES)
def test_each_example_is_short(name: str) -> None:
    lines = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60 and lines[0].startswith('"""')
