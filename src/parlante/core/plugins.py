"""Doors for other packages: entry points that add a family, a dataset or a format, and lazy names of things in modules.

A plug-in declares, for example:

    [project.entry-points."parlante.families"]
    my-model = "my_package:FAMILY"
"""

import difflib
import importlib
from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

from parlante.core.errors import InputError

GROUPS = ("parlante.families", "parlante.datasets", "parlante.exporters")
Item = TypeVar("Item")


def resolve(place: str) -> Any:
    """What "module:attribute" names. Raises InputError if it cannot be imported."""
    module, _, attribute = place.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(f"cannot load {place}: {error}; install or mend the package that it belongs to") from error


def with_plugins(group: str, own: Iterable[Item], kind: type[Item]) -> dict[str, Item]:
    """Our items and those of installed plug-ins, by their `name`.

    group: one of `GROUPS`. kind: the class that an entry point must give. Raises InputError, naming the package, for an
    entry point that cannot be loaded, is of another class, takes a name that is taken, or has another name than its
    item.
    """
    found: dict[str, Item] = {}
    for item in own:
        found[str(item.name)] = item  # type: ignore[attr-defined]
    for point in entry_points(group=group):
        package = point.dist.name if point.dist is not None else point.value
        try:
            item = point.load()
        except Exception as error:  # a plug-in may fail in any way; it must not look like a fault of ours
            raise InputError(
                f"the plug-in {point.name!r} of {package} ({group}) cannot be loaded: {type(error).__name__}: {error}; "
                f"mend it or run: pip uninstall {package}"
            ) from error
        if not isinstance(item, kind):
            raise InputError(
                f"the plug-in {point.name!r} of {package} ({group}) is a {type(item).__name__}, wanted a "
                f"{kind.__name__}"
            )
        name = str(item.name)  # type: ignore[attr-defined]
        if name in found:
            raise InputError(
                f"the plug-in {point.name!r} of {package} ({group}) takes the name {name!r}, which is taken"
            )
        if name != point.name:
            raise InputError(
                f"the plug-in {point.name!r} of {package} ({group}) calls itself {name!r}; give its entry point "
                "that name"
            )
        found[name] = item
    return found


def pick(table: Mapping[str, Item], name: str, what: str) -> Item:
    """`table[name]`. Raises InputError with the nearest known name."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise InputError(f"no {what} named {name!r}; {hint}known: {', '.join(sorted(table))}")
