"""`parlante style`: extract, mix, info, with the shipped talkers."""

from pathlib import Path

import numpy as np
import pytest
from stand_in import spoken

from parlante.cli import main
from parlante.core import InputError, Style
from parlante.core.style import load_style, save_style
from parlante.export import save
from parlante.pipeline import animate


@pytest.mark.slow
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
    missing = [str(tmp_path / "none.npz"), str(tmp_path / "nor.npz")]
    assert main(["style", "extract", *missing, "-o", str(tmp_path / "a.style")]) == 2
    told = capsys.readouterr().err
    assert "none.npz is not there, wanted an animation with sound (.npz); make one" in told and "1 more clips" in told
    assert main(["style", "extract", str(tmp_path), "-o", str(tmp_path / "a.style")]) == 2
    assert "is a folder, wanted an animation" in capsys.readouterr().err
    assert main(["style", "extract", "x.npz", "-o", str(tmp_path / "a.txt")]) == 2
    assert ".style" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_parts_are_mixed_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Moves like one, wrinkles like another; the strength of a manner is an amount from the mean."""
    rng = np.random.default_rng(0)
    a, b = (Style(*rng.normal(size=(2, 4, 2, 2)).astype(np.float32), name, "textalker", "1") for name in "ab")
    for style in (a, b):
        save_style(style, tmp_path / f"{style.name}.style")
    files = [str(tmp_path / f"{name}.style") for name in ("a", "b")]
    out = tmp_path / "both.style"
    assert main(["style", "mix", *files, "--amount", "0", "--wrinkle-amount", "1", "-o", str(out)]) == 0
    both = load_style(out)
    assert (both.motion == a.motion).all() and (both.wrinkle == b.wrinkle).all()
    assert main(["style", "mix", *files, "--amount", "1.5", "-o", str(out)]) == 0
    np.testing.assert_allclose(load_style(out).wrinkle, 1.5 * b.wrinkle - 0.5 * a.wrinkle, atol=1e-6)
    assert main(["style", "mix", *files, "--wrinkle-amount", "nan", "-o", str(out)]) == 2
    assert "must be a finite number, got nan" in capsys.readouterr().err


def test_strength_of_a_known_style(tmp_path: Path) -> None:
    from parlante.pipeline.sources import find_source

    source = find_source("textalker")
    name, out = source.style_names[0], tmp_path / "strong.style"
    assert main(["style", "mix", "mean", name, "--amount", "1.5", "--model", "textalker", "-o", str(out)]) == 0
    mean, own, strong = source.style(None), source.style(name), load_style(out)
    np.testing.assert_allclose(strong.motion - mean.motion, 1.5 * (own.motion - mean.motion), atol=1e-5)
    assert strong.checkpoint == own.checkpoint
    wrong = Style(np.zeros((2, 3, 3), np.float32), own.wrinkle, "odd", "textalker")
    with pytest.raises(InputError, match=r"motion pivot of style 'odd' is \(2, 3, 3\)"):
        animate((spoken(0.4), 16000), source=source, style=wrong, texture=False)
