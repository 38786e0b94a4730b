"""The quality report: one evaluator's figures, what styles change, and the page that shows it all."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import StandIn

from parlante.cli import main
from parlante.core import InputError
from parlante.core.frames import FrameBlock
from parlante.evaluation import quality as quality_module
from parlante.evaluation.config import EvalConfig
from parlante.evaluation.evaluate import evaluate
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.model_predictor import ModelPredictor
from parlante.evaluation.quality import quality
from parlante.evaluation.recordings import MEASURES
from parlante.evaluation.report.quality import write_report
from parlante.evaluation.style_separation import style_separation
from parlante.models.registry import load_model


def test_figures_of_the_shipped_model_are_those_of_its_own_maps(synthtalk: Path) -> None:
    """Recorded from an evaluator that compared TexTalker's maps with the truth's, before either became bytes: motion
    is the same; skin differs by the bytes, and by clips that weigh alike instead of pictures."""
    evaluation = Evaluation(EvalConfig(data=synthtalk, split="test_seen", every=4))
    predictor = ModelPredictor("textalker", load_model("textalker"), evaluation)
    figures = evaluate(evaluation, [predictor], show=0).results["models"]["textalker"]["figures"]
    recorded = {"lip_mm": 8.70917, "lve": 12.28039, "mve": 0.788687, "fdd": 0.0790855, "abs_fdd": 0.1059734}
    for name, value in recorded.items():
        assert figures[name]["value"] == pytest.approx(value, rel=1e-3), name
    for name, value, near in (("psnr", 52.779, 0.5), ("psnr_moving", 36.928, 0.5), ("ssim_moving", 0.9584, 0.005)):
        assert figures[name]["value"] == pytest.approx(value, abs=near), name


class StylishStandIn(StandIn):
    """Opens its mouth as wide, and wrinkles as deeply, as the named people of the small corpus do."""

    WIDTHS = {"abena": 1.0, "hugo": 1.4}  # noqa: RUF012

    def _frames(self, audio: np.ndarray, face: Any, style: Any, sampling: Any) -> Any:
        for block in super()._frames(audio, face, style, sampling):
            wide = self.WIDTHS.get(style.name, 1.2)
            wrinkle = np.full((len(block.motion), 32, 32, 3), round(118 - 20 * wide), np.uint8)
            yield FrameBlock(block.start, motion=block.motion * wide, wrinkle=wrinkle, silence=block.silence)


class BareStandIn(StandIn):
    """Makes no wrinkle maps."""

    def _frames(self, audio: np.ndarray, face: Any, style: Any, sampling: Any) -> Any:
        return super()._frames(audio, face, style, replace(sampling, wrinkles=False))


def test_styles_that_differ_as_the_people_do_correlate(synthtalk: Path) -> None:
    evaluation = Evaluation(EvalConfig(data=synthtalk, split="test_seen", textures=32))
    found = style_separation(evaluation, ModelPredictor("stylish", StylishStandIn(), evaluation))
    assert found["pairs"] == 1 and found["correlation"]["jaw gain"] == pytest.approx(1.0)
    assert 0.5 < found["slope"]["jaw gain"] < 2 and abs(found["correlation"]["wrinkle depth"]) == pytest.approx(1.0)
    with pytest.raises(InputError, match="moves the mesh alone"):
        style_separation(evaluation, ModelPredictor("bare", BareStandIn(), evaluation))
    with pytest.raises(InputError, match="two subjects"):
        unseen = Evaluation(EvalConfig(data=synthtalk, split="test_unseen", textures=32))
        style_separation(unseen, ModelPredictor("stylish", StylishStandIn(), unseen))
    bare = Evaluation(EvalConfig(data=synthtalk, split="test_seen", textures=0))
    with pytest.raises(InputError, match="needs data with skin"):
        style_separation(bare, ModelPredictor("stylish", StylishStandIn(), bare))


def judged(value: float = 0.912) -> dict[str, Any]:
    """What the judge of recordings gives."""
    pooled = {
        "clips": 8,
        "frames": 100,
        "closure_segments": 33,
        "lag_frames": {"a": 0, "b": -1},
        "measures": {name: {"value": value, "chance": 0.5} for name in MEASURES},
    }
    return {"pooled": pooled}


def test_the_page_shows_every_figure(synthtalk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quality_module, "find_model", lambda wish, device: StylishStandIn())
    monkeypatch.setattr(quality_module, "shared_folder", lambda: None)
    results = quality(synthtalk, "stylish", clips=2) | {"command": "parlante evaluate stylish"}
    assert "recordings" not in results and results["test_seen"]["clips"] == 2
    write_report(tmp_path / "quality.md", results)
    page = (tmp_path / "quality.md").read_text()
    assert (tmp_path / "quality.json").is_file()
    for expected in (
        "# Quality of stylish",
        "2 clips of 2 subjects",
        "| stylish | mean motion | static |",
        "jaw gain |",
    ):
        assert expected in page
    assert "Not measured" in page and "texture PSNR in moving regions, dB" in page
    write_report(tmp_path / "quality.md", results | {"recordings": judged()})
    page = (tmp_path / "quality.md").read_text()
    assert "closure_auc | 0.912 | 0.500" in page and "+0, -1" in page


def test_bad_options_are_refused(synthtalk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "made").mkdir()
    for words, said in (
        (["--quality", "quality.txt"], "ends in .md"),
        (["--quality", "quality.md", "--clips", "-1"], "too small"),
        (["textalker", "ptalker", "--quality", "quality.md"], "one model"),
        ([str(tmp_path / "made"), "--quality", "quality.md", "--data", str(synthtalk)], "needs a model"),
        (["--report", "quality.txt"], "--report is now called --quality"),
        (["--model", "textalker", "--corpus", str(synthtalk), "--clips", "-1"], "--corpus is now called --data"),
    ):
        assert main(["evaluate", *words]) == 2, words
        assert said in capsys.readouterr().err
