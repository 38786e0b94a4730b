"""`parlante evaluate` and `parlante compare` from the outside."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from parlante.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / "evaluation"))
from small_corpora import write_layout


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("own"), ("ann", "bob"), 30, 30, 5)


def predictions(folder: Path, corpus: Path, noise: float) -> Path:
    folder.mkdir()
    for path in (corpus / "vertices_npy").glob("*.npy"):
        truth = np.load(path)
        np.savez(folder / f"{path.stem}.npz", vertices=truth + np.random.default_rng(1).normal(0, noise, truth.shape))
    return folder


def test_evaluate_then_compare(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fair, poor = predictions(tmp_path / "fair", corpus, 1e-3), predictions(tmp_path / "poor", corpus, 4e-3)
    out = tmp_path / "report"
    assert main(["evaluate", str(fair), str(poor), "--data", str(corpus), "--split", "train", "-o", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"report.html", "report.json"}
    results = json.loads((out / "report.json").read_text())
    assert set(results["models"]) == {"fair", "poor", "mean motion", "static", "truth"}
    assert "has no triangles" in (out / "report.html").read_text()
    said = capsys.readouterr().out
    assert said.index("fair") < said.index("poor")
    assert main(["compare", str(out), "--json", str(tmp_path / "ranking.json")]) == 0
    said = capsys.readouterr().out
    assert "beyond noise" in said and said.index("fair") < said.index("poor")
    ranking = json.loads((tmp_path / "ranking.json").read_text())
    assert main(["compare", str(out), "--pool", "both=*o*r"]) == 2
    assert "fits 1 of the models" in capsys.readouterr().err
    assert main(["compare", str(out), "--pool", "both=[fp][ao][io]r"]) == 0
    said = capsys.readouterr().out
    assert "both: mean of 2 seeds (fair, poor); standard deviation over seeds" in said
    assert main(["compare", str(out), "--pool", "both"]) == 2
    assert "--pool wants NAME=PATTERN" in capsys.readouterr().err
    assert ranking["measure"] == "mve" and "poor" in next(
        place["beyond_noise"] for place in ranking["ranking"] if place["name"] == "fair"
    )


def test_mistakes_end_with_two_and_leave_nothing(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = predictions(tmp_path / "made", corpus, 0.0)
    full = tmp_path / "full"
    full.mkdir()
    (full / "notes.txt").touch()
    (tmp_path / "odd.json").write_text('{"format": "else"}')
    (tmp_path / "torn.json").write_text('{"format"')
    data = ["--data", str(corpus)]
    for words, said in (
        (["evaluate", str(made)], "give --data"),
        (["evaluate", *data], "name at least one"),
        (["evaluate", str(made), *data, "--quality", "x.txt"], "ends in .md"),
        (["evaluate", str(made), *data, "-o", str(full)], "not an empty folder"),
        (["evaluate", str(made), *data, "--split", "spare", "-o", str(tmp_path / "new")], "no clips to judge"),
        (["evaluate", "nobody", *data, "-o", str(tmp_path / "new")], "unknown model"),
        (["evaluate", str(made), *data, "--textures", "3"], "at least 16"),
        (["compare", str(tmp_path / "nowhere")], "no such file"),
        (["compare", str(made)], "holds no report.json"),
        (["compare", str(tmp_path / "odd.json")], "of format"),
        (["compare", str(tmp_path / "torn.json")], "cannot read"),
    ):
        assert main(words) == 2, words
        assert said in capsys.readouterr().err
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".*"))


def test_arrays_of_python_objects_are_refused_in_our_words(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "objects"
    made.mkdir()
    for path in (corpus / "vertices_npy").glob("*.npy"):
        np.save(made / path.name, np.array([{}]), allow_pickle=True)
    assert main(["evaluate", str(made), "--data", str(corpus), "-o", str(tmp_path / "report")]) == 2
    said = capsys.readouterr().err
    assert "holds Python objects, which are never read" in said and "pickle" not in said
