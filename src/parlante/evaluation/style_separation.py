"""Style separation: do the styles of A and B move a face the way A and B themselves differ?

Each subject's truth is measured on its own clips. The model then says the *same* sentences in each subject's style, on
that subject's face, and is measured in the same way. Reported: the correlation, over pairs of subjects, of the two
differences.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import Identity, InputError
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.model_predictor import ModelPredictor
from parlante.geometry.blendshape_solver import BlendshapeSolver

MEASURES = ("jaw gain", "lip gain", "wrinkle depth")
_JAW = "jawOpen"
_LIPS = (
    *("mouthFunnel", "mouthPucker", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight"),
)


class StyleMeter:
    """Measures how far a face's jaw and lips move and how much its skin changes.

    face: with ARKit blendshapes; rest: (h, w, 3) its skin at rest. Raises InputError where it has no such shapes.
    """

    def __init__(self, face: Identity, rest: NDArray[np.uint8]) -> None:
        if face.shapes is None or not {_JAW, *_LIPS} <= set(face.weight_names):
            raise InputError(f"style separation needs faces with ARKit blendshapes, that of {face.name} has none")
        self._neutral, self._rest = face.neutral, np.maximum(rest.astype(np.float32), 1)
        self._solver = BlendshapeSolver(face.shapes)
        self._jaw = face.weight_names.index(_JAW)
        self._lips = [face.weight_names.index(name) for name in _LIPS]

    def measure(self, vertices: NDArray[np.float32], pictures: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64]:
        """(3,) logarithms: spread of the jaw's weight, of the lips' weights, and mean change of the skin's colour.

        vertices (T, V, 3) metres; pictures: skin (h, w, 3) of some frames.
        """
        self._solver.reset()
        weights = self._solver.solve(vertices - self._neutral)
        jaw = weights[:, self._jaw].std()
        lips = np.sqrt(weights[:, self._lips].var(0).sum())
        change = [np.abs(np.log(np.maximum(picture / self._rest, 1e-3))).mean() for picture in pictures]
        return np.log(np.maximum([jaw, lips, np.mean(change)], 1e-6))


def style_separation(
    evaluation: Evaluation,
    predictor: ModelPredictor,
    *,
    subjects: int = 16,
    sentences: int = 3,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Correlation and slope over pairs of `subjects` for each measure, and how many pairs; of subjects with training
    clips, whose reference clips are the truth.

    sentences: how many are said, the last training clip of as many subjects. progress: called with a subject's name as
    its turn begins. Raises InputError for data with fewer than two such subjects, without skin, and for faces without
    blendshapes.
    """
    known = sorted(name for name, numbers in evaluation.training_clips.items() if numbers)
    names = known[:: max(1, len(known) // subjects)][:subjects]
    if len(names) < 2:
        raise InputError(f"style separation needs two subjects with training clips, {evaluation.config.data} has fewer")
    speech = [evaluation.clip(evaluation.training_clips[name][-1]) for name in names[:sentences]]
    true, predicted = [], []
    for name in names:
        if progress:
            progress(name)
        style = predictor.style_of(name)
        clips = [evaluation.clip(number) for number in evaluation.reference_clips[name]]
        if clips[0].rest is None:
            raise InputError(f"style separation needs data with skin, {evaluation.config.data} has none")
        meter = StyleMeter(predictor.model.face(evaluation.identity(name)), clips[0].rest)
        true.append(np.mean([meter.measure(clip.vertices, (clip.pictures or {}).values()) for clip in clips], axis=0))
        rows = []
        for clip in speech:
            made = predictor.speak(clip, name, style)
            if made.picture is None:
                raise InputError(f"style separation needs a model with skin, {predictor.name} moves the mesh alone")
            frames = range(0, len(made.vertices), evaluation.config.every)
            rows.append(meter.measure(made.vertices, map(made.picture, frames)))
        predicted.append(np.mean(rows, axis=0))
    first, second = np.triu_indices(len(names), 1)
    t, p = (np.array(rows)[first] - np.array(rows)[second] for rows in (true, predicted))
    # differences of pairs are symmetric about zero, so no mean is taken off
    correlation = (t * p).sum(0) / np.sqrt((t**2).sum(0) * (p**2).sum(0))
    slope = (t * p).sum(0) / (t**2).sum(0)
    return {
        "pairs": len(first),
        "correlation": dict(zip(MEASURES, correlation.tolist(), strict=True)),
        "slope": dict(zip(MEASURES, slope.tolist(), strict=True)),
    }
