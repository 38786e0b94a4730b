"""Models by name or folder, and the styles in which they speak."""

from pathlib import Path

import numpy as np
import pytest
from stand_in import StandIn

from parlante.core import InputError
from parlante.evaluation.config import EvalConfig
from parlante.evaluation.evaluate import evaluate
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.model_predictor import ModelPredictor, frame_places, frames_at
from parlante.evaluation.predictors import PredictionFolder, find_predictor


def test_what_is_no_model_of_the_data_is_said(biwi: Path, tmp_path: Path) -> None:
    evaluation = Evaluation(EvalConfig(data=biwi, split="test"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").touch()
    for wish, said in (
        (str(tmp_path / "empty"), "neither a checkpoint"),
        (str(tmp_path / "run"), "finish the training"),
        ("nobody", "unknown model 'nobody'; known: textalker"),
        ("talkingstyle", "talkingstyle moves meshes of 5856 vertices"),
    ):
        with pytest.raises(InputError, match=said):
            find_predictor(wish, evaluation)
    np.save(tmp_path / "empty" / "F2_e37.npy", np.zeros((3, 9)))
    with pytest.raises(InputError, match="wanted"):
        evaluate(evaluation, [PredictionFolder(tmp_path / "empty")])


def test_unseen_speakers_have_the_average_style_of_a_model_that_learns_none(synthtalk: Path) -> None:
    evaluation = Evaluation(EvalConfig(data=synthtalk, split="test_unseen", textures=0))
    assert evaluation.keys == ["zola/000", "zola/001"] and [clip.key for clip in evaluation.references("zola")] == [
        "zola/002",
        "zola/003",
        "zola/004",
    ]
    speaker = ModelPredictor("stand-in", StandIn().able(styles=("abena", "hugo")), evaluation)
    evaluate(evaluation, [speaker], show=0)
    assert speaker.facts["style of zola"] == "average"


def test_frame_rates_are_brought_together() -> None:
    track = np.arange(10, dtype=np.float32)[:, None, None].repeat(3, 2)
    place = frame_places(30.0, 25.0, 10, 99)
    assert np.allclose(frames_at(track, place)[:, 0, 0], np.arange(8) * 1.2)
    assert len(frame_places(25.0, 60.0, 10, 12)) == 12
