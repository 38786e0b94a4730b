"""Recipes: a YAML mapping with a `stage` and one section for each dataclass of settings."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from parlante.core import InputError

Section = TypeVar("Section")
PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
SCHEDULES = ("cosine", "constant")
SECTIONS = ("data", "model", "scheme", "loop", "loss", "codebook", "inference")
EXAMPLE = "recipes/faceformer/small.yaml"
_KINDS: dict[str, tuple[str, Any]] = {
    "int": ("a whole number", int),
    "float": ("a number", (int, float)),
    "bool": ("true or false", bool),
    "str": ("text", str),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how fast; the `loop:` part of a recipe."""

    max_steps: int = 10000
    max_minutes: float | None = None
    """Stop (and anneal the learning rate to the end) by then, whichever comes first."""
    lr: float = 1e-3
    schedule: str = "cosine"
    """cosine or constant, after the warm-up."""
    final_lr: float = 0.02
    """Learning rate at the end, as a share of `lr` (cosine)."""
    warmup: int = 100
    ema: float = 0.995
    clip: float = 1.0
    """Gradient norm limit; 0 switches it off."""
    accumulate: int = 1
    """Batches of a step; their gradients are averaged."""
    precision: str = "32"
    """32, or mixed: bf16 or 16. Weights, optimiser, average and validation stay float32."""
    log_every: int = 20
    save_every: int = 500
    validate_every: int = 500
    patience: int = 0
    """Stop after so many validations without a better figure, and keep the weights of the best; 0: train to the end."""
    monitor: str = ""
    """Figure that `patience` looks at; empty: the first one of the validation. Lower is better, except for psnr."""
    sample_every: int = 0
    """Steps between samples of a validation clip in `samples/`: a video with sound, or a sheet of maps; 0: none."""
    collapse: float = 0.05
    """Warn where predicted motion varies less than this share of the true one's deviation; 0: never."""
    tensorboard: bool = False
    """Write the figures for TensorBoard, too."""
    workers: int = 0
    """Processes that make batches ahead of time; 0: the training itself makes them. The batches stay the same."""
    one_clip: bool = False
    """Train and validate on a single clip: a smoke test, which every sound model passes."""
    threads: int | None = None
    """CPU threads; default torch's choice."""
    accelerator: str = "auto"
    devices: int = 1
    """Of each machine; the batch of a recipe is that of one device."""
    nodes: int = 1
    strategy: str = "auto"
    """Lightning's; auto on several devices is data-parallel training that allows for weights without a gradient."""
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "precision", str(self.precision))
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision must be {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"schedule must be {' or '.join(SCHEDULES)}, got {self.schedule!r}")
        for name in ("max_steps", "accumulate", "log_every", "save_every", "validate_every", "devices", "nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def section(cls: type[Section], config: dict[str, Any], name: str) -> Section:
    """Build the dataclass of a recipe's part. Raises InputError naming unknown keys and values that do not fit."""
    given = config.get(name) or {}
    if not isinstance(given, dict):
        raise InputError(f"the recipe's {name} is {given!r}, wanted settings, for example --set {name}.KEY=VALUE")
    values = dict(given)
    kinds = {field.name: field.type for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    known = {key: kind.__name__ if type(kind) is type else str(kind) for key, kind in kinds.items()}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InputError(f"the recipe's {name} has no {', '.join(unknown)}; it may have {', '.join(sorted(known))}")
    try:
        for key, value in values.items():  # YAML reads 1e-3 as text
            if isinstance(value, str) and "float" in known[key] and "tuple" not in known[key]:
                values[key] = float(value)
            elif known[key] == "str" and isinstance(value, (int, float)) and not isinstance(value, bool):
                values[key] = str(value)  # a folder called 2024
            _check_kind(key, values[key], known[key])
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"the recipe's {name} cannot be used: {error}") from error


def _check_kind(key: str, value: Any, kind: str) -> None:
    """Raises ValueError where a number, text, or yes or no is wanted and something else is given."""
    kind, _, optional = kind.partition(" | ")
    wanted, types = _KINDS.get(kind, ("", object))
    fits = isinstance(value, types) and (not wanted or kind == "bool" or not isinstance(value, bool))
    if not fits and not (value is None and optional):
        raise ValueError(f"{key} must be {wanted}, got {value!r}")


def read_recipe(path: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """A YAML recipe with `a.b=value` changes applied (values are YAML too). Raises InputError if either is unusable."""
    try:
        config = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"no such recipe: {path}; give a YAML file, for example {EXAMPLE}") from error
    except OSError as error:
        raise InputError(
            f"cannot read the recipe {path}: {error.strerror or error}; give a YAML file, for example {EXAMPLE}"
        ) from error
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())[:300]
        raise InputError(f"cannot read the recipe {path}: {told}; mend its YAML") from error
    if not isinstance(config, dict) or "stage" not in config:
        raise InputError(f"{path} is no recipe: it must be a YAML mapping with a `stage`")
    for change in changes:
        keys, equals, text = change.partition("=")
        if not equals:
            raise InputError(f"--set wants key=value, got {change!r}; for example --set loop.max_steps=100")
        *parents, last = keys.split(".")
        place = config
        for key in parents:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise InputError(f"--set {change}: {key} is a value in the recipe, not a section")
        try:
            place[last] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError) as error:
            raise InputError(f"--set {change}: {text!r} is no YAML value; put text in quotes") from error
    for name, value in config.items():
        if isinstance(value, dict) and name not in SECTIONS:
            raise InputError(f"{path} has a section {name!r}, which no training reads; there are {', '.join(SECTIONS)}")
    return config
