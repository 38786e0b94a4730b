"""Judging on corpora: protocols are reproduced, the truth wins, baselines are where they must be."""

from pathlib import Path

import numpy as np
import pytest
from small_corpora import write_predictions
from stand_in import StandIn

from parlante.core import InputError
from parlante.evaluation.config import EvalConfig
from parlante.evaluation.evaluate import evaluate
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.model_predictor import ModelPredictor
from parlante.evaluation.predictors import MeanMotion, PredictionFolder, Static
from parlante.evaluation.protocols import protocol
from parlante.evaluation.report.page import write_page
from parlante.evaluation.results import TRUTH
from parlante.losses.perceptual import LPIPS


def test_a_protocol_gives_what_its_script_gives(biwi: Path, tmp_path: Path) -> None:
    made = write_predictions(tmp_path / "made", biwi, 2e-3, ("_condition_F2", "_condition_M4"))
    evaluation = Evaluation(EvalConfig(data=biwi, protocol="facediffuser-biwi-a", references=0))
    found = evaluate(evaluation, [PredictionFolder(made)], show=0).results["models"]["made"]["figures"]
    truth = {path.stem: np.load(path) for path in (biwi / "vertices_npy").glob("*.npy")}
    predicted = {path.stem: np.load(path) for path in made.glob("*.npy")}
    wanted = protocol("facediffuser-biwi-a").score(predicted, truth, dict(np.load(biwi / "templates.npz")))
    for name in ("lve", "mve", "fdd", "abs_fdd"):
        assert found[name]["value"] == pytest.approx(wanted[name], rel=1e-5), name
    assert found["lve"]["low"] < found["lve"]["value"] < found["lve"]["high"]
    assert found["diversity"]["value"] > 0


def test_a_short_prediction_is_refused_where_the_script_stops(biwi: Path, tmp_path: Path) -> None:
    made = write_predictions(tmp_path / "short", biwi, 0.0)
    for path in made.glob("*.npy"):
        np.save(path, np.load(path)[:-1])
    evaluation = Evaluation(EvalConfig(data=biwi, protocol="codetalker-biwi-a", references=0))
    with pytest.raises(InputError, match="frames"):
        evaluate(evaluation, [PredictionFolder(made)], show=0)
    found = evaluate(Evaluation(EvalConfig(data=biwi, split="test", references=0)), [PredictionFolder(made)], show=0)
    assert found.results["models"]["short"]["figures"]["mve"]["value"] == 0


def test_a_talker_and_the_baselines_on_the_embedded_head(synthtalk: Path, tmp_path: Path) -> None:
    evaluation = Evaluation(EvalConfig(data=synthtalk, split="test_seen", textures=32))
    assert evaluation.keys == ["abena/003", "abena/004", "hugo/003", "hugo/004"]
    pieces: list[str] = []
    result = evaluate(
        evaluation,
        [ModelPredictor("stand-in", StandIn(), evaluation), MeanMotion(evaluation), Static()],
        progress=pieces.append,
    )
    figures = {name: model["figures"] for name, model in result.results["models"].items()}
    assert len(pieces) == 12
    assert figures["mean motion"]["mve"]["value"] < figures["static"]["mve"]["value"]
    assert figures["mean motion"]["psnr_moving"]["value"] > figures["static"]["psnr_moving"]["value"]
    assert figures["stand-in"]["jitter"]["value"] > 0 and figures["static"]["jitter"]["value"] == 0
    assert figures[TRUTH]["style_hit"]["value"] == 1 and "lve" not in figures[TRUTH]
    assert figures[TRUTH]["audio_correlation"]["value"] > 0.6
    assert figures["static"]["closure"]["value"] == 0
    assert result.results["models"]["stand-in"]["facts"]["style of hugo"] == "by name"
    for name in ("stand-in", "static"):
        assert result.vertex_error[name].max() > 0
    write_page(tmp_path / "report.html", evaluation, result)
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and page.count("data:video/mp4;base64,") == 1
    assert page.count("<polyline") == 4 + 3 and "LPIPS was not measured" in page
    for outside in ("http://", "https://", "<script", "<link", "@import"):
        assert outside not in page.replace("http://www.w3.org", "")


def test_lpips_is_measured_with_a_file_of_weights(
    synthtalk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights.safetensors").touch()
    monkeypatch.setattr(LPIPS, "from_file", lambda path: lambda image, other: (image - other).abs().mean())
    evaluation = Evaluation(
        EvalConfig(data=synthtalk, split="test_unseen", clips=1, textures=32, lpips=tmp_path / "weights.safetensors")
    )
    figures = evaluate(evaluation, [Static()], show=0).results["models"]["static"]["figures"]
    assert 0 < figures["lpips"]["value"] < 0.2


def test_every_figure_has_its_unit(biwi: Path, synthtalk: Path) -> None:
    units = {}
    for name, data in (("biwi", biwi), ("metres", synthtalk)):
        evaluation = Evaluation(EvalConfig(data=data, split="test", clips=1, textures=0))
        results = evaluate(evaluation, [Static()], show=0).results
        figures = results["models"]["static"]["figures"]
        assert set(results["units"]) == set(results["measures"])
        assert all(figure["unit"] == results["units"][key]["figures"] for key, figure in figures.items())
        units[name] = results["units"]
    assert "lip_mm" not in units["biwi"] and "lip_error" not in units["metres"]
    assert units["biwi"]["lip_error"] == {"values": "data units", "figures": "data units"}
    assert units["biwi"]["lve"] == {"values": "data units²", "figures": "data units²"}
    assert units["metres"]["lip_mm"] == {"values": "m", "figures": "mm"}
    assert units["metres"]["lve"] == {"values": "m²", "figures": "1e-5 m²"}
    assert units["metres"]["audio_lag"] == {"values": "frames", "figures": "frames"}
