"""Fit the motion basis of the autoregressive models to a SynthTalk corpus (stage `motion_basis` of a recipe)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError
from parlante.core.ranges import Amount, Count
from parlante.data.contract import Corpus
from parlante.data.open import open_with_weights
from parlante.models.motion_basis import MotionBasis
from parlante.training.engine.corpora import SYNTHTALK
from parlante.training.engine.schema import Section
from parlante.training.engine.stage import Stage
from parlante.training.features.speech_curves import spoken


@dataclass(frozen=True, kw_only=True)
class MotionBasisConfig:
    """The `data:` part of the recipe."""

    corpus: str
    """Folder written by `parlante synth`."""
    size: Count = 80
    """Rows."""
    lips: Amount = 12.0
    """How many times the lips' squared error counts."""
    stride: Count = 3
    """Use every so many frames."""


def fit_basis(config: MotionBasisConfig) -> tuple[MotionBasis, dict[str, float]]:
    """The basis of the corpus's training motion, and its error on validation clips in mm (lips, moving skin)."""
    from parlante.head import load_head

    data, head = open_with_weights(config.corpus), load_head()
    topology = head.topology
    moments: dict[str, NDArray[np.float64]] = {}
    frames = 0
    for number, info in enumerate(data.clips):
        if info.split == "train":
            clip = data[number]
            weights = spoken(clip.known_weights()[:: config.stride]).astype(np.float64)
            moments[clip.face] = moments.get(clip.face, 0.0) + weights.T @ weights
            frames += len(weights)
    if not moments:
        raise InputError(f"{config.corpus} has no training clips; write a larger corpus")
    motions = []
    for identity, moment in moments.items():  # motions with the same second moments as all frames of that face
        values, axes = np.linalg.eigh(moment)
        root = np.sqrt(np.maximum(values, 0))[:, None] * axes.T
        keep = values > 1e-6 * values[-1]
        motions.append(np.tensordot(root[keep], head.shapes(identity), 1))
    weight = np.ones(topology.num_vertices)
    weight[topology.regions["lips"]] = config.lips
    basis = MotionBasis.fit(motions, config.size, weight=weight, topology=topology.name)
    rows = sum(map(len, motions))
    basis = MotionBasis(basis.rows, basis.scale * float(np.sqrt(rows / frames)), topology.name)
    return basis, basis_error(basis, data)


def basis_error(basis: MotionBasis, data: Corpus, clips: int = 24) -> dict[str, float]:
    """What the basis cannot express of held-out clips, seen and unseen subjects: mean over frames, mm."""
    from parlante.head import load_head

    head = load_head()
    lips, skin = (
        head.topology.regions[name] for name in ("lips", "skin" if "skin" in head.topology.regions else "lips")
    )
    figures: dict[str, float] = {}
    for split in ("val", "test_unseen"):
        numbers = [k for k, info in enumerate(data.clips) if info.split == split]
        worst, mean = [], []
        for number in numbers[:: max(1, len(numbers) // clips)]:
            clip = data[number]
            offsets = np.tensordot(spoken(clip.known_weights()[::3]), head.shapes(clip.face), 1)
            error = np.linalg.norm(basis.decode(basis.encode(offsets)) - offsets, axis=-1) * 1000
            worst.append(error[:, lips].max(1).mean())
            mean.append(error[:, skin].mean())
        if worst:
            figures |= {f"{split}_lip_mm": float(np.mean(worst)), f"{split}_skin_mm": float(np.mean(mean))}
    return figures


class FittedBasis:
    """The basis of a corpus."""

    def __init__(self, config: MotionBasisConfig) -> None:
        self.basis, self._error = fit_basis(config)

    def figures(self) -> dict[str, float]:
        """What it cannot express of held-out clips, mm."""
        return self._error

    def export(self, folder: Path, figures: dict[str, float]) -> None:
        """Write `basis.npz`."""
        self.basis.save(folder / "basis.npz")


def stage() -> Stage:
    """The stage `motion_basis`."""
    return Stage(
        name="motion_basis",
        about="The motion basis of the small models on the embedded head; no loop.",
        sections={"data": Section(MotionBasisConfig)},
        train=lambda recipe, run_dir: FittedBasis(recipe["data"]),
        corpora=SYNTHTALK.otherwise("the small recipes fit a basis of their own to other corpora"),
    )
