"""Judging on corpora: protocols are reproduced, the truth wins, baselines are where they must be."""

from pathlib import Path

import numpy as np
import pytest
from small_corpora import write_layout, write_synthtalk
from stand_in import StandIn

from parlante.core import InputError
from parlante.evaluation.compare import joined, rank
from parlante.evaluation.evaluate import evaluate
from parlante.evaluation.evaluation import EvalConfig, Evaluation
from parlante.evaluation.model_predictor import ModelPredictor, frame_places, frames_at
from parlante.evaluation.predictors import MeanMotion, PredictionFolder, Static, find_predictor
from parlante.evaluation.protocols import protocol
from parlante.evaluation.report.page import write_page
from parlante.evaluation.results import TRUTH, load_results, save_results
from parlante.losses.perceptual import LPIPS


@pytest.fixture(scope="module")
def synthtalk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthtalk(tmp_path_factory.mktemp("synthtalk"))


@pytest.fixture(scope="module")
def biwi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("biwi"), ("F2", "M3"), 23370, 25, 3, frames=5)


def write_predictions(folder: Path, data: Path, noise: float, suffixes: tuple[str, ...] = ("",)) -> Path:
    rng = np.random.default_rng(9)
    folder.mkdir()
    for path in sorted((data / "vertices_npy").glob("*.npy")):
        truth = np.load(path)
        for suffix in suffixes:
            np.save(folder / f"{path.stem}{suffix}.npy", truth + rng.normal(0, noise, truth.shape).astype(np.float32))
    return folder


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


def test_what_does_not_fit_is_said(biwi: Path, synthtalk: Path, tmp_path: Path) -> None:
    for config, said in (
        (EvalConfig(data=synthtalk, protocol="codetalker-biwi-a"), "is for BIWI meshes"),
        (EvalConfig(data=synthtalk, protocol="nobody"), "choose from"),
        (EvalConfig(data=synthtalk, split="val"), "no clips to judge"),
        (EvalConfig(data=tmp_path / "nowhere"), "no such folder"),
        (EvalConfig(data=synthtalk, split="test_seen", lpips=tmp_path / "none"), "no LPIPS weights"),
    ):
        with pytest.raises(InputError, match=said):
            Evaluation(config)
    evaluation = Evaluation(EvalConfig(data=biwi, split="test"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").touch()
    for wish, said in (
        (str(tmp_path / "empty"), "neither a checkpoint"),
        (str(tmp_path / "run"), "finish the training"),
        ("nobody", "no model"),
        ("talkingstyle", "moves the embedded head"),
    ):
        with pytest.raises(InputError, match=said):
            find_predictor(wish, evaluation)
    np.save(tmp_path / "empty" / "F2_e37.npy", np.zeros((3, 9)))
    with pytest.raises(InputError, match="wanted"):
        evaluate(evaluation, [PredictionFolder(tmp_path / "empty")])


def test_a_talker_and_the_baselines_on_the_embedded_head(synthtalk: Path, tmp_path: Path) -> None:
    evaluation = Evaluation(EvalConfig(data=synthtalk, split="test_seen", textures=32))
    assert evaluation.keys == ["abena/003", "abena/004", "hugo/003", "hugo/004"]
    told: list[str] = []
    result = evaluate(
        evaluation,
        [ModelPredictor("stand-in", StandIn(), evaluation), MeanMotion(evaluation), Static()],
        progress=told.append,
    )
    figures = {name: model["figures"] for name, model in result.results["models"].items()}
    assert len(told) == 12
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


def test_strangers_are_learnt_from_clips_that_are_not_judged(synthtalk: Path) -> None:
    evaluation = Evaluation(EvalConfig(data=synthtalk, split="test_unseen", textures=0))
    assert evaluation.keys == ["zola/000", "zola/001"] and [clip.key for clip in evaluation.references("zola")] == [
        "zola/002",
        "zola/003",
        "zola/004",
    ]
    speaker = ModelPredictor("stand-in", StandIn().able(styles=("abena", "hugo")), evaluation)
    evaluate(evaluation, [speaker], show=0)
    assert speaker.facts["style of zola"] == "average"


def test_a_choice_is_spread_over_speakers_and_sentences(synthtalk: Path) -> None:
    def keys(split: str, clips: int) -> list[str]:
        return Evaluation(EvalConfig(data=synthtalk, split=split, clips=clips, textures=0)).keys

    assert keys("test_seen", 2) == ["abena/003", "hugo/004"]
    assert keys("test_seen", 3) == ["abena/003", "abena/004", "hugo/004"]
    assert keys("test_unseen", 1) == ["zola/000"]
    assert keys("test_seen", 0) == keys("test_seen", 9) == ["abena/003", "abena/004", "hugo/003", "hugo/004"]


def test_the_truth_as_prediction_wins_and_reports_join(biwi: Path, tmp_path: Path) -> None:
    reports = {}
    for name, noise in (("good", 0.0), ("fair", 3e-4), ("bad", 3e-3)):
        made = write_predictions(tmp_path / name, biwi, noise)
        evaluation = Evaluation(EvalConfig(data=biwi, split="test", references=0))
        save_results(
            evaluate(evaluation, [PredictionFolder(made), Static()], show=0).results, tmp_path / name / "report.json"
        )
        reports[name] = load_results(tmp_path / name)
    ranking = rank(joined(reports))
    assert [place.name for place in ranking.places] == ["good", "fair", "static", "bad"]
    assert ranking.places[0].beyond == ("fair", "static", "bad") and ranking.places[0].figure.value == 0
    assert ranking.clips == 6
    assert rank(joined(reports), "jitter").places[0].name == "good"
    with pytest.raises(InputError, match="choose from"):
        rank(joined(reports), "beauty")
    other = reports["good"] | {"protocol": "codetalker-biwi-a"}
    with pytest.raises(InputError, match="cannot be compared"):
        joined({"a": reports["good"], "b": other})


def test_frame_rates_are_brought_together() -> None:
    track = np.arange(10, dtype=np.float32)[:, None, None].repeat(3, 2)
    place = frame_places(30.0, 25.0, 10, 99)
    assert np.allclose(frames_at(track, place)[:, 0, 0], np.arange(8) * 1.2)
    assert len(frame_places(25.0, 60.0, 10, 12)) == 12
