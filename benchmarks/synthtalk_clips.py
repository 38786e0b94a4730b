"""Clips of SynthTalk's Test-A with their truths, and the scores of whatever a model makes of them (no command)."""

from collections.abc import Callable

import numpy as np
import torch

from parlante import metrics
from parlante.core import Clip
from parlante.evaluation.synthetic import Bench, Made

Predict = Callable[[Clip, torch.Tensor], Made]
"""(clip, speech features (1, S, D)) -> what a model makes of it."""


class Clips:
    """Up to `count` clips, spread over the subjects named `styles`."""

    def __init__(self, bench: Bench, styles: tuple[str, ...], count: int) -> None:
        self.bench = bench
        rows = [k for k, info in enumerate(bench.corpus.clips) if info.split == "test_seen" and info.subject in styles]
        if not rows:
            raise SystemExit("the corpus has no Test-A clips of the model's subjects")
        chosen = [rows[int(k)] for k in np.linspace(0, len(rows) - 1, min(count, len(rows)))]
        self.takes = [bench.corpus[k] for k in chosen]
        self.truths = [bench.truth(take) for take in self.takes]
        with torch.inference_mode():
            self.heard = [bench.encoder(torch.from_numpy(take.audio)[None]) for take in self.takes]
        self.lips = bench.faces.topology.regions["lips"]
        self.frames = sum(len(truth.offsets) for truth in self.truths)

    def score(self, predict: Predict) -> dict[str, float]:
        """Worst lip vertex, mean over frames, mm; PSNR of every fourth frame's coloured skin, dB."""
        lips, colours = [], []
        for take, truth, heard in zip(self.takes, self.truths, self.heard, strict=True):
            made = predict(take, heard)
            count = min(len(made.offsets), len(truth.offsets))
            lips.append(metrics.lip_vertex_error_mm([made.offsets[:count]], [truth.offsets[:count]], self.lips))
            skins = [self._skin(take.subject, x.wrinkle[:count]) for x in (made, truth)]
            colours.append(metrics.psnr(*skins))
        return {"lip_mm": float(np.mean(lips)), "psnr_db": float(np.mean(colours))}

    def _skin(self, subject: str, wrinkle: np.ndarray) -> np.ndarray:
        from parlante.geometry.uv.ratio import apply_ratio

        return np.stack([apply_ratio(self.bench.albedo(subject), frame) for frame in wrinkle[::4]])
