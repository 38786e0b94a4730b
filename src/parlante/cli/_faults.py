"""Whatever else ends a command: one line that says whose business it is, and for a fault of ours a report in a file."""

import contextlib
import errno
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

BAD_INPUT, FAULT, CLOSED_PIPE = 2, 70, 141
"""Exit codes. 70 is EX_SOFTWARE of sysexits.h; 141 is what a shell says of a program whose reader went away."""
DEBUG = "PARLANTE_DEBUG"
"""Environment variable: set to 1, a fault of ours shows its traceback and writes no report."""
_OUTSIDE = {
    errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO,
    errno.EMFILE, errno.ENFILE, errno.EFBIG, errno.ETXTBSY,
}  # fmt: skip
"""What an operating system says of names, rights and disks; no program can mend it."""
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory")
_LIBRARIES = ("numpy", "scipy", "torch", "numba", "av", "pillow", "safetensors", "trimesh", "transformers", "lightning")


def exit_code_of(error: Exception, command: str, arguments: Sequence[str]) -> int:
    """Tell an error that nobody foresaw in one line on stderr; returns the exit code of the command."""
    if isinstance(error, BrokenPipeError):
        _close_stdout()
        return CLOSED_PIPE
    line, code = _told(error, arguments)
    print(f"{command}: {line}", file=sys.stderr)
    return code


def _told(error: Exception, arguments: Sequence[str]) -> tuple[str, int]:
    if isinstance(error, OSError) and error.errno in _OUTSIDE:
        name = str(error.filename) if error.filename else ""
        shown = f"{name[:60]}...{name[-20:]}" if len(name) > 100 else name
        return f"cannot use {shown or 'a file'}: {error.strerror}; check name, rights and disk", BAD_INPUT
    if _ran_out_of_memory(error):
        return "out of memory; make it smaller (a shorter recording, --size, the batch of a recipe)", BAD_INPUT
    what = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}".rstrip(": ")
    where = write_report(error, arguments)
    told = f"what happened is in {where}; please send it" if where else "no report could be written"
    return f"a fault of parlante, not of yours ({what}); {told} ({DEBUG}=1 shows it here)", FAULT


def _ran_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)
    )


def write_report(error: BaseException, arguments: Sequence[str]) -> Path | None:
    """A text with command, versions and traceback, in the folder for temporary files or the current one; None where
    neither can be written to.
    """
    name = f"parlante-fault-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    text = "\n".join(
        (
            f"command: parlante {' '.join(map(repr, arguments))}",
            f"parlante {_version('parlante')}, Python {platform.python_version()}, {platform.platform()}",
            ", ".join(f"{library} {_version(library)}" for library in _LIBRARIES),
            "",
            "".join(traceback.format_exception(error)),
        )
    )
    for folder in (tempfile.gettempdir, os.getcwd):
        try:
            path = Path(folder()) / name
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return path
    return None


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "is not installed"


def _close_stdout() -> None:
    """Python would complain once more when it flushes at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
