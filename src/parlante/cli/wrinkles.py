"""`parlante wrinkles talk.npz -o wrinkled.npz`; its way back, `parlante motion`, takes the same arguments."""

import argparse
from collections.abc import Callable

from parlante.cli._options import add_device

EPILOG = """examples:
  parlante wrinkles talk.npz -o wrinkled.npz                  hears the animation's own sound
  parlante wrinkles talk.npz --audio line.wav -o wrinkled.npz -o wrinkled.mp4
  parlante wrinkles capture.npz --no-audio --style NAME -o wrinkled.npz
  parlante texture wrinkled.npz --albedo face.png --size 8192 -o textures/

The animation may come from anywhere, as long as it has the vertices of the embedded head. Sound helps.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    declare(parser, "an .npz of the embedded head", "motion", "wrinkles", "skin")
    parser.epilog = EPILOG


def declare(parser: argparse.ArgumentParser, file: str, known: str, made: str, manner: str) -> None:
    """The arguments of a command that makes one half of a face from the other."""
    parser.add_argument("animation", help=file)
    parser.add_argument("-o", "--output", action="append", required=True, metavar="PATH", help="may be given again")
    sound = parser.add_mutually_exclusive_group()
    sound.add_argument("--audio", metavar="FILE", help="the speech (default: the animation's own sound)")
    sound.add_argument("--no-audio", action="store_true", help=f"let {known} alone decide")
    parser.add_argument(
        "--style", metavar="NAME", help=f"whose {manner} (default: the identity's own, else the average)"
    )
    parser.add_argument("--seed", type=int, default=0, help=f"the same seed gives the same {made} (default 0)")
    parser.add_argument("--steps", type=int, metavar="N", help="levels of noise (default 8)")
    add_device(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Make the wrinkles. Raises InputError for arguments that cannot be used."""
    from parlante.animation.completion import wrinkles

    return complete(options, wrinkles)


def complete(options: argparse.Namespace, make: Callable[..., None]) -> int:
    """Check the arguments of `declare` and call `make`, a function of `animation.completion`. Raises InputError."""
    from pathlib import Path

    from tqdm import tqdm

    from parlante.animation.completion import default_model
    from parlante.core import InputError
    from parlante.core.interruption import interruptible
    from parlante.export.npz import load
    from parlante.models.textalker.completion import STEPS

    steps = STEPS if options.steps is None else options.steps
    if not 1 <= steps <= 500:
        raise InputError(f"--steps must lie in 1..500, got {steps}; {STEPS} is good")
    if not 0 <= options.seed < 2**63:
        raise InputError(f"seed must be a whole number from 0 to 2**63 - 1, got {options.seed}")
    for output in options.output:
        if Path(output).exists() and Path(options.animation).exists() and Path(output).samefile(options.animation):
            raise InputError(f"{output} is the animation itself; name another output with -o")
    animation = load(options.animation)
    total = len(animation.vertices)
    with interruptible(), tqdm(total=total, unit=" frames", disable=options.quiet or None) as bar:
        make(
            animation,
            *options.output,
            audio=False if options.no_audio else options.audio or True,
            style=options.style,
            seed=options.seed,
            steps=steps,
            model=default_model(options.device),
            progress=bar.update,
        )
    return 0
