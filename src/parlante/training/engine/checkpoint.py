"""Checkpoints of a run: everything that the next step depends on, written whole or not at all."""

import pickle
from pathlib import Path
from typing import Any

import torch

from parlante.core import InputError, atomic_path


def save(checkpoint: dict[str, Any], target: Path) -> None:
    """Write a checkpoint. Raises InputError where it does not fit; the one before stays as it is."""
    try:
        with atomic_path(target) as path, path.open("wb") as file:
            torch.save(checkpoint, file)
    except (InputError, RuntimeError, OSError) as error:  # torch tells a full disk by a RuntimeError
        if isinstance(error, RuntimeError) and not any(w in str(error) for w in ("write", "PytorchStream", "pos ")):
            raise
        before = "the one before is intact" if target.is_file() else "there is none before"
        raise InputError(
            f"cannot write the checkpoint {target} ({error}); {before}: make room, then go on with --resume"
        ) from error


def load(path: Path) -> dict[str, Any]:
    """A checkpoint, on the CPU; nothing in it is executed. Raises InputError."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot read the checkpoint {path}: {first}; move it away to train from the start") from error
    if not isinstance(checkpoint, dict) or not ("scheme" in checkpoint or "ema" in checkpoint):
        raise InputError(f"{path} is no checkpoint of this training; move it away to train from the start")
    return checkpoint
