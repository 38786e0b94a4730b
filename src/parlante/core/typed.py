"""What a file says, as typed values: the fields of a dataclass are what its header may hold, with types and ranges.

Recipes, headers in JSON and the settings of checkpoints are read with it, so that nothing mistyped gets further.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union

from parlante.core.errors import InputError
from parlante.core.files import first_line, read_file, shortened
from parlante.core.ranges import Range

Header = TypeVar("Header")
DEEPEST = 64
"""Levels of a JSON file: lists in lists."""
LARGEST_JSON = 1 << 28
"""Bytes."""
MOST_VALUES = 1 << 25
"""Of a JSON file."""
_PLAIN = {int: "whole number", float: "number", bool: "true or false", str: "text"}


class Mistyped(ValueError):
    """Says in one line what must be what, and what it is."""


# -- JSON


def parse_json(content: str | bytes, name: str, wanted: str) -> Any:
    """The value of a JSON text. Raises InputError, which names the text and what was wanted, if it is none or deeper
    than `DEEPEST`."""
    try:
        value = json.loads(content)
        check_depth(value)
    except (ValueError, RecursionError) as error:
        deep = "it is nested too deeply, or holds too much" if isinstance(error, RecursionError) else first_line(error)
        raise InputError(f"cannot read {name}: {deep}; give {wanted}") from error
    return value


def read_json(path: Path | str, wanted: str) -> Any:
    """The value of a JSON file. Raises InputError as `parse_json`, and where there is no such file."""
    return parse_json(read_file(path, wanted, largest=LARGEST_JSON), shortened(path), wanted)


def read_header(kind: type[Header], path: Path | str, wanted: str) -> Header:
    """A JSON file as `kind`, see `typed`. Raises InputError as `read_json`, and for what does not fit."""
    try:
        return typed(kind, read_json(path, wanted))
    except Mistyped as error:
        raise InputError(f"cannot read {shortened(path)}: {error}; give {wanted}") from error


def check_depth(value: Any, most: int = MOST_VALUES) -> None:
    """Raises RecursionError for lists and mappings nested deeper than `DEEPEST`, or of more than `most` values in all:
    a YAML file of a few lines may name a list a billion times."""
    level, count = [value], 0
    for _ in range(DEEPEST):
        following: list[Any] = []
        for each in level:
            if isinstance(each, (dict, list)):
                following += each.values() if isinstance(each, dict) else each
                if count + len(following) > most:
                    raise RecursionError
        if not following:
            return
        level, count = following, count + len(following)
    raise RecursionError


# -- types


def typed(kind: Any, value: Any, place: str = "it", *, yaml: bool = False, closed: bool = False) -> Any:
    """A value out of a file as `kind`: a dataclass of such fields, a list, tuple or mapping, a union, a range.

    Fields of a dataclass without default must be there. yaml: as people write it, 1e-3 for a number, 2024 for text;
    closed: fields that a dataclass does not know are an error, and not left out. Raises Mistyped, which names the
    place.
    """
    return _typed(kind, value, place, _How(yaml, closed))


class _How(NamedTuple):
    yaml: bool
    closed: bool


def _typed(kind: Any, value: Any, place: str, how: _How) -> Any:
    if dataclasses.is_dataclass(kind) and not isinstance(value, kind):  # type: ignore[arg-type]
        return _object(kind, value, place, how)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(kind, value, place, how)
    if origin in (list, tuple, Sequence) or kind is list:
        made = _several(kind, value, place, how)
        return made if origin is not tuple else tuple(made)
    if origin in (dict, Mapping) or kind in (dict, Mapping):
        _check(isinstance(value, Mapping), kind, value, place)
        if not inner:
            return dict(value)
        return {key: _typed(inner[1], each, f"{place}.{key}", how) for key, each in value.items()}
    try:
        return _plain(value, kind, how.yaml)
    except (ValueError, OverflowError):
        raise Mistyped(f"{place} must be {in_words(kind)}, got {shown_value(value)}") from None


def _plain(value: Any, kind: Any, yaml: bool) -> Any:
    """A number, text, truth or one of some words as what a field wants. Raises ValueError, without words."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        value = _plain(value, inner[0], yaml)
        if not all(each.holds(value) for each in _ranges(kind)):
            raise ValueError
        return value
    if origin is Literal:
        value = str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        if not isinstance(value, str) or value not in inner:
            raise ValueError
        return value
    if kind not in _PLAIN:
        return value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if yaml and kind is float and isinstance(value, str):
        value, number = float(value), True
    if yaml and kind is str and number:
        return str(value)
    if kind is float and number:
        if not math.isfinite(value):
            raise ValueError
        return value
    if not isinstance(value, kind) or (kind is int and not number):
        raise ValueError
    return value


def in_words(kind: Any, article: str = "a ", ending: str = "") -> str:
    """A type in words, ranges included: for messages with an article, for a reference without."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        known = [in_words(each, article) for each in inner if each is not type(None)]
        return " or ".join(known + ["none"] * (type(None) in inner))
    if origin is Literal:
        return ", ".join(inner[:-1]) + f" or {inner[-1]}"
    if origin is Annotated:
        return " ".join([in_words(inner[0], article, ending), *filter(None, map(str, _ranges(kind)))])
    if origin in (list, Sequence) and inner:
        return f"{article}list of {in_words(inner[0], '', 's')}"
    if origin is tuple:
        size = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        return f"{article}list of {size}{in_words(inner[0], '', 's')}"
    if origin in (dict, Mapping) or kind in (dict, Mapping) or dataclasses.is_dataclass(kind):
        return f"{article}mapping{ending}"
    words = _PLAIN.get(kind, "value") + ending
    return words if kind in (bool, str) else f"{article}{words}"


@cache
def hints(kind: type) -> dict[str, Any]:
    """Field of a dataclass: its type with the range."""
    known = typing.get_type_hints(kind, include_extras=True)
    return {each.name: known[each.name] for each in dataclasses.fields(kind)}


def _object(kind: Any, value: Any, place: str, how: _How) -> Any:
    _check(isinstance(value, Mapping), kind, value, place)
    known = hints(kind)
    if how.closed and (unknown := [str(name) for name in value if name not in known]):
        raise Mistyped(f"{place} has {shortened(unknown[0])}, which nothing is called here")
    given = {
        name: _typed(known[name], each, f"{place}.{name}" if place != "it" else name, how)
        for name, each in value.items()
        if name in known
    }
    lacking = [
        each.name
        for each in dataclasses.fields(kind)
        if each.name not in given and each.default is each.default_factory is dataclasses.MISSING
    ]
    if lacking:
        raise Mistyped(f"{place} lacks {', '.join(lacking)}")
    try:
        return kind(**given)
    except Mistyped:
        raise
    except (TypeError, ValueError) as error:
        raise Mistyped(f"{place} cannot be used: {first_line(error)}") from error


def _several(kind: Any, value: Any, place: str, how: _How) -> list[Any]:
    inner = typing.get_args(kind)
    _check(isinstance(value, (list, tuple)), kind, value, place)
    sized = typing.get_origin(kind) is tuple and inner[-1] is not Ellipsis
    _check(not sized or len(value) == len(inner), kind, value, place)
    kinds = inner if sized else [inner[0] if inner else Any] * len(value)
    try:
        return [_typed(each, one, f"{place}[{at}]", how) for at, (each, one) in enumerate(zip(kinds, value))]
    except Mistyped:
        if any(dataclasses.is_dataclass(each) for each in inner):
            raise
    raise Mistyped(f"{place} must be {in_words(kind)}, got {shown_value(value)}")


def _one_of(kind: Any, value: Any, place: str, how: _How) -> Any:
    inner = typing.get_args(kind)
    if value is None and type(None) in inner:
        return None
    for each in [each for each in inner if each is not type(None)]:
        try:
            return _typed(each, value, place, how)
        except Mistyped:
            inside = [each, *typing.get_args(each)]
            shaped = isinstance(value, list if typing.get_origin(each) in (list, tuple) else Mapping)
            if shaped and any(dataclasses.is_dataclass(one) for one in inside):
                raise  # it says more than that nothing fits
    raise Mistyped(f"{place} must be {in_words(kind)}, got {shown_value(value)}")


def _check(fits: bool, kind: Any, value: Any, place: str) -> None:
    if not fits:
        raise Mistyped(f"{place} must be {in_words(kind)}, got {shown_value(value)}")


def shown_value(value: Any) -> str:
    """A value for a message, of bounded length."""
    if isinstance(value, (Mapping, list, tuple)) and (len(value) > 8 or len(repr(value)) > 80):
        return f"{'a mapping' if isinstance(value, Mapping) else 'a list'} of {len(value)}"
    text = "a huge number" if isinstance(value, int) and abs(value) >= 10**60 else repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _ranges(kind: Any) -> list[Range]:
    """Of an annotated type of number."""
    return [each for each in kind.__metadata__ if isinstance(each, Range)]
