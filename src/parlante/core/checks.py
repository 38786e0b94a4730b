"""Is what the user gave of the right type? One line that says what, got and wanted, before anything is made of it."""

from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from parlante.core.errors import InputError

WHOLE, NUMBER = (Integral,), (Real,)
"""Types of whole numbers and of numbers, those of numpy included."""


def check_type(what: str, value: object, types: tuple[type, ...], wanted: str) -> None:
    """Raises InputError unless `value` is of one of `types`; True and False are no numbers."""
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise InputError(f"{what} must be {wanted}, got {value!r}")


def output_list(outputs: Any) -> list[Path | str]:
    """The outputs as a list; a single one is a list of one. Raises InputError for what names no files."""
    wanted = "file names, such as talk.glb"
    if isinstance(outputs, str | Path):
        return [outputs]
    check_type("outputs", outputs, (Iterable,), wanted)
    listed = list(outputs)
    for output in listed:
        check_type("outputs", output, (str, Path), wanted)
    return listed
