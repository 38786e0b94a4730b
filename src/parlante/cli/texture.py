"""`parlante texture talk.npz --albedo face.png --size 8192 -o folder/`."""

import argparse

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
    parser.add_argument("--normal", action="store_true", help="normal maps too, 8 bit, tangent space, green up")
    parser.add_argument("--displacement", action="store_true", help="displacement maps too, 16 bit")
    parser.add_argument("--depth", type=float, default=1.0, help="factor on the height of both (default 1)")
    parser.add_argument("--jpeg", action="store_true", help="colour as JPEG instead of PNG")
    parser.add_argument("--no-edges", action="store_true", help="enlarge smoothly, whatever the albedo shows")
    parser.add_argument("--resume", action="store_true", help="make only the pictures that the folder lacks")
    parser.add_argument("--jobs", type=int, help="threads (default: all cores, at most 8)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Write the textures. Raises InputError for arguments that cannot be used."""
    import math

    from tqdm import tqdm

    from parlante.animation.textures import textures
    from parlante.cli._frames import frame_slice
    from parlante.cli._interrupt import interruptible
    from parlante.core import InputError
    from parlante.export.textures import TextureMaps

    if not (math.isfinite(options.depth) and abs(options.depth) <= 10):
        raise InputError(f"--depth must lie in -10..10, got {options.depth:g}; 1 is the renderer's")
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs must be at least 1, got {options.jobs}")
    jobs = {} if options.jobs is None else {"workers": options.jobs}
    maps = TextureMaps(
        normal=options.normal,
        displacement=options.displacement,
        depth=options.depth,
        jpeg=options.jpeg,
        resume=options.resume,
        **jobs,
    )
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
