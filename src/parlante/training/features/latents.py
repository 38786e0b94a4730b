"""Preparation for the diffusion model: every clip of a corpus as latents and speech features, kept in a cache folder.

A frame is encoded by both autoencoders before quantisation; a subject's pivots are its mean latents; offsets from the
pivots are written in a linear basis. Audio is encoded once as it is and in several augmented views.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from parlante.audio.align import align
from parlante.core.arrays import read_npy
from parlante.core.files import model_folder
from parlante.core.ranges import Amount, Count, Whole
from parlante.core.timing import FPS
from parlante.data.contract import Corpus
from parlante.data.open import open_with_weights
from parlante.geometry.uv import MotionStats
from parlante.models.checkpoint import load_checkpoint
from parlante.models.textalker.latent_basis import LinearBasis
from parlante.models.textalker.vqgan import VQAutoEncoder
from parlante.training.features.cache import (
    StoredClip,
    file_digest,
    fingerprint_of,
    made_once,
    read_index,
    write_index,
)
from parlante.training.features.maps import FaceMaps, corpus_faces
from parlante.training.features.speech_features import phonetic_digest

KINDS = ("motion", "wrinkle")


@dataclass(frozen=True, kw_only=True)
class LatentDataConfig:
    """The `data:` part of a diffusion recipe."""

    corpus: str
    """Folder written by `parlante synth`."""
    motion: str
    """Checkpoint folder of the motion autoencoder."""
    wrinkle: str
    """Checkpoint folder of the wrinkle autoencoder."""
    encoder: str = ""
    """Folder of a phonetic encoder; empty: the shipped one."""
    cache: str = "runs/cache"
    """Where prepared folders are kept."""
    motion_dim: Count = 192
    """Numbers per frame in the motion basis."""
    wrinkle_dim: Count = 128
    """Numbers per frame in the wrinkle basis."""
    style_dims: tuple[Count, Count] = (10, 10)
    """Numbers that describe a motion pivot and a wrinkle pivot."""
    frame_offsets: tuple[float, ...] = (-0.02, 0.0, 0.02)
    """Seconds around a frame at which features are read."""
    num_augmentations: Whole = 3
    """Augmented views of the audio of every training clip (recoloured, re-recorded) beside the clean one."""
    strength: Amount = 0.7
    """Strength of the augmentation."""
    clips_per_subject: Count | None = None
    """Use only so many training clips of each subject, a tenth of them (at least one) for validation, and half of them
    to measure the pivots of unseen subjects; none uses all."""
    wrinkle_stride: Count = 3
    """Wrinkles, which change slowly, are encoded every so many frames; latents between are interpolated."""
    origin: Literal["pivot", "mean"] = "pivot"
    """What coordinates are offsets from: each subject's pivot, or the mean of the seen ones' pivots (for the ablation
    with one-hot styles, whose model is not given a subject's resting face)."""
    seed: Whole = 0
    """Seed of the augmentation, and of the frames that the bases are fitted to."""


@dataclass(frozen=True, eq=False)
class LatentStore:
    """What `prepare` made, memory-mapped."""

    config: LatentDataConfig
    coordinates: NDArray[np.float16]
    """(N, M + W) of all frames of all clips, motion first."""
    features: NDArray[np.float16]
    """(views, N, F) aligned speech features; view 0 is of the clean audio."""
    clips: list[StoredClip]
    subjects: tuple[str, ...]
    pivots: dict[str, Tensor]
    """motion and wrinkle: (subjects, C, h, w)."""
    bases: dict[str, LinearBasis]
    """motion, wrinkle; motion_style, wrinkle_style."""
    lip_probe: Tensor
    """(M, 3 L) motion coordinates -> offsets of lip vertices, mm."""
    stats: MotionStats


def prepare(config: LatentDataConfig) -> LatentStore:
    """Open the cache folder that fits `config`, or make it. Raises InputError if an ingredient is missing."""
    name = f"latents-{_fingerprint(config)}"
    return _open(config, made_once(config.cache, name, lambda partial: _Preparation(config, partial).run()))


def _fingerprint(config: LatentDataConfig) -> str:
    files = [
        file_digest(model_folder(Path(folder)) / "model.safetensors") for folder in (config.motion, config.wrinkle)
    ]
    corpus = bytes.fromhex(open_with_weights(config.corpus).fingerprint())
    apart = ("corpus", "motion", "wrinkle", "encoder", "cache")
    settings = {name: value for name, value in asdict(config).items() if name not in apart}
    return fingerprint_of(corpus + b"".join(files) + phonetic_digest(config.encoder), settings)


def _open(config: LatentDataConfig, folder: Path) -> LatentStore:
    clips, index = read_index(folder)
    tensors = load_file(folder / "tensors.safetensors")
    bases = {}
    for name in ("motion", "wrinkle", "motion_style", "wrinkle_style"):
        components = tensors[f"{name}.components"]
        basis = LinearBasis(components.shape[1], components.shape[0])
        basis.load_state_dict({key: tensors[f"{name}.{key}"] for key in ("mean", "components", "scale")})
        bases[name] = basis
    return LatentStore(
        config=config,
        coordinates=read_npy(folder / "coordinates.npy", mapped=True),
        features=read_npy(folder / "features.npy", mapped=True),
        clips=clips,
        subjects=tuple(index["subjects"]),
        pivots={kind: tensors[f"pivots.{kind}"] for kind in KINDS},
        bases=bases,
        lip_probe=tensors["lip_probe"],
        stats=MotionStats.from_dict(index["stats"]),
    )


class _Preparation:
    """The making of one cache folder."""

    def __init__(self, config: LatentDataConfig, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.models = {kind: VQAutoEncoder.from_pretrained(getattr(config, kind)) for kind in KINDS}
        stats = MotionStats.from_dict(load_checkpoint(config.motion)[0]["stats"])
        sizes = (self.models["motion"].config.img_size, self.models["wrinkle"].config.img_size)
        self.data: Corpus
        self.faces: FaceMaps
        self.data, self.faces = corpus_faces(config.corpus, stats=stats, sizes=sizes)
        self.clips = self._choose()
        self.frames = sum(clip.frames for clip in self.clips)
        self.subjects = sorted({clip.subject for clip in self.clips})
        self.lips = self._lip_vertices()

    def _choose(self) -> list[StoredClip]:
        most = self.config.clips_per_subject
        limits = {
            "train": most,
            "val": most and max(1, most // 10),
            "test_seen": 0,
            "test_unseen": most and max(1, most // 2),
        }
        used: dict[tuple[str, str], int] = {}
        clips, start = [], 0
        for number, info in enumerate(self.data.clips):
            place = (info.subject, info.split)
            used[place] = used.get(place, 0) + 1
            limit = limits.get(info.split, 0)
            if limit is not None and used[place] > limit:
                continue
            clips.append(StoredClip.of(info, number, start))
            start += info.frames
        return clips

    def _lip_vertices(self, most: int = 40) -> NDArray[np.int64]:
        topology = self.faces.topology
        marks = [
            topology.landmarks[name] for name in ("upper_lip_inner", "lower_lip_inner") if name in topology.landmarks
        ]
        lips = np.asarray(topology.regions["lips"])
        spread = lips[np.linspace(0, len(lips) - 1, min(most, len(lips))).astype(int)]
        return np.unique(np.concatenate([spread, np.array(marks, spread.dtype)]))

    def run(self) -> None:
        """Write everything; index.json last. Audio is encoded in a process of its own beside the maps."""
        latents = {kind: self._array(kind, (self.frames, *self._flat(kind)), np.float16) for kind in KINDS}
        lips = np.zeros((self.frames, 3 * len(self.lips)), np.float32)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            audio = pool.submit(
                _encode_audio, self.config, self.folder, self.clips, self.frames, torch.get_num_threads()
            )
            with torch.inference_mode():
                for clip in tqdm(self.clips, desc="encoding maps", disable=None):
                    weights = self.data[clip.number].known_weights()
                    latents["motion"][clip.span] = self._encode("motion", clip.subject, weights)
                    latents["wrinkle"][clip.span] = self._strided("wrinkle", clip.subject, weights)
                    shapes = self.faces.head.shapes(self.faces.identity(clip.subject))[:, self.lips]
                    lips[clip.span] = 1000 * weights @ shapes.reshape(52, -1)
            audio.result()
        self._finish(latents, lips)

    def _strided(self, kind: str, subject: str, weights: NDArray[np.float32]) -> NDArray[np.float16]:
        """Latents of every `wrinkle_stride`-th frame and the last, the others by linear interpolation."""
        places = np.unique([*range(0, len(weights), self.config.wrinkle_stride), len(weights) - 1])
        z = self._encode(kind, subject, weights[places]).astype(np.float32)
        right = np.searchsorted(places, np.arange(len(weights))).clip(1 if len(places) > 1 else 0)
        left = (right - 1).clip(0)
        gap = np.maximum(places[right] - places[left], 1)
        share = ((np.arange(len(weights)) - places[left]) / gap)[:, None]
        return (z[left] + share * (z[right] - z[left])).astype(np.float16)

    def _flat(self, kind: str) -> tuple[int]:
        c = self.models[kind].config
        return (c.emb_dim * c.latent_size**2,)

    def _array(self, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        return np.lib.format.open_memmap(self.folder / f"{name}.npy", "w+", dtype, shape)

    def _encode(self, kind: str, subject: str, weights: NDArray[np.float32]) -> NDArray[np.float16]:
        made = []
        for piece in np.array_split(weights, -(-len(weights) // 32)):
            maps = self.faces.make(kind, subject, piece).contiguous(memory_format=torch.channels_last)
            made.append(self.models[kind].encode(maps).flatten(1).half().numpy())
        return np.concatenate(made)

    def _finish(self, latents: dict[str, Any], lips: NDArray[np.float32]) -> None:
        train = np.zeros(self.frames, bool)
        owner = np.zeros(self.frames, np.int64)
        for clip in self.clips:
            train[clip.span] = clip.split == "train"
            owner[clip.span] = self.subjects.index(clip.subject)
        seen = sorted(set(owner[train].tolist()))
        rng = np.random.default_rng(self.config.seed)
        chosen = np.sort(rng.permutation(np.flatnonzero(train))[:12000])
        frames = _Frames(owner, seen, chosen, self.config.origin == "pivot")
        tensors: dict[str, Tensor] = {}
        coordinates = []
        dims = (self.config.motion_dim, self.config.wrinkle_dim)
        for kind, count, style in zip(KINDS, dims, self.config.style_dims, strict=True):
            z = latents[kind]
            pivots = np.stack([z[owner == k].mean(0, dtype=np.float64) for k in range(len(self.subjects))])
            pivots = pivots.astype(np.float32)
            basis, made, unexplained = frames.in_a_basis(z, pivots, count)
            coordinates.append(made)
            parts = {kind: basis, f"{kind}_style": style_basis(torch.from_numpy(pivots[seen]), style)}
            for name, part in parts.items():
                tensors |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
            sides = self.models[kind].config
            shape = (sides.emb_dim, sides.latent_size, sides.latent_size)
            tensors[f"pivots.{kind}"] = torch.from_numpy(pivots).unflatten(1, shape)
            tensors[f"{kind}_unexplained"] = unexplained
        tensors["lip_probe"] = frames.lip_probe(coordinates[0], lips)
        np.save(self.folder / "coordinates.npy", torch.cat(coordinates, 1).half().numpy(), allow_pickle=False)
        save_file({name: value.contiguous() for name, value in tensors.items()}, self.folder / "tensors.safetensors")
        for kind in KINDS:
            (self.folder / f"{kind}.npy").unlink()
        write_index(self.folder, self.clips, subjects=self.subjects, stats=self.faces.stats.to_dict())


class _Frames(NamedTuple):
    """All frames of a corpus: whose they are, who was seen in training, and those that bases are fitted to."""

    owner: NDArray[np.int64]
    seen: list[int]
    chosen: NDArray[np.int64]
    own_origin: bool
    """Whether coordinates are offsets from each subject's own pivot, or from the mean of the seen ones'."""

    def in_a_basis(self, z: Any, pivots: NDArray[np.float32], count: int) -> tuple[LinearBasis, Tensor, Tensor]:
        """Latents z (N, D) -> a basis of their offsets, coordinates (N, count), share (1,) that it cannot express."""
        mean = np.broadcast_to(pivots[self.seen].mean(0), pivots.shape)
        origins = pivots if self.own_origin else mean
        sample = torch.from_numpy(z[self.chosen].astype(np.float32) - origins[self.owner[self.chosen]])
        basis = LinearBasis.fit(sample, count)
        made = [
            basis.encode(torch.from_numpy(z[at].astype(np.float32) - origins[self.owner[at]]))
            for at in np.array_split(np.arange(len(self.owner)), max(1, len(self.owner) // 4000))
        ]
        unexplained = (basis.decode(basis.encode(sample)) - sample).square().mean() / sample.square().mean()
        return basis, torch.cat(made), unexplained[None]

    def lip_probe(self, motion: Tensor, lips: NDArray[np.float32]) -> Tensor:
        """(M, 3 L): the linear map from motion coordinates (N, M) to offsets of lip vertices (N, 3 L), mm."""
        centre = np.stack([lips[self.owner == k].mean(0) for k in range(int(self.owner.max()) + 1)])
        if not self.own_origin:
            centre = np.broadcast_to(centre[self.seen].mean(0), centre.shape)
        known = motion[self.chosen]
        target = torch.from_numpy(lips[self.chosen] - centre[self.owner[self.chosen]])
        gram = known.mT @ known + 1e-3 * len(known) * torch.eye(known.shape[1])
        return torch.linalg.solve(gram, known.mT @ target)


def style_basis(pivots: Tensor, count: int) -> LinearBasis:
    """The few numbers that say which pivot (N, D) it is; directions that hardly vary are not blown up."""
    basis = LinearBasis.fit(pivots, max(1, min(count, len(pivots) - 1)))
    basis.scale.clamp_(min=0.1 * float(basis.scale[0]) + 1e-6)
    return basis


def _encode_audio(config: LatentDataConfig, folder: Path, clips: list[StoredClip], frames: int, threads: int) -> None:
    """Write features.npy: the audio of every clip as it is, and its augmented views."""
    from parlante.audio.augment import augmented_views
    from parlante.audio.encoders.phonetic import ASSET, PhoneticEncoder

    torch.set_num_threads(threads)
    data = open_with_weights(config.corpus)
    encoder = PhoneticEncoder.from_pretrained(config.encoder or ASSET)
    offsets = config.frame_offsets
    shape = (config.num_augmentations + 1, frames, encoder.dim * len(offsets))
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, shape)
    for clip in tqdm(clips, desc="encoding audio", position=1, disable=None):
        count = config.num_augmentations if clip.split == "train" else 0
        views = augmented_views(
            data[clip.number].audio, count, seed=config.seed, number=clip.number, strength=config.strength
        )
        for view, (audio, speed) in enumerate(views):
            values = torch.from_numpy(encoder.encode(audio))[None]
            aligned = align(values, clip.frames, fps=FPS * speed, rate=encoder.rate, frame_offsets=offsets)
            features[view, clip.span] = aligned[0].half().numpy()
    features.flush()
