"""Preparation for the diffusion model: every clip of a corpus as latents and speech features, kept in a cache folder.

A frame is encoded by both autoencoders before quantisation; a subject's pivots are its mean latents; offsets from the
pivots are written in a linear basis. Speech is heard once as it is and several times recoloured and re-recorded.
The folder's name carries a hash of everything it was made from, so a stale cache is never used.
"""

import hashlib
import json
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from parlante.audio.align import align
from parlante.core import InputError
from parlante.core.timing import FPS
from parlante.data.contract import Corpus
from parlante.data.open import open_with_weights
from parlante.geometry.uv import MotionStats
from parlante.models.checkpoint import load_checkpoint
from parlante.models.textalker.latent_basis import LinearBasis
from parlante.models.textalker.vqgan import VQAutoEncoder
from parlante.training.engine.processes import one_at_a_time
from parlante.training.features.maps import FaceMaps, corpus_faces

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
    motion_dim: int = 192
    """Numbers per frame in the motion basis."""
    wrinkle_dim: int = 128
    style_dims: tuple[int, int] = (10, 10)
    """Numbers that describe a motion pivot and a wrinkle pivot."""
    taps: tuple[float, ...] = (-0.02, 0.0, 0.02)
    """Seconds around a frame at which features are read."""
    variants: int = 3
    """Re-recorded hearings of every clip beside the clean one."""
    strength: float = 0.7
    """Of the re-recording."""
    clips_per_subject: int | None = None
    """Use only so many training clips of each subject, a tenth of them (at least one) for validation, and half of them
    to measure the pivots of unseen subjects; none uses all."""
    wrinkle_stride: int = 3
    """Wrinkles, which change slowly, are encoded every so many frames; latents between are interpolated."""
    origin: str = "pivot"
    """What coordinates are offsets from: each subject's pivot, or the mean of the seen ones' pivots (for the ablation
    with one-hot styles, whose model is not given a subject's resting face)."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("style_dims", "taps"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.origin not in ("pivot", "mean"):
            raise ValueError(f"origin must be pivot or mean, got {self.origin!r}")


@dataclass(frozen=True, eq=False)
class LatentStore:
    """What `prepare` made, memory-mapped."""

    config: LatentDataConfig
    coordinates: NDArray[np.float16]
    """(N, M + W) of all frames of all clips, motion first."""
    features: NDArray[np.float16]
    """(variants + 1, N, F) aligned speech features; 0 is the clean hearing."""
    clips: list[dict[str, Any]]
    """Of each clip: key, subject, split, start, frames."""
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
    folder = Path(config.cache) / f"latents-{_fingerprint(config)}"
    with one_at_a_time(folder):
        if not (folder / "index.json").is_file():
            partial = folder.with_name(folder.name + ".part")
            shutil.rmtree(partial, ignore_errors=True)  # only ever our own unfinished work
            partial.mkdir(parents=True)
            _Preparation(config, partial).run()
            partial.rename(folder)
    return _open(config, folder)


def _fingerprint(config: LatentDataConfig) -> str:
    from parlante.audio.encoders.phonetic import ASSET

    digest = hashlib.sha256(bytes.fromhex(open_with_weights(config.corpus).fingerprint()))
    for path in (
        Path(config.motion) / "model.safetensors",
        Path(config.wrinkle) / "model.safetensors",
        Path(config.encoder or ASSET) / "model.safetensors",
    ):
        if not path.is_file():
            raise InputError(
                f"the diffusion recipe needs {path}, which is missing; make it or correct the recipe's data"
            )
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    numbers = {k: v for k, v in asdict(config).items() if k not in ("corpus", "motion", "wrinkle", "encoder", "cache")}
    if numbers["origin"] == "pivot":
        del numbers["origin"]  # folders made before there was a choice stay good
    digest.update(json.dumps(numbers, sort_keys=True).encode())
    return digest.hexdigest()[:12]


def _open(config: LatentDataConfig, folder: Path) -> LatentStore:
    index = json.loads((folder / "index.json").read_text())
    tensors = load_file(folder / "tensors.safetensors")
    bases = {}
    for name in ("motion", "wrinkle", "motion_style", "wrinkle_style"):
        components = tensors[f"{name}.components"]
        basis = LinearBasis(components.shape[1], components.shape[0])
        basis.load_state_dict({key: tensors[f"{name}.{key}"] for key in ("mean", "components", "scale")})
        bases[name] = basis
    return LatentStore(
        config=config,
        coordinates=np.load(folder / "coordinates.npy", mmap_mode="r", allow_pickle=False),
        features=np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False),
        clips=index["clips"],
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
        self.frames = sum(clip["frames"] for clip in self.clips)
        self.subjects = sorted({clip["subject"] for clip in self.clips})
        self.lips = self._lip_vertices()

    def _choose(self) -> list[dict[str, Any]]:
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
            keep = {"key": info.key, "subject": info.subject, "split": info.split, "frames": info.frames}
            clips.append({**keep, "number": number, "start": start})
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
        """Write everything; index.json last. Hearing runs in a process of its own beside encoding."""
        latents = {kind: self._array(kind, (self.frames, *self._flat(kind)), np.float16) for kind in KINDS}
        lips = np.zeros((self.frames, 3 * len(self.lips)), np.float32)
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            hearing = pool.submit(_hear, self.config, self.folder, self.clips, self.frames, torch.get_num_threads())
            with torch.inference_mode():
                for clip in tqdm(self.clips, desc="encoding clips", disable=None):
                    span = slice(clip["start"], clip["start"] + clip["frames"])
                    weights = self.data[clip["number"]].known_weights()
                    latents["motion"][span] = self._encode("motion", clip["subject"], weights)
                    latents["wrinkle"][span] = self._strided("wrinkle", clip["subject"], weights)
                    shapes = self.faces.head.shapes(self.faces.identity(clip["subject"]))[:, self.lips]
                    lips[span] = 1000 * weights @ shapes.reshape(52, -1)
            hearing.result()
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
            span = slice(clip["start"], clip["start"] + clip["frames"])
            train[span] = clip["split"] == "train"
            owner[span] = self.subjects.index(clip["subject"])
        seen = sorted(set(owner[train].tolist()))
        tensors: dict[str, Tensor] = {}
        coordinates = []
        rng = np.random.default_rng(self.config.seed)
        chosen = np.sort(rng.permutation(np.flatnonzero(train))[:12000])
        for kind, count, style in zip(
            KINDS, (self.config.motion_dim, self.config.wrinkle_dim), self.config.style_dims, strict=True
        ):
            z = latents[kind]
            pivots = np.stack([z[owner == k].mean(0, dtype=np.float64) for k in range(len(self.subjects))])
            pivots = pivots.astype(np.float32)
            mean = np.broadcast_to(pivots[seen].mean(0), pivots.shape)
            origins = pivots if self.config.origin == "pivot" else mean
            sample = torch.from_numpy(z[chosen].astype(np.float32) - origins[owner[chosen]])
            basis = LinearBasis.fit(sample, count)
            made = [
                basis.encode(torch.from_numpy(z[at].astype(np.float32) - origins[owner[at]]))
                for at in np.array_split(np.arange(self.frames), max(1, self.frames // 4000))
            ]
            coordinates.append(torch.cat(made))
            kept = (basis.decode(basis.encode(sample)) - sample).square().mean() / sample.square().mean()
            tensors[f"{kind}_unexplained"] = kept[None]
            known = torch.from_numpy(pivots[seen])
            told = LinearBasis.fit(known, max(1, min(style, len(seen) - 1)))
            told.scale.clamp_(min=0.1 * float(told.scale[0]) + 1e-6)
            for name, part in ((kind, basis), (f"{kind}_style", told)):
                tensors |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
            c = self.models[kind].config
            tensors[f"pivots.{kind}"] = torch.from_numpy(pivots).unflatten(1, (c.emb_dim, c.latent_size, c.latent_size))
        centre = np.stack([lips[owner == k].mean(0) for k in range(len(self.subjects))])
        if self.config.origin == "mean":
            centre = np.broadcast_to(centre[seen].mean(0), centre.shape)
        known = coordinates[0][chosen]
        target = torch.from_numpy(lips[chosen] - centre[owner[chosen]])
        gram = known.mT @ known + 1e-3 * len(known) * torch.eye(known.shape[1])
        tensors["lip_probe"] = torch.linalg.solve(gram, known.mT @ target)
        whole = torch.cat(coordinates, 1).half().numpy()
        np.save(self.folder / "coordinates.npy", whole, allow_pickle=False)
        save_file({name: value.contiguous() for name, value in tensors.items()}, self.folder / "tensors.safetensors")
        for kind in KINDS:
            (self.folder / f"{kind}.npy").unlink()
        index = {"clips": self.clips, "subjects": self.subjects, "stats": self.faces.stats.to_dict()}
        (self.folder / "index.json").write_text(json.dumps(index))


def _hear(config: LatentDataConfig, folder: Path, clips: list[dict[str, Any]], frames: int, threads: int) -> None:
    """Write features.npy: every clip as it is and `variants` times recoloured and re-recorded."""
    from parlante.audio.augment import augmented_views
    from parlante.audio.encoders.phonetic import ASSET, PhoneticEncoder

    torch.set_num_threads(threads)
    data = open_with_weights(config.corpus)
    encoder = PhoneticEncoder.from_pretrained(config.encoder or ASSET)
    shape = (config.variants + 1, frames, encoder.dim * len(config.taps))
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, shape)
    for clip in tqdm(clips, desc="hearing clips", position=1, disable=None):
        audio = data[clip["number"]].audio
        span = slice(clip["start"], clip["start"] + clip["frames"])
        variants = config.variants if clip["split"] == "train" else 0
        told = {"seed": config.seed, "number": clip["number"], "strength": config.strength}
        for variant, (heard, speed) in enumerate(augmented_views(audio, variants, **told)):
            values = torch.from_numpy(encoder.encode(heard))[None]
            aligned = align(values, clip["frames"], fps=FPS * speed, rate=encoder.rate, frame_offsets=config.taps)
            features[variant, span] = aligned[0].half().numpy()
    features.flush()
