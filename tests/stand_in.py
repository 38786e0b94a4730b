"""A stand-in talker that performs known weights, so that what follows can be judged exactly and quickly."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from parlante.core import Identity, Style
from parlante.core.frames import FrameBlock
from parlante.core.options import Sampling
from parlante.core.timing import num_frames
from parlante.head import load_head
from parlante.head.arkit import ARKIT_NAMES, INDEX
from parlante.models.base_talker import BaseTalker
from parlante.models.talker import Abilities, unknown_name


class StandIn(BaseTalker):
    """Opens and closes the mouth at 2 Hz where there is sound; its weights are known."""

    name, fps, device = "stand-in", 30.0, torch.device("cpu")

    def __init__(self, piece: int = 37) -> None:
        self.topology = load_head().topology
        self.abilities = Abilities(styles=load_head().identity_names, wrinkle_size=(8, 8), solver_steps=1000)
        self.provenance: dict[str, Any] = {"model": self.name, "checkpoint_sha256": "0" * 64}
        self.piece = piece
        self.calls: list[tuple[Identity, Style, Sampling]] = []
        self.noise: np.random.Generator | None = None
        """Adds a millimetre of noise to every vertex."""

    def able(self, **changes: Any) -> "StandIn":
        """Itself with other abilities."""
        self.abilities = replace(self.abilities, **changes)
        return self

    def face(self, wish: str | Identity | None = None, *, paint: bool = True) -> Identity:
        head = load_head()
        name = head.identity_names[0] if wish is None else wish if isinstance(wish, str) else wish.name
        if name not in head.identity_names:
            raise unknown_name("identity", name, head.identity_names)
        face = head.identity(name) if paint else Identity(name, head.topology, head.neutral(name))
        x, y, z = (float(value) for value in head.neck_pivot(name))
        return replace(face, shapes=head.shapes(name), weight_names=ARKIT_NAMES, pivot=(x, y, z))

    def named_style(self, name: str | None, face: Identity | None = None) -> Style:
        if name is None and face is not None and face.name in self.abilities.styles:
            name = face.name
        return Style(np.zeros(1, np.float32), np.zeros(0, np.float32), name or "mean", wrinkle_name=name or "")

    @staticmethod
    def curves(frames: int) -> np.ndarray:
        """The weights (T, 52) that it performs."""
        time = np.arange(frames) / 30
        curves = np.zeros((frames, 52), np.float32)
        curves[:, INDEX["jawOpen"]] = 0.3 + 0.25 * np.sin(2 * np.pi * 2 * time)
        curves[:, INDEX["mouthSmileLeft"]] = 0.2
        curves[:, INDEX["browInnerUp"]] = 0.4
        curves[:, INDEX["eyeBlinkLeft"]] = 0.5
        return curves

    def _frames(self, audio: np.ndarray, face: Identity, style: Style, sampling: Sampling) -> Iterator[FrameBlock]:
        self.calls.append((face, style, sampling))
        frames = num_frames(len(audio))
        starts = (np.arange(frames) * 16000 // 30).astype(int)
        silence = np.array([np.abs(audio[s : s + 533]).max(initial=0) < 0.01 for s in starts], np.float32)
        basis, curves = load_head().shapes(face.name), self.curves(frames)
        for start in range(0, frames, self.piece):
            part = curves[start : start + self.piece] * sampling.motion_strength
            motion = np.tensordot(part, basis, 1).astype(np.float32)
            if self.noise is not None:
                motion += self.noise.normal(size=motion.shape).astype("f4") * 1e-3
            wrinkle = np.full((len(part), 8, 8, 3), 118, np.uint8) if sampling.wrinkles else None
            yield FrameBlock(start, motion=motion, wrinkle=wrinkle, silence=silence[start : start + self.piece])


def spoken(seconds: float, rate: int = 16000, silent_after: float | None = None) -> np.ndarray:
    """A buzz that pulses like syllables."""
    time = np.arange(round(seconds * rate)) / rate
    voice = np.sign(np.sin(2 * np.pi * 110 * time)) * 0.2 * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    if silent_after is not None:
        voice[time > silent_after] = 0
    return voice.astype(np.float32)
