"""Who is examined: models by name or folder, folders of predictions, and two baselines that know the speaker.

A model speaks in the speaker's own style: by name where the speaker took part in training, else as learnt from
reference clips that are not judged, else the average. Under a protocol that conditions on "every" training
speaker, it speaks in each style in turn. Motion and skin are
judged as the model makes them, without the liveliness layer.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parlante.animation.talker import said
from parlante.audio.recording import hear
from parlante.core import Clip, InputError, Style, read_npz
from parlante.core.options import Sampling
from parlante.data.lazy import lazy_frames
from parlante.evaluation.clips import Case, Exam, Prediction
from parlante.geometry.uv.ratio import apply_ratio, encode, to_bytes
from parlante.models.registry import load_model, shipped
from parlante.models.talker import SpeechModel, StyleClip

BASELINES = ("mean motion", "static")


class Predictor(Protocol):
    """Anything that answers cases."""

    name: str
    facts: dict[str, Any]
    """What is known of it, for the report."""

    def predict(self, case: Case) -> Iterator[Prediction]:
        """One prediction, or one for each style."""
        ...


def find_predictor(wish: str, exam: Exam) -> Predictor:
    """A shipped model by name, a checkpoint or run folder, or a folder of predictions.

    Raises InputError for anything else, or a model of another mesh than the data's.
    """
    path = Path(wish)
    if path.is_dir() and not (path / "config.json").is_file():
        if (path / "export" / "config.json").is_file():
            return ModelPredictor(wish, load_model(path / "export"), exam)
        if (path / "recipe.yaml").is_file():
            raise InputError(
                f"{wish} has not exported a model yet; finish the training (parlante train --resume {wish})"
            )
        return Predictions(path)
    if not path.is_dir() and wish not in shipped():
        raise InputError(
            f"no model {wish!r}; give {', '.join(shipped())}, a checkpoint or run folder, or a folder of predictions"
        )
    return ModelPredictor(wish, load_model(wish), exam)


class ModelPredictor:
    """A speech model."""

    def __init__(self, name: str, model: SpeechModel, exam: Exam) -> None:
        self.name, self._model, self._exam = name, model, exam
        self.facts = {key: str(value) for key, value in model.provenance.items()}
        self._styles: dict[str, Style | None] = {}
        count = exam.rules.topology.num_vertices
        own = model.topology
        if not model.abilities.own_faces and own is not None and count != own.num_vertices:
            raise InputError(f"{name} moves the embedded head, {exam.choice.data} has meshes of {count} vertices")

    def predict(self, case: Case) -> Iterator[Prediction]:
        """The clip's speech, in the speaker's style or in every style of the protocol."""
        rules, model = self._exam.rules, self._model
        face = self._exam.identity(case.subject)
        if model.abilities.own_faces:
            face = model.face(face)
        speech = hear((case.audio, case.sample_rate))
        every = (
            rules.protocol is not None and rules.protocol.conditioning == "every" and len(model.abilities.styles) > 0
        )
        styles = [model.style(name) for name in model.abilities.styles] if every else [self._style(case.subject)]
        sampling = Sampling(wrinkles=case.pictures is not None)
        for style in styles:
            session = model.session(face, model.style(None, face) if style is None else style, sampling=sampling)
            blocks = list(said(session, np.asarray(speech.audio_16k)))
            offsets = np.concatenate([block.motion for block in blocks if block.motion is not None])
            maps = [block.wrinkle for block in blocks if block.wrinkle is not None]
            place = _frames_at(model.fps, case.fps, len(offsets), len(case.vertices))
            picture = _painted(case, np.concatenate(maps), place) if maps else None
            yield Prediction(_at(offsets, place) + case.neutral, picture)

    def _style(self, subject: str) -> Style | None:
        if subject not in self._styles:
            model, known = self._model, subject in self._model.abilities.styles
            if known and self._exam.seen[subject]:
                self._styles[subject], how = model.style(subject), "by name"
            elif model.abilities.extracts_styles and self._exam.given[subject]:
                clips = [self._style_clip(clip) for clip in self._exam.references(subject)]
                self._styles[subject], how = model.extract_style(clips, subject).style, "from reference clips"
            elif known:
                self._styles[subject], how = model.style(subject), "by name"
            else:
                self._styles[subject], how = model.style(None) if model.abilities.styles else None, "average"
            self.facts[f"style of {subject}"] = how
        return self._styles[subject]

    def _style_clip(self, clip: Clip) -> StyleClip:
        identity = self._exam.identity(clip.subject)
        speech = hear((clip.audio, clip.sample_rate))
        offsets = np.asarray(clip.vertices[:], np.float32) - identity.neutral
        count = int(len(offsets) * self._model.fps / clip.fps)
        offsets = _at(offsets, _frames_at(clip.fps, self._model.fps, len(offsets), count))
        return StyleClip(np.asarray(speech.audio_16k), offsets, self._wrinkle_maps(clip))

    def _wrinkle_maps(self, clip: Clip) -> Any:
        size = self._model.abilities.wrinkle_size
        if clip.textures is None or size is None or clip.textures.shape[1:3] != size:
            return None
        rest = self._exam.rest(clip.subject, size)
        if rest is None:
            return None
        base = np.maximum(rest.astype(np.float32), 1)
        textures = clip.textures

        def read(frame: int) -> NDArray[np.uint8]:
            stored = to_bytes(encode(np.asarray(textures[frame], np.float32) / base))
            return stored

        return lazy_frames(np.arange(len(textures)), (*size, 3), np.uint8, read)


class Predictions:
    """A folder of arrays named as the published scripts name them.

    `SUBJECT_SENTENCE.npy` or `SUBJECT_SENTENCE_condition_OTHER.npy` (T, 3 V) or (T, V, 3), after any prefix that ends
    with an underscore; or `.npz` with the array `vertices`; at the data's frame rate. A slash in a clip's name is `_`.
    """

    def __init__(self, folder: Path) -> None:
        self.name = folder.name or str(folder)
        self._files = sorted(path for path in folder.rglob("*") if path.suffix in (".npy", ".npz"))
        if not self._files:
            raise InputError(f"{folder} is neither a checkpoint nor does it hold predictions (.npy, .npz)")
        self.facts = {"predictions": str(len(self._files)), "folder": str(folder)}

    def predict(self, case: Case) -> Iterator[Prediction]:
        """Every array of the clip. Raises InputError if there is none, or one of another mesh."""
        stem = case.key.replace("/", "_")
        found = [path for path in self._files if _answers(path.stem, stem)]
        if not found:
            raise InputError(f"{self.name} has no prediction of {case.key}; wanted {stem}.npy")
        protocol = case.rules.protocol
        for path in found:
            vertices = _read(path, len(case.neutral))
            if protocol is not None and protocol.longer_only and len(vertices) < len(case.vertices):
                raise InputError(
                    f"{protocol.name}: {path} has {len(vertices)} frames, its truth {len(case.vertices)}; predict all"
                )
            yield Prediction(vertices)


class MeanMotion:
    """The speaker's mean face, and the mean of its skin, from clips that are not judged."""

    name = BASELINES[0]

    def __init__(self, exam: Exam) -> None:
        self._exam = exam
        self.facts: dict[str, Any] = {"baseline": "mean over reference clips"}
        self._skins: dict[str, NDArray[np.uint8]] = {}

    def predict(self, case: Case) -> Iterator[Prediction]:
        """The same face in all frames."""
        face = self._exam.mean_face(case.subject)
        picture = None if case.pictures is None else self._skin(case.subject)
        yield Prediction(np.repeat(face[None], len(case.vertices), 0), _still(picture))

    def _skin(self, subject: str) -> NDArray[np.uint8] | None:
        if subject not in self._skins:
            seen = [
                np.asarray(clip.textures[::15]) for clip in self._exam.references(subject) if clip.textures is not None
            ]
            if not seen:
                return None
            self._skins[subject] = np.rint(np.concatenate(seen).mean(0)).astype(np.uint8)
        return self._skins[subject]


class Static:
    """The face at rest."""

    name = BASELINES[1]

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {"baseline": "the face at rest"}

    def predict(self, case: Case) -> Iterator[Prediction]:
        """The same face in all frames."""
        yield Prediction(np.repeat(case.neutral[None], len(case.vertices), 0), _still(case.rest))


def _still(picture: NDArray[np.uint8] | None) -> Callable[[int], NDArray[np.uint8]] | None:
    return None if picture is None else lambda frame: picture


def _painted(
    case: Case, maps: NDArray[np.uint8], place: NDArray[np.float64]
) -> Callable[[int], NDArray[np.uint8]] | None:
    rest = case.rest
    if rest is None:
        return None
    return lambda frame: apply_ratio(rest, maps[min(round(float(place[frame])), len(maps) - 1)])


def _frames_at(source_fps: float, fps: float, have: int, wanted: int) -> NDArray[np.float64]:
    """(n,) places in a track at `source_fps` of the frames of one at `fps`, as far as it reaches."""
    count = min(wanted, int(np.floor((have - 1) * fps / source_fps + 1e-6)) + 1)
    return np.asarray(np.arange(count) * source_fps / fps, np.float64)


def _at(frames: NDArray[np.float32], place: NDArray[np.float64]) -> NDArray[np.float32]:
    low = np.minimum(place.astype(int), max(0, len(frames) - 2))
    share = (place - low).astype(np.float32)[:, None, None]
    if not share.any():
        return frames[low]
    return np.asarray(frames[low] * (1 - share) + frames[np.minimum(low + 1, len(frames) - 1)] * share, np.float32)


def _answers(name: str, stem: str) -> bool:
    own = name.partition("_condition_")[0]
    return own == stem or own.endswith(f"_{stem}")


def _read(path: Path, count: int) -> NDArray[np.float32]:
    try:
        if path.suffix == ".npz":
            array = read_npz(path, ("vertices",))["vertices"]
        else:
            array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read {path}: {error}; wanted an array (T, 3 V)") from error
    if array.dtype.kind not in "fiu" or array.ndim not in (2, 3) or not len(array) or array[0].size != 3 * count:
        raise InputError(f"{path} has shape {array.shape}, wanted (T, {3 * count}) or (T, {count}, 3)")
    vertices = np.asarray(array, np.float32).reshape(len(array), count, 3)
    if not np.isfinite(vertices).all():
        raise InputError(f"{path} has numbers that are not finite")
    return vertices
