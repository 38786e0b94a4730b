"""Errors that are the user's business: one clear line, exit code 2, no traceback."""


class InputError(ValueError):
    """Something the user gave cannot be used. The message says what, got, wanted and what to do next."""


class MissingExtra(ModuleNotFoundError):
    """An optional library is absent. The message names the extra that brings it."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is needed here: pip install 'parlante[{extra}]'", name=module)
