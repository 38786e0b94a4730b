"""A contact sheet: many frames on one page, to look at a take at a glance."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from parlante.core import atomic_path


def contact_sheet(
    frames: Sequence[ArrayLike], labels: Sequence[str] = (), *, columns: int = 0, gap: int = 4
) -> NDArray[np.uint8]:
    """Lay out frames (H, W, 3) uint8 of one size in rows, each with its label in the lower left corner.

    columns: 0 chooses about as many as rows, a little wider than high. Returns (H', W', 3) uint8.
    Raises ValueError if there are no frames or their sizes differ.
    """
    pictures = [np.asarray(frame, dtype=np.uint8) for frame in frames]
    if not pictures or any(picture.shape != pictures[0].shape for picture in pictures):
        raise ValueError(f"a sheet needs frames of one size, got {sorted({p.shape for p in pictures}) or 'none'}")
    height, width, _ = pictures[0].shape
    columns = columns or int(np.ceil(np.sqrt(1.5 * len(pictures))))
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) - gap, rows * (height + gap) - gap), (24, 24, 24))
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(max(10, height // 22))
    for number, picture in enumerate(pictures):
        x, y = number % columns * (width + gap), number // columns * (height + gap)
        sheet.paste(Image.fromarray(picture), (x, y))
        if number < len(labels):
            place = (x + height // 40, y + height - height // 40)
            pen.text(
                place,
                labels[number],
                fill=(245, 245, 245),
                font=font,
                anchor="ls",
                stroke_width=1,
                stroke_fill=(0, 0, 0),
            )
    return np.asarray(sheet)


def save_png(picture: ArrayLike, path: Path | str) -> None:
    """Write a (H, W, 3) uint8 picture to `path`, whole or not at all. Raises InputError if it cannot be written."""
    with atomic_path(path) as partial:
        Image.fromarray(np.asarray(picture, dtype=np.uint8)).save(partial, format="PNG")
