"""`parlante export` end to end, in process."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parlante.cli import main
from parlante.core import Animation
from parlante.export import npz, save
from parlante.export.calibration import Calibration
from parlante.head import load_head
from parlante.head.arkit import ARKIT_NAMES, INDEX


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of the embedded head opening its mouth and smiling."""
    head = load_head()
    name = head.identity_names[0]
    weights = np.zeros((15, 52), np.float32)
    weights[:, INDEX["jawOpen"]] = 0.3 + 0.3 * np.sin(np.arange(15) / 3)
    weights[:, INDEX["mouthSmileLeft"]] = 0.5
    animation = Animation(
        topology=head.topology,
        fps=30.0,
        neutral=head.neutral(name),
        vertices=head.deform(name, weights),
        audio=np.zeros(8000, np.float32),
        sample_rate=16000,
        weights=weights,
        weight_names=ARKIT_NAMES,
        head_pose=np.zeros((15, 6), np.float32),
        provenance={"identity": name},
    )
    path = tmp_path_factory.mktemp("talk") / "talk.npz"
    save(animation, path)
    return path


def test_edited_weights_and_vertices_go_out_together(talk: Path, tmp_path: Path) -> None:
    outputs = [str(tmp_path / name) for name in ("a.csv", "a.npz", "a.pc2", "a.keys.json")]
    arguments = ["export", str(talk), "-q", "--fps", "60", "--gain", "jaw=0.5", "--reduce", "0.01"]
    assert main([*arguments, *(word for output in outputs for word in ("-o", output))]) == 0
    before, after = npz.load(talk), npz.load(tmp_path / "a.npz")
    assert after.fps == 60 and len(after.vertices) == 30
    jaw = INDEX["jawOpen"]
    np.testing.assert_allclose(after.weights[::2, jaw], before.weights[:, jaw] * 0.5, atol=1e-5)
    head = load_head()
    posed = head.deform(head.identity_names[0], after.weights)
    assert np.abs(posed - after.vertices).max() < 1e-5
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert abs(float(rows[4]["JawOpen"]) - after.weights[4, jaw]) < 1e-6
    assert len(json.loads((tmp_path / "a.keys.json").read_text())["curves"]["mouthSmileLeft"]) == 2


def test_a_glb_of_a_saved_animation(talk: Path, tmp_path: Path) -> None:
    assert main(["export", str(talk), "-q", "-o", str(tmp_path / "a.glb")]) == 0
    assert (tmp_path / "a.glb").stat().st_size > 5e5


def test_joining_trimming_fading(talk: Path, tmp_path: Path) -> None:
    arguments = ["export", str(talk), str(talk), "--crossfade", "0.2", "--from", "0.1", "--fade-out", "0.1", "-q"]
    assert main([*arguments, "--no-head-pose", "-o", str(tmp_path / "a.npz")]) == 0
    after = npz.load(tmp_path / "a.npz")
    assert len(after.vertices) == 15 + 15 - 6 - 3 and after.head_pose is None
    np.testing.assert_allclose(after.vertices[-1], after.neutral, atol=1e-6)


def test_weights_are_solved_on_given_shapes_and_calibrated(talk: Path, tmp_path: Path) -> None:
    head = load_head()
    bare = replace(npz.load(talk), weights=None, weight_names=(), provenance={})
    save(bare, tmp_path / "bare.npz")
    np.savez(tmp_path / "me.npz", shapes=head.shapes(head.identity_names[0]), names=np.array(ARKIT_NAMES))
    Calibration({"mouthSmileLeft": {"gain": 0.5}}).write(tmp_path / "me.json")
    shapes = ["--shapes", str(tmp_path / "me.npz"), "--calibration", str(tmp_path / "me.json")]
    assert main(["export", str(tmp_path / "bare.npz"), "-q", "-o", str(tmp_path / "a.csv"), *shapes]) == 0
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert all(abs(float(row["MouthSmileLeft"]) - 0.25) < 0.01 for row in rows)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "a.fbx"], "unknown format"),
        (["-o", "a.csv", "--gain", "jaw"], "jaw=1.2"),
        (["-o", "a.csv", "--gain", "nonsense=2"], "nonsense"),
        (["-o", "a.csv", "--reduce", "0.1"], "no output has any"),
        (["-o", "a.csv", "--fps", "0"], "1..240"),
        (["-o", "a.glb", "--error", "0"], "error"),
        (["-o", "talk.npz"], "itself"),
        (["-o", "a.csv", "--shapes", "none.npz"], "no such file"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str], says: str, talk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(talk.parent)
    assert main(["export", "talk.npz", "-q", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert [path.name for path in talk.parent.iterdir()] == ["talk.npz"]


def test_formats_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["export", "--formats"])
    assert stop.value.code == 0 and ".pc2" in capsys.readouterr().out


def test_live_sends_what_was_edited(talk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket
    import struct

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(20)
        where = f"127.0.0.1:{listener.getsockname()[1]}"
        assert main(["export", str(talk), "--gain", "jaw=0", "--to", "0.3", "--live", where]) == 0
        packets = [listener.recv(2048) for _ in range(9)]
    assert f"9 frames sent to {where}" in capsys.readouterr().err
    values = np.array([struct.unpack(">61f", packet[-244:]) for packet in packets])
    assert not values[:, 14:18].any() and values.any(), "the jaw is still"
    assert main(["export", str(talk)]) == 2 and "--live" in capsys.readouterr().err
