"""Many picture files as one array, each read when it is asked for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from parlante.core.pictures import read_picture
from parlante.data.lazy import LazyFrames, lazy_frames


def lazy_pictures(files: Sequence[Path]) -> LazyFrames:
    """(T, H, W, 3) of at least one file, each read when it is asked for. Raises InputError for a damaged first one."""
    shape = read_picture(files[0]).shape
    return lazy_frames(len(files), shape, np.uint8, lambda number: read_picture(files[number]))
