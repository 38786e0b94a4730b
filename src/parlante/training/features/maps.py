"""Maps for training, rendered on the fly: face motion is linear, so a motion map is a weighted sum of 52 baked maps.

Faces are seen subjects of a SynthTalk corpus; curves come from its training clips as they are, exaggerated or mixed, or
are drawn at random over all shapes, so that the autoencoders cover what a face can do, not only what speech asks for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.core import InputError, Topology
from parlante.core.ranges import Amount, Count, Share, Whole
from parlante.data.contract import Corpus, SubjectInfo
from parlante.data.open import open_with_weights
from parlante.geometry.uv import BakeTable, MotionStats, bake_table
from parlante.head.arkit import ARKIT_NAMES

_PARTNER = np.array(
    [
        ARKIT_NAMES.index(other) if (other := name.replace("Left", "Right")) in ARKIT_NAMES else number
        for number, name in enumerate(ARKIT_NAMES)
    ]
)
"""Index of the right-hand shape of each left-hand one, else itself."""


@dataclass(frozen=True, kw_only=True)
class MapDataConfig:
    """The `data:` part of an autoencoder's recipe."""

    corpus: str
    """Folder written by `parlante synth`, or scans that `parlante prepare` packed; a stage for SynthTalk says so."""
    batch: Count = 8
    """Maps of a batch."""
    speech_share: Share = 0.5
    """Share of frames taken from clips as they are; a fifth of the rest are exaggerated ones, the others random."""
    start_maps: Whole = 160
    """Maps that the closed-form start is made from."""
    stats_margin: Amount = 0.05
    """Room on each side of the range of offsets."""
    focus: Amount = 4.0
    """Weight of the lips in the loss, relative to other skin; lids and mouth get half as much."""
    activity: Amount = 0.0
    """How much more texels count that change much: weights are multiplied by 1 + activity * (their deviation over the
    mean one), at most 10. Wrinkles are few texels of many."""


def random_curves(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """(count, 52) sparse random ARKit weights, mostly left-right symmetric; mouthClose never exceeds jawOpen."""
    weights = np.zeros((count, 52), np.float32)
    for row in weights:
        chosen = rng.choice(52, rng.integers(1, 9), replace=False)
        amounts = rng.uniform(0, 1, len(chosen)) ** 1.3
        row[chosen] = amounts
        if rng.random() < 0.7:
            row[_PARTNER[chosen]] = amounts
    return _sane(weights)


def _sane(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    jaw, close = ARKIT_NAMES.index("jawOpen"), ARKIT_NAMES.index("mouthClose")
    weights = np.clip(weights, 0, 1)
    weights[:, close] = np.minimum(weights[:, close], weights[:, jaw])
    return weights


class FaceMaps:
    """The subjects of a corpus as map makers: curves in, motion maps and wrinkle maps out.

    head: what `parlante.head.load_head` gives; subjects: by name, with face and profile; stats: how motion maps are
    normalised, or none to fit it to the subjects' own range.
    """

    def __init__(
        self,
        head: Any,
        subjects: Mapping[str, SubjectInfo],
        *,
        motion_size: int = 128,
        wrinkle_size: int = 256,
        stats: MotionStats | None = None,
        margin: float = 0.05,
    ) -> None:
        self.head, self.subjects = head, subjects
        self.names = tuple(subjects)
        self.motion_size, self.wrinkle_size = motion_size, wrinkle_size
        self.table: BakeTable = bake_table(head.topology, motion_size)
        self._basis: dict[str, Tensor] = {}
        self._dynamics: dict[str, Any] = {}
        self.stats = stats or self._fit(margin)

    @property
    def topology(self) -> Topology:
        """Of every face."""
        return self.head.topology

    def identity(self, subject: str) -> str:
        """Whose face the subject wears."""
        return self.subjects[subject].face

    def _fit(self, margin: float) -> MotionStats:
        """Range of offsets over random and single expressions of every face."""
        rng = np.random.default_rng(0)
        weights = np.concatenate([np.eye(52, dtype=np.float32), random_curves(200, rng)])
        low, high = np.zeros(3), np.zeros(3)
        for identity in sorted({self.identity(name) for name in self.names}):
            offsets = weights @ self.head.shapes(identity).reshape(52, -1)
            low = np.minimum(low, offsets.min(0).reshape(-1, 3).min(0))
            high = np.maximum(high, offsets.max(0).reshape(-1, 3).max(0))
        return MotionStats.fit(np.stack([low, high]), margin)

    def offsets(self, subject: str, weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Curves (T, 52) -> vertex offsets (T, V, 3) metres."""
        shapes = self.head.shapes(self.identity(subject))
        return (weights @ shapes.reshape(52, -1)).reshape(len(weights), -1, 3)

    def motion(self, subject: str, weights: NDArray[np.float32]) -> Tensor:
        """Curves (T, 52) -> motion maps (T, 3, H, H)."""
        identity = self.identity(subject)
        if identity not in self._basis:
            shapes = torch.tensor(np.asarray(self.head.shapes(identity), np.float32))
            span = shapes.new_tensor(self.stats.maximum) - shapes.new_tensor(self.stats.minimum)
            self._basis[identity] = self.table.bake(shapes / span).flatten(1).contiguous()
        maps = torch.from_numpy(weights) @ self._basis[identity]
        return maps.unflatten(1, (3, self.motion_size, self.motion_size)) + self._rest

    @cached_property
    def _rest(self) -> Tensor:
        rest = self.stats.normalise(np.zeros(3, np.float32))
        return torch.from_numpy(np.asarray(rest, np.float32)).view(1, 3, 1, 1)

    def wrinkle(self, subject: str, weights: NDArray[np.float32]) -> Tensor:
        """Curves (T, 52) -> wrinkle maps (T, 3, H, H)."""
        if subject not in self._dynamics:
            from parlante.head.skin_dynamics import SkinDynamics

            depth = float((self.subjects[subject].profile or {})["wrinkle_depth"])
            self._dynamics[subject] = SkinDynamics(self.head, self.identity(subject), self.wrinkle_size, depth)
        maps = self._dynamics[subject].wrinkle(self.offsets(subject, weights))
        return torch.from_numpy(maps).permute(0, 3, 1, 2)

    def make(self, kind: str, subject: str, weights: NDArray[np.float32]) -> Tensor:
        """`motion` or `wrinkle` maps."""
        return (self.motion if kind == "motion" else self.wrinkle)(subject, weights)

    def focus_map(self, kind: str, focus: float) -> Tensor:
        """(1, 1, H, H) loss weights of mean 1: lips `focus`, lids half as much, skin 1, outside charts 0.1."""
        size = self.motion_size if kind == "motion" else self.wrinkle_size
        table = bake_table(self.topology, size)
        vertices = np.ones((1, self.topology.num_vertices, 1), np.float32)
        vertices[0, _region(self.topology, "scalp", "neck", "ears")] = 0.3
        vertices[0, _region(self.topology, "face", "upper_face", "jaw")] = 1.5
        vertices[0, _region(self.topology, "eyeballs", "gums")] = 0.5
        vertices[0, _region(self.topology, "lids", "mouth")] = 0.5 + 0.5 * focus
        vertices[0, _region(self.topology, "lips", "lip_line")] = focus
        weight = np.where(table.covered, table.bake_array(vertices)[0, ..., 0].clip(0), 0.1)
        return torch.from_numpy((weight / weight.mean()).astype(np.float32))[None, None]


def _region(topology: Topology, *names: str) -> NDArray[np.int64]:
    found = [np.asarray(topology.regions[name]) for name in names if name in topology.regions]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


class MapBatches:
    """Random training batches of one kind of map; `batch(step)` depends on the seed and the step alone."""

    def __init__(
        self,
        faces: FaceMaps,
        clips: Sequence[tuple[str, NDArray[np.float32]]],
        kind: str,
        config: MapDataConfig,
        seed: int,
    ) -> None:
        if not clips:
            raise InputError(f"{config.corpus} has no training clips; write a larger corpus")
        self.faces, self.kind, self.config, self.seed = faces, kind, config, seed
        self.frames = np.concatenate([weights for _, weights in clips])
        """(N, 52) curves of all training frames."""
        self.names = sorted({subject for subject, _ in clips})

    def curves(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """(count, 52): speech, exaggerated mixtures of speech, random expressions."""
        weights = self.frames[rng.integers(len(self.frames), size=count)].copy()
        kind = rng.random(count)
        share = self.config.speech_share
        loud = (kind > share) & (kind < share + 0.4 * (1 - share))
        other = self.frames[rng.integers(len(self.frames), size=count)]
        gain = rng.uniform(0.4, 1.9, (count, 1)).astype(np.float32)
        weights[loud] = (gain * (weights + rng.uniform(0, 1, (count, 1)).astype(np.float32) * other))[loud]
        wild = kind >= share + 0.4 * (1 - share)
        weights[wild] = random_curves(int(wild.sum()), rng)
        mixed = wild & (rng.random(count) < 0.5)
        weights[mixed] += other[mixed]
        return _sane(weights)

    def batch(self, step: int, *stream: int) -> Tensor:
        """(B, 3, H, H) maps; frames of a batch share few subjects, which keeps rendering quick."""
        rng = np.random.default_rng([self.seed, step, *stream])
        weights = self.curves(self.config.batch, rng)
        count = min(4, self.config.batch)
        chosen = rng.integers(len(self.names), size=count)
        pieces = np.array_split(weights, count)
        return torch.cat([self.faces.make(self.kind, self.names[k], w) for k, w in zip(chosen, pieces, strict=True)])


def activity_map(batches: MapBatches, count: int = 12) -> Tensor:
    """(1, 1, H, H) standard deviation of each texel over `count` random batches, over the mean one; at most 10."""
    maps = torch.cat([batches.batch(step, 2) for step in range(count)])
    deviation = maps.std(0).mean(0)[None, None]
    deviation = torch.nn.functional.avg_pool2d(deviation, 3, 1, 1, count_include_pad=False)
    return (deviation / deviation.mean()).clamp(max=10.0)


def corpus_faces(
    corpus: str | Path, *, stats: MotionStats | None = None, sizes: tuple[int, int] = (128, 256), margin: float = 0.05
) -> tuple[Corpus, FaceMaps]:
    """The whole corpus, and its subjects as map makers (statistics are fitted to the seen ones)."""
    from parlante.head import load_head

    data = open_with_weights(corpus)
    head = load_head()
    seen = {info.subject for info in data.clips if info.split == "train"}
    people = {name: data.subjects[name] for name in sorted(seen)}
    if not people:
        raise InputError(f"{corpus} has no training clips; write a larger corpus")
    faces = FaceMaps(head, people, motion_size=sizes[0], wrinkle_size=sizes[1], stats=stats, margin=margin)
    faces.subjects = data.subjects
    return data, faces


def split_weights(data: Corpus, *splits: str) -> list[tuple[str, NDArray[np.float32]]]:
    """(subject, weights) of every clip of the splits."""
    return [(info.subject, data[k].known_weights()) for k, info in enumerate(data.clips) if info.split in splits]
