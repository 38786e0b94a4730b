"""Where motion comes from: what the pipeline asks of a talker, and TexTalker as an answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from parlante.core import Identity, InputError, Style


class Window(NamedTuple):
    """Consecutive frames from a talker."""

    offsets: NDArray[np.float32]
    """(n, V, 3) metres from neutral."""
    wrinkle: NDArray[np.uint8] | None
    """(n, h, w, 3) stored wrinkle maps, or none."""


@dataclass(frozen=True, eq=False)
class Request:
    """How the speech is to be performed."""

    identity: Identity
    motion_style: str | Style | None = None
    """Whose motion: a subject's name, or a `Style`; none means the identity's own."""
    wrinkle_style: str | Style | None = None
    motion_strength: float = 1.0
    """Factor on the motion away from neutral; 1 leaves it."""
    wrinkle_strength: float = 1.0
    seed: int = 0
    steps: int | None = None
    """Solver steps of the diffusion; none: the model's default."""
    texture: bool = True


class Source(Protocol):
    """A talker as the pipeline sees it."""

    fps: float
    style_names: tuple[str, ...]
    provenance: dict[str, Any]
    """Model name and checkpoint hash."""
    max_steps: int
    """Solver steps at most; 0: it has no solver, steps cannot be chosen."""

    @property
    def wrinkle_size(self) -> tuple[int, int] | None:
        """(h, w) of its wrinkle maps; none: it moves the mesh alone."""
        ...

    def listen(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the speech (N,) at 16 kHz; returns (T,) how sure it is that nobody speaks, per frame."""
        ...

    def windows(self, request: Request) -> Iterator[Window]:
        """The frames of the speech last listened to, in order; T in all."""
        ...

    def style(self, name: str | None) -> Style:
        """A known style by name, or the average of all. Raises InputError for an unknown name."""
        ...


@runtime_checkable
class MeshSource(Source, Protocol):
    """A talker with faces of its own, of any topology: no curves, no head pose."""

    def person(self, identity: str | Identity | None, *, paint: bool = True) -> Identity:
        """Who speaks: by name, from a file or folder, or its first face. paint: with skin, where it has one."""
        ...


def unknown_name(what: str, name: str, known: tuple[str, ...]) -> InputError:
    """The error for a name that is not in a list, with the nearest one that is."""
    import difflib

    lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    hint = f"did you mean {lower[near[0]]!r}? " if near else ""
    return InputError(f"unknown {what} {name!r}; {hint}known: {', '.join(known)}")
