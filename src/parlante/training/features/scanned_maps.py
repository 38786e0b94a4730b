"""Maps of scanned faces for training the autoencoders: random frames of a corpus that `parlante prepare` wrote.

Frames are drawn as in the published training: a subject for each sample, then one of its frames, uniformly; motion
maps are clipped to 0..1 and rounded to 8 bits, wrinkle maps are the ratio to the subject's neutral picture.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from parlante.core import InputError
from parlante.data.contract import Corpus
from parlante.data.open import open_corpus
from parlante.geometry.uv import MotionStats, bake_table, motion_maps
from parlante.geometry.uv.ratio import wrinkle_from_frames


def unit_pictures(pictures: ArrayLike, size: int) -> Tensor:
    """(n, H, W, 3) bytes -> (n, 3, size, size) 0..1; other sizes are averaged over areas."""
    values = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 255
    if values.shape[-2:] == (size, size):
        return values
    return torch.nn.functional.interpolate(values, (size, size), mode="area")


def motion_stats(corpus: Corpus) -> MotionStats:
    """How motion maps of a corpus are normalised: the range of its offsets."""
    low, high = corpus.offset_range()
    return MotionStats.fit(np.stack([low, np.maximum(high, low + 1e-6)]))


class ScannedMaps:
    """Random batches of one kind of map; `batch(step)` depends on the seed and the step alone."""

    def __init__(
        self,
        corpus: str | Path,
        kind: str,
        size: int,
        batch: int,
        seed: int,
        *,
        val_share: float = 0.05,
        one_clip: bool = False,
    ):
        """val_share: the last frames of each training clip, kept for `held_out`; the last one where all are
        short. one_clip: use the first one alone.
        Raises InputError for a corpus that has no training clips or no pictures where wrinkle maps are wanted."""
        self.data = open_corpus(corpus, "train")
        self.kind, self.size, self.count, self.seed = kind, size, batch, seed
        self.stats = motion_stats(open_corpus(corpus))
        self.table = bake_table(self.data.topology, size)
        self._neutral = {name: self.data.identity(name) for name in {info.subject for info in self.data.clips}}
        self.names = sorted(self._neutral)
        self._frames: dict[str, list[tuple[int, int]]] = {name: [] for name in self.names}
        self._kept: list[tuple[int, int]] = []
        clips = self.data.clips[: 1 if one_clip else None]
        kept = [int(val_share * (info.frames - info.starts_at_rest)) for info in clips]
        for number, info in enumerate(clips):
            first, end = int(info.starts_at_rest), info.frames
            cut = end - (kept[number] if any(kept) else 1)
            self._frames[info.subject] += [(number, frame) for frame in range(first, cut)]
            self._kept += [(number, frame) for frame in range(cut, end)]
        self.names = [name for name in self.names if self._frames[name]]
        if kind == "wrinkle":
            self._check_pictures(corpus)

    def _check_pictures(self, corpus: str | Path) -> None:
        for name in self.names:
            albedo = self._neutral[name].albedo
            if albedo is None:
                raise InputError(f"{corpus} has no pictures of {name}; wrinkle maps need them")
            if min(albedo.shape[:2]) < self.size:
                found = f"{albedo.shape[1]} x {albedo.shape[0]}"
                raise InputError(f"pictures of {name} are {found}, the model wants at least {self.size} x {self.size}")

    def batch(self, step: int, *stream: int) -> Tensor:
        """(B, 3, H, H) maps."""
        rng = np.random.default_rng([self.seed, step, *stream])
        chosen = rng.choice(len(self.names), self.count, replace=self.count > len(self.names))
        made = []
        for index in chosen:
            frames = self._frames[self.names[index]]
            made.append(self._map(*frames[rng.integers(len(frames))]))
        return torch.stack(made)

    def held_out(self, count: int = 48) -> Tensor | None:
        """(N, 3, H, H): evenly spaced frames that no batch holds, or none."""
        if not self._kept:
            return None
        places = np.unique(np.linspace(0, len(self._kept) - 1, count).astype(int))
        return torch.stack([self._map(*self._kept[place]) for place in places])

    def _map(self, clip: int, frame: int) -> Tensor:
        found = self.data[clip]
        identity = self._neutral[found.subject]
        if self.kind == "motion":
            offsets = np.asarray(found.vertices[frame], np.float32) - identity.neutral
            maps = motion_maps(torch.from_numpy(offsets)[None], self.table, self.stats)[0]
            return maps.clamp(0, 1).mul(255).round().div(255)
        assert found.textures is not None and identity.albedo is not None
        picture, skin = (
            unit_pictures(np.asarray(each)[None], self.size) for each in (found.textures[frame], identity.albedo)
        )
        wrinkle: Tensor = wrinkle_from_frames(picture, skin)[0]
        return wrinkle
