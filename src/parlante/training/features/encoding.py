"""Latents of whole corpora: what the two autoencoders say of every frame, kept in files, and every person's pivots.

    DIR/encoding.json                   which models and options; written first
    DIR/latents/CLIP.safetensors        motion (T, C, h, w) and, where there are pictures, wrinkle, before quantisation
    DIR/pivots/SUBJECT.style            mean latents of a person (TexTalker, CVPR 2025, section "style pivots")
    DIR/faces.npz                       names, neutrals (N, V, 3), skins: from which pivots of others are predicted
    DIR/index.json                      clips, errors; written last

Clips that are there already are kept.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from parlante.core import InputError, Style, Topology, atomic_path, claim_folder
from parlante.core.style import save_style
from parlante.data.contract import ClipInfo, Corpus
from parlante.data.open import open_corpus
from parlante.geometry.uv import MotionStats, bake_table, round_trip
from parlante.geometry.uv.ratio import EXTRACTION_EPS, wrinkle_from_frames
from parlante.models.checkpoint import load_checkpoint
from parlante.models.textalker.vqgan import VQAutoEncoder

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
    published: bool = False
    """Whether motion maps are drawn by the published rule, which the authors' own weights expect."""

    @classmethod
    def load(cls, folder: Path | str) -> "MapModels":
        """From a TexTalker checkpoint, or a folder with two autoencoders in `motion/` and `wrinkle/`.

        Raises InputError if it is neither, or the motion autoencoder does not say how maps are normalised.
        """
        folder = Path(folder)
        if (folder / "motion").is_dir() and (folder / "wrinkle").is_dir():
            pair = [VQAutoEncoder.from_pretrained(folder / kind) for kind in KINDS]
            config = load_checkpoint(folder / "motion")[0]
            stats = config.get("stats")
            if stats is None:
                raise InputError(f"{folder}/motion/config.json has no stats: ranges of offsets in metres; add them")
            published = bool(config.get("published_maps", False))
            return cls(pair[0], pair[1], MotionStats.from_dict(stats), True, published=published)
        from parlante.models.textalker.model import TexTalker

        talker = TexTalker.from_pretrained(folder)
        stats = MotionStats.from_dict(talker.config.stats)
        checkpoint = _sha256(folder / "model.safetensors")
        published = bool(getattr(talker.config, "published_maps", False))
        return cls(talker.motion, talker.wrinkle, stats, talker.config.quantise, checkpoint, published)

    def to(self, device: str) -> "MapModels":
        """Both networks on a device, in place."""
        self.motion.to(device)
        self.wrinkle.to(device)
        return self


class CorpusMaps(Protocol):
    """A corpus as maps."""

    clips: Sequence[ClipInfo]
    topology: Topology

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
        self.clips, self.topology = corpus.clips, corpus.topology
        self._rest: tuple[str, NDArray[np.float32], Tensor | None] | None = None

    def _neutral(self, subject: str) -> tuple[NDArray[np.float32], Tensor | None]:
        if self._rest is None or self._rest[0] != subject:
            identity = self.corpus.identity(subject)
            skin = None if identity.albedo is None else self._resized(identity.albedo[None])
            self._rest = subject, identity.neutral, skin
        return self._rest[1:]

    def _resized(self, pictures: NDArray[np.uint8]) -> Tensor:
        """(n, H, W, 3) -> (n, 3, size, size) 0..1, averaged over areas."""
        values = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 255
        if values.shape[-2:] == (self.size, self.size):
            return values
        return torch.nn.functional.interpolate(values, (self.size, self.size), mode="area")

    def offsets(self, number: int, frames: NDArray[np.int64]) -> NDArray[np.float32]:
        clip = self.corpus[number]
        return np.asarray(clip.vertices[frames]) - self._neutral(clip.subject)[0]

    def wrinkle(self, number: int, frames: NDArray[np.int64]) -> Tensor | None:
        clip = self.corpus[number]
        skin = self._neutral(clip.subject)[1]
        if clip.textures is None or skin is None:
            return None
        return wrinkle_from_frames(self._resized(clip.textures[frames]), skin, EXTRACTION_EPS)

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
        self.clips, self.topology = self.corpus.clips, self.faces.topology

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


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    """What an encoding depends on beside corpus and models."""

    half: bool = False
    """Whether latents are kept as float16."""
    stride: int = 1
    """Encode every so many frames."""
    seconds: float = 0.0
    """Measure pivots on so much of every person only; 0: on all."""
    held_out_too: bool = False
    """Whether pivots of seen persons are measured on held-out frames, too, as published."""
    fps: float = 30.0


@dataclass(frozen=True)
class Encoded:
    """What came of it; errors are in millimetres and in bytes of a stored wrinkle map."""

    folder: Path
    clips: int
    reused: int
    pivots: dict[str, int]
    """Frames behind each person's pivots."""
    map_error: float
    """Mean error of motion maps there and back."""
    motion_error: float
    """Mean vertex error after maps, encoder and generator."""
    wrinkle_error: float
    """RMS error of wrinkle maps after encoder and generator, 0 without pictures."""


@torch.inference_mode()
def encode(image: Tensor, model: VQAutoEncoder, batch: int = 8) -> Tensor:
    """Maps (T, 3, H, H) -> z (T, C, h, w) on the CPU, before quantisation."""
    device = next(model.parameters()).device
    return torch.cat([model.encode(piece.contiguous().to(device)).float().cpu() for piece in image.split(batch)])


@torch.inference_mode()
def pivots(
    offsets: NDArray[np.float32], wrinkles: Tensor | None, topology: Topology, models: MapModels, name: str
) -> Style:
    """The style of a person from a short clip: mean latents of offsets (T, V, 3) metres and maps (T, 3, H, H).

    Without wrinkle maps the wrinkle pivot is that of skin which never changes.
    """
    size = models.wrinkle.config.img_size
    if wrinkles is None:
        wrinkles = torch.full((1, 3, size, size), float(np.tanh(0.5)))
    motion = encode(_motion(offsets, topology, models), models.motion).mean(0)
    wrinkle = encode(wrinkles, models.wrinkle).mean(0)
    return Style(motion.numpy(), wrinkle.numpy(), name, "textalker", models.checkpoint)


def _motion(offsets: NDArray[np.float32], topology: Topology, models: MapModels) -> Tensor:
    table = bake_table(topology, models.motion.config.img_size, models.published)
    maps = table.bake(torch.from_numpy(models.stats.normalise(np.asarray(offsets, np.float32))))
    return maps * torch.from_numpy(table.covered) if models.published else maps


def encode_corpus(
    maps: CorpusMaps,
    models: MapModels,
    folder: Path | str,
    options: EncodingOptions | None = None,
    *,
    batch: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> Encoded:
    """Write the latents of every clip and the pivots of every person; progress(done, total) counts frames.

    Raises InputError if the folder was written with other models or options, or is something else.
    """
    options = options or EncodingOptions()
    folder = Path(folder)
    claim(folder, models, options)
    total = sum(-(-info.frames // options.stride) for info in maps.clips)
    done = reused = 0
    sums = _Pivots(maps, options)
    errors = _Errors(maps, models)
    for number, info in enumerate(maps.clips):
        latents, kept = clip_latents(maps, models, folder, number, options, batch=batch)
        reused += kept
        frames = np.arange(0, info.frames, options.stride)
        sums.add(number, frames, latents)
        errors.look(number)
        done += len(frames)
        if progress is not None:
            progress(done, total)
    counts = {}
    for subject, (style, count) in sums.finish(models.checkpoint).items():
        save_style(style, folder / "pivots" / f"{subject}.style")
        counts[subject] = count
    _save_faces(folder, maps, list(counts))
    found = Encoded(folder, len(maps.clips), reused, counts, *errors.means())
    index = {
        "format": 1,
        "stats": models.stats.to_dict(),
        "stride": options.stride,
        "clips": [
            {"key": info.key, "subject": info.subject, "split": info.split, "frames": info.frames}
            for info in maps.clips
        ],
        "pivot_frames": counts,
        "errors": {"map_mm": found.map_error, "motion_mm": found.motion_error, "wrinkle": found.wrinkle_error},
    }
    with atomic_path(folder / "index.json") as partial:
        partial.write_text(json.dumps(index, indent=1) + "\n")
    return found


def clip_latents(
    maps: CorpusMaps,
    models: MapModels,
    folder: Path | str,
    number: int,
    options: EncodingOptions,
    *,
    batch: int = 8,
) -> tuple[dict[str, Tensor], bool]:
    """Latents of one clip in a claimed folder, and whether they stood there; otherwise they are made and written."""
    info = maps.clips[number]
    path = Path(folder) / "latents" / f"{info.key}.safetensors"
    frames = np.arange(0, info.frames, options.stride)
    latents = _kept(path, len(frames))
    if latents is not None:
        return latents, True
    latents = _encode_clip(maps, models, number, frames, batch, options)
    with atomic_path(path) as partial:
        mode = partial.stat().st_mode
        save_file(latents, partial)
        partial.chmod(mode)
    return latents, False


def _encode_clip(
    maps: CorpusMaps,
    models: MapModels,
    number: int,
    frames: NDArray[np.int64],
    batch: int,
    options: EncodingOptions,
) -> dict[str, Tensor]:
    made: dict[str, list[Tensor]] = {kind: [] for kind in KINDS}
    for piece in np.array_split(frames, max(1, -(-len(frames) // 32))):
        made["motion"].append(encode(_motion(maps.offsets(number, piece), maps.topology, models), models.motion, batch))
        wrinkles = maps.wrinkle(number, piece)
        if wrinkles is not None:
            made["wrinkle"].append(encode(wrinkles, models.wrinkle, batch))
    dtype = torch.float16 if options.half else torch.float32
    return {kind: torch.cat(parts).to(dtype).contiguous() for kind, parts in made.items() if parts}


def _kept(path: Path, frames: int) -> dict[str, Tensor] | None:
    """Latents that stand there already and fit."""
    if not path.is_file():
        return None
    try:
        found = load_file(path)
    except Exception:  # damaged: made again
        return None
    return found if "motion" in found and len(found["motion"]) == frames else None


class _Pivots:
    """Sums of latents per person."""

    def __init__(self, maps: CorpusMaps, options: EncodingOptions) -> None:
        self.maps, self.options = maps, options
        self.seen = {info.subject for info in maps.clips if info.split == "train"}
        self.sums: dict[str, dict[str, tuple[Tensor, int]]] = {}

    def add(self, number: int, frames: NDArray[np.int64], latents: dict[str, Tensor]) -> None:
        info = self.maps.clips[number]
        subject = info.subject
        held_out = subject in self.seen and info.split != "train"
        if held_out and not self.options.held_out_too:
            return
        start = 1 if self.maps.rest(number) and len(frames) > 1 else 0  # the neutral frame says nothing
        sums = self.sums.setdefault(subject, {})
        for kind, z in latents.items():
            total, count = sums.get(kind, (torch.zeros(z.shape[1:], dtype=torch.float64), 0))
            z = z[start:]
            if self.options.seconds:
                most = round(self.options.seconds * self.options.fps / self.options.stride)
                z = z[: max(0, most - count)]
            sums[kind] = total + z.double().sum(0), count + len(z)

    def finish(self, checkpoint: str) -> dict[str, tuple[Style, int]]:
        """subject -> (style, frames); persons without pictures get the mean wrinkle pivot of the others."""
        known = [s["wrinkle"][0] / s["wrinkle"][1] for s in self.sums.values() if s.get("wrinkle", (0, 0))[1]]
        mean = torch.stack(known).mean(0).float().numpy() if known else np.zeros(0, np.float32)
        styles = {}
        for subject, sums in self.sums.items():
            total, count = sums["motion"]
            skin = sums.get("wrinkle")
            wrinkle = (skin[0] / skin[1]).float().numpy() if skin is not None and skin[1] else mean
            motion = (total / count).float().numpy()
            styles[subject] = Style(motion, wrinkle, subject, "textalker", checkpoint), count
        return styles


class _Errors:
    """What is lost on a few frames of every person's first clip."""

    def __init__(self, maps: CorpusMaps, models: MapModels) -> None:
        self.maps, self.models = maps, models
        self.looked: set[str] = set()
        self.found: list[tuple[float, float, float]] = []

    @torch.inference_mode()
    def look(self, number: int) -> None:
        info, models = self.maps.clips[number], self.models
        if info.subject in self.looked:
            return
        self.looked.add(info.subject)
        frames = np.unique(np.array([info.frames // 3, 2 * info.frames // 3]))
        offsets = self.maps.offsets(number, frames)
        table = bake_table(self.maps.topology, models.motion.config.img_size, models.published)
        baked = round_trip(offsets, table, models.stats).mean
        drawn = self._decoded(_motion(offsets, self.maps.topology, models), models.motion)
        back = models.stats.denormalise(table.sample(drawn, 1)).numpy()
        moved = float(np.linalg.norm(back - offsets, axis=-1).mean())
        wrinkles = self.maps.wrinkle(number, frames)
        skin = 0.0
        if wrinkles is not None:
            skin = float((self._decoded(wrinkles, models.wrinkle) - wrinkles).square().mean().sqrt())
        self.found.append((1000 * baked, 1000 * moved, 255 * skin))

    def _decoded(self, image: Tensor, model: VQAutoEncoder) -> Tensor:
        device = next(model.parameters()).device
        z = encode(image, model).to(device)
        return model.decode(z, quantise=self.models.quantise).float().cpu().contiguous()

    def means(self) -> tuple[float, float, float]:
        a, b, c = np.mean(self.found, 0).tolist()
        return a, b, c


def _save_faces(folder: Path, maps: CorpusMaps, subjects: list[str]) -> None:
    faces = [maps.face(subject) for subject in subjects]
    arrays: dict[str, Any] = {"names": np.array(subjects), "neutrals": np.stack([neutral for neutral, _ in faces])}
    if all(albedo is not None for _, albedo in faces):
        small = [Image.fromarray(a).resize((64, 64), Image.Resampling.BOX) for _, a in faces if a is not None]
        arrays["skins"] = np.stack([np.asarray(picture) for picture in small])
    with atomic_path(folder / "faces.npz") as partial:
        np.savez_compressed(partial, **arrays)


def claim(folder: Path, models: MapModels, options: EncodingOptions) -> None:
    """Make `folder` an encoding, or go on with it. Raises InputError as `encode_corpus`."""
    wanted = {
        "format": 1,
        "checkpoint": models.checkpoint,
        "weights": [_fingerprint(model) for model in (models.motion, models.wrinkle)],
        "stats": models.stats.to_dict(),
        **asdict(options),
    }
    claim_folder(folder, "encoding.json", wanted, made="encoded", kind="folder of latents")


def _fingerprint(model: VQAutoEncoder) -> str:
    """Of the encoder's weights."""
    import hashlib

    digest = hashlib.sha256()
    for name, value in sorted(model.encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _sha256(path: Path) -> str:
    import hashlib

    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
