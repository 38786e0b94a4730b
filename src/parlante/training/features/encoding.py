"""Latents of whole corpora: what the two autoencoders say of every frame, kept in files, and every person's pivots.

    DIR/encoding.json                   which models and options; written first
    DIR/latents/CLIP.safetensors        motion (T, C, h, w) and, where there are pictures, wrinkle, before quantisation
    DIR/pivots/SUBJECT.style            mean latents of a person (TexTalker, CVPR 2025, section "style pivots")
    DIR/faces.npz                       names, neutrals (N, V, 3), skins: from which pivots of others are predicted
    DIR/index.json                      clips, errors; written last

Clips that are there already are kept.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from parlante.core import Style, Topology, atomic_path, claim_folder
from parlante.core.style import save_style
from parlante.geometry.uv import bake_table, round_trip
from parlante.models.textalker.vqgan import VQAutoEncoder
from parlante.training.features.corpus_maps import KINDS, CorpusMaps, MapModels, baked_motion
from parlante.training.features.encoding_options import EncodingOptions


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
    motion = encode(baked_motion(offsets, topology, models), models.motion).mean(0)
    wrinkle = encode(wrinkles, models.wrinkle).mean(0)
    return Style(motion.numpy(), wrinkle.numpy(), name, models.model, models.checkpoint)


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
    claim(folder, maps, models, options)
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
    for subject, (style, count) in sums.finish(models).items():
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
        motion = baked_motion(maps.offsets(number, piece), maps.topology, models)
        made["motion"].append(encode(motion, models.motion, batch))
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
                most = round(self.options.seconds * self.maps.fps / self.options.stride)
                z = z[: max(0, most - count)]
            sums[kind] = total + z.double().sum(0), count + len(z)

    def finish(self, models: MapModels) -> dict[str, tuple[Style, int]]:
        """subject -> (style, frames); persons without pictures get the mean wrinkle pivot of the others."""
        known = [s["wrinkle"][0] / s["wrinkle"][1] for s in self.sums.values() if s.get("wrinkle", (0, 0))[1]]
        mean = torch.stack(known).mean(0).float().numpy() if known else np.zeros(0, np.float32)
        styles = {}
        for subject, sums in self.sums.items():
            total, count = sums["motion"]
            skin = sums.get("wrinkle")
            wrinkle = (skin[0] / skin[1]).float().numpy() if skin is not None and skin[1] else mean
            motion = (total / count).float().numpy()
            styles[subject] = Style(motion, wrinkle, subject, models.model, models.checkpoint), count
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
        drawn = self._decoded(baked_motion(offsets, self.maps.topology, models), models.motion)
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


def claim(folder: Path, maps: CorpusMaps, models: MapModels, options: EncodingOptions) -> None:
    """Make `folder` an encoding, or go on with it. Raises InputError as `encode_corpus`."""
    wanted = {
        "format": 1,
        "checkpoint": models.checkpoint,
        "weights": [_fingerprint(model) for model in (models.motion, models.wrinkle)],
        "stats": models.stats.to_dict(),
        **asdict(options),
        "fps": maps.fps,
    }
    claim_folder(folder, "encoding.json", wanted, made="encoded", kind="folder of latents")


def _fingerprint(model: VQAutoEncoder) -> str:
    """Of the encoder's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(model.encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
