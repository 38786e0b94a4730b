from pathlib import Path

import pytest

from parlante.cli import main


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--subjects", "0"], "--subjects 0"),
        (["--sentences", "-3"], "--sentences -3"),
        (["--seed", "-1"], "--seed -1"),
        (["--jobs", "0"], "--jobs 0"),
        (["--preview", "film.avi"], ".mp4"),
    ],
)
def test_bad_numbers_are_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str], said: str
) -> None:
    assert main(["synth", "--out", str(tmp_path / "talk"), *extra]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "talk").exists()


def test_writes_a_corpus_and_says_what_it_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("espeakng_loader")
    assert main(["synth", "--out", str(tmp_path / "talk"), "--subjects", "2", "--sentences", "4"]) == 0
    assert "2 train, 1 val, 1 test_seen, 4 test_unseen" in capsys.readouterr().out
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").touch()
    assert main(["synth", "--out", str(tmp_path / "other"), "--subjects", "1", "--sentences", "1"]) == 2
