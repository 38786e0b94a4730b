"""The examination itself: every predictor on every judged clip, as plain numbers that JSON can keep.

    {"format": ..., "data": ..., "unit": ..., "clips": {key: {"subject": ..., "frames": ...}},
     "models": {name: {"facts": {...}, "clips": {key: {"frames": ..., "predictions": ..., "values": {measure: ...}}},
                       "figures": {measure: {"value", "low", "high", "clips"}}, "subjects": {subject: {measure: ...}}}}}

Values are stored as `parlante.evaluation.measures` stores them; figures are as shown.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante import metrics
from parlante.core import InputError, atomic_path
from parlante.core.files import first_line
from parlante.evaluation.clips import Case, Exam, Prediction
from parlante.evaluation.intervals import LEVEL, interval
from parlante.evaluation.measures import MEASURES, measured
from parlante.evaluation.predictors import Predictor

FORMAT = "parlante-evaluation/1"
TRUTH = "truth"
NAME = "report.json"


@dataclass(eq=False)
class Seen:
    """What a report shows beside numbers."""

    case: Case
    predictions: dict[str, Prediction] = field(default_factory=dict)


@dataclass(eq=False)
class Outcome:
    """Numbers, and what pictures are made of."""

    results: dict[str, Any]
    heat: dict[str, NDArray[np.float64]]
    """Model -> (V,) mean distance of each vertex, in the data's unit."""
    shown: list[Seen]
    """The clips that the report shows."""


def examine(
    exam: Exam,
    predictors: Sequence[Predictor],
    *,
    show: int = 1,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> Outcome:
    """Judge all. show: how many clips are kept for curves and video. progress: told each piece of work as it begins.

    Raises InputError where a predictor cannot answer.
    """
    names = [predictor.name for predictor in predictors]
    if len(set(names)) < len(names) or TRUTH in names:
        raise InputError(f"two models share a name: {', '.join(names)}; rename a folder")
    models: dict[str, Any] = {name: {"facts": {}, "clips": {}} for name in (*names, TRUTH)}
    count = exam.rules.topology.num_vertices
    heat = {name: np.zeros(count) for name in names}
    heard = dict.fromkeys(names, 0)
    clips, shown = {}, []
    kept = set(exam.judged[:: max(1, len(exam.judged) // max(1, show))][:show])
    for number in exam.judged:
        case = exam.case(number)
        clips[case.key] = {"subject": case.subject, "frames": len(case.vertices)}
        seen = Seen(case)
        for predictor in predictors:
            if progress:
                progress(f"{predictor.name} {case.key}")
            made = list(predictor.predict(case))
            models[predictor.name]["clips"][case.key] = _judged(case, made)
            for one in made:
                frames = min(len(one.vertices), len(case.vertices))
                heat[predictor.name] += np.linalg.norm(one.vertices[:frames] - case.vertices[:frames], axis=-1).sum(0)
                heard[predictor.name] += frames
            seen.predictions[predictor.name] = made[0]
        own = measured(case, Prediction(case.vertices), alone=True)
        models[TRUTH]["clips"][case.key] = {"frames": len(case.vertices), "predictions": 1, "values": own}
        if number in kept:
            shown.append(seen)
    for predictor in predictors:
        models[predictor.name]["facts"] = dict(predictor.facts)
    choice, rules = exam.choice, exam.rules
    results = {
        "format": FORMAT,
        "data": str(choice.data),
        "dataset": exam.corpus.dataset,
        "split": choice.split or ("protocol" if rules.protocol else "test"),
        "protocol": rules.protocol.name if rules.protocol else None,
        "unit": rules.unit,
        "fps": exam.fps,
        "seed": seed,
        "level": LEVEL,
        "measures": sorted(
            {name for row in models.values() for one in row["clips"].values() for name in one["values"]}
        ),
        "clips": clips,
        "models": models,
    }
    summarise(results)
    mean = {name: heat[name] / max(1, heard[name]) for name in names}
    return Outcome(results, mean, shown)


def _judged(case: Case, made: list[Prediction]) -> dict[str, Any]:
    """One clip's row: means over its predictions, diversity over them where there are several."""
    rows = [measured(case, one) for one in made]
    frames = [min(len(one.vertices), len(case.vertices)) for one in made]
    values = {}
    for name in {name for row in rows for name in row}:
        pairs = [(row[name], count) for row, count in zip(rows, frames) if name in row]
        weights = [count if MEASURES[name].pool == "frames" else 1 for _, count in pairs]
        values[name] = float(np.average([value for value, _ in pairs], weights=weights))
    if len(made) > 1 and len({len(one.vertices) for one in made}) == 1:
        values["diversity"] = metrics.diversity([[one.vertices for one in made]])
    return {"frames": int(sum(frames)), "predictions": len(made), "values": values}


def column(
    model: Mapping[str, Any], measure: str, keys: Sequence[str] | None = None
) -> tuple[list[float], list[float]]:
    """Stored values and weights of a model's clips, those among `keys` that have the measure."""
    pool = MEASURES[measure].pool
    values, weights = [], []
    for key in model["clips"] if keys is None else keys:
        row = model["clips"][key]
        if measure in row["values"]:
            values.append(row["values"][measure])
            weights.append(float(row["frames"] if pool == "frames" else row["predictions"]))
    return values, weights


def summarise(results: dict[str, Any]) -> None:
    """Fill in `figures` and `subjects` of every model."""
    people: dict[str, list[str]] = {}
    for key, clip in results["clips"].items():
        people.setdefault(clip["subject"], []).append(key)
    for model in results["models"].values():
        model["figures"], model["subjects"] = {}, {}
        for name, measure in MEASURES.items():
            values, weights = column(model, name)
            if values:
                found = interval(measure, values, weights, unit=results["unit"], seed=results["seed"])
                model["figures"][name] = {key: _number(value) for key, value in asdict(found).items()}
        for person, keys in sorted(people.items()):
            row = {}
            for name, measure in MEASURES.items():
                values, weights = column(model, name, keys)
                if values:
                    row[name] = float(measure.shown(np.average(values, weights=weights), results["unit"]))
            model["subjects"][person] = row


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def save_results(results: Mapping[str, Any], path: Path) -> None:
    """JSON, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")


def load_results(path: Path | str) -> dict[str, Any]:
    """A report folder or its JSON file. Raises InputError for anything else, or one of another format."""
    path = Path(path)
    file = path if path.is_file() else path / NAME
    if path.is_dir() and not file.is_file():
        found = sorted(path.glob(f"*/{NAME}"))
        if len(found) != 1:
            raise InputError(
                f"{path} holds no {NAME}; make one with parlante evaluate {path} --data DATA -o {path}/report"
            )
        file = found[0]
    try:
        results: dict[str, Any] = json.loads(file.read_text())
        if results["format"] != FORMAT:
            raise InputError(f"{file} is of format {results['format']!r}, this version reads {FORMAT}; evaluate again")
        for key in ("data", "unit", "seed", "clips", "models"):
            results[key]
        for model in results["models"].values():
            for row in model["clips"].values():
                row["values"], row["frames"], row["predictions"]
    except FileNotFoundError as error:
        raise InputError(f"no such report: {path}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"cannot read {file} as a report: {first_line(error)[:120]}; evaluate again") from error
    return results
