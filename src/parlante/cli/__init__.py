"""The `parlante` command: one file per subcommand, loaded only when called, so that `--help` is instant."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parlante.cli._arguments import Parser

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
    """Run one subcommand; returns the exit code.

    0 done, 2 bad input, 3 an unfit corpus, 70 a fault of ours (told in one line, with a report in a file), 130
    interrupted, 143 ended by TERM, 141 nobody reads what is printed.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    arguments = _with_new_command(arguments)
    chosen = next((word for word in arguments if not word.startswith("-")), "")
    command = f"parlante {chosen}" if chosen in COMMANDS else "parlante"
    from parlante.core.errors import InputError, MissingExtra

    try:
        options = _parser(chosen).read(arguments)
        code = int(importlib.import_module(COMMANDS[options.command][0]).run(options))
        sys.stdout.flush()
        return code
    except (InputError, MissingExtra) as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"{command}: interrupted; {str(error) or 'nothing half-written is left'}", file=sys.stderr)
        return getattr(error, "exit_code", 130)
    except Exception as error:
        from parlante.cli import _faults

        if os.environ.get(_faults.DEBUG, "") not in ("", "0") and not isinstance(error, BrokenPipeError):
            raise
        return _faults.exit_code_of(error, command, arguments)


def _parser(chosen: str) -> "Parser":
    """All commands by name, and the arguments of the chosen one. Raises InputError for a broken plug-in."""
    from parlante.cli._arguments import Parser

    parser = Parser(prog="parlante", description="Speech in, a textured 3D talking head out.")
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, help_line) in COMMANDS.items():
        sub = commands.add_parser(name, help=help_line, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == chosen:
            importlib.import_module(module).configure(sub)
    return parser


def _with_new_command(arguments: list[str]) -> list[str]:
    """The arguments, old names of commands replaced by the new ones, with a notice each."""
    from parlante.core.renames import RENAMED, notice

    arguments = list(arguments)
    places = [at for at, word in enumerate(arguments) if not word.startswith("-")][:3]
    for old, new in RENAMED["command"].items():
        inside_batch = bool(places) and arguments[places[0]] == "batch"
        at = places[inside_batch and " " in old :][: len(old.split())]
        if [arguments[place] for place in at] == old.split():
            notice("command", old, new)
            for place, word in zip(at, new.split(), strict=True):
                arguments[place] = word
    return arguments


def _version() -> str:
    from parlante import __version__

    return f"parlante {__version__}"
