"""`parlante motion wrinkled.npz -o moved.npz`: the way back of `parlante wrinkles`."""

import argparse

from parlante.cli.wrinkles import complete, declare

EPILOG = """examples:
  parlante motion talk.npz -o moved.npz                       hears the animation's own sound
  parlante motion talk.npz --audio line.wav -o moved.glb -o moved.mp4
  parlante motion painted.npz --no-audio --style NAME -o moved.npz

Only the wrinkle maps of the file are looked at: motion and curves that it has are replaced by motion alone, without
curves; wrinkle maps and the pose of the head stay.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    declare(parser, "an .npz of the embedded head with wrinkle maps", "wrinkles", "motion", "manner of moving")
    parser.epilog = EPILOG


def run(options: argparse.Namespace) -> int:
    """Make the motion. Raises InputError for arguments that cannot be used."""
    from parlante.animation.completion import motion

    return complete(options, motion)
