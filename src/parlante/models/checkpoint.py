"""A checkpoint is a folder: `config.json` says what it is, `model.safetensors` holds the numbers. Nothing executes."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from parlante.core import InputError, atomic_path
from parlante.core.files import model_folder
from parlante.core.renames import renamed

_MOST_LISTED = 12  # names in an error
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
    try:
        head = json.loads((folder / "config.json").read_text())
        found, config = head["model"], dict(head["config"])
        tensors = load_file(folder / "model.safetensors")
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise InputError(f"cannot read the checkpoint {folder}: {error}; copy or train it again") from error
    if model is not None and found != model:
        raise InputError(f"{folder} holds a {found!r}, wanted a {model!r}")
    return _with_new_keys(config), {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}


def _with_new_keys(config: Any) -> Any:
    """A config with the keys of older checkpoints under their present names."""
    if isinstance(config, dict):
        return {renamed("config key", key) or key: _with_new_keys(value) for key, value in config.items()}
    return [_with_new_keys(value) for value in config] if isinstance(config, list) else config


def model_name(folder: Path) -> str:
    """The `model` of a checkpoint or run folder. Raises InputError if there is none."""
    folder = model_folder(folder)
    try:
        return str(json.loads((folder / "config.json").read_text())["model"])
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"{folder} is no checkpoint: wanted a folder with config.json and model.safetensors, as parlante train and "
            "parlante convert write them"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read {folder}/config.json: {error}") from error


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
