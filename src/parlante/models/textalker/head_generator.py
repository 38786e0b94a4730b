"""TexTalker on the embedded head: latents of phonetic features, decoded to maps, read back at the vertices."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.core import Identity, InputError, Style
from parlante.core.options import Sampling
from parlante.geometry.uv.motion_map import MotionStats, offsets_from_maps
from parlante.geometry.uv.ratio import decode, encode
from parlante.geometry.uv.table import bake_table
from parlante.head import load_head
from parlante.models.checkpoint import digest
from parlante.models.head_talker import HeadTalker
from parlante.models.talker import ExtractedStyle, StyleClip, unknown_name
from parlante.models.textalker.clip_pivots import ClipMeans, clip_pivots
from parlante.models.textalker.model import TexTalker

DECODE_FRAMES = 30
"""Frames decoded at a time: maps are large, frames in flight should be few."""


def around(network: TexTalker, folder: Path | str, device: torch.device | str = "cpu") -> HeadTalker:
    """The talker of a network that phonetic features are given to, read from a checkpoint folder."""
    return HeadTalker.around(TexTalkerGenerator(network, digest(folder)), device=device)


class TexTalkerGenerator:
    """A `HeadGenerator` (see `models.head_talker`) around a TexTalker."""

    family = "textalker"

    def __init__(self, network: TexTalker, checkpoint: str = "") -> None:
        self.network, self.checkpoint = network, checkpoint
        self.stats = MotionStats.from_dict(network.config.stats)
        """What motion maps are normalised by."""

    @property
    def fps(self) -> float:
        """Motion frames per second."""
        return self.network.config.fps

    @property
    def wrinkle_size(self) -> tuple[int, int]:
        """(h, w) of the wrinkle maps."""
        size = self.network.config.wrinkle.img_size
        return size, size

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the stored pivots."""
        return tuple(self.network.config.styles)

    @property
    def solver_steps(self) -> int:
        """Levels of noise."""
        return self.network.config.denoiser.steps

    @property
    def completes(self) -> bool:
        """Whether motion and wrinkles are made together."""
        sizes = self.network.config.denoiser
        return bool(sizes.motion_dim and sizes.wrinkle_dim)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.motion_pivots.device

    def style(self, name: str | None) -> Style:
        """The pivots of a known name, or the average of all. Raises InputError for an unknown name."""
        if name is None:
            motion, wrinkle = self.network.motion_pivots.mean(0), self.network.wrinkle_pivots.mean(0)
            found = Style(motion.cpu().numpy(), wrinkle.cpu().numpy(), "mean")
        elif name in self.styles:
            found = replace(self.network.style(name), wrinkle_name=name)
        else:
            raise unknown_name("style", name, self.styles)
        return replace(found, model=self.family, checkpoint=self.checkpoint)

    def check_style(self, style: Style) -> None:
        """Raises InputError for pivots of another shape."""
        for part, shape in zip(("motion", "wrinkle"), self.network.shapes, strict=True):
            if getattr(style, part).shape != shape:
                raise InputError(
                    f"the {part} pivot of style {style.name!r} is {getattr(style, part).shape}, this model's are "
                    f"{shape}; encode it with this model"
                )

    def frames(
        self, encoded: Tensor, count: int, face: Identity, style: Style, sampling: Sampling
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8] | None]]:
        """Phonetic features (1, S, F) of a recording -> (offsets (n, V, 3), wrinkle maps or none) of `count` frames."""
        table = bake_table(face.topology, self.network.config.motion.img_size)
        strength = _strength_table(sampling.wrinkle_strength)
        generator = torch.Generator().manual_seed(sampling.seed)
        for window in self.network.latents(encoded, style, count, steps=sampling.steps, generator=generator):
            pieces = zip(window.motion[0].split(DECODE_FRAMES), window.wrinkle[0].split(DECODE_FRAMES), strict=True)
            for motion, wrinkle in pieces:
                with torch.inference_mode():
                    maps = self.network.decode_motion(motion).cpu()
                    offsets = offsets_from_maps(maps, table, self.stats) * sampling.motion_strength
                    stored = None
                    if sampling.wrinkles:
                        stored = stored_maps(self.network.decode_wrinkle(wrinkle))
                        if sampling.wrinkle_strength != 1:
                            stored = strength[stored]
                yield np.ascontiguousarray(offsets.numpy()), stored

    @torch.inference_mode()
    def extract(self, clips: Sequence[StyleClip], features: Sequence[Tensor], name: str) -> ExtractedStyle:
        """Style pivots: the clips' latents less what their speech explains; the average skin where none is given."""
        means = [self._means(clip, encoded) for clip, encoded in zip(clips, features, strict=True)]
        motion, wrinkle = clip_pivots(self.network, means)
        style = Style(motion.cpu().numpy().copy(), wrinkle.cpu().numpy().copy(), name, self.family, self.checkpoint)
        seen = any(clip.wrinkle is not None for clip in means)
        facts: dict[str, float | str] = {"wrinkles": "from the clips" if seen else "average"}
        if self.styles:
            facts["nearest known style"] = self._nearest(style, seen)
        return ExtractedStyle(style, sum(len(clip.offsets) for clip in clips) / self.fps, facts)

    def _means(self, clip: StyleClip, encoded: Tensor) -> ClipMeans:
        """Features and mean latents of every third frame."""
        config, device = self.network.config, self.device
        table = bake_table(load_head().topology, config.motion.img_size)
        rest = torch.from_numpy(np.asarray(self.stats.normalise(np.zeros(3, np.float32)), np.float32)).view(1, 3, 1, 1)
        span = np.asarray(self.stats.maximum, np.float32) - np.asarray(self.stats.minimum, np.float32)
        pieces = np.array_split(clip.offsets[::3], -(-len(clip.offsets) // 90))
        motion = [
            self.network.motion.encode((table.bake(torch.from_numpy(o / span)) + rest).to(device)) for o in pieces
        ]
        wrinkle = []
        if clip.wrinkle is not None and clip.wrinkle.shape[1:3] == self.wrinkle_size:
            for maps in np.array_split(clip.wrinkle[::3], -(-len(clip.wrinkle) // 90)):
                values = torch.from_numpy(maps.astype(np.float32) / 255).permute(0, 3, 1, 2)
                wrinkle.append(self.network.wrinkle.encode(values.to(device)))
        skin = torch.cat(wrinkle).mean(0) if wrinkle else None
        return ClipMeans(encoded[0], len(clip.offsets), torch.cat(motion).mean(0), skin)

    def _nearest(self, style: Style, with_skin: bool) -> str:
        """The known style nearest to one, distances relative to the known ones' spread."""
        distance = torch.zeros(len(self.styles))
        for part in ("motion", "wrinkle") if with_skin else ("motion",):
            known = getattr(self.network, f"{part}_pivots").flatten(1).cpu()
            spread = (known - known.mean(0)).square().sum(1).mean().clamp(min=1e-12)
            distance += (known - torch.from_numpy(getattr(style, part)).flatten()).square().sum(1) / spread
        return self.styles[int(distance.argmin())]


def stored_maps(maps: Tensor) -> NDArray[np.uint8]:
    """Wrinkle maps (n, 3, h, w), 0..1 -> bytes (n, h, w, 3)."""
    levels = maps.mul(255).round_().clamp_(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _strength_table(strength: float) -> NDArray[np.uint8]:
    """(256,) stored wrinkle -> stored wrinkle with the ratio raised to `strength`; unchanged skin stays."""
    ratio = decode(np.arange(256) / 255.0)
    table = np.rint(255 * encode(np.clip(ratio, 1e-6, 1e3) ** strength)).astype(np.uint8)
    table[118] = 118
    return table
