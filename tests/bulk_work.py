"""Jobs for the tests of bulk work; worker processes import them by name."""

import os
import signal
import time
from pathlib import Path

from parlante.core import InputError, atomic_path


def write(target: str, log: str, seconds: float = 0.0) -> None:
    """Make a file, unless it is there, slowly; note that it was made."""
    if Path(target).exists():
        return
    with atomic_path(target) as partial:
        partial.write_text("half")
        _note(log, "begun", target)
        time.sleep(seconds)
        partial.write_text("whole")
    _note(log, "done", target)


def write_or_die(target: str, log: str, deaths: int) -> None:
    """The same, but the first `deaths` attempts take the process down half-way."""
    with atomic_path(target) as partial:
        partial.write_text("half")
        _note(log, "begun", target)
        begun = sum(line.split()[0] == "begun" and line.endswith(target) for line in Path(log).read_text().splitlines())
        if begun <= deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        partial.write_text("whole")
    _note(log, "done", target)


def refuse(what: str) -> None:
    """An error of the user's, or any other."""
    if what == "input":
        raise InputError("cannot use this file; give another")
    raise RuntimeError("first line\nsecond line")


def _note(log: str, what: str, target: str) -> None:
    with Path(log).open("a") as file:
        file.write(f"{what} {os.getpid()} {target}\n")
