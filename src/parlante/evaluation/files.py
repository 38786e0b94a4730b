"""Predictions as files: arrays in the layout of the published methods, and videos with sound."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from parlante.core import InputError
from parlante.evaluation.clip import EvalClip, Prediction
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.predictors import BASELINES, CONDITION
from parlante.evaluation.results import TRUTH


class PredictionFiles:
    """Takes the predictions of every clip (`evaluate(keep=...)`), of all models but the baselines.

    arrays: an empty folder for SUBJECT_SENTENCE_condition_OTHER.npy, (T, 3 V) float32 in the data's unit and at its
    frame rate; with several models each has a folder of its own in it. videos: an empty folder for
    SUBJECT_SENTENCE.mp4: truth, then the models' first predictions, side by side with sound. study: an empty folder for
    a page of pairs (see `report.study`). Each may be none.

    Raises InputError where two models would share a folder, or videos are wanted of a mesh without triangles.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        models: Sequence[str],
        arrays: Path | None = None,
        videos: Path | None = None,
        study: Path | None = None,
    ) -> None:
        from parlante.evaluation.report.study import StudyPage

        self._rules, self._videos = evaluation.rules, videos
        self._models = [name for name in models if name not in (*BASELINES, TRUTH)]
        if videos is not None and not len(self._rules.topology.triangles):
            raise InputError(
                f"videos need triangles, the mesh of {evaluation.config.data} has none; put its template (.ply or "
                ".obj) beside the arrays"
            )
        self._study = None if study is None else StudyPage(evaluation, self._models, study)
        self._folders: dict[str, Path] = {}
        if arrays is not None:
            names = {model: Path(model).name if len(self._models) > 1 else "" for model in self._models}
            if len(set(names.values())) < len(names):
                raise InputError(f"two models share a name: {', '.join(self._models)}; evaluate them one by one")
            self._folders = {model: arrays / name for model, name in names.items()}
            for folder in self._folders.values():
                folder.mkdir(exist_ok=True)

    def __call__(self, clip: EvalClip, predictions: Mapping[str, Sequence[Prediction]]) -> None:
        """Write those of a clip."""
        for model, folder in self._folders.items():
            for one in predictions[model]:
                path = folder / f"{file_name(clip.key, one.condition)}.npy"
                if path.exists():
                    raise InputError(f"{model} has two predictions of {path.stem}; leave one of them away")
                np.save(path, np.asarray(one.vertices, np.float32).reshape(len(one.vertices), -1))
        if self._study is not None:
            self._study(clip, predictions)
        if self._videos is not None:
            from parlante.evaluation.report.figures import write_video

            motions = [clip.vertices, *(predictions[model][0].vertices for model in self._models)]
            write_video(self._videos / f"{file_name(clip.key)}.mp4", self._rules, clip, motions)

    def finish(self) -> None:
        """Write what belongs to all clips."""
        if self._study is not None:
            self._study.finish()


def file_name(key: str, condition: str = "") -> str:
    """How the published scripts name a prediction of a clip, without suffix; a slash becomes an underscore."""
    return (key + (f"{CONDITION}{condition}" if condition else "")).replace("/", "_")
