"""A checkpoint is a folder: `config.json` says what it is, `model.safetensors` holds the numbers. Nothing executes."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from parlante.core import InputError, atomic_path
from parlante.core.files import first_line, model_folder
from parlante.core.renames import renamed
from parlante.core.typed import read_header, typed

Settings = TypeVar("Settings")
Network = TypeVar("Network", bound=nn.Module)

_MOST_LISTED = 12  # names in an error
_LARGEST_SIZE = 1 << 31
_REPEATED, _MOST_REPEATED = ("layers", "blocks", "convolutions", "halvings"), 512
"""Names of settings that say how often something is repeated; building takes time for each."""
_HALF_FROM = 1024
"""Tensors with at least this many numbers are stored in half precision; tables and scales stay exact."""


def save_checkpoint(
    folder: Path | str, model: str, config: Mapping[str, Any], tensors: Mapping[str, Tensor], *, half: bool = True
) -> Path:
    """Write a checkpoint folder; each file appears whole or not at all.

    model: name in `parlante.models.MODELS`; config: what JSON can hold; tensors: state dict, any float precision.
    half: store large float tensors as float16. Raises InputError when the folder cannot be written.
    """
    from parlante import __version__

    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        shrink = half and tensor.is_floating_point() and tensor.numel() >= _HALF_FROM
        if shrink and tensor.abs().max() > torch.finfo(torch.float16).max:
            raise ValueError(f"{name} holds values beyond half precision; save with half=False")
        stored[name] = tensor.half() if shrink else tensor.clone()
    folder = Path(folder)
    with atomic_path(folder / "model.safetensors") as path:
        mode = path.stat().st_mode
        save_file(stored, path, metadata={"format": "pt"})
        path.chmod(mode)  # safetensors makes files that only their owner may read
    with atomic_path(folder / "config.json") as path:
        head = {"model": model, "parlante": __version__, "config": dict(config)}
        path.write_text(json.dumps(head, indent=1) + "\n")
    return folder


def load_checkpoint(folder: Path | str, model: str | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(config, tensors in float32) of a checkpoint folder, or of a run folder that exported one.

    model: the name it must carry, or none. Raises InputError if a file is missing, damaged or of another model.
    """
    folder = model_folder(Path(folder))
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} is no checkpoint: it has no {name}; give a folder with both files")
    head = read_head(folder)
    try:
        tensors = load_file(folder / "model.safetensors")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise InputError(f"cannot read the checkpoint {folder}: {error}; copy or train it again") from error
    if model is not None and head.model != model:
        raise InputError(f"{folder} holds a {head.model!r}, wanted a {model!r}")
    return head.config, {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}


@dataclass(frozen=True)
class Head:
    """`config.json` of a checkpoint."""

    model: str
    config: dict[str, Any]


def read_head(folder: Path | str) -> Head:
    """What a checkpoint or run folder is, keys of older ones under their present names.

    Raises InputError if there is none, it is damaged, or asks for sizes that no network has.
    """
    folder = model_folder(Path(folder))
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(
            f"{folder} is no checkpoint: wanted a folder with config.json and model.safetensors, as parlante train and "
            "parlante convert write them"
        )
    head = read_header(Head, path, "a checkpoint that parlante train or parlante convert wrote")
    _check_sizes(head.config, path, "config")
    return Head(head.model, _with_new_keys(head.config))


def _check_sizes(value: Any, path: Path, place: str) -> None:
    """Raises InputError for a number that would keep a network from ever being built."""
    if isinstance(value, dict):
        for key, each in value.items():
            _check_sizes(each, path, f"{place}.{key}")
    elif isinstance(value, list):
        for each in value:
            _check_sizes(each, path, place)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        repeated = any(word in place.rpartition(".")[2] for word in _REPEATED)
        most = _MOST_REPEATED if repeated else _LARGEST_SIZE
        if not abs(value) <= most:
            raise InputError(f"cannot read {path}: {place} is {str(value)[:40]}, at most {most} can be; copy it again")


@contextmanager
def usable(source: Path | str) -> Iterator[None]:
    """Within the block a network is built from a file's sizes. Raises InputError for sizes that do not fit together."""
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, AssertionError) as error:
        raise InputError(
            f"{source}: config.json cannot be used: {first_line(error)}; train, convert or copy it again"
        ) from error


def settings(kind: type[Settings], given: Any, place: str) -> Settings:
    """A part of a config as its dataclass. Raises ValueError that names what is unknown, missing or mistyped."""
    made: Settings = typed(kind, given, place, closed=True)
    return made


def built(make: Callable[[], Network], tensors: Mapping[str, Tensor], source: Path | str) -> Network:
    """The network that `make` builds of a file's sizes, filled with its tensors.

    First it is built without memory, for the sizes may be of a giant that the tensors are not. Raises InputError.
    """
    with usable(source):
        if not Path(source).resolve().is_relative_to(Path(__file__).parents[1]):  # the shipped ones are ours
            with torch.device("meta"):
                plan = make()
            if problems := differences(tensors, plan.state_dict()):
                raise InputError(f"{source} does not fit {type(plan).__name__}: {'; '.join(problems)}")
        network = make()
    load_strict(network, tensors, source)
    return network


def _with_new_keys(config: Any) -> Any:
    """A config with the keys of older checkpoints under their present names."""
    if isinstance(config, dict):
        return {renamed("config key", key) or key: _with_new_keys(value) for key, value in config.items()}
    return [_with_new_keys(value) for value in config] if isinstance(config, list) else config


def model_name(folder: Path) -> str:
    """The `model` of a checkpoint or run folder. Raises InputError if there is none."""
    return read_head(folder).model


def digest(folder: Path | str) -> str:
    """SHA-256 of a checkpoint's weights. Raises InputError if they cannot be read."""
    total = hashlib.sha256()
    try:
        with (model_folder(Path(folder)) / "model.safetensors").open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    except OSError as error:
        raise InputError(f"cannot load a checkpoint from {folder}: {error.strerror or error}") from error
    return total.hexdigest()


def load_strict(module: nn.Module, tensors: Mapping[str, Tensor], source: Path | str = "checkpoint") -> None:
    """Copy `tensors` into `module`; every key and shape must match. Raises InputError naming what does not."""
    try:
        module.load_state_dict(dict(tensors), strict=True)
    except RuntimeError as error:
        raise InputError(f"{source} does not fit {type(module).__name__}: {error}") from error


def differences(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """What keeps `found` from being loaded strictly where `wanted` is, a line for each kind of problem."""
    shapes = [
        f"{name} {tuple(found[name].shape)}, wanted {tuple(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    return [
        *_listed("missing", [name for name in wanted if name not in found]),
        *_listed("unexpected", [name for name in found if name not in wanted]),
        *_listed("of another shape", shapes),
    ]


def _listed(title: str, names: Iterable[str]) -> list[str]:
    all_names = list(names)
    more = f", and {len(all_names) - _MOST_LISTED} more" if len(all_names) > _MOST_LISTED else ""
    return [f"{title} ({len(all_names)}): {', '.join(all_names[:_MOST_LISTED])}{more}"] if all_names else []
