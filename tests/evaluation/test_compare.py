"""Reports side by side."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_corpora import write_predictions

from parlante.core import InputError
from parlante.evaluation.compare import joined, pooled, rank, seed_spread
from parlante.evaluation.config import EvalConfig
from parlante.evaluation.evaluate import evaluate
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.measures import MEASURES
from parlante.evaluation.predictors import PredictionFolder, Static
from parlante.evaluation.results import load_results, save_results


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


def _report(values: dict[str, list[float]]) -> dict[str, Any]:
    clips = {f"c{number:02}": {"subject": "ann", "frames": 10} for number in range(len(next(iter(values.values()))))}
    rows = {
        name: {"clips": {key: {"frames": 10, "predictions": 1, "values": {"mve": v}} for key, v in zip(clips, column)}}
        for name, column in values.items()
    }
    return {"unit": "m", "seed": 0, "clips": clips, "models": rows}


def test_only_differences_that_survive_the_correction_are_beyond_noise() -> None:
    rng = np.random.default_rng(4)
    equal = {f"m{number}": (0.002 + 1e-4 * rng.normal(size=20)).tolist() for number in range(12)}
    ranking = rank(_report(equal | {"bad": [0.004] * 20}), "mve")
    assert all(place.beyond == ("bad",) for place in ranking.places[:-1])
    assert [place.next_is_worse for place in ranking.places] == [False] * 11 + [True, False]


def test_seeds_are_pooled_as_one_model() -> None:
    results = _report({"runs/a-001": [1e-3, 3e-3], "runs/a-002": [2e-3, 4e-3], "runs/b-001": [5e-3, 5e-3]})
    found, lines = pooled(results, {"a": "runs/a-*"})
    ranking = rank(found, "mve")
    assert [place.name for place in ranking.places] == ["a", "runs/b-001"]
    assert ranking.places[0].figure.value == pytest.approx(2.5)
    assert seed_spread(results, found["models"]["a"], MEASURES["mve"]) == pytest.approx(np.std([2, 3], ddof=1))
    assert lines == ["a: mean of 2 seeds (runs/a-001, runs/a-002)"]
    for groups, said in (({"x": "runs/b-*"}, "fits 1 of the models"), ({"runs/b-001": "runs/a-*"}, "is taken")):
        with pytest.raises(InputError, match=said):
            pooled(results, groups)
