"""A person's style pivots beside the face: mean latents as TexTalker's scripts leave them, or in plain files.

`latent_motion_ave` and `latent_tex_ave` as `.npy`, `.pth` (a tensor, or numbers pickled by torch), `.pt`; or one
`pivots.npz` or `pivots.safetensors` with `motion` and `wrinkle`. Nothing in them is executed.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from parlante.core import InputError, read_npz
from parlante.core.arrays import read_npy
from parlante.core.files import first_line
from parlante.core.restricted_pickle import NUMPY, Machine, Refused

_FILES = {"motion": "latent_motion_ave", "wrinkle": "latent_tex_ave"}
_SUFFIXES = (".npy", ".pth", ".pt")


def read_pivots(folder: Path | str, shapes: dict[str, tuple[int, int, int]]) -> dict[str, NDArray[np.float32]] | None:
    """`motion` and `wrinkle` (C, h, w) of `shapes`, or none where the folder holds no pivots.

    Raises InputError if one is missing, unreadable or of another size.
    """
    folder = Path(folder)
    found: dict[str, Any] = {}
    for name in ("pivots.npz", "pivots.safetensors"):
        path = folder / name
        if path.is_file() and not found:
            found = _plain(path)
    paths = {
        kind: next((path for suffix in _SUFFIXES if (path := folder / f"{stem}{suffix}").is_file()), None)
        for kind, stem in _FILES.items()
    }
    if not found and not any(paths.values()):
        return None
    made = {}
    for kind, shape in shapes.items():
        file = paths[kind]
        if not found and file is None:
            raise InputError(f"{folder} has one pivot of two; wanted {_FILES[kind]}{' or '.join(_SUFFIXES)} as well")
        values = np.asarray(found[kind] if found or file is None else _array(file), np.float32)
        if values.size != np.prod(shape) or not np.isfinite(values).all():
            raise InputError(f"{folder}: the {kind} pivot is {values.shape}, this checkpoint wants {shape}")
        made[kind] = values.reshape(shape)
    return made


def _plain(path: Path) -> dict[str, Any]:
    try:
        found = dict(read_npz(path)) if path.suffix == ".npz" else load_file(path)
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {path}: {first_line(error)}") from error
    if not {"motion", "wrinkle"} <= found.keys():
        raise InputError(f"{path} holds {', '.join(sorted(found)) or 'nothing'}; wanted motion and wrinkle")
    return found


def _array(path: Path) -> NDArray[Any]:
    if path.suffix == ".npy":
        return read_npy(path)
    try:
        with zipfile.ZipFile(path) as archive:
            pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            small = len(pickles) == 1 and archive.getinfo(pickles[0]).file_size < 1 << 24
            content = archive.read(pickles[0]) if small else b""
        try:  # numbers that numpy pickled, inside torch's container
            value = Machine(NUMPY, frozenset({"numpy.ndarray"})).run(content)[0]
        except (Refused, ValueError):
            value = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever numpy, zipfile and torch find wrong
        raise InputError(f"cannot read {path} as a pivot, nothing was executed: {first_line(error)}") from error
    if isinstance(value, torch.Tensor):
        value = value.detach().float().numpy()
    if not isinstance(value, np.ndarray):
        raise InputError(f"{path} holds a {type(value).__name__}, wanted one array")
    return value
