"""Every model on every judged clip."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante import metrics
from parlante.core import InputError
from parlante.evaluation.clip import EvalClip, Prediction
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.intervals import LEVEL
from parlante.evaluation.measures import MEASURES
from parlante.evaluation.predictors import Predictor
from parlante.evaluation.results import FORMAT, TRUTH, summarise
from parlante.evaluation.scores import PictureDistance, scores, scores_of_truth


@dataclass(eq=False)
class ShownClip:
    """A clip that the report shows as curves and video."""

    clip: EvalClip
    predictions: dict[str, Prediction] = field(default_factory=dict)


@dataclass(eq=False)
class EvalResult:
    """Numbers, and what pictures are made of."""

    results: dict[str, Any]
    """See `parlante.evaluation.results`."""
    vertex_error: dict[str, NDArray[np.float64]]
    """Model -> (V,) mean distance of each vertex, in the data's unit."""
    shown: list[ShownClip]


def evaluate(
    evaluation: Evaluation,
    predictors: Sequence[Predictor],
    *,
    show: int = 1,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    keep: Callable[[EvalClip, Mapping[str, Sequence[Prediction]]], None] | None = None,
) -> EvalResult:
    """Judge every model on every clip.

    show: how many clips are kept for curves and video. seed: of the intervals. progress: called with a line of text as
    each piece of work begins. keep: called with every clip and all predictions of it, by model. Raises InputError where
    a model cannot predict a clip, or two share a name.
    """
    names = [predictor.name for predictor in predictors]
    if len(set(names)) < len(names) or TRUTH in names:
        raise InputError(f"two models share a name: {', '.join(names)}; rename a folder")
    models: dict[str, Any] = {name: {"facts": {}, "clips": {}} for name in (*names, TRUTH)}
    sums = {name: np.zeros(evaluation.rules.topology.num_vertices) for name in names}
    frame_counts = dict.fromkeys(names, 0)
    clips, shown = {}, []
    kept = set(evaluation.judged[:: max(1, len(evaluation.judged) // max(1, show))][:show])
    for number in evaluation.judged:
        clip = evaluation.clip(number)
        clips[clip.key] = {"subject": clip.subject, "frames": len(clip.vertices)}
        found: dict[str, Sequence[Prediction]] = {}
        for predictor in predictors:
            if progress:
                progress(f"{predictor.name} {clip.key}")
            predictions = list(predictor.predict(clip))
            models[predictor.name]["clips"][clip.key] = _row(clip, predictions, evaluation.lpips)
            for one in predictions:
                frames = min(len(one.vertices), len(clip.vertices))
                distance = np.linalg.norm(one.vertices[:frames] - clip.vertices[:frames], axis=-1)
                sums[predictor.name] += distance.sum(0)
                frame_counts[predictor.name] += frames
            found[predictor.name] = predictions
        truth = {"frames": len(clip.vertices), "predictions": 1, "values": scores_of_truth(clip)}
        models[TRUTH]["clips"][clip.key] = truth
        if number in kept:
            shown.append(ShownClip(clip, {name: ones[0] for name, ones in found.items()}))
        if keep:
            keep(clip, found)
    for predictor in predictors:
        models[predictor.name]["facts"] = dict(predictor.facts)
    results = _results(evaluation, seed, clips, models)
    return EvalResult(results, {name: sums[name] / max(1, frame_counts[name]) for name in names}, shown)


def _results(evaluation: Evaluation, seed: int, clips: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    config, rules = evaluation.config, evaluation.rules
    measured = {name for model in models.values() for row in model["clips"].values() for name in row["values"]}
    results = {
        "format": FORMAT,
        "notice": evaluation.notice,
        "data": str(config.data),
        "dataset": evaluation.corpus.dataset,
        "split": config.split or ("protocol" if rules.protocol else "test"),
        "protocol": rules.protocol.name if rules.protocol else None,
        "unit": rules.unit,
        "fps": evaluation.fps,
        "seed": seed,
        "level": LEVEL,
        "measures": sorted(measured),
        "clips": clips,
        "models": models,
    }
    summarise(results)
    return results


def _row(clip: EvalClip, predictions: list[Prediction], lpips: PictureDistance | None) -> dict[str, Any]:
    """One clip of one model: means over its predictions, and their diversity where there are several."""
    found = [scores(clip, one, lpips=lpips) for one in predictions]
    frames = [min(len(one.vertices), len(clip.vertices)) for one in predictions]
    values = {}
    for name in {name for row in found for name in row}:
        pairs = [(row[name], count) for row, count in zip(found, frames) if name in row]
        weights = [count if MEASURES[name].pool == "frames" else 1 for _, count in pairs]
        values[name] = float(np.average([value for value, _ in pairs], weights=weights))
    if len(predictions) > 1 and len({len(one.vertices) for one in predictions}) == 1:
        values["diversity"] = metrics.diversity([[one.vertices for one in predictions]])
    return {"frames": int(sum(frames)), "predictions": len(predictions), "values": values}
