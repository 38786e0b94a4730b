"""`parlante texture talk.npz --albedo face.png --size 8192 -o folder/`."""

import argparse

from parlante.cli._options import add_options, read_options
from parlante.core.options import TextureMaps

EPILOG = """examples:
  parlante texture talk.npz --albedo face.png --size 8192 -o textures/     one PNG a frame
  parlante texture talk.npz --size 4096 -o textures/ --normal --displacement --frames 30:90
  parlante texture talk.npz --albedo face.jpg -o textures/ --jpeg          smaller files
  parlante texture talk.npz --size 2048 -o texture.mp4                     with audio
  parlante texture talk.npz --size 8192 -o textures/ --resume              goes on where it was stopped

The albedo is any picture in the UV layout of the animation's mesh. Unmoved skin keeps it bit for bit.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("animation", help="an .npz with wrinkle maps, written by parlante animate or parlante wrinkles")
    parser.add_argument("-o", "--output", required=True, metavar="PATH", help="a folder/ of pictures, .mp4 or .webm")
    parser.add_argument("--albedo", metavar="PNG", help="the skin at rest (default: the animation's own)")
    parser.add_argument("--size", type=int, help="longer edge in pixels, up to 8192 (default: the albedo's)")
    parser.add_argument("--frames", metavar="A:B", help="only frames A up to but not including B")
    add_options(parser, TextureMaps)
    parser.add_argument("--no-edges", action="store_true", help="enlarge smoothly, whatever the albedo shows")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Write the textures. Raises InputError for arguments that cannot be used."""
    from tqdm import tqdm

    from parlante.animation.textures import textures
    from parlante.cli._frames import frame_slice
    from parlante.core.interruption import interruptible

    maps = read_options(options, TextureMaps)
    with interruptible(), tqdm(unit=" frames", disable=options.quiet or None) as bar:

        def begin(total: int) -> object:
            bar.reset(total)
            return bar.update

        textures(
            options.animation,
            options.output,
            albedo=options.albedo,
            size=options.size,
            frames=frame_slice(options.frames),
            edge=not options.no_edges,
            maps=maps,
            progress=begin,  # type: ignore[arg-type]
        )
    return 0
