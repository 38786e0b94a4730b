"""What is evaluated: models by name or folder, folders of predictions, and two baselines that know the speaker."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, read_npz
from parlante.core.arrays import read_npy
from parlante.core.files import model_folder
from parlante.evaluation.clip import EvalClip, Prediction
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.model_predictor import ModelPredictor
from parlante.models.registry import load_model
from parlante.models.talker import SpeechModel

BASELINES = ("mean motion", "static")
CONDITION = "_condition_"
"""Stands in a file's name between the clip and the speaker in whose style it is spoken."""


class Predictor(Protocol):
    """Anything that predicts clips."""

    name: str
    facts: dict[str, Any]
    """What is known of it, for the report."""

    def predict(self, clip: EvalClip) -> Iterator[Prediction]:
        """One prediction, or one for each style."""
        ...


def find_predictor(wish: str, evaluation: Evaluation, device: str = "cpu") -> Predictor:
    """A shipped model by name, a checkpoint or run folder, or a folder of predictions.

    Raises InputError for anything else, a model of another mesh than the data's, and a device that is not there.
    """
    model = find_model(wish, device)
    return PredictionFolder(Path(wish)) if model is None else ModelPredictor(wish, model, evaluation)


def find_model(wish: str, device: str = "cpu") -> SpeechModel | None:
    """A shipped model by name, or that of a checkpoint or run folder; none for another folder, as of predictions.

    Raises InputError for anything else, a run without a model, and a device that is not there.
    """
    path = Path(wish)
    if path.is_dir() and not (model_folder(path) / "config.json").is_file():
        if (path / "recipe.yaml").is_file():
            raise InputError(
                f"{wish} has not exported a model yet; finish the training (parlante train --resume {wish})"
            )
        return None
    return load_model(wish, device)


class PredictionFolder:
    """A folder of arrays named as the published scripts name them.

    `SUBJECT_SENTENCE.npy` or `SUBJECT_SENTENCE_condition_OTHER.npy` (T, 3 V) or (T, V, 3), after any prefix that ends
    with an underscore; or `.npz` with the array `vertices`; at the data's frame rate. A slash in a clip's name is `_`.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name or str(folder)
        self._files = sorted(path for path in folder.rglob("*") if path.suffix in (".npy", ".npz"))
        if not self._files:
            raise InputError(f"{folder} is neither a checkpoint nor does it hold predictions (.npy, .npz)")
        self.facts: dict[str, Any] = {"predictions": str(len(self._files)), "folder": str(folder)}

    def predict(self, clip: EvalClip) -> Iterator[Prediction]:
        """Every array of the clip. Raises InputError if there is none, or one of another mesh."""
        wanted = clip.key.replace("/", "_")
        own = {path: path.stem.partition(CONDITION)[0] for path in self._files}
        found = [path for path in self._files if own[path] == wanted]
        found = found or [path for path in self._files if own[path].endswith(f"_{wanted}")]
        if not found:
            raise InputError(f"{self.name} has no prediction of {clip.key}; wanted {wanted}.npy")
        protocol = clip.rules.protocol
        for path in found:
            vertices = _read(path, len(clip.neutral))
            if protocol is not None and protocol.longer_only and len(vertices) < len(clip.vertices):
                raise InputError(
                    f"{protocol.name}: {path} has {len(vertices)} frames, its truth {len(clip.vertices)}; predict all"
                )
            yield Prediction(vertices, condition=path.stem.partition(CONDITION)[2])


class MeanMotion:
    """The speaker's mean face, and the mean of its skin, from clips that are not judged."""

    name = BASELINES[0]

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation
        self.facts: dict[str, Any] = {"baseline": "mean over reference clips"}
        self._skins: dict[str, NDArray[np.uint8]] = {}

    def predict(self, clip: EvalClip) -> Iterator[Prediction]:
        """The same face in all frames."""
        face = self._evaluation.mean_face(clip.subject)
        picture = None if clip.pictures is None else self._skin(clip.subject)
        yield Prediction(np.repeat(face[None], len(clip.vertices), 0), _still(picture))

    def _skin(self, subject: str) -> NDArray[np.uint8] | None:
        if subject not in self._skins:
            references = self._evaluation.references(subject)
            pictures = [np.asarray(clip.textures[::15]) for clip in references if clip.textures is not None]
            if not pictures:
                return None
            self._skins[subject] = np.rint(np.concatenate(pictures).mean(0)).astype(np.uint8)
        return self._skins[subject]


class Static:
    """The face at rest."""

    name = BASELINES[1]

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {"baseline": "the face at rest"}

    def predict(self, clip: EvalClip) -> Iterator[Prediction]:
        """The same face in all frames."""
        yield Prediction(np.repeat(clip.neutral[None], len(clip.vertices), 0), _still(clip.rest))


def _still(picture: NDArray[np.uint8] | None) -> Callable[[int], NDArray[np.uint8]] | None:
    return None if picture is None else lambda frame: picture


def _read(path: Path, count: int) -> NDArray[np.float32]:
    if path.suffix == ".npz":
        array = read_npz(path, ("vertices",))["vertices"]
    else:
        array = read_npy(path, wanted="an array (T, 3 V)")
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or not len(array) or array[0].size != 3 * count:
        raise InputError(f"{path} has shape {array.shape}, wanted (T, {3 * count}) or (T, {count}, 3)")
    vertices = np.asarray(array, np.float32).reshape(len(array), count, 3)
    if not np.isfinite(vertices).all():
        raise InputError(f"{path} has numbers that are not finite")
    return vertices
