"""What was assumed, dropped, replaced or missing while something was made: one line each.

Readers, talkers and writers call `note`. Whoever makes a result gathers the lines with `gathered`, and puts them into
the summary, the provenance and `Animation.notes`. Lines that nobody gathers are logged as warnings.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_log = logging.getLogger("parlante.notes")
_lines: ContextVar[list[str] | None] = ContextVar("parlante_notes", default=None)
"""Of the innermost `gathered`. A new thread starts without: run it in a copy of the context."""


def note(line: str) -> None:
    """Tell one thing in one line, such as "talk.mkv: track 2 of 2 is used, track 1 is silent". A line is kept once."""
    lines = _lines.get()
    if lines is None:
        _log.warning("%s", line)
    elif line not in lines:
        lines.append(line)


@contextmanager
def gathered() -> Iterator[list[str]]:
    """The lines that are told inside the block, in their order; an outer block gets them, too."""
    outer, lines = _lines.get(), list[str]()
    token = _lines.set(lines)
    try:
        yield lines
    finally:
        _lines.reset(token)
        if outer is not None:
            outer.extend(line for line in lines if line not in outer)
