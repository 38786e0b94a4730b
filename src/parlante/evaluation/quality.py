"""The quality report of a model: both test splits of SynthTalk, separation of styles, and recordings of people."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parlante.animation import Talker
from parlante.core import InputError
from parlante.data.splits import TESTS
from parlante.evaluation.config import EvalConfig
from parlante.evaluation.evaluate import evaluate
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.model_predictor import ModelPredictor
from parlante.evaluation.predictors import MeanMotion, Static, find_model
from parlante.evaluation.recordings import judge_recordings, recordings_in, shared_folder
from parlante.evaluation.style_separation import style_separation

CORPUS = {"subjects": 72, "sentences": 24, "seed": 1}
"""The corpus that the shipped models were trained on (`parlante synth`); its test splits took no part in training."""
SUBJECTS = 16
"""Whose styles are compared."""

Bar = Callable[[str, int], Any]
"""(what, how many pieces) -> a context manager that gives a function to call as each piece begins."""


@contextmanager
def no_bar(what: str, total: int) -> Iterator[Callable[[str], None]]:
    """A `Bar` that shows nothing."""
    yield lambda piece: None


def quality(data: Path | str, model: str, *, clips: int = 40, device: str = "cpu", bar: Bar = no_bar) -> dict[str, Any]:
    """All figures of the quality report of a model on the embedded head.

    data: a SynthTalk corpus; model: a name or a folder; clips: judged per split; bar: shows progress. Recordings are
    left out where they are not at hand. Raises InputError for data or a model that cannot be judged so.
    """
    speech_model = find_model(model, device)
    if speech_model is None:
        raise InputError(f"{model} is a folder of predictions; the quality report needs a model")
    results: dict[str, Any] = {"model": model}
    for split in TESTS:
        evaluation = Evaluation(EvalConfig(data=data, split=split, clips=clips))
        predictor = ModelPredictor(model, speech_model, evaluation)
        with bar(split, 3 * len(evaluation.judged)) as tell:
            found = evaluate(evaluation, [predictor, MeanMotion(evaluation), Static()], show=0, progress=tell).results
        results[split] = {
            "clips": len(found["clips"]),
            "subjects": len({clip["subject"] for clip in found["clips"].values()}),
            "figures": {name: row["figures"] for name, row in found["models"].items()},
        }
        if split == TESTS[0]:
            with bar("styles", SUBJECTS) as tell:
                results["styles"] = style_separation(evaluation, predictor, subjects=SUBJECTS, progress=tell)
    shared = shared_folder()
    if shared is not None:
        with bar("recordings", len(recordings_in(shared))) as tell:
            results["recordings"] = judge_recordings(shared, Talker(speech_model), progress=tell)
    return results
