"""A small autoregressive talker on the embedded head: a family over motion coordinates, its basis, its ear.

The family hears the phonetic encoder and moves the motion basis, so the whole talker is a few megabytes. The folder is
a checkpoint like any other; its config carries, beside the family's, what surrounds it under `embedded`.
"""

import dataclasses
import hashlib
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from parlante.audio.align import align
from parlante.core import InputError
from parlante.core.assets import ASSETS
from parlante.models.checkpoint import load_checkpoint, load_strict, save_checkpoint
from parlante.models.motion_basis import MotionBasis
from parlante.models.registry import resolve

SHIPPED = ("talkingstyle", "ptalker", "faceformer", "facediffuser")
"""Names of `parlante/assets` folders with such talkers."""
VOICE_S = 10.0
"""Seconds of speech that the style of the voice is heard from."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What stands around the family: the `embedded` part of the config."""

    taps: tuple[float, ...]
    """Seconds around a frame at which speech features are read."""
    subjects: tuple[str, ...]
    """Names of the one-hots."""
    fps: float = 30.0
    basis_scale: float
    """Of the motion basis that the weights were trained on; another one would be silent nonsense."""
    encoder: str = "phonetic"
    topology: str = "parlante"

    def __post_init__(self) -> None:
        for name in ("taps", "subjects"):
            object.__setattr__(self, name, tuple(getattr(self, name)))


def build(family: str, sizes: dict[str, Any]) -> nn.Module:
    """An untrained family by name. Raises InputError for a family or sizes that do not exist."""
    try:
        model = resolve(family)
        config = typing.get_type_hints(model.__init__)["config"]
        built: nn.Module = model(config(**sizes))
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"no such {family} model: {error}") from error
    return built


class EmbeddedTalker:
    """Speech features in, coordinates out; styles by name, mixture or code.

    `network` is any family: `style_code(weights)`, `generate(features, code)`, `session(code)`.
    """

    network: Any

    def __init__(self, family: str, network: nn.Module, around: Surroundings, checkpoint: str = "") -> None:
        self.family, self.network, self.around, self.checkpoint = family, network.eval(), around, checkpoint

    @property
    def subjects(self) -> tuple[str, ...]:
        """Names of known styles."""
        return self.around.subjects

    def features(self, heard: Tensor, start: int, count: int) -> Tensor:
        """Phonetic features (B, S, F) at 50 Hz -> (B, count, F * taps) at frames from `start` on."""
        fps = self.around.fps
        return align(heard, count, fps=fps, taps=[tap + start / fps for tap in self.around.taps])

    @torch.no_grad()
    def codes(self) -> Tensor:
        """(N, D) of all subjects."""
        return self.network.style_code(torch.eye(len(self.subjects)))

    @torch.no_grad()
    def mean_code(self) -> Tensor:
        """(D,) of the even mixture of all subjects."""
        count = len(self.subjects)
        return self.network.style_code(torch.full((1, count), 1 / count))[0]

    @torch.no_grad()
    def voiced(self, code: Tensor, features: Tensor) -> Tensor:
        """Code (B, D) with the style of the voice added, where the family has one; features (B, T, A)."""
        voice = getattr(self.network, "AudioStyle", None)
        return code if voice is None else code + voice(features[:, : round(VOICE_S * self.around.fps)])

    def session(self, code: Tensor, generator: torch.Generator, steps: int | None = None) -> Any:
        """A streaming session of a code (1, D); FaceDiffuser draws its noise from the generator, in so many steps."""
        own = {"generator": generator, "steps": steps} if self.family == "facediffuser" else {}
        return self.network.session(code, **own)

    def save(self, folder: Path | str) -> Path:
        """Write a checkpoint folder."""
        config = {"family": dataclasses.asdict(self.network.config), "embedded": dataclasses.asdict(self.around)}
        return save_checkpoint(folder, self.family, config, self.network.state_dict())

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "EmbeddedTalker":
        """The talker in a folder, or a shipped one by its name. Raises InputError if it cannot be used."""
        folder = ASSETS / str(folder) if str(folder) in SHIPPED else Path(folder)
        family = model_name(folder)
        config, tensors = load_checkpoint(folder, family)
        if "embedded" not in config:
            raise InputError(
                f"{folder} is no talker of the embedded head; run converted ones from Python (models/talker.py)"
            )
        try:
            around, sizes = Surroundings(**config["embedded"]), dict(config["family"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{folder}/config.json cannot be used: {error}; train or copy it again") from error
        network = build(family, sizes)
        load_strict(network, tensors, folder)
        basis = MotionBasis.load()
        if abs(basis.scale / around.basis_scale - 1) > 1e-4 or len(basis) != network.config.motion_dim:  # type: ignore[union-attr]
            raise InputError(f"{folder} was trained on another motion basis than this version's; train it again")
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        return cls(family, network.requires_grad_(False), around, digest)


def is_embedded(folder: Path) -> bool:
    """Whether a checkpoint folder is of the embedded head, not of a mesh of its own."""
    import json

    try:
        return "embedded" in json.loads((folder / "config.json").read_text())["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read {folder}/config.json: {error}") from error


def model_name(folder: Path) -> str:
    """The `model` of a checkpoint folder. Raises InputError if there is none."""
    import json

    try:
        return str(json.loads((folder / "config.json").read_text())["model"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{folder} is no checkpoint: wanted a folder with config.json and model.safetensors, as parlante train and "
            "parlante convert write them"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read {folder}/config.json: {error}") from error
