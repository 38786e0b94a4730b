"""The shipped talker: phonetic encoder, TexTalker, and its maps read back onto the embedded head."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parlante.animation.source import Request, Window, unknown_name
from parlante.animation.style_extraction import Extracted, StyleClip
from parlante.audio.encoders.phonetic import ASSET as ENCODER_FOLDER
from parlante.audio.encoders.phonetic import FEATURES, RATE, STEP, PhoneticEncoder
from parlante.core import InputError, Style
from parlante.core.timing import num_frames
from parlante.geometry.uv.motion_map import MotionStats, offsets_from_maps
from parlante.geometry.uv.ratio import decode, encode
from parlante.geometry.uv.table import bake_table
from parlante.head import load_head
from parlante.models.checkpoint import digest
from parlante.models.textalker.clip_pivots import ClipMeans, clip_pivots
from parlante.models.textalker.model import ASSET as TALKER_FOLDER
from parlante.models.textalker.model import TexTalker

DECODE_FRAMES = 30
"""Frames decoded at a time: maps are large, frames in flight should be few."""


class TexTalkerSource:
    """TexTalker as the pipeline sees it. Holds the features of the speech it listened to last."""

    def __init__(self, talker: TexTalker, encoder: PhoneticEncoder, provenance: dict[str, Any] | None = None) -> None:
        self.talker, self.encoder = talker, encoder
        self.fps = talker.config.fps
        size = talker.config.wrinkle.img_size
        self.wrinkle_size = (size, size)
        self.style_names = tuple(talker.config.styles)
        self.max_steps = talker.config.denoiser.steps
        self.provenance: dict[str, Any] = provenance or {"model": "textalker"}
        self.stats = MotionStats.from_dict(talker.config.stats)
        """What motion maps are normalised by."""
        self.features: NDArray[np.float32] = np.zeros((0, encoder.dim), np.float32)
        """(S, D) of the speech listened to last."""
        self._frames = 0

    @classmethod
    def load(cls, talker: Path | str = TALKER_FOLDER, encoder: Path | str = ENCODER_FOLDER) -> "TexTalkerSource":
        """From two checkpoint folders, the shipped ones by default. Raises InputError if one is missing or damaged."""
        provenance = {
            "model": "textalker",
            "checkpoint_sha256": digest(talker),
            "encoder": "phonetic",
            "encoder_sha256": digest(encoder),
        }
        return cls(TexTalker.from_pretrained(talker), PhoneticEncoder.from_pretrained(encoder), provenance)

    @classmethod
    def shared(cls) -> "TexTalkerSource":
        """The shipped model, loaded once per process."""
        return _shipped()

    def listen(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encode speech (N,) at 16 kHz; returns (T,) the chance that nobody speaks, per frame."""
        self._frames = num_frames(len(audio), fps=self.fps)
        if len(audio) < 2 * STEP:
            audio = np.pad(np.asarray(audio), (0, 2 * STEP - len(audio)))
        self.features = self.encoder.encode(audio)
        silence = self.features[:, FEATURES["phones"]][:, 0]
        times = np.arange(self._frames) / self.fps * RATE - 0.5
        return np.interp(times, np.arange(len(silence)), silence).astype(np.float32)

    def windows(self, request: Request) -> Iterator[Window]:
        """Frames of the speech last listened to. Raises InputError for a style it does not know."""
        style = self._style(request)
        table = bake_table(request.identity.topology, self.talker.config.motion.img_size)
        strength = _strength_table(request.wrinkle_strength)
        latents = self.talker.latents(
            torch.from_numpy(self.features)[None],
            style,
            self._frames,
            steps=request.steps,
            generator=torch.Generator().manual_seed(request.seed),
        )
        for window in latents:
            pieces = zip(window.motion[0].split(DECODE_FRAMES), window.wrinkle[0].split(DECODE_FRAMES), strict=True)
            for motion, wrinkle in pieces:
                with torch.inference_mode():
                    maps = self.talker.decode_motion(motion)
                    offsets = offsets_from_maps(maps, table, self.stats) * request.motion_strength
                    stored = None
                    if request.texture:
                        bytes_ = self.talker.decode_wrinkle(wrinkle).mul(255).round_().clamp_(0, 255).to(torch.uint8)
                        stored = bytes_.permute(0, 2, 3, 1).contiguous().numpy()
                        if request.wrinkle_strength != 1:
                            stored = strength[stored]
                yield Window(np.ascontiguousarray(offsets.numpy()), stored)

    def style(self, name: str | None) -> Style:
        """A known style by name, or the average of all. Raises InputError for an unknown name."""
        if name is None:
            motion, wrinkle = self.talker.motion_pivots.mean(0), self.talker.wrinkle_pivots.mean(0)
            found = Style(motion.numpy(), wrinkle.numpy(), "mean")
        elif name in self.style_names:
            found = self.talker.style(name)
        else:
            raise unknown_name("style", name, self.style_names)
        return replace(found, model="textalker", checkpoint=self._checkpoint)

    @torch.inference_mode()
    def extract(self, clips: Sequence[StyleClip], name: str) -> Extracted:
        """Style pivots: the clips' latents less what their speech explains; the average skin where none is given."""
        heard = [self._means(clip) for clip in clips]
        motion, wrinkle = clip_pivots(self.talker, heard)
        style = Style(motion.numpy().copy(), wrinkle.numpy().copy(), name, "textalker", self._checkpoint)
        seen = any(clip.wrinkle is not None for clip in heard)
        facts: dict[str, float | str] = {"wrinkles": "from the clips" if seen else "average"}
        if self.style_names:
            facts["nearest known style"] = self._nearest(style, seen)
        return Extracted(style, sum(len(clip.offsets) for clip in clips) / self.fps, facts)

    def _means(self, clip: StyleClip) -> ClipMeans:
        """Features and mean latents of every third frame."""
        config = self.talker.config
        table = bake_table(load_head().topology, config.motion.img_size)
        rest = torch.from_numpy(np.asarray(self.stats.normalise(np.zeros(3, np.float32)), np.float32)).view(1, 3, 1, 1)
        span = np.asarray(self.stats.maximum, np.float32) - np.asarray(self.stats.minimum, np.float32)
        pieces = np.array_split(clip.offsets[::3], -(-len(clip.offsets) // 90))
        motion = [self.talker.motion.encode(table.bake(torch.from_numpy(o / span)) + rest) for o in pieces]
        wrinkle = []
        size = config.wrinkle.img_size
        if clip.wrinkle is not None and clip.wrinkle.shape[1:3] == (size, size):
            for maps in np.array_split(clip.wrinkle[::3], -(-len(clip.wrinkle) // 90)):
                values = torch.from_numpy(maps.astype(np.float32) / 255).permute(0, 3, 1, 2)
                wrinkle.append(self.talker.wrinkle.encode(values))
        self.listen(clip.audio)
        skin = torch.cat(wrinkle).mean(0) if wrinkle else None
        return ClipMeans(torch.from_numpy(self.features), len(clip.offsets), torch.cat(motion).mean(0), skin)

    def _nearest(self, style: Style, with_skin: bool) -> str:
        """The known style nearest to one, distances relative to the known ones' spread."""
        distance = torch.zeros(len(self.style_names))
        for part in ("motion", "wrinkle") if with_skin else ("motion",):
            known = getattr(self.talker, f"{part}_pivots").flatten(1)
            spread = (known - known.mean(0)).square().sum(1).mean().clamp(min=1e-12)
            distance += (known - torch.from_numpy(getattr(style, part)).flatten()).square().sum(1) / spread
        return self.style_names[int(distance.argmin())]

    @property
    def _checkpoint(self) -> str:
        return str(self.provenance.get("checkpoint_sha256", ""))

    def _style(self, request: Request) -> Style:
        motion, wrinkle = (self._pivots(wish, request) for wish in (request.motion_style, request.wrinkle_style))
        return Style(motion.motion, wrinkle.wrinkle, f"{motion.name}/{wrinkle.name}")

    def _pivots(self, wish: str | Style | None, request: Request) -> Style:
        """A style as given; by default the identity's own, or the mean of all where it has none."""
        if isinstance(wish, Style):
            for part, shape in zip(("motion", "wrinkle"), self.talker.shapes, strict=True):
                if getattr(wish, part).shape != shape:
                    raise InputError(
                        f"the {part} pivot of style {wish.name!r} is {getattr(wish, part).shape}, this model's are "
                        f"{shape}; encode it with this model"
                    )
            return wish
        if wish is None and request.identity.name in self.style_names:
            wish = request.identity.name
        return self.style(wish)


@lru_cache(maxsize=1)
def _shipped() -> TexTalkerSource:
    return TexTalkerSource.load()


def _strength_table(strength: float) -> NDArray[np.uint8]:
    """(256,) stored wrinkle -> stored wrinkle with the ratio raised to `strength`; unchanged skin stays."""
    ratio = decode(np.arange(256) / 255.0)
    table = np.rint(255 * encode(np.clip(ratio, 1e-6, 1e3) ** strength)).astype(np.uint8)
    table[118] = 118
    return table
