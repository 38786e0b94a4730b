"""The toy plug-in of examples/ is installed; its family trains two steps, is judged and speaks."""

import json
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning")
PLUGIN = Path(__file__).parents[1] / "examples" / "plugin"
DEMO = Path(__file__).parents[1] / "assets" / "demo.wav"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plug-in, as pip installs it."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(folder), str(PLUGIN)], check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two speakers with four sentences each: a mouth of five vertices that opens as loudly as it speaks."""
    folder = tmp_path_factory.mktemp("toy-waves")
    rest = np.array([[0, 0, 0.01], [-0.02, 0, 0], [0, 0.01, 0], [0.02, 0, 0], [0, -0.01, 0]], np.float32)
    draw = np.random.default_rng(0)
    for subject, gain in (("ann", 0.01), ("bo", 0.02)):
        for sentence in range(4):
            time = np.arange(24000) / 16000
            loud = np.clip(np.sin(2 * np.pi * draw.uniform(1, 3) * time), 0, 1)
            frames = np.repeat(rest[None], 45, 0)
            frames[1:, 4, 1] -= gain * loud[533::533][:44].astype(np.float32)
            audio = (0.3 * loud * draw.standard_normal(24000)).astype(np.float32)
            np.savez(folder / f"{subject}_{sentence}.npz", audio=audio, vertices=frames)
    return folder


ONE_AFTER_ANOTHER = """
import contextlib, io, json, sys
from parlante.cli import main
said = []
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        try:
            code = main(words)
        except SystemExit as stop:
            code = stop.code or 0
    if code:
        sys.exit(f"parlante {' '.join(words)}: exit code {code}; {out.getvalue()}")
    said.append(out.getvalue())
print(json.dumps(said))
"""
"""Commands in one process, which imports torch once."""


def parlante(installed: Path, *commands: tuple[object, ...]) -> list[str]:
    """What commands print, run where the plug-in is installed."""
    paths = [str(installed), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    words = json.dumps([[str(word) for word in command] for command in commands])
    command = [sys.executable, "-c", ONE_AFTER_ANOTHER, words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr
    said: list[str] = json.loads(done.stdout.splitlines()[-1])
    return said


def test_a_family_a_dataset_and_a_format_from_outside(installed: Path, waves: Path, tmp_path: Path) -> None:
    with wave.open(str(DEMO), "rb") as demo, wave.open(str(tmp_path / "line.wav"), "wb") as line:
        line.setparams(demo.getparams())
        line.writeframes(demo.readframes(demo.getframerate()))
    settings = [f"data.corpus={tmp_path / 'corpus'}", f"data.cache={tmp_path / 'cache'}", "loop.max_steps=2"]
    settings += ["scheme.batch=2", "scheme.frames=20", "data.rows=4", "data.num_augmentations=0"]
    words = [word for setting in settings for word in ("--set", setting)]
    run, speech = tmp_path / "run", tmp_path / "line.wav"
    helped, formats, listed, *_, told, _, _, _ = parlante(
        installed,
        ("prepare", "--help"),
        ("export", "--formats"),
        ("info",),
        ("prepare", "toy-waves", waves, tmp_path / "corpus"),
        ("train", PLUGIN / "recipe.yaml", *words, "--run", run),
        ("info", run),
        ("evaluate", run, "--data", tmp_path / "corpus", "--out", tmp_path / "report"),
        ("animate", speech, "--model", run, "-o", tmp_path / "talk.npz", "-q"),
        ("animate", speech, "--model", "faceformer", "--no-texture", "-o", tmp_path / "a.toy.txt", "-q"),
    )
    assert "toy-waves" in helped
    assert ".toy.txt" in formats
    assert all(name in listed for name in ("toy-gru", "toy-waves", ".toy.txt", "faceformer", "vocaset", ".glb"))
    assert "model: toy-gru" in told
    report = json.loads(next((tmp_path / "report").rglob("*.json")).read_text())
    assert "toy-gru" in json.dumps(report) and report["split"] == "test"
    with np.load(tmp_path / "talk.npz") as archive:
        assert archive["vertices"].shape[1:] == (5, 3)
    assert "jawOpen=" in (tmp_path / "a.toy.txt").read_text()


def test_a_broken_plug_in_is_named_in_one_line(installed: Path, tmp_path: Path) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[parlante.families]\noops = no_such_package:FAMILY\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "parlante", "animate", str(DEMO), "-o", str(tmp_path / "a.npz")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "'oops' of broken" in done.stderr and "pip uninstall broken" in done.stderr
