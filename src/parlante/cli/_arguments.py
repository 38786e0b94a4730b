"""A parser whose mistakes are one line like any other bad input: what, got, wanted, next."""

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

KINDS = {"float": "a number", "int": "a whole number", "Path": "a path"}
"""Type of an option's value -> what people call it."""


LARGEST_NUMBER, LARGEST_WHOLE = 1e9, 2**63 - 1
"""What an option may be, either way; nothing that is counted or measured here is more. A seed may be any 63 bits."""


class Parser(argparse.ArgumentParser):
    """Raises InputError where argparse would print its usage and leave the program."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError with argparse's message in our words."""
        message = re.sub(r"^the following arguments are required: ", "not given: ", message)
        message = re.sub(r"^argument ", "", message)
        message = re.sub(r"invalid (\w+) value: (.+)", lambda found: _wrong_kind(*found.groups()), message)
        message = re.sub(r"expected (one|at least one) argument$", "wants a value after it", message)
        self._refuse(f"{message}; ")

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """What was typed. Raises InputError for words that no parser takes, with the nearest option."""
        options, left = self.parse_known_args(arguments)
        if left:
            _last_parser(self, options)._refuse_word(left)
        return options

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """argparse makes the value of a word here."""
        value = super()._get_value(action, arg_string)
        most = {float: LARGEST_NUMBER, int: LARGEST_WHOLE}.get(type(value))
        if most is not None and not abs(value) <= most:
            raise argparse.ArgumentError(action, f"got {arg_string[:40]!r}, wanted a number, at most {most:g}")
        return value

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """argparse asks here whether a value is one of the choices."""
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        if isinstance(action, argparse._SubParsersAction):  # without old names, which have no line of help
            known = [choice.dest for choice in action._choices_actions]
        name = "/".join(action.option_strings) or str(action.metavar or action.dest)
        self._refuse(f"{name}: got {str(value)!r}; {_nearest(str(value), known)}wanted one of {', '.join(known)}; ")

    def _refuse_word(self, left: Sequence[str]) -> NoReturn:
        word = left[0].split("=")[0]
        if not word.startswith("-"):
            self._refuse(f"one word too many: {word!r}; ")
        known = [name for action in self._actions if action.help != argparse.SUPPRESS for name in action.option_strings]
        self._refuse(f"no option {word}; {_nearest(word, known)}")

    def _refuse(self, message: str) -> NoReturn:
        from parlante.core.errors import InputError

        raise InputError(f"{message}{self.prog} --help lists what it takes")


def _wrong_kind(kind: str, value: str) -> str:
    return f"got {value}, wanted {KINDS.get(kind, f'a value of the kind {kind}')}"


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}? " if near else ""


def _last_parser(parser: Parser, options: argparse.Namespace) -> Parser:
    """The parser of the command that was typed, below `parser`."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction) and getattr(options, action.dest, None) in action.choices:
            return _last_parser(action.choices[getattr(options, action.dest)], options)
    return parser
