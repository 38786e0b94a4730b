"""Errors that are the user's business: one clear line, exit code 2, no traceback."""

from pathlib import Path


class InputError(ValueError):
    """Something the user gave cannot be used. The message says what, got, wanted and what to do next."""


class MissingExtra(ModuleNotFoundError):
    """An optional library is absent. The message names the extra that brings it, and where to install it from."""

    def __init__(self, module: str, extra: str) -> None:
        source = Path(__file__).resolve().parents[3]
        wanted = f"-e '{source}[{extra}]'" if (source / "pyproject.toml").is_file() else f"'parlante[{extra}]'"
        super().__init__(f"{module} is needed here: pip install {wanted}", name=module)
