"""Options of an animation as small dataclasses; the command line is generated from them. Nothing heavy is imported."""

import math
import os
from dataclasses import dataclass, field, fields
from types import NoneType
from typing import Any, Union

from parlante.core.checks import NUMBER, WHOLE, check_type
from parlante.core.errors import InputError
from parlante.core.renames import notice


def option(default: Any, help: str, metavar: str | None = None, *, kept: bool = True) -> Any:
    """A dataclass field with its `--help` text. kept: whether what is made depends on it, and going on asks for it."""
    return field(default=default, metadata={"help": help, "metavar": metavar, "kept": kept})


@dataclass(frozen=True, kw_only=True)
class SpeakerOptions:
    """Who speaks, and in whose style."""

    identity: str | None = option(
        None,
        "who speaks; parlante info lists them. Converted checkpoints: a name of theirs, a face file (.ply, .obj, or "
        "templates.pkl:NAME), or for textalker a folder with face.obj and face.png",
        "NAME",
    )
    style: str | None = option(
        None,
        "speaking style: NAME, a mixture NAME:0.7,NAME:0.3, or a file (me.style); amounts are any numbers, a single "
        "one counts from the average (NAME:0), so that NAME:1.5 exaggerates; default: the identity's own",
        "NAME",
    )
    motion_style: str | None = option(None, "style of the motion alone", "NAME")
    wrinkle_style: str | None = option(None, "style of the wrinkles alone", "NAME")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a talker makes its frames."""

    seed: int = option(0, "the same seed gives the same animation")
    steps: int | None = option(None, "solver steps; default: the model's own", "N")
    motion_strength: float = option(1.0, "factor on the motion, 0..3; 1 leaves the model's", "X")
    wrinkle_strength: float = option(1.0, "factor on the wrinkles, 0..3; 1 leaves the model's", "X")
    wrinkles: bool = True
    """False makes no wrinkle maps."""

    def __post_init__(self) -> None:
        for name in ("motion_strength", "wrinkle_strength"):
            value = getattr(self, name)
            check_type(name, value, NUMBER, "a number in 0..3")
            if not 0 <= value <= 3:
                raise InputError(f"{name} must lie in 0..3, got {value:g}; 1 leaves the model's own")
        check_type("seed", self.seed, WHOLE, "a whole number from 0 to 2**63 - 1")
        check_type("steps", self.steps, (*WHOLE, NoneType), "a whole number or none")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed must be a whole number from 0 to 2**63 - 1, got {self.seed}")


MESH_PARTS = ("auto", "none", "eyes", "mouth", "all")
"""Which eyeballs, teeth, gums and tongue a mesh of one's own gets: auto gives it those that it lacks."""
VIEWS = {"front": 0.0, "three-quarter": 38.0, "profile": 90.0}
"""View name: degrees by which the camera walks around the head towards the character's left (+x)."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """How the outputs that show pictures show them."""

    size: int = option(512, "picture edge in pixels, an even number in 64..4096")
    view: str | float = option("front", "front, three-quarter, profile, or degrees to the side")
    texture: bool = True
    """False shows the bare shape."""

    def __post_init__(self) -> None:
        check_type("size", self.size, WHOLE, "an even number in 64..4096")
        check_type("view", self.view, (*NUMBER, str), f"{', '.join(VIEWS)} or degrees to the side")
        if not 64 <= self.size <= 4096 or self.size % 2:
            raise InputError(
                f"the size of pictures must be an even number in 64..4096, got {self.size}; try 512 or 1024"
            )
        if self.view not in VIEWS:
            try:
                angle = float(self.view)
            except ValueError:
                angle = math.nan
            if not math.isfinite(angle):
                raise InputError(f"unknown view {self.view!r}; choose {', '.join(VIEWS)} or degrees to the side")
            object.__setattr__(self, "view", angle)


@dataclass(frozen=True)
class Liveliness:
    """Which parts of liveliness are on: 0 off, 1 natural; between and up to 3 as factors."""

    blinks: float = 1.0
    """Factor on the rate."""
    gaze: float = 1.0
    """Factor on the spread of glances."""
    head: float = 1.0
    """Factor on sway and nods."""
    breath: float = 1.0
    """Factor on how far a breath lifts the head."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            check_type(f"{each.name} of the liveliness", value, NUMBER, "a number in 0..3")
            if not 0 <= value <= 3:
                raise InputError(f"{each.name} of the liveliness must lie in 0..3, got {value:g}; 1 is natural")

    @classmethod
    def parse(cls, wish: Union[bool, str, "Liveliness"]) -> "Liveliness":
        """`all`, `none`, or parts with factors such as `blinks,head:0.5`. Raises InputError for anything else."""
        if isinstance(wish, Liveliness):
            return wish
        if wish is True or wish == "all":
            return cls()
        if wish is False or wish == "none":
            return NO_LIVELINESS
        parts: dict[str, float] = {}
        for word in str(wish).split(","):
            name, _, factor = word.strip().partition(":")
            if name not in PARTS or name in parts:
                raise InputError(f"cannot use {word.strip()!r} of liveliness {wish!r}; choose {_CHOICE}")
            try:
                parts[name] = float(factor) if factor else 1.0
            except ValueError:
                raise InputError(f"{factor!r} is no factor of {name}; give a number in 0..3, 1 is natural") from None
        return cls(**{name: parts.get(name, 0.0) for name in PARTS})

    def __str__(self) -> str:
        on = {name: getattr(self, name) for name in PARTS if getattr(self, name)}
        return ",".join(name if factor == 1 else f"{name}:{factor:g}" for name, factor in on.items()) or "none"

    @property
    def moves_head(self) -> bool:
        """Whether there is a head pose."""
        return bool(self.head or self.breath)


PARTS: tuple[str, ...] = tuple(each.name for each in fields(Liveliness))
_CHOICE = f"all, none, or some of {', '.join(PARTS)}, each with a factor such as head:0.5 if wanted"
NO_LIVELINESS = Liveliness(0.0, 0.0, 0.0, 0.0)
"""Nothing is added: frames are exactly the talker's."""


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How closely the outputs that can choose keep the motion."""

    reduce: float = option(
        0.0, "leave out keys as long as weights stay within E (.glb .vrm .vrma .usd .keys.json); default: none", "E"
    )
    motion: str = option(
        "auto",
        ".glb and .usd: by weights, or all that the vertices do (default: weights where there are any)",
        "{auto,weights,vertices}",
    )
    error: float = option(0.2, ".glb by vertices: millimetres that a vertex may stand off (default 0.2)", "MM")
    flame_model: str | None = option(None, "your FLAME's arrays, for .flame.npz", "NPZ")

    def __post_init__(self) -> None:
        if self.motion == "curves":
            notice("option", "--motion curves", "--motion weights")
            object.__setattr__(self, "motion", "weights")
        if self.motion not in ("auto", "weights", "vertices"):
            raise InputError(f"motion must be auto, weights or vertices, got {self.motion!r}")
        if not 0 < self.error < 1000:
            raise InputError(f"the error of a basis must lie in 0..1000 mm, got {self.error:g}; 0.2 is the usual one")
        if not 0 <= self.reduce < 1:
            raise InputError(f"the error of reduced keys must lie in 0..1, got {self.reduce:g}; try 0.005")


@dataclass(frozen=True, kw_only=True)
class TextureMaps:
    """Which pictures of an animation's skin are written, and how."""

    normal: bool = option(False, "normal maps too, 8 bit, tangent space, green up")
    displacement: bool = option(False, "displacement maps too, 16 bit")
    depth: float = option(1.0, "factor on the height of both, -10..10; 1 is the renderer's (default 1)")
    jpeg: bool = option(False, "colour as JPEG (quality 95) instead of PNG")
    resume: bool = option(False, "make only the pictures that the folder lacks")
    jobs: int | None = option(None, "threads (default: all cores, at most 8)", "N")

    def __post_init__(self) -> None:
        if not (math.isfinite(self.depth) and abs(self.depth) <= 10):
            raise InputError(f"depth must lie in -10..10, got {self.depth:g}; 1 is the renderer's")
        if self.jobs is not None and self.jobs < 1:
            raise InputError(f"jobs must be at least 1, got {self.jobs}")

    @property
    def workers(self) -> int:
        """Threads."""
        return self.jobs or min(os.cpu_count() or 1, 8)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the folders."""
        return ("colour", *(kind for kind in ("normal", "displacement") if getattr(self, kind)))
