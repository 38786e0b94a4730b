"""The `parlante` command: one file per subcommand, loaded only when called, so that `--help` is instant."""

import argparse
import importlib
import sys
from collections.abc import Sequence

# command: (module, one line of help). A module has `configure(parser)` and `run(arguments) -> int`.
COMMANDS = {
    "animate": ("parlante.cli.animate", "speech in, a textured talking head out"),
    "render": ("parlante.cli.render", "an animation (.npz) to video or pictures"),
    "texture": ("parlante.cli.texture", "an animation's skin at full size, up to 8K, frame by frame"),
    "export": ("parlante.cli.export", "an animation (.npz) to any format, edited on the way"),
    "wrinkles": ("parlante.cli.wrinkles", "skin that fits a motion: wrinkle maps for any animation of the head"),
    "motion": ("parlante.cli.motion", "motion that fits wrinkle maps: the way back"),
    "synth": ("parlante.cli.synth", "write a SynthTalk corpus"),
    "prepare": ("parlante.cli.prepare", "a dataset, verified and packed into a clip store"),
    "check": ("parlante.cli.check", "validate a corpus before training: a table, a picture, an exit code"),
    "encode": ("parlante.cli.encode", "latents and style pivots of a corpus"),
    "train": ("parlante.cli.train", "train a model from a recipe"),
    "evaluate": ("parlante.cli.evaluate", "models judged on a corpus: figures with intervals, a report in one file"),
    "compare": ("parlante.cli.compare", "evaluated models ranked; which differences are beyond noise"),
    "convert": (
        "parlante.cli.convert",
        "a released checkpoint of six published models as ours",
    ),
    "style": ("parlante.cli.style", "a person's speaking style from clips; mixing styles"),
    "character": ("parlante.cli.character", "your own mesh or rigged character made to speak"),
    "batch": ("parlante.cli.batch", "many files: animate, encode or prepare on all cores or a Ray cluster"),
    "info": ("parlante.cli.info", "what is installed, embedded and inside a file"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code (0 done, 2 bad input, 3 an unfit corpus, 130 interrupted)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    arguments = _with_new_command(arguments)
    chosen = next((word for word in arguments if not word.startswith("-")), "")
    from parlante.core.errors import InputError, MissingExtra

    try:
        options = _parser(chosen).parse_args(arguments)
        return int(importlib.import_module(COMMANDS[options.command][0]).run(options))
    except (InputError, MissingExtra) as error:
        print(f"parlante {chosen}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"parlante {chosen}: interrupted; nothing half-written is left", file=sys.stderr)
        return 130


def _parser(chosen: str) -> argparse.ArgumentParser:
    """All commands by name, and the arguments of the chosen one. Raises InputError for a broken plug-in."""
    parser = argparse.ArgumentParser(prog="parlante", description="Speech in, a textured 3D talking head out.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, help_line) in COMMANDS.items():
        sub = commands.add_parser(name, help=help_line, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == chosen:
            importlib.import_module(module).configure(sub)
    return parser


def _with_new_command(arguments: list[str]) -> list[str]:
    """The arguments, an old name of a command replaced by the new one, with a notice."""
    place = next((at for at, word in enumerate(arguments) if not word.startswith("-")), None)
    if place is None:
        return arguments
    from parlante.core.renames import notice, renamed

    new = renamed("command", arguments[place])
    if new is None:
        return arguments
    notice("command", arguments[place], new)
    return [*arguments[:place], new, *arguments[place + 1 :]]


def _version() -> str:
    from parlante import __version__

    return f"parlante {__version__}"
