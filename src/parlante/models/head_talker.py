"""Talkers on the embedded head: the phonetic encoder, its people and their rig, and a network that makes motion.

TexTalker (`textalker/head_generator.py`) and the families on motion coordinates (`head_network.py`) are generators; a
plug-in's family on motion coordinates is one without any code of its own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.audio.encoders.phonetic import ASSET as ENCODER_FOLDER
from parlante.audio.encoders.phonetic import FEATURES, RATE, STEP, PhoneticEncoder
from parlante.core import Identity, Style
from parlante.core.frames import FrameBlock
from parlante.core.options import Sampling
from parlante.core.timing import num_frames
from parlante.head import load_head
from parlante.head.arkit import ARKIT_NAMES
from parlante.models.base_talker import BaseTalker
from parlante.models.checkpoint import digest
from parlante.models.talker import Abilities, Audio, ExtractedStyle, StyleClip, unknown_name


class HeadGenerator(Protocol):
    """A network that moves the embedded head. Phonetic features are (1, S, F) at 50 per second."""

    family: str
    checkpoint: str
    """SHA-256 of its weights, or empty."""

    @property
    def fps(self) -> float:
        """Motion frames per second."""
        ...

    @property
    def wrinkle_size(self) -> tuple[int, int] | None:
        """(h, w) of its wrinkle maps, or none."""
        ...

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of known styles."""
        ...

    @property
    def solver_steps(self) -> int:
        """Most steps of its solver; 0: it has none."""
        ...

    @property
    def completes(self) -> bool:
        """Whether it makes wrinkles for a given motion, and motion for given wrinkles."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it is."""
        ...

    def style(self, name: str | None) -> Style:
        """A known style, or the average. Raises InputError for an unknown name."""
        ...

    def check_style(self, style: Style) -> None:
        """Raises InputError for a style of another shape."""
        ...

    def frames(
        self, encoded: Tensor, count: int, face: Identity, style: Style, sampling: Sampling
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8] | None]]:
        """Phonetic features of a recording -> (offsets (n, V, 3) metres, wrinkle maps (n, h, w, 3) or none)."""
        ...

    def extract(self, clips: Sequence[StyleClip], features: Sequence[Tensor], name: str) -> ExtractedStyle:
        """The style of the person in clips, whose phonetic features are given."""
        ...


class HeadTalker(BaseTalker):
    """A talker whose faces are the embedded people."""

    def __init__(
        self, generator: HeadGenerator, encoder: PhoneticEncoder, provenance: dict[str, Any] | None = None
    ) -> None:
        self.generator, self.encoder = generator, encoder
        self.name, self.fps, self.topology = generator.family, generator.fps, load_head().topology
        self.abilities = Abilities(
            styles=generator.styles,
            wrinkle_size=generator.wrinkle_size,
            solver_steps=generator.solver_steps,
            extracts_styles=True,
            completes=generator.completes,
        )
        self.provenance: dict[str, Any] = {
            "model": generator.family,
            "checkpoint_sha256": generator.checkpoint,
            "encoder": "phonetic",
            **(provenance or {}),
        }

    @classmethod
    def around(
        cls, generator: HeadGenerator, encoder: Path | str = ENCODER_FOLDER, device: torch.device | str = "cpu"
    ) -> "HeadTalker":
        """With the phonetic encoder in a folder, the shipped one by default. Raises InputError if it is damaged."""
        speech = PhoneticEncoder.from_pretrained(encoder).to(device)
        return cls(generator, speech, {"encoder_sha256": digest(encoder)})

    @property
    def device(self) -> torch.device:
        """Where its networks are."""
        return self.generator.device

    def face(self, wish: str | Identity | None = None, *, paint: bool = True) -> Identity:
        """An embedded person by name, the first by default, or an `Identity` that bears one's name; with the rig.

        Raises InputError for an unknown name.
        """
        head = load_head()
        name = head.identity_names[0] if wish is None else wish if isinstance(wish, str) else wish.name
        if name not in head.identity_names:
            raise unknown_name("identity", name, head.identity_names)
        neutral, albedo = head.neutral(name), None
        if isinstance(wish, Identity):
            neutral, albedo = wish.neutral, wish.albedo
        elif paint:
            albedo = head.identity(name).albedo
        x, y, z = (float(value) for value in head.neck_pivot(name))
        shapes = np.asarray(head.shapes(name), np.float32)
        return Identity(name, head.topology, neutral, albedo, shapes, ARKIT_NAMES, (x, y, z))

    def named_style(self, name: str | None, face: Identity | None = None) -> Style:
        """The style of a known name; none: that of `face` where it has one, else the average. Raises InputError."""
        if name is None and face is not None and face.name in self.abilities.styles:
            name = face.name
        return self.generator.style(name)

    def check_style(self, style: Style) -> None:
        """Raises InputError for a style of another shape."""
        self.generator.check_style(style)

    def encode_audio(self, audio: Audio) -> Tensor:
        """Audio (N,) at 16 kHz -> phonetic features (1, S, F) at 50 per second."""
        if len(audio) < 2 * STEP:
            audio = np.pad(np.asarray(audio), (0, 2 * STEP - len(audio)))
        return torch.from_numpy(self.encoder.encode(audio))[None].to(self.device)

    def extract_style(self, clips: Sequence[StyleClip], name: str) -> ExtractedStyle:
        """The style of the person in clips of the embedded head."""
        return self.generator.extract(clips, [self.encode_audio(clip.audio) for clip in clips], name)

    def _frames(self, audio: Audio, face: Identity, style: Style, sampling: Sampling) -> Iterator[FrameBlock]:
        count = num_frames(len(audio), fps=self.fps)
        encoded = self.encode_audio(audio)
        silence = self._silence(encoded, count)
        start = 0
        for offsets, wrinkle in self.generator.frames(encoded, count, face, style, sampling):
            rows = slice(start, start + len(offsets))
            yield FrameBlock(start, motion=offsets, wrinkle=wrinkle, silence=silence[rows])
            start += len(offsets)

    def _silence(self, encoded: Tensor, count: int) -> NDArray[np.float32]:
        """(T,) the chance that nobody speaks, per frame."""
        silence = encoded[0, :, FEATURES["phones"]][:, 0].cpu().numpy()
        times = np.arange(count) / self.fps * RATE - 0.5
        return np.interp(times, np.arange(len(silence)), silence).astype(np.float32)
