"""The results of an evaluation as plain numbers that JSON can keep; `parlante compare` reads them.

    {"format": ..., "notice": how the judged clips differ from those in question,
     "data": ..., "unit": ..., "clips": {key: {"subject": ..., "frames": ...}},
     "models": {name: {"facts": {...}, "clips": {key: {"frames": ..., "predictions": ..., "values": {measure: ...}}},
                       "figures": {measure: {"value", "low", "high", "clips", "unit"}},
                       "subjects": {subject: {measure: ...}}}},
     "units": {measure: {"values": unit of the values of clips, "figures": unit of figures and subjects}}}

Values are stored as `parlante.evaluation.measures` stores them; figures are as shown.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from parlante.core import InputError, atomic_path
from parlante.core.ranges import Count, Positive, Whole
from parlante.core.typed import Mistyped, read_json, typed
from parlante.evaluation.intervals import Interval, interval
from parlante.evaluation.measures import MEASURES

FORMAT = "parlante-evaluation/1"
TRUTH = "truth"
"""The name under which the truth's own figures stand among the models."""
REPORT = "report.json"


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
    """Fill in `units`, and `figures` and `subjects` of every model."""
    unit = results["unit"]
    results["units"] = {
        name: {"values": MEASURES[name].stored_unit(unit), "figures": MEASURES[name].unit_in(unit)}
        for name in results["measures"]
    }
    people: dict[str, list[str]] = {}
    for key, clip in results["clips"].items():
        people.setdefault(clip["subject"], []).append(key)
    for model in results["models"].values():
        model["figures"], model["subjects"] = {}, {}
        for name, measure in MEASURES.items():
            values, weights = column(model, name)
            if values:
                found = interval(measure, values, weights, unit=results["unit"], seed=results["seed"])
                figure = {key: _number(value) for key, value in asdict(found).items()}
                model["figures"][name] = {**figure, "unit": measure.unit_in(results["unit"])}
        for person, keys in sorted(people.items()):
            row = {}
            for name, measure in MEASURES.items():
                values, weights = column(model, name, keys)
                if values:
                    row[name] = float(measure.shown(np.average(values, weights=weights), results["unit"]))
            model["subjects"][person] = row


def stored_interval(figure: Mapping[str, Any]) -> Interval:
    """A figure of a model as an interval; an open bound is not a number."""
    low, high = (float("nan") if figure[key] is None else figure[key] for key in ("low", "high"))
    return Interval(figure["value"], low, high, figure["clips"])


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def save_results(results: Mapping[str, Any], path: Path) -> None:
    """JSON, whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n")


def load_results(path: Path | str) -> dict[str, Any]:
    """A report folder or its JSON file. Raises InputError for anything else, or one of another format."""
    path = Path(path)
    file = path if path.is_file() else path / REPORT
    if path.is_dir() and not file.is_file():
        found = sorted(path.glob(f"*/{REPORT}"))
        if len(found) != 1:
            raise InputError(
                f"{path} holds no {REPORT}; make one with parlante evaluate {path} --data DATA -o {path}/report"
            )
        file = found[0]
    wanted = "a report that parlante evaluate wrote"
    results: dict[str, Any] = read_json(file, wanted)
    form = results.get("format") if isinstance(results, dict) else None
    if isinstance(form, str) and form != FORMAT:
        raise InputError(f"{file} is of format {form!r}, this version reads {FORMAT}; evaluate again")
    try:
        typed(StoredReport, results)
    except Mistyped as error:
        raise InputError(f"cannot read {file} as a report: {error}; evaluate again") from error
    return results


@dataclass(frozen=True)
class StoredClip:
    """A judged clip."""

    subject: str
    frames: Count


@dataclass(frozen=True)
class StoredRow:
    """How a model did on a clip."""

    frames: Positive
    predictions: Positive
    values: dict[str, float]


@dataclass(frozen=True)
class StoredFigure:
    """A measure over all clips; an open bound is none."""

    value: float | None
    low: float | None
    high: float | None
    clips: Whole
    unit: str = ""


@dataclass(frozen=True)
class StoredModel:
    """What a report keeps of a model."""

    clips: dict[str, StoredRow]
    facts: dict[str, Any] = field(default_factory=dict)
    figures: dict[str, StoredFigure] = field(default_factory=dict)
    subjects: dict[str, dict[str, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredReport:
    """The fields of a report that are read again."""

    format: str
    data: str
    unit: str
    seed: Whole
    clips: dict[str, StoredClip]
    models: dict[str, StoredModel]
    dataset: str | None = None
    protocol: str | None = None
