"""What a recipe may say: the keys of a section are the fields of a dataclass, with types, ranges, defaults, meanings.

The same dataclasses check a recipe, build the settings of a training and make the key reference.
"""

import ast
import dataclasses
import difflib
import inspect
import textwrap
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, TypeVar

from parlante.core import InputError
from parlante.core.typed import Mistyped, in_words, shown_value, typed

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Section:
    """The keys of one section of a recipe."""

    keys: type
    """Dataclass whose fields are the keys."""
    only: tuple[str, ...] = ()
    """Fields that are keys; empty: all."""
    without: tuple[str, ...] = ()
    """Fields that are no keys, because the data decides them."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """What stands for the default of a field where the data decides it, in words."""

    def types(self) -> dict[str, Any]:
        """Type of each key, with the range of numbers."""
        hints = typing.get_type_hints(self.keys, include_extras=True)
        names = [each.name for each in dataclasses.fields(self.keys)]
        return {n: hints[n] for n in names if n not in self.without and (not self.only or n in self.only)}

    @property
    def whole(self) -> bool:
        """Whether the keys alone make an object of the dataclass."""
        return not self.only and not self.without


class Key(NamedTuple):
    """One key of a recipe, as the reference shows it."""

    name: str
    type: str
    default: str
    """Empty: the recipe must give it."""
    meaning: str


def section(keys: type[Settings], config: Mapping[str, Any], name: str) -> Settings:
    """The settings in one section of a recipe. Raises InputError, see `read`."""
    settings: Settings = read(Section(keys), config.get(name), name)
    return settings


def read(section: Section, given: Any, place: str) -> Any:
    """The settings that a recipe gives at `place`: an object of the section's dataclass, or, where the data decides
    some of its fields, a mapping of those that are given.

    Raises InputError for what is no mapping, for unknown keys (with the nearest known one), for keys that are missing,
    and for values that do not fit.
    """
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise InputError(
            f"the recipe's {place} is {shown_value(given)}, wanted settings, for example --set {place}.KEY=VALUE"
        )
    kinds = section.types()
    for name in given:
        if name not in kinds:
            raise InputError(f"the recipe's {place} has no {name}; {suggestion(str(name), kinds)}")
    values = {name: _fit(value, kinds[name], name, f"{place}.{name}") for name, value in given.items()}
    if not section.whole:
        return values
    required = [each.name for each in dataclasses.fields(section.keys) if _default(each) is dataclasses.MISSING]
    if missing := [name for name in required if name not in values]:
        listed = ", ".join(f"{place}.{name}" for name in missing)
        raise InputError(f"the recipe needs {listed}; use --set {place}.{missing[0]}=VALUE")
    try:
        return section.keys(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"the recipe's {place} cannot be used: {error}") from error


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to say of an unknown name: the nearest known one, and all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    return f"{hint}it may have {', '.join(known)}"


def _fit(value: Any, kind: Any, name: str, place: str) -> Any:
    """A value of a YAML file as what a field wants. Raises InputError where it is something else."""
    if dataclasses.is_dataclass(kind) and not isinstance(value, kind):  # type: ignore[arg-type]
        return read(Section(kind), value, place)  # type: ignore[arg-type]
    section = place.rpartition(".")[0]
    try:
        return typed(kind, value, name, yaml=True)
    except Mistyped as error:
        raise InputError(f"the recipe's {section} cannot be used: {error}") from error


# -- the reference


def reference(section: Section) -> list[Key]:
    """The keys of a section."""
    meant = _meanings(section.keys)
    fields = {each.name: each for each in dataclasses.fields(section.keys)}
    return [
        Key(
            name,
            in_words(kind, article=""),
            section.defaults.get(name) or shown(_default(fields[name])),
            meant.get(name, ""),
        )
        for name, kind in section.types().items()
    ]


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def shown(default: Any) -> str:
    """A value as the reference shows it."""
    if default is dataclasses.MISSING:
        return ""
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple | list):
        return f"[{', '.join(map(shown, default))}]"
    return str(default) or '""'


@cache
def _meanings(cls: type) -> dict[str, str]:
    """The text under each field of a dataclass and of those it extends, or its `help`."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(each):
            continue
        found |= {f.name: f.metadata["help"] for f in dataclasses.fields(each) if f.metadata.get("help")}
        body = ast.parse(textwrap.dedent(inspect.getsource(each))).body[0]
        assert isinstance(body, ast.ClassDef)
        for node, after in zip(body.body, body.body[1:]):
            if (
                isinstance(node, ast.AnnAssign)
                and isinstance(node.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[node.target.id] = " ".join(str(after.value.value).split())
    return found
