"""What every talker of ours shares: styles by name, mixture and file, sessions, and what it says about itself."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from parlante.core import Identity, InputError, Style, Topology
from parlante.core.frames import FrameBlock
from parlante.core.options import Sampling
from parlante.models.styles import parse_style
from parlante.models.talker import (
    Abilities,
    Audio,
    ExtractedStyle,
    Session,
    StyleClip,
    WholeAudioSession,
    check_look_ahead,
    check_sampling,
)


class BaseTalker(ABC):
    """A `SpeechModel`. A talker holds weights only; whatever belongs to one recording lives in the session's
    iterator."""

    name: str
    fps: float
    topology: Topology | None
    abilities: Abilities
    provenance: dict[str, Any]

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where its networks are."""

    @abstractmethod
    def face(self, wish: str | Identity | None = None, *, paint: bool = True) -> Identity:
        """Who speaks: by name, from a file, as given, or the default. paint: with skin. Raises InputError."""

    @abstractmethod
    def named_style(self, name: str | None, face: Identity | None = None) -> Style:
        """The style of a known name; none: that of `face` where it has one, else the average. Raises InputError."""

    @abstractmethod
    def _frames(self, audio: Audio, face: Identity, style: Style, sampling: Sampling) -> Iterator[FrameBlock]:
        """The frames of a whole recording."""

    def folder_style(self, folder: Path) -> Style:
        """The style of the person in a folder. Raises InputError where they mean nothing to this talker."""
        raise InputError(f"{folder} is a folder; a style is a known name, a mixture or a .style file")

    def check_style(self, style: Style) -> None:
        """Raises InputError for a style of another shape."""
        return None

    def style(self, wish: str | Style | None = None, face: Identity | None = None) -> Style:
        """A style by name, mixture such as `ada:0.7,bo:0.3`, or `.style` file, or as given; none: that of `face`.

        Raises InputError for an unknown name, other amounts, and for a style of another model.
        """
        return self.named_style(None, face) if wish is None else parse_style(wish, self)

    def session(
        self, face: Identity, style: Style, *, sampling: Sampling | None = None, look_ahead: float | None = None
    ) -> Session:
        """Begin an utterance; see `SpeechModel.session`."""
        chosen = sampling or Sampling()
        check_look_ahead(self, look_ahead)
        check_sampling(self, chosen)
        self.check_style(style)
        return WholeAudioSession(lambda audio: self._frames(audio, face, style, chosen))

    def extract_style(self, clips: Sequence[StyleClip], name: str) -> ExtractedStyle:
        """The style of the person in clips. Raises InputError where this talker learns none."""
        raise InputError(f"this {self.name} learns no styles from clips")
