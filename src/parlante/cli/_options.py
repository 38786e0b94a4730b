"""Options of the command line made from dataclasses, and old names of options."""

import argparse
import dataclasses
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

Options = TypeVar("Options")


def add_options(parser: argparse.ArgumentParser, cls: type, **defaults: Any) -> None:
    """An option for each field of a dataclass made with `core.options.option`; `defaults` replace the fields' own."""
    hints = typing.get_type_hints(cls)
    for field in described(cls):
        default = defaults.get(field.name, field.default)
        words = field.metadata["help"]
        flag = field.name.replace("_", "-")
        if isinstance(default, bool):  # a switch that turns it round
            action = "store_false" if default else "store_true"
            parser.add_argument(f"--no-{flag}" if default else f"--{flag}", action=action, dest=field.name, help=words)
            continue
        if default is not None and "default" not in words:
            words += f" (default {default})"
        parser.add_argument(
            f"--{flag}",
            type=_converter(hints[field.name]),
            default=default,
            metavar=field.metadata["metavar"],
            help=words,
        )


def read_options(options: argparse.Namespace, cls: type[Options], **others: Any) -> Options:
    """The dataclass from parsed options; `others` are fields that have none."""
    given = {field.name: getattr(options, field.name) for field in described(cls)}
    return cls(**given, **others)


def described(cls: type) -> list[dataclasses.Field[Any]]:
    """Fields that have a `--help` text."""
    return [field for field in dataclasses.fields(cls) if "help" in field.metadata]


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device`, alike in every command that runs a model."""
    parser.add_argument(
        "--device", default="cpu", metavar="NAME", help="where models run: cpu (default), cuda, cuda:1, mps"
    )


class OldName(argparse.Action):
    """An old name of an option: works as the new one, with a notice."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, new: str, value: str | None = None, **rest: Any
    ) -> None:
        """new: the option that replaces it, for people; value: what is stored where the old option takes none."""
        super().__init__(option_strings, dest, nargs=0 if value is not None else None, help=argparse.SUPPRESS, **rest)
        self.new, self.value = new, value

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        from parlante.core.renames import notice

        plain = None if self.new.startswith("-") else f"{parser.prog} {values} ..."  # a word without an option
        notice("option", str(option), self.new, plain)
        setattr(namespace, self.dest, values if self.value is None else self.value)


def _names(text: str) -> tuple[str, ...]:
    """Names with commas between them. Raises ArgumentTypeError where one is empty."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"got {text!r}, wanted names with commas between them, such as A,B")
    return names


def _converter(hint: Any) -> Any:
    """int, float, str or names with commas, from a field's type; for a choice of types the widest one."""
    if typing.get_origin(hint) is tuple:
        return _names
    kinds = set(typing.get_args(hint)) if isinstance(hint, types.UnionType) else {hint}
    kinds.discard(type(None))
    return next((kind for kind in (str, Path, float, int) if kind in kinds), str)
