"""Runs side by side: ranked by one measure, and which differences are beyond noise."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any

import numpy as np

from parlante.core import InputError
from parlante.evaluation.intervals import DRAWS, LEVEL, Interval, difference, holm, interval, p_value
from parlante.evaluation.measures import MEASURES, Measure
from parlante.evaluation.results import TRUTH, column

DEFAULT_MEASURES = ("lip_mm", "lip_error", "mve")
"""What is ranked by if nothing else is asked for: the first that all models have."""


@dataclass(frozen=True)
class RankedModel:
    """One line of a ranking."""

    name: str
    figure: Interval
    to_next: Interval | None
    """How much worse the next one is, in badness; none for the last."""
    beyond: tuple[str, ...]
    """Names of all worse-ranked models that are worse beyond noise, corrected for the number of pairs (Holm)."""
    next_is_worse: bool = False
    """Whether the next one is among them."""


@dataclass(frozen=True)
class Ranking:
    """Best first."""

    measure: Measure
    unit: str
    clips: int
    """Clips that all models share."""
    places: tuple[RankedModel, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers; an open bound is none."""

        def plain(found: Interval | None) -> dict[str, float | None] | None:
            if found is None:
                return None
            return {key: value if np.isfinite(value) else None for key, value in asdict(found).items()}

        places = [
            {"name": p.name, "figure": plain(p.figure), "to_next": plain(p.to_next), "beyond_noise": list(p.beyond)}
            for p in self.places
        ]
        return {"measure": self.measure.name, "unit": self.unit, "clips": self.clips, "ranking": places}


def joined(reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Models of several reports as one; a name that two reports have gets the report's name before it.

    Raises InputError if the reports are of different data, rules or units, or share no clip.
    """
    rules: dict[str, tuple[str, Any]] = {}
    for name, report in reports.items():
        for what in ("dataset", "protocol", "unit"):
            first = rules.setdefault(what, (name, report.get(what)))
            if report.get(what) != first[1]:
                raise InputError(
                    f"{first[0]} and {name} cannot be compared: their {what} is {first[1]} and {report.get(what)}"
                )
    names = [name for report in reports.values() for name in report["models"] if name != TRUTH]
    models: dict[str, Any] = {}
    for title, report in reports.items():
        for name, model in report["models"].items():
            if name == TRUTH:
                continue
            alone = names.count(name) == 1
            if not alone and len(reports) > 1 and _same(model, reports, name):
                models.setdefault(name, model)
            else:
                models[name if alone else f"{title}: {name}"] = model
    first_report = next(iter(reports.values()))
    clips: dict[str, Any] = {}
    for report in reports.values():
        for key, clip in report["clips"].items():
            if clips.setdefault(key, clip) != clip:
                raise InputError(f"clip {key} is not the same in all reports; evaluate all of them on the same data")
    return {"unit": first_report["unit"], "seed": first_report["seed"], "clips": clips, "models": models}


def _same(model: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]], name: str) -> bool:
    """Whether all reports that know the name have the same rows for it, as they have for baselines."""
    rows = [report["models"][name]["clips"] for report in reports.values() if name in report["models"]]
    return all(row == model["clips"] for row in rows)


def pooled(results: Mapping[str, Any], groups: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Models that differ only by their seed as one, and a line about each. A clip has the mean of their values, so that
    an interval is over clips, for the seeds at hand.

    groups: new name -> pattern of the models' names (`runs/a-*`). Raises InputError for a pattern that fits fewer than
    two models, or a name that is taken.
    """
    models, lines = dict(results["models"]), []
    for name, pattern in groups.items():
        members = [key for key in results["models"] if key != TRUTH and fnmatchcase(key, pattern)]
        if len(members) < 2:
            known = ", ".join(key for key in results["models"] if key != TRUTH)
            raise InputError(f"{pattern!r} fits {len(members)} of the models {known}; pool two or more")
        rows = [models.pop(key)["clips"] for key in members if key in models]
        if name in models or len(rows) < len(members):
            raise InputError(f"{name!r} is taken, or a model of {pattern!r} is in two pools; name them otherwise")
        clips = {key: _mean_row([row[key] for row in rows]) for key in rows[0] if all(key in row for row in rows)}
        models[name] = {"facts": {"pooled": members}, "clips": clips}
        lines.append(f"{name}: mean of {len(members)} seeds ({', '.join(members)})")
    return {**results, "models": models}, lines


def _mean_row(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A clip's values in several models as those of one: the means of what all have."""
    names = set.intersection(*(set(row["values"]) for row in rows))
    values = {name: float(np.mean([row["values"][name] for row in rows])) for name in sorted(names)}
    return {**{key: float(np.mean([row[key] for row in rows])) for key in ("frames", "predictions")}, "values": values}


def seed_spread(results: Mapping[str, Any], pool: Mapping[str, Any], measure: Measure) -> float:
    """Standard deviation over the pooled seeds of their figures as shown. results: before pooling."""
    found = []
    for name in pool["facts"]["pooled"]:
        values, weights = column(results["models"][name], measure.name, list(pool["clips"]))
        found.append(float(measure.shown(np.average(values, weights=weights), results["unit"])))
    return float(np.std(found, ddof=1))


def rank(results: Mapping[str, Any], measure: str | None = None) -> Ranking:
    """The models of a report, best first, judged on the clips that all of them share.

    Raises InputError for an unknown measure, one that is missing, or without common clips.
    """
    models = {name: model for name, model in results["models"].items() if name != TRUTH}
    if not models:
        raise InputError("there is no model to rank")
    name = measure or next(
        (usual for usual in DEFAULT_MEASURES if _having(models, usual) == set(models)), DEFAULT_MEASURES[-1]
    )
    if name not in MEASURES:
        raise InputError(f"no measure {name!r}; choose from {', '.join(MEASURES)}")
    lacking = set(models) - _having(models, name)
    models = {key: model for key, model in models.items() if key not in lacking}
    if not models:
        raise InputError(f"no model was measured for {name}; evaluate with the data that it needs")
    keys = [key for key in results["clips"] if all(_has(model, key, name) for model in models.values())]
    if not keys:
        clips = [f"{key} on {', '.join(list(model['clips'])[:2]) or 'none'}" for key, model in models.items()]
        raise InputError(
            f"there is no clip that all models were judged on ({'; '.join(clips[:4])}{'; ...' * (len(clips) > 4)}); "
            "evaluate them with the same --data, --split and --clips"
        )
    kind, unit, seed = MEASURES[name], results["unit"], results["seed"]
    columns = {key: column(model, name, keys) for key, model in models.items()}
    figures = {key: interval(kind, *pair, unit=unit, seed=seed) for key, pair in columns.items()}
    order = sorted(figures, key=lambda key: float(kind.badness(figures[key].value)))
    pairs = list(combinations(order, 2))
    draws = max(DRAWS, 100 * len(pairs))  # so that even the strictest of the corrected questions can be answered
    told = [p_value(kind, columns[worse], columns[own], unit=unit, seed=seed, draws=draws) for own, worse in pairs]
    sure = {pair for pair, p in zip(pairs, holm(told)) if p < 1 - LEVEL}
    places = []
    for own, following in zip(order, [*order[1:], ""]):
        beyond = tuple(key for key in order if (own, key) in sure)
        apart = difference(kind, columns[following], columns[own], unit=unit, seed=seed) if following else None
        places.append(RankedModel(own, figures[own], apart, beyond, following in beyond))
    return Ranking(kind, kind.unit_in(unit), len(keys), tuple(places))


def _has(model: Mapping[str, Any], key: str, measure: str) -> bool:
    return key in model["clips"] and measure in model["clips"][key]["values"]


def _having(models: Mapping[str, Any], measure: str) -> set[str]:
    return {name for name, model in models.items() if any(_has(model, key, measure) for key in model["clips"])}


def table(ranking: Ranking) -> list[Sequence[str]]:
    """Rows of text: place, name, figure with interval, difference to the next, what it beats beyond noise."""
    digits = ranking.measure.digits_in("m" if ranking.unit == ranking.measure.unit else "")
    rows: list[Sequence[str]] = []
    for number, place in enumerate(ranking.places):
        to_next = ""
        if place.to_next is not None:
            sure = "beyond noise" if place.next_is_worse else "within noise"
            to_next = f"{spread(place.to_next, digits, signed=True)} {sure}"
        beaten = len(place.beyond), len(ranking.places) - number - 1
        beats = f"{beaten[0]} of {beaten[1]}" if beaten[1] else ""
        rows.append((str(number + 1), place.name, spread(place.figure, digits), to_next, beats))
    return rows


def spread(found: Interval, digits: int, *, signed: bool = False) -> str:
    """`1.23 [1.10, 1.35]`."""
    sign = "+" if signed else ""
    text = f"{found.value:{sign}.{digits}f}"
    if not np.isfinite(found.low):
        return f"{text} [one clip]"
    return f"{text} [{found.low:{sign}.{digits}f}, {found.high:{sign}.{digits}f}]"
