"""Style separation: do the pivots of A and B move a face the way A and B themselves differ?

Each subject's truth is measured on its own clips; the model then speaks the *same* sentences with each subject's pivots
and is measured in the same way. Reported: the correlation, over pairs of subjects, of the two differences.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.evaluation.synthetic import Bench, Made
from parlante.geometry.blendshape_solver import BlendshapeSolver
from parlante.head.arkit import INDEX

MEASURES = ("jaw gain", "lip gain", "wrinkle depth")
_LIPS = (
    *("mouthFunnel", "mouthPucker", "mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight"),
    *("mouthUpperUpLeft", "mouthUpperUpRight", "mouthLowerDownLeft", "mouthLowerDownRight"),
)


class StyleMeter:
    """Reads jaw gain, lip gain and wrinkle depth off a moving face."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self._solvers: dict[str, BlendshapeSolver] = {}

    def measure(self, identity: str, made: Made) -> NDArray[np.float64]:
        """(3,) logarithms: spread of the jaw curve, of the lip curves, and of the skin's darkening."""
        if identity not in self._solvers:
            self._solvers[identity] = BlendshapeSolver(self.bench.faces.head.shapes(identity))
        self._solvers[identity].reset()
        curves = self._solvers[identity].solve(made.offsets)
        jaw = curves[:, INDEX["jawOpen"]].std()
        lips = np.sqrt(sum(curves[:, INDEX[name]].var() for name in _LIPS))
        ratio = 2 * np.arctanh(made.wrinkle[::4].clip(0, 0.9999))
        wrinkle = np.abs(np.log(ratio.clip(1e-3))).mean()
        return np.log(np.maximum([jaw, lips, wrinkle], 1e-6))


def style_separation(bench: Bench, subjects: int = 16, sentences: int = 3, references: int = 3) -> dict[str, Any]:
    """Correlation over pairs of `subjects` for each measure, and how many pairs; subjects with training clips only."""
    clips: dict[str, list[int]] = {}
    for index, info in enumerate(bench.corpus.clips):
        if info.split == "train":
            clips.setdefault(info.subject, []).append(index)
    names = sorted(clips)[:: max(1, len(clips) // subjects)][:subjects]
    meter = StyleMeter(bench)
    speech = [bench.corpus[clips[names[k]][-1]] for k in range(min(sentences, len(names)))]
    true, pred = [], []
    for name in names:
        takes = [bench.corpus[index] for index in clips[name][:references]]
        style, _ = bench.reference(takes)
        identity = takes[0].face
        true.append(np.mean([meter.measure(identity, bench.truth(take)) for take in takes], axis=0))
        pred.append(np.mean([meter.measure(identity, bench.predict(take, style)) for take in speech], axis=0))
    first, second = np.triu_indices(len(names), 1)
    t, p = (np.array(rows)[first] - np.array(rows)[second] for rows in (true, pred))
    # differences of pairs are symmetric about zero, so no mean is taken off
    correlation = (t * p).sum(0) / np.sqrt((t**2).sum(0) * (p**2).sum(0))
    slope = (t * p).sum(0) / (t**2).sum(0)
    return {
        "pairs": len(first),
        "correlation": dict(zip(MEASURES, correlation.tolist(), strict=True)),
        "slope": dict(zip(MEASURES, slope.tolist(), strict=True)),
    }
