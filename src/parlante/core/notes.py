"""What was assumed, dropped, replaced or missing while something was made: one line each.

Readers, talkers and writers call `note`. Whoever makes a result gathers the lines with `gathered`, and puts them into
the summary, the provenance and `Animation.notes`. The outermost `gathered` logs its lines as warnings, and so does
`note` where nobody gathers. Under `strictly` a note is an error.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from parlante.core.errors import InputError

_log = logging.getLogger("parlante.notes")
_lines: ContextVar[list[str] | None] = ContextVar("parlante_notes", default=None)
"""Of the innermost `gathered`. A new thread starts without: run it in a copy of the context."""
_strict: ContextVar[bool] = ContextVar("parlante_strict", default=False)


def note(line: str) -> None:
    """Tell one thing in one line, such as "talk.mkv: audio track 2 of 2 is used, track 1 is silent". A line is kept
    once. Raises InputError under `strictly`."""
    if _strict.get():
        raise InputError(f"{line}; with --strict this is an error")
    lines = _lines.get()
    if lines is None:
        _log.warning("%s", line)
    elif line not in lines:
        lines.append(line)


@contextmanager
def gathered(before: Sequence[str] = (), *, log: bool = True) -> Iterator[list[str]]:
    """The lines that are told inside the block, in their order; an outer block gets them, too.

    before: lines to begin with, which were told earlier. log: whether the outermost block logs the others; False where
    they are shown in another way.
    """
    outer, lines = _lines.get(), list(before)
    token = _lines.set(lines)
    try:
        yield lines
    finally:
        _lines.reset(token)
        if outer is not None:
            outer.extend(line for line in lines if line not in outer)
        elif log:
            for line in lines[len(before) :]:
                _log.warning("%s", line)


@contextmanager
def strictly(strict: bool = True) -> Iterator[None]:
    """Notes inside the block are errors, if `strict`."""
    token = _strict.set(strict)
    try:
        yield
    finally:
        _strict.reset(token)
