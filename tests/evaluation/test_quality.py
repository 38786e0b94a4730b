"""The quality report: baselines score as they must, and the page says what was measured."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from parlante.evaluation.recordings import MEASURES
from parlante.evaluation.report.quality import write_report
from parlante.evaluation.synthetic import PREDICTORS, Made, _score, _summary


def clip(rng: np.random.Generator) -> tuple[Made, dict[str, Any]]:
    wrinkle = np.full((8, 32, 32, 3), np.tanh(0.5), np.float32)
    wrinkle[:, 8:24, 8:24] = np.tanh(0.4)
    regions = {"skin": np.arange(20), "upper_face": np.arange(5), "lips": np.array([6, 7])}
    return Made(rng.normal(0, 1e-3, (8, 20, 3)).astype(np.float32), wrinkle), regions


def test_the_truth_scores_perfectly_and_the_neutral_face_does_not() -> None:
    truth, regions = clip(np.random.default_rng(0))
    still = Made(np.zeros_like(truth.offsets), np.full_like(truth.wrinkle, np.tanh(0.5)))
    albedo = np.full((32, 32, 3), 180, np.uint8)
    summaries = []
    for made in (truth, still):
        lists: dict[str, list[Any]] = defaultdict(list)
        _score(lists, made, truth, albedo, regions)
        summaries.append(_summary(lists))
    perfect, neutral = summaries
    assert perfect["lip_vertex_error_mm"] == 0
    assert neutral["lip_vertex_error_mm"] > 1
    assert perfect["ssim_moving"] == 1
    assert neutral["psnr_moving_db"] < neutral["psnr_db"] < perfect["psnr_db"]
    assert abs(perfect["moving_share"] - 0.25) < 0.02
    assert neutral["fdd_1e-7_m2"] > 0


def test_the_page_shows_every_figure(tmp_path: Path) -> None:
    truth, regions = clip(np.random.default_rng(0))
    lists: dict[str, list[Any]] = defaultdict(list)
    _score(lists, Made(truth.offsets * 0.5, truth.wrinkle), truth, np.full((32, 32, 3), 180, np.uint8), regions)
    table = {name: _summary(lists) for name in PREDICTORS} | {"clips": 7, "subjects": 3}
    pooled = {
        "clips": 8,
        "frames": 100,
        "closure_segments": 33,
        "lag_frames": {"a": 0, "b": -1},
        "measures": {name: {"value": 0.912, "chance": 0.5} for name in MEASURES},
    }
    results = {
        "command": "parlante evaluate",
        "test_seen": table,
        "test_unseen": table,
        "styles": {"pairs": 3, "correlation": {"jaw gain": 0.87}, "slope": {"jaw gain": 0.6}},
        "recordings": {"pooled": pooled},
    }
    write_report(tmp_path / "quality.md", results)
    page = (tmp_path / "quality.md").read_text()
    assert (tmp_path / "quality.json").is_file()
    for expected in ("7 clips", "closure_auc | 0.912 | 0.500", "jaw gain | 0.87 | 0.60", "+0, -1", "0.50"):
        assert expected in page
    results["recordings"] = None
    write_report(tmp_path / "quality.md", results)
    assert "Not measured" in (tmp_path / "quality.md").read_text()


def test_bad_options_are_refused() -> None:
    from parlante.cli import main

    assert main(["evaluate", "--clips", "0"]) == 2
    assert main(["evaluate", "--report", "quality.txt"]) == 2
