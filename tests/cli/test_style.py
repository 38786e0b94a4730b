"""`parlante style`: extract, mix, info, with the shipped talkers."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from stand_in import spoken

from parlante.animation import animate
from parlante.cli import main
from parlante.core import InputError, Style
from parlante.core.style import load_style, save_style
from parlante.export import save


@pytest.mark.slow
def test_extract_mix_and_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, style, half = tmp_path / "clip.npz", tmp_path / "me.style", tmp_path / "half.style"
    save(animate((spoken(1.5), 16000), model="faceformer", texture=False), clip)
    assert main(["style", "extract", str(clip), "-o", str(style), "--model", "faceformer"]) == 0
    found = load_style(style)
    assert found.model == "faceformer" and np.isfinite(found.motion).all()
    assert main(["style", "mix", str(style), str(style), "-o", str(half)]) == 0
    assert np.allclose(load_style(half).motion, found.motion, atol=1e-6)
    assert main(["style", "info", str(half)]) == 0
    assert "faceformer" in capsys.readouterr().out
    used = animate((spoken(0.5), 16000), model="faceformer", style=str(style), texture=False)
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
    assert "got 'nan', wanted a number" in capsys.readouterr().err


def test_strength_of_a_known_style(tmp_path: Path) -> None:
    from parlante.models.registry import load_model

    source = load_model("textalker")
    name, out = source.abilities.styles[0], tmp_path / "strong.style"
    assert main(["style", "mix", "mean", name, "--amount", "1.5", "--model", "textalker", "-o", str(out)]) == 0
    mean, own, strong = source.style(None), source.style(name), load_style(out)
    np.testing.assert_allclose(strong.motion - mean.motion, 1.5 * (own.motion - mean.motion), atol=1e-5)
    assert strong.checkpoint == own.checkpoint
    wrong = Style(np.zeros((2, 3, 3), np.float32), own.wrinkle, "odd", "textalker")
    with pytest.raises(InputError, match=r"motion pivot of style 'odd' is \(2, 3, 3\)"):
        animate((spoken(0.4), 16000), model=source, style=wrong, texture=False)


@pytest.mark.parametrize("family", ["faceformer", "talkingstyle", "ptalker", "codetalker"])
def test_a_converted_model_s_style_with_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str], family: str) -> None:
    """Two files need no model; a name of a folder needs that folder, and the error is the command to run."""
    pytest.importorskip("transformers", reason="speech networks need parlante[encoders]")
    from published_files import tiny_talker

    from parlante.models.registry import load_model

    folder = str(tiny_talker(family).save(tmp_path / "talker"))
    source = load_model(folder)
    mine, out = str(tmp_path / "me.style"), str(tmp_path / "my mix.style")
    save_style(source.style("subject-2"), mine)
    assert main(["style", "mix", mine, mine, "-o", out]) == 0
    for names in ([mine, "subject-1"], ["mean", mine]):
        assert main(["style", "mix", *names, "--amount", "0.25", "-o", out]) == 2
        command = shlex.split(capsys.readouterr().err.strip().partition("say which folder: ")[2])
        assert command[:2] == ["parlante", "style"] and "DIR" in command
        assert main([folder if word == "DIR" else word for word in command[1:]]) == 0
        first, second = (source.style(None if names[0] == "mean" else name) for name in ("subject-2", "subject-1"))
        if names[0] == "mean":
            second = source.style("subject-2")
        np.testing.assert_allclose(load_style(out).motion, first.mix(second, 0.25).motion, atol=1e-6)
    shipped = "talkingstyle" if family == "faceformer" else "faceformer"
    for model in (shipped, str(tiny_talker("facediffuser").save(tmp_path / "other"))):
        assert main(["style", "mix", mine, "mean", "--model", model, "-o", out]) == 2
        assert f"use --model DIR, the folder of its {family}" in capsys.readouterr().err


def test_a_shipped_model_s_style_with_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file tells the model; names that talkingstyle does not know are somebody else's."""
    from parlante.models.registry import load_model

    source, mine, out = load_model("ptalker"), str(tmp_path / "me.style"), str(tmp_path / "out.style")
    save_style(source.style("bruno"), mine)
    assert main(["style", "mix", mine, "abena", "--amount", "2", "-o", out]) == 0
    wanted = source.style("bruno").mix(source.style("abena"), 2)
    np.testing.assert_allclose(load_style(out).motion, wanted.motion, atol=1e-6)
    assert main(["style", "mix", mine, "abena", "--model", "faceformer", "-o", out]) == 2
    assert "use --model ptalker" in capsys.readouterr().err
    assert main(["style", "mix", "mean", "F2", "-o", out]) == 2
    assert "'F2' is no style of talkingstyle; say whose it is: parlante style mix mean F2" in capsys.readouterr().err
