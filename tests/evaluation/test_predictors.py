"""Models by name or folder, and the styles in which they speak."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import StandIn

from parlante.core import Identity, InputError, Style
from parlante.core.frames import FrameBlock
from parlante.core.options import Sampling
from parlante.core.timing import num_frames
from parlante.evaluation.config import EvalConfig
from parlante.evaluation.evaluate import evaluate
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.model_predictor import ModelPredictor, frame_places, frames_at
from parlante.evaluation.predictors import PredictionFolder, find_predictor
from parlante.models.talker import Abilities, Session, WholeAudioSession


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


class PluginModel:
    """The contract of a speech model and nothing more: any face nods with the loudness of the sound."""

    name, fps, topology = "plug-in", 50.0, None
    abilities = Abilities(own_faces=True)
    provenance: dict[str, Any] = {"model": "plug-in"}  # noqa: RUF012

    def face(self, wish: Identity, *, paint: bool = True) -> Identity:
        return wish

    def style(self, wish: str | Style | None = None, face: Identity | None = None) -> Style:
        return Style(np.zeros(1, np.float32), np.zeros(0, np.float32), "own")

    def session(self, face: Identity, style: Style, *, sampling: Sampling, look_ahead: float | None = None) -> Session:
        def speak(audio: np.ndarray) -> Iterator[FrameBlock]:
            frames = num_frames(len(audio), fps=self.fps)
            loud = np.array([np.abs(piece).mean() for piece in np.array_split(audio, frames)], np.float32)
            motion = 1e-3 * loud[:, None, None] * np.ones((1, *face.neutral.shape), np.float32)
            for start in range(0, frames, 7):
                yield FrameBlock(start, motion=motion[start : start + 7])

        return WholeAudioSession(speak)


def test_a_model_that_knows_only_the_contract_is_evaluated(biwi: Path) -> None:
    evaluation = Evaluation(EvalConfig(data=biwi, split="test", references=1))
    predictor = ModelPredictor("plug-in", PluginModel(), evaluation)
    model = evaluate(evaluation, [predictor], show=0).results["models"]["plug-in"]
    assert model["facts"]["model"] == "plug-in" and model["facts"]["style of F2"] == "average"
    assert len(model["clips"]) == len(evaluation.judged) and model["figures"]["mve"]["value"] > 0
