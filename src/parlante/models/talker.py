"""The contract of a talker: speech in, frames of a face out. Everything above the models speaks to this file alone.

    >>> model = load_model("textalker")  # doctest: +SKIP
    >>> session = model.session(model.face("amara"), model.style("mateo"))  # doctest: +SKIP
    >>> blocks = [*session.push(audio_16k), *session.finish()]  # doctest: +SKIP

All state lives in the session: two sessions of one talker never meet.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from parlante.core import Identity, InputError, Style, Topology
from parlante.core.frames import FrameBlock
from parlante.core.options import Sampling

Audio = NDArray[np.float32]
"""(N,) mono at 16 kHz, -1..1; anything that slices like such an array."""


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """What a talker can do; nobody has to look at its class to know."""

    styles: tuple[str, ...] = ()
    """Names of the styles it knows."""
    wrinkle_size: tuple[int, int] | None = None
    """(h, w) of its wrinkle maps; none: it moves the mesh alone."""
    solver_steps: int = 0
    """Most steps of its solver; 0: it has none, steps cannot be chosen."""
    smallest_look_ahead: float | None = None
    """Seconds of audio after a frame that it needs at least; none: it answers whole recordings only."""
    own_faces: bool = False
    """Whether it moves meshes of its own rather than the embedded head."""
    extracts_styles: bool = False
    """Whether it learns a style from clips."""
    completes: bool = False
    """Whether it makes wrinkles for a given motion, and motion for given wrinkles."""
    emotions: tuple[str, ...] = ()
    """Names of the emotions it can show."""


@dataclass(frozen=True, eq=False)
class StyleClip:
    """What a talker learns a style from."""

    audio: Audio
    offsets: NDArray[np.float32]
    """(T, V, 3) metres from neutral, at the talker's rate."""
    wrinkle: NDArray[np.uint8] | None
    """(T', h, w, 3) stored wrinkle maps of the clip's own frames."""


@dataclass(frozen=True)
class ExtractedStyle:
    """A style and how well it fits."""

    style: Style
    seconds: float
    """Of the clips that were used."""
    facts: dict[str, float | str]
    """Figures to show; their names depend on the model."""


class Session(Protocol):
    """One utterance being spoken."""

    def push(self, audio_16k: Audio) -> Iterator[FrameBlock]:
        """Take the next audio; gives the frames that are ready, in order."""
        ...

    def finish(self) -> Iterator[FrameBlock]:
        """The audio has ended; gives all frames that are left. The session can then be used again."""
        ...

    def reset(self) -> None:
        """Forget the audio that was taken and all frames that were not given."""
        ...


class SpeechModel(Protocol):
    """A talker: shipped, trained here, converted, or a plug-in's."""

    name: str
    """Of the model, as in its checkpoint."""
    fps: float
    topology: Topology | None
    """Of the mesh that it moves; none where each face brings its own."""
    abilities: Abilities
    provenance: dict[str, Any]
    """Model name and checkpoint hash."""

    @property
    def device(self) -> torch.device:
        """Where its networks are."""
        ...

    def face(self, wish: str | Identity | None = None, *, paint: bool = True) -> Identity:
        """Who speaks: by name, from a file, as given, or the default. paint: with skin. Raises InputError."""
        ...

    def style(self, wish: str | Style | None = None, face: Identity | None = None) -> Style:
        """A style by name, mixture or `.style` file, or as given; none: that of `face`, else the average.

        Raises InputError for an unknown name and for a style of another model.
        """
        ...

    def session(
        self, face: Identity, style: Style, *, sampling: Sampling | None = None, look_ahead: float | None = None
    ) -> Session:
        """Begin an utterance. look_ahead: seconds; none: the whole recording is pushed before frames come.

        Raises InputError for a look-ahead below `abilities.smallest_look_ahead`.
        """
        ...

    def extract_style(self, clips: Sequence[StyleClip], name: str) -> ExtractedStyle:
        """The style of the person in clips. Raises InputError where `abilities.extracts_styles` is false."""
        ...


class WholeAudioSession:
    """A session that answers once the audio has ended."""

    def __init__(self, speak: Callable[[Audio], Iterator[FrameBlock]]) -> None:
        """`speak`: whole audio -> its frames; must keep all its state in the iterator."""
        self._speak = speak
        self._pieces: list[Audio] = []

    def push(self, audio_16k: Audio) -> Iterator[FrameBlock]:
        """Keep the audio. Raises InputError unless it is (N,)."""
        if audio_16k.ndim != 1:
            raise InputError(f"push mono audio (N,) at 16 kHz, got an array of shape {tuple(audio_16k.shape)}")
        self._pieces.append(audio_16k)
        return iter(())

    def finish(self) -> Iterator[FrameBlock]:
        """All frames."""
        pieces, self._pieces = self._pieces, []
        audio = pieces[0] if len(pieces) == 1 else np.concatenate([np.zeros(0, np.float32), *pieces])
        return self._speak(audio)

    def reset(self) -> None:
        """Forget what was pushed."""
        self._pieces = []


def check_look_ahead(model: SpeechModel, look_ahead: float | None) -> None:
    """Raises InputError where a model cannot answer within so many seconds."""
    least = model.abilities.smallest_look_ahead
    if look_ahead is not None and (least is None or look_ahead < least):
        able = "answers whole recordings only; leave it out" if least is None else f"needs at least {least:g} s"
        raise InputError(f"a look-ahead of {look_ahead:g} s is not possible: {model.name} {able}")


def check_sampling(model: SpeechModel, sampling: Sampling) -> None:
    """Raises InputError where a model is asked for what it does not have."""
    steps, most = sampling.steps, model.abilities.solver_steps
    if steps is not None and not most:
        raise InputError(f"{model.name} has no solver, so that steps={steps} means nothing; leave it out")
    if steps is not None and not 1 <= steps <= most:
        raise InputError(f"steps of {model.name} must lie in 1..{most}, got {steps}; leave it out for its own")
    if model.abilities.wrinkle_size is None and sampling.wrinkle_strength != 1:
        raise InputError(f"{model.name} makes no wrinkles; leave wrinkle style and wrinkle strength out")


def unknown_name(what: str, name: str, known: Sequence[str]) -> InputError:
    """The error for a name that is not in a list, with the nearest one that is."""
    import difflib

    lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    hint = f"did you mean {lower[near[0]]!r}? " if near else ""
    return InputError(f"unknown {what} {name!r}; {hint}known: {', '.join(known)}")
