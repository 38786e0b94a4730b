"""`parlante info`: what is installed, and what files and folders hold."""

from pathlib import Path

import numpy as np
import pytest

import parlante
from parlante.cli import main
from parlante.core import Style
from parlante.core.style import save_style

ASSETS = Path(parlante.__file__).parent / "assets"


def test_a_style_and_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_style(Style(np.ones(4, np.float32), np.zeros(0, np.float32), "me", "ptalker"), tmp_path / "me.style")
    assert main(["info", str(tmp_path / "me.style"), str(ASSETS / "faceformer")]) == 0
    told = capsys.readouterr().out
    assert "model: ptalker" in told and "model: faceformer" in told and "model.safetensors" in told


def test_a_run_is_its_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.yaml").write_text("stage: faceformer")
    assert main(["info", str(tmp_path)]) == 2
    assert f"parlante train --resume {tmp_path}" in capsys.readouterr().err
    (tmp_path / "export").symlink_to(ASSETS / "faceformer")
    assert main(["info", str(tmp_path)]) == 0
    assert "model: faceformer" in capsys.readouterr().out


def test_what_can_be_named_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    told = capsys.readouterr().out
    assert all(name in told for name in ("FaceFormer (CVPR 2022)", "vocaset", ".skin.mp4"))


def test_what_is_none_of_these_takes_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "curves.csv").write_text("Timecode,BlendshapeCount\n")
    for path, said in ((tmp_path / "curves.csv", "recording"), (tmp_path, "folder"), (tmp_path / "x", "no such file")):
        assert main(["info", str(path)]) == 2
        heard = capsys.readouterr()
        assert said in heard.err and heard.err.count("\n") == 1 and not heard.out
