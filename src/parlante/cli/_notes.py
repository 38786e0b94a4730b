"""Notes on the command line: shown when a command ends, errors with `--strict`."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def add_strict(parser: argparse.ArgumentParser) -> None:
    """`--strict`, alike in every command that makes something."""
    parser.add_argument(
        "--strict", action="store_true", help="whatever would be assumed, dropped or replaced with a note is an error"
    )


@contextmanager
def shown_notes(command: str, *, strict: bool = False) -> Iterator[list[str]]:
    """Print a line on stderr for each note of the block, when it ends; strict: the first one is an error."""
    from parlante.core.notes import gathered, strictly

    lines: list[str] = []
    try:
        with strictly(strict), gathered(log=False) as lines:
            yield lines
    finally:
        for line in lines:
            print(f"parlante {command}: note: {line}", file=sys.stderr)
