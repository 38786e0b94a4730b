"""Picture files as arrays: decoded whole, or refused by name."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parlante.core import InputError
from parlante.data.lazy import LazyFrames, lazy_frames


def picture(content: bytes, name: str) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB of an 8-bit picture file, fully decoded. Raises InputError naming `name` if it is none."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode not in ("RGB", "RGBA", "L", "P"):
                raise InputError(f"{name} is a picture of mode {image.mode}, wanted 8 bits a channel")
            return np.asarray(image.convert("RGB"))
    except InputError:
        raise
    except (OSError, ValueError, SyntaxError, IndexError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read {name} as a picture: {error}; copy it again") from error


def read_picture(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) sRGB. Raises InputError if the file is missing or no picture."""
    try:
        return picture(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def lazy_pictures(files: Sequence[Path]) -> LazyFrames:
    """(T, H, W, 3) of at least one file, each read when it is asked for. Raises InputError for a damaged first one."""
    shape = read_picture(files[0]).shape
    return lazy_frames(len(files), shape, np.uint8, lambda number: read_picture(files[number]))
