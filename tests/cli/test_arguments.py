"""A mistake on the command line is one line: what, got, wanted, next; exit code 2. Old names say what replaces them."""

import pytest

from parlante.cli import main
from parlante.core import renames


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["animate", "a.wav", "-o", "a.mp4", "--sed", "3"], "no option --sed; did you mean --seed?"),
        (["animate", "a.wav", "-o", "a.mp4", "--colour=red"], "no option --colour; parlante animate --help"),
        (["animate", "a.wav", "b.wav"], "one word too many: 'b.wav'"),
        (["animate"], "not given: speech"),
        (["animate", "a.wav", "--fps", "fast"], "--fps: got 'fast', wanted a number"),
        (["export", "a.npz", "--crossfade", "1e308"], "--crossfade: got '1e308', wanted a number, at most 1e+09"),
        (["export", "a.npz", "--from", "nan"], "--from: got 'nan', wanted a number"),
        (["animate", "a.wav", "--seed", "9" * 30], "wanted a number, at most"),
        (["animate", "a.wav", "-o"], "-o/--output: wants a value after it"),
        (["anmate", "a.wav"], "got 'anmate'; did you mean animate?"),
        (["style", "extrct"], "did you mean extract? wanted one of extract, mix"),
        (["style", "info", "a.style", "--modl", "b"], "parlante style info --help lists"),
        (["prepare", "vocast", "a", "b"], "did you mean vocaset?"),
        ([], "not given: COMMAND; parlante --help"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert said in err and "--help lists" in err and len(err.splitlines()) == 1 and not out


@pytest.mark.parametrize("words", [["prepare", "own"], ["batch", "prepare", "own"], ["bulk", "prepare", "own"]])
def test_the_help_of_an_old_command_says_that_it_is_old(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(renames, "_said", set())
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    out, err = capsys.readouterr()
    assert stop.value.code == 0
    assert "prepare own is now called prepare folder" in err and "prepare folder" in out.splitlines()[0]


def test_a_file_named_like_an_old_command_is_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["animate", "bulk", "-o", "a.mp4"]) == 2
    assert "is now called" not in capsys.readouterr().err


def test_the_old_option_for_a_model_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(renames, "_said", set())
    assert main(["evaluate", "--model", "ptalker"]) == 2
    said = capsys.readouterr().err.splitlines()[0]
    assert "--model is not needed any more, type: parlante evaluate ptalker" in said
