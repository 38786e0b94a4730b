"""`parlante style`: extract, mix, info, with the shipped talkers."""

from pathlib import Path

import numpy as np
import pytest
from stand_in import spoken

from parlante.cli import main
from parlante.core.style import load_style
from parlante.export import save
from parlante.pipeline import animate


def test_extract_mix_and_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, style, half = tmp_path / "clip.npz", tmp_path / "me.style", tmp_path / "half.style"
    save(animate((spoken(1.5), 16000), source="faceformer", texture=False), clip)
    assert main(["style", "extract", str(clip), "-o", str(style), "--model", "faceformer"]) == 0
    found = load_style(style)
    assert found.model == "faceformer" and np.isfinite(found.motion).all()
    assert main(["style", "mix", str(style), str(style), "-o", str(half)]) == 0
    assert np.allclose(load_style(half).motion, found.motion, atol=1e-6)
    assert main(["style", "info", str(half)]) == 0
    assert "faceformer" in capsys.readouterr().out
    used = animate((spoken(0.5), 16000), source="faceformer", style=str(style), texture=False)
    assert np.isfinite(used.vertices).all()


def test_what_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["style", "extract", str(tmp_path / "none.npz"), "-o", str(tmp_path / "a.style")]) == 2
    assert main(["style", "extract", "x.npz", "-o", str(tmp_path / "a.txt")]) == 2
    assert ".style" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
