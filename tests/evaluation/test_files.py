"""Predictions as files: what is written is judged as what was spoken."""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_corpora import write_layout, write_predictions
from test_predictors import PluginModel

from parlante.cli import main
from parlante.core import Identity, InputError, Style
from parlante.core.frames import FrameBlock
from parlante.evaluation import predictors as predictors_module
from parlante.evaluation.config import EvalConfig
from parlante.evaluation.evaluate import evaluate
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.files import PredictionFiles
from parlante.evaluation.predictors import PredictionFolder
from parlante.evaluation.results import load_results
from parlante.models.talker import Abilities, Session, WholeAudioSession


class StyledModel(PluginModel):
    """Nods further in the style of M4."""

    abilities = Abilities(own_faces=True, styles=("F2", "M4"))

    def style(self, wish: str | Style | None = None, face: Identity | None = None) -> Style:
        name = wish if isinstance(wish, str) else "mean"
        return Style(np.zeros(1, np.float32), np.zeros(0, np.float32), name)

    def session(self, face: Identity, style: Style, **options: Any) -> Session:
        inner, far = super().session(face, style, **options), np.float32(1 + (style.name == "M4"))

        def speak(audio: np.ndarray) -> Iterator[FrameBlock]:
            list(inner.push(audio))
            return (replace(block, motion=block.motion * far) for block in inner.finish())

        return WholeAudioSession(speak)


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("unseen"), ("F1",), 23370, 25, 2, frames=5)


def test_saved_predictions_score_as_they_did(
    unseen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(predictors_module, "load_model", lambda wish, device: StyledModel())
    common = ["--data", str(unseen), "--protocol", "codetalker-biwi-b", "--no-video", "--no-baselines", "--show", "0"]
    saved = tmp_path / "saved"
    assert main(["evaluate", "styled", *common, "-o", str(tmp_path / "first"), "--save", str(saved)]) == 0
    assert f"predictions in {saved}" in capsys.readouterr().out
    assert sorted(path.name for path in saved.iterdir()) == [
        f"F1_e{number}_condition_{name}.npy" for number in (37, 38) for name in ("F2", "M4")
    ]
    truth = np.load(unseen / "vertices_npy" / "F1_e37.npy")
    array = np.load(saved / "F1_e37_condition_M4.npy")
    assert array.shape == truth.shape and array.dtype == np.float32
    assert main(["evaluate", str(saved), *common, "-o", str(tmp_path / "second")]) == 0
    first, second = (load_results(tmp_path / name)["models"] for name in ("first", "second"))
    assert len(first["styled"]["figures"]) > 5 and first["styled"]["figures"] == second["saved"]["figures"]
    assert first["styled"]["figures"]["diversity"]["value"] > 0


def test_folders_of_outputs_lie_apart(unseen: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    for more, said in (
        (["--save", str(out / "inside")], "lies in --out"),
        (["--videos", str(unseen)], "not an empty folder"),
        (["--videos", str(tmp_path / "videos")], "videos need triangles"),
    ):
        made = tmp_path / "made"
        if not made.exists():
            write_predictions(made, unseen, 1e-3)
        assert main(["evaluate", str(made), "--data", str(unseen), "-o", str(out), *more]) == 2
        assert said in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made"]


def test_every_clip_has_a_video_with_sound(tmp_path: Path) -> None:
    import av

    corpus = write_layout(tmp_path / "own", ("ann",), 30, 30, 5, frames=6)
    corners = np.random.default_rng(0).normal(0, 0.05, (30, 3))
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in corners] + [f"f {k} {k + 1} {k + 2}" for k in range(1, 29)]
    (corpus / "face.obj").write_text("\n".join(lines) + "\n")
    one, two = (write_predictions(tmp_path / name, corpus, 1e-3) for name in ("one", "two"))
    evaluation = Evaluation(EvalConfig(data=corpus, split="test"))
    models = [PredictionFolder(one), PredictionFolder(two)]
    for name in ("videos", "arrays", "study"):
        (tmp_path / name).mkdir()
    keep = PredictionFiles(evaluation, ["one", "two"], *(tmp_path / n for n in ("arrays", "videos", "study")))
    evaluate(evaluation, models, show=0, keep=keep)
    keep.finish()
    _check_study(tmp_path / "study", evaluation.keys)
    keys = [f"{key}.mp4" for key in evaluation.keys]
    assert keys and sorted(path.name for path in (tmp_path / "videos").iterdir()) == keys
    with av.open(str(tmp_path / "videos" / keys[0])) as video:
        assert video.streams.video[0].width == 3 * 256 and len(video.streams.audio) == 1
        assert sum(1 for _ in video.decode(video=0)) == len(np.load(corpus / "vertices_npy" / f"{keys[0][:-4]}.npy"))
    assert {path.name for path in (tmp_path / "arrays").iterdir()} == {"one", "two"}
    with pytest.raises(InputError, match="share a name"):
        PredictionFiles(evaluation, ["a/one", "b/one"], tmp_path / "arrays")


def _check_study(folder: Path, keys: list[str]) -> None:
    """Every clip is a pair; neither page nor names of videos tell the models, only the key does."""
    with (folder / "key.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["clip"] for row in rows] == [key for key in keys for _ in range(2)]
    assert {row["model"] for row in rows} == {"one", "two"}
    assert sorted(path.stem for path in (folder / "videos").iterdir()) == sorted(row["video"] for row in rows)
    page = (folder / "index.html").read_text()
    pairs = json.loads(re.search(r"const pairs = (.*), questions", page)[1])
    assert {tuple(pair) for pair in pairs} == {
        tuple(row["video"] for row in rows if row["clip"] == key) for key in keys
    }
    assert "http" not in page and not any(name in page for name in (*keys, "model"))
    assert "Math.random() < 0.5" in page and ".csv" in page
