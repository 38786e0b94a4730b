"""`parlante render talk.npz -o talk.mp4`."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parlante.cli._frames import frame_slice
from parlante.cli._options import add_options, read_options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from parlante.core.options import Picture
    from parlante.export import AnimationInfo, FrameBlock

EPILOG = """examples:
  parlante render talk.npz -o talk.mp4
  parlante render talk.npz -o talk.webm --size 1024 --view three-quarter
  parlante render talk.npz -o look.png --frames 0:90      a sheet of at most 12 of these frames
  parlante render talk.npz -o frames/ --frames 30:60      numbered pictures
"""
SHEET_FRAMES = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from parlante.core.options import Picture

    parser.epilog = EPILOG
    parser.add_argument("animation", help="an .npz written by parlante animate")
    parser.add_argument(
        "-o", "--output", required=True, metavar="PATH",
        help=".mp4 or .webm with audio, .png (one frame or a contact sheet), or a folder/ of pictures",
    )  # fmt: skip
    add_options(parser, Picture)
    parser.add_argument("--frames", metavar="A:B", help="only frames A up to but not including B")
    parser.add_argument("--no-texture", action="store_true", help="show the bare shape")
    parser.add_argument("--backend", choices=("auto", "gl", "soft"), default="auto", help="what draws (default auto)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Render. Raises InputError for arguments that cannot be used."""
    from tqdm import tqdm

    from parlante.core import InputError
    from parlante.core.interruption import interruptible
    from parlante.core.options import Picture
    from parlante.export.npz import open_stream

    picture = read_options(options, Picture, texture=not options.no_texture)
    output = Path(options.output)
    kind = "/" if options.output.endswith("/") or not output.suffix or output.is_dir() else output.suffix.lower()
    if kind not in ("/", ".png", ".mp4", ".webm"):
        raise InputError(f"cannot write {output}: unknown format {kind}; choose .mp4, .webm, .png or a folder/")
    if kind == "/" and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"cannot write {output}/: it exists and is not an empty folder; choose another name")

    info, blocks = open_stream(options.animation)
    first, end = _range(options.frames, info.num_frames)
    wanted = set(_spread(first, end)) if kind == ".png" else set(range(first, end))
    with interruptible(), tqdm(total=len(wanted), unit=" frames", disable=options.quiet or None) as bar:
        frames = _frames(options.backend, picture, info, blocks, wanted, bar)
        if kind == ".png":
            _write_sheet(output, frames, sorted(wanted))
        elif kind == "/":
            _write_folder(output, frames, first)
        else:
            _write_video(output, frames, info, first, end, picture.size)
    return 0


def _frames(
    backend: Any, picture: "Picture", info: "AnimationInfo", blocks: "Iterator[FrameBlock]", wanted: set[int], bar: Any
) -> "Iterator[NDArray[np.uint8]]":
    """Pictures of the wanted frames, one at a time."""
    from parlante.render import Renderer, telling_poses

    renderer = None
    for block in blocks:
        numbers = [k for k in range(len(block)) if block.start + k in wanted]
        if not numbers:
            continue
        if renderer is None:
            renderer = Renderer(
                info.topology,
                info.neutral,
                size=picture.size,
                view=picture.view,
                albedo=info.albedo if picture.texture else None,
                sample_poses=telling_poses(info.neutral, block.vertices),
                pivot=info.pivot if any(info.pivot) else None,
                backend=backend,
            )
        for k in numbers:
            yield renderer.draw(
                block.vertices[k],
                wrinkle=None if block.wrinkle is None else block.wrinkle[k],
                head_pose=None if block.head_pose is None else block.head_pose[k],
            )
            bar.update()
        if block.start + len(block) > max(wanted):
            break
    if renderer is not None:
        renderer.close()


def _write_video(
    path: Path, frames: "Iterator[NDArray[np.uint8]]", info: "AnimationInfo", first: int, end: int, size: int
) -> None:
    from parlante.render import VideoWriter

    whole = (first, end) == (0, info.num_frames)
    cut = slice(round(first / info.fps * info.sample_rate), round(end / info.fps * info.sample_rate))
    audio = info.audio if whole else info.audio[cut]
    with VideoWriter(path, info.fps, size, audio if len(audio) else None, info.sample_rate) as video:
        for frame in frames:
            video.write(frame)


def _write_sheet(path: Path, frames: "Iterator[NDArray[np.uint8]]", numbers: list[int]) -> None:
    from parlante.render import contact_sheet, save_png

    pictures = list(frames)
    save_png(pictures[0] if len(pictures) == 1 else contact_sheet(pictures, [str(n) for n in numbers]), path)


def _write_folder(path: Path, frames: "Iterator[NDArray[np.uint8]]", first: int) -> None:
    from parlante.render import save_png

    for number, frame in enumerate(frames, first):
        save_png(frame, path / f"{number:06d}.png")


def _range(text: str | None, total: int) -> tuple[int, int]:
    """First frame and the one after the last. Raises InputError if the text is no range or nothing is left."""
    from parlante.core import InputError

    first, end, _ = frame_slice(text).indices(total)
    if first >= end:
        raise InputError(f"--frames {text} leaves nothing of {total} frames; give a range within 0:{total}")
    return first, end


def _spread(first: int, end: int) -> list[int]:
    """At most SHEET_FRAMES frames, evenly over the range."""
    count = min(SHEET_FRAMES, end - first)
    return [first + (end - first) * k // count for k in range(count)]
