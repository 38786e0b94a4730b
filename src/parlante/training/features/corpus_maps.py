"""A corpus as maps, frame by frame, for the two autoencoders that read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.core import InputError, Topology
from parlante.data.contract import ClipInfo, Corpus
from parlante.data.open import open_corpus
from parlante.geometry.uv import MotionStats, bake_table
from parlante.geometry.uv.ratio import EXTRACTION_EPS, wrinkle_from_frames
from parlante.models.checkpoint import digest, load_checkpoint, model_name
from parlante.models.registry import checked_device
from parlante.models.textalker.vqgan import VQAutoEncoder
from parlante.training.features.scanned_maps import unit_pictures

KINDS = ("motion", "wrinkle")


@dataclass(frozen=True, eq=False)
class MapModels:
    """A pair of autoencoders and how their motion maps are made."""

    motion: VQAutoEncoder
    wrinkle: VQAutoEncoder
    stats: MotionStats
    quantise: bool
    """Whether latents become codes before decoding."""
    checkpoint: str = ""
    """SHA-256 of the TexTalker that pivots are meant for; empty: any with these autoencoders."""
    model: str = "textalker"
    """Name of the TexTalker, as style files have it."""
    published: bool = False
    """Whether motion maps are drawn by the published rule, which the authors' own weights expect."""

    @classmethod
    def load(cls, folder: Path | str) -> "MapModels":
        """From a TexTalker, trained or converted, or a folder with two autoencoders in `motion/` and `wrinkle/`.

        Raises InputError if it is neither, or the motion autoencoder does not say how maps are normalised.
        """
        folder = Path(folder)
        if (folder / "motion").is_dir() and (folder / "wrinkle").is_dir():
            pair = [VQAutoEncoder.from_pretrained(folder / kind) for kind in KINDS]
            config = load_checkpoint(folder / "motion")[0]
            stats = config.get("stats")
            if stats is None:
                raise InputError(f"{folder}/motion/config.json has no stats: ranges of offsets in metres; add them")
            return cls(pair[0], pair[1], MotionStats.from_dict(stats), True)
        from parlante.models.textalker.import_ import MODEL, ConvertedTexTalker
        from parlante.models.textalker.model import TexTalker

        if model_name(folder) == MODEL:
            released = ConvertedTexTalker.from_pretrained(folder)
            return cls(released.motion, released.wrinkle, released.stats, True, digest(folder), MODEL, published=True)
        talker = TexTalker.from_pretrained(folder)
        stats = MotionStats.from_dict(talker.config.stats)
        return cls(talker.motion, talker.wrinkle, stats, talker.config.quantise, digest(folder))

    def to(self, device: str) -> "MapModels":
        """Both networks on a device, in place. Raises InputError where there is no such device."""
        place = checked_device(device)
        self.motion.to(place)
        self.wrinkle.to(place)
        return self


class CorpusMaps(Protocol):
    """A corpus as maps."""

    clips: Sequence[ClipInfo]
    topology: Topology
    fps: float

    def offsets(self, number: int, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, V, 3) metres from neutral."""
        ...

    def wrinkle(self, number: int, frames: NDArray[np.int64]) -> Tensor | None:
        """(n, 3, H, H) wrinkle maps, not rounded, or none."""
        ...

    def rest(self, number: int) -> bool:
        """Whether the clip's first frame is the neutral one."""
        ...

    def face(self, subject: str) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
        """Neutral vertices (V, 3) and albedo."""
        ...


class ScannedCorpus:
    """Maps of a corpus of scans. Wrinkles are measured from its pictures."""

    def __init__(self, corpus: Corpus, wrinkle_size: int) -> None:
        self.corpus, self.size = corpus, wrinkle_size
        self.clips, self.topology, self.fps = corpus.clips, corpus.topology, corpus.fps
        self._rest: tuple[str, NDArray[np.float32], Tensor | None] | None = None

    def _neutral(self, subject: str) -> tuple[NDArray[np.float32], Tensor | None]:
        if self._rest is None or self._rest[0] != subject:
            identity = self.corpus.identity(subject)
            skin = None if identity.albedo is None else unit_pictures(identity.albedo[None], self.size)
            self._rest = subject, identity.neutral, skin
        return self._rest[1:]

    def offsets(self, number: int, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        clip = self.corpus[number]
        return np.asarray(clip.vertices[frames]) - self._neutral(clip.subject)[0]

    def wrinkle(self, number: int, frames: NDArray[np.int64]) -> Tensor | None:
        clip = self.corpus[number]
        skin = self._neutral(clip.subject)[1]
        if clip.textures is None or skin is None:
            return None
        return wrinkle_from_frames(unit_pictures(clip.textures[frames], self.size), skin, EXTRACTION_EPS)

    def rest(self, number: int) -> bool:
        return self.clips[number].starts_at_rest

    def face(self, subject: str) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
        identity = self.corpus.identity(subject)
        return identity.neutral, identity.albedo


class EmbeddedCorpus:
    """Maps of a corpus of the embedded head, from its weights."""

    def __init__(self, root: Path | str, stats: MotionStats, sizes: tuple[int, int]) -> None:
        from parlante.training.features.maps import corpus_faces

        self.corpus, self.faces = corpus_faces(root, stats=stats, sizes=sizes)
        self.clips, self.topology, self.fps = self.corpus.clips, self.faces.topology, self.corpus.fps

    def _weights(self, number: int, frames: NDArray[np.int64]) -> tuple[str, NDArray[np.float32]]:
        return self.clips[number].subject, self.corpus[number].known_weights()[frames]

    def offsets(self, number: int, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.faces.offsets(*self._weights(number, frames))

    def wrinkle(self, number: int, frames: NDArray[np.int64]) -> Tensor | None:
        return self.faces.wrinkle(*self._weights(number, frames))

    def rest(self, number: int) -> bool:
        return False

    def face(self, subject: str) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
        identity = self.faces.head.identity(self.faces.identity(subject))
        return identity.neutral, identity.albedo


def open_maps(root: Path | str, models: MapModels) -> CorpusMaps:
    """A corpus of scans, or of the embedded head. Raises InputError as `open_corpus`."""
    size = models.wrinkle.config.img_size
    corpus = open_corpus(root)
    if corpus.has_weights:
        return EmbeddedCorpus(root, models.stats, (models.motion.config.img_size, size))
    return ScannedCorpus(corpus, size)


def baked_motion(offsets: NDArray[np.float32], topology: Topology, models: MapModels) -> Tensor:
    """Offsets (T, V, 3) metres -> the maps (T, 3, H, H) that the motion autoencoder reads."""
    table = bake_table(topology, models.motion.config.img_size, models.published)
    maps = table.bake(torch.from_numpy(models.stats.normalise(np.asarray(offsets, np.float32))))
    return maps * torch.from_numpy(table.covered) if models.published else maps
