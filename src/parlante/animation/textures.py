"""From a saved animation to full-size textures: albedo, size and frames chosen, memory bounded."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError
from parlante.core.options import TextureMaps
from parlante.core.pictures import read_picture
from parlante.export.frames import FrameBlock
from parlante.export.npz import open_stream
from parlante.export.textures import check_texture_output, write_textures
from parlante.geometry.uv.upsample import EDGE, Upsampler

SMALLEST, LARGEST = 64, 8192
CHUNK = 8
"""Frames read from the file at a time."""


def textures(
    animation: Path | str,
    output: Path | str,
    *,
    albedo: Path | str | NDArray[np.uint8] | None = None,
    size: int | None = None,
    frames: slice = slice(None),
    edge: bool = True,
    maps: TextureMaps | None = None,
    progress: Callable[[int], Callable[[], object]] = lambda total: lambda: None,
) -> None:
    """Colour an albedo with the wrinkle maps of an animation, frame by frame.

    animation: an .npz with wrinkle maps, as `parlante animate` and `parlante wrinkles` write it. output: a folder, .mp4
    or .webm. albedo: a picture in the animation's UV layout, or (H, W, 3) uint8; the animation's own by default.
    size: longer edge in pixels, the albedo's by default; it is enlarged or reduced to it (Lanczos). frames: which; the
    step must be 1. edge: follow the edges of the albedo, not only UV islands. maps: normals, displacement, JPEG,
    resume, threads. progress: given the number of frames, returns what to call after each.
    Raises InputError for files and values that cannot be used.
    """
    maps = maps or TextureMaps()
    info, blocks = open_stream(animation, CHUNK)
    wrinkle_size = info.wrinkle_size
    if wrinkle_size is None:
        raise InputError(f"{animation} has no wrinkle maps; animate with texture, or make them with parlante wrinkles")
    first, end, step = frames.indices(info.num_frames)
    if first >= end or step != 1:
        asked = ":".join("" if at is None else str(at) for at in (frames.start, frames.stop))
        raise InputError(f"frames {asked} leave nothing of {info.num_frames}; give a range within 0:{info.num_frames}")
    picture = _albedo(albedo, info.albedo, str(animation))
    shape = _fitted(picture.shape[:2], size)
    check_texture_output(output, shape, maps)
    cut = slice(round(first / info.fps * info.sample_rate), round(end / info.fps * info.sample_rate))
    info = replace(info, audio=info.audio if (first, end) == (0, info.num_frames) else info.audio[cut])
    upsampler = Upsampler(
        _resized(picture, shape),
        wrinkle_size,
        info.topology,
        edge=EDGE if edge else float("inf"),
        workers=maps.workers,
    )
    write_textures(output, upsampler, _wrinkles(blocks, first, end), info, maps, progress(end - first))


def _wrinkles(blocks: Iterable[FrameBlock], first: int, end: int) -> Iterator[tuple[int, NDArray[Any]]]:
    for block in blocks:
        if block.start >= end:
            return
        assert block.wrinkle is not None
        for number, wrinkle in enumerate(block.wrinkle, block.start):
            if first <= number < end:
                yield number, wrinkle


def _albedo(
    given: Path | str | NDArray[np.uint8] | None, own: NDArray[np.uint8] | None, where: str
) -> NDArray[np.uint8]:
    if isinstance(given, np.ndarray):
        return given
    if given is None:
        if own is None:
            raise InputError(f"{where} holds no albedo; give one with --albedo face.png")
        return own
    return read_picture(given)


def _fitted(shape: tuple[int, ...], size: int | None) -> tuple[int, int]:
    """(height, width) with `size` as the longer edge. Raises InputError if that is out of bounds."""
    longer = max(shape)
    wanted = longer if size is None else size
    if not SMALLEST <= wanted <= LARGEST:
        raise InputError(f"textures have {SMALLEST}..{LARGEST} pixels a side, got {wanted}; try --size 2048")
    height, width = (max(1, round(edge * wanted / longer)) for edge in shape)
    return height, width


def _resized(picture: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image

    if picture.shape[:2] == shape:
        return picture
    return np.asarray(Image.fromarray(picture).resize((shape[1], shape[0]), Image.Resampling.LANCZOS))
