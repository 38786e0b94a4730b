"""Reports side by side."""

from pathlib import Path

import pytest
from small_corpora import write_predictions

from parlante.core import InputError
from parlante.evaluation.compare import joined, rank
from parlante.evaluation.config import EvalConfig
from parlante.evaluation.evaluate import evaluate
from parlante.evaluation.evaluation import Evaluation
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
