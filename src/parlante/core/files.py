"""Safe file access: nothing half-written, nothing overwritten by surprise, nothing executed on load."""

import errno
import itertools
import json
import os
import shutil
import stat
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from parlante.core.errors import InputError

NUMPY_ERRORS = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError,
    RecursionError, SyntaxError, RuntimeError, tokenize.TokenError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy raises on a damaged `.npy` or `.npz`, whose header is parsed as Python text, and its sizes believed."""


LARGEST_FILE = 1 << 33
"""Bytes that are read at once at most; what people bring is smaller."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line of bounded length."""
    text = next(iter(str(error).splitlines()), "").strip() or type(error).__name__
    if "allow_pickle" in text:  # numpy advises to unpickle; nobody should
        text = "it is no archive of plain arrays, or holds Python objects, which are never read"
    return text if len(text) <= 300 else f"{text[:300]}..."


def read_file(path: Path | str, wanted: str, *, largest: int = LARGEST_FILE) -> bytes:
    """The bytes of a regular file. Pipes and devices are refused, for they may have no end.

    wanted: what to give instead, such as "a PNG". Raises InputError if it is missing, no regular file, unreadable or
    larger than `largest` bytes.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > largest:
                raise InputError(f"{path} has {size} bytes, at most {largest} are read; give {wanted}")
            return file.read(size)
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}; give {wanted}") from error
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {shortened(path)}: {why(error)}; give {wanted}") from error


def open_regular(path: Path | str) -> IO[bytes]:
    """A regular file, open for reading. Raises OSError for anything else, ValueError for a name with a NUL."""
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))  # a pipe may wait
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            found = "a folder" if stat.S_ISDIR(os.fstat(number).st_mode) else "no regular file"
            raise OSError(errno.EINVAL, f"it is {found}", str(path))
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def why(error: BaseException) -> str:
    """The reason in an error of the operating system, without the name of the file; else its first line."""
    return (isinstance(error, OSError) and error.strerror) or first_line(error)


def shortened(path: Path | str) -> str:
    """A name for a message: bounded, on one line."""
    name = str(path).replace("\0", "\\0").replace("\n", " ")
    return name if len(name) <= 200 else f"{name[:100]}...{name[-60:]}"


@contextmanager
def atomic_path(target: Path | str) -> Iterator[Path]:
    """Yield a path beside `target` to write to; it is renamed over `target` on success and removed on failure.

    The temporary name keeps the suffix of `target`, because many writers choose their format by it.
    Raises InputError if the folder cannot be written to.
    """
    target = Path(target)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")

    def make() -> None:
        if target.is_dir():
            raise InputError(f"cannot write {target}: it is a folder; give a file name")
        partial.touch()

    yield from _moved_into_place(target, partial, make, lambda: partial.unlink(missing_ok=True))


@contextmanager
def atomic_folder(target: Path | str) -> Iterator[Path]:
    """Yield a folder beside `target` to fill; it is renamed to `target` on success and removed on failure.

    Raises InputError if `target` exists and is not an empty folder, or cannot be written to.
    """
    target = Path(target)
    check_new_folder(target)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    yield from _moved_into_place(target, partial, partial.mkdir, lambda: shutil.rmtree(partial, ignore_errors=True))


def _moved_into_place(
    target: Path, partial: Path, make: Callable[[], None], remove: Callable[[], None]
) -> Iterator[Path]:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        make()
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}; choose another output path") from error
    try:
        yield partial
        partial.replace(target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}; choose another output path") from error
    finally:
        remove()


def model_folder(folder: Path) -> Path:
    """The checkpoint in a folder: its export where it is a run of `parlante train`, else itself."""
    exported = folder / "export"
    return exported if not (folder / "config.json").is_file() and (exported / "config.json").is_file() else folder


def check_new_folder(target: Path) -> None:
    """Raises InputError if `target` exists and is anything but an empty folder."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"cannot write {target}: it exists and is not an empty folder; choose another name")


def claim_folder(
    folder: Path,
    marker: str,
    wanted: Mapping[str, Any],
    *,
    made: str,
    kind: str,
    renew: Callable[[Any], bool] | None = None,
    update: Callable[[Any], Any] = lambda found: found,
) -> None:
    """Make `folder` the home of a long work, or go on with it: `folder/marker` keeps the settings `wanted` as JSON.

    made, kind: words of the errors, "written" and "SynthTalk corpus". renew(found): whether other settings found there
    may be replaced. update(found): the settings found there under the names of today. Raises InputError if the folder
    holds other settings or something else.
    """
    settings = json.loads(json.dumps(dict(wanted)))
    path = folder / marker
    if path.is_file():
        try:
            found = update(json.loads(path.read_text()))
        except (OSError, ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f"cannot read {path}: {first_line(error)}; choose another folder") from error
        if found == settings:
            return
        if renew is None or not renew(found):
            known = found if isinstance(found, dict) else {}
            differ = [key for key in sorted({*settings, *known}) if known.get(key) != settings.get(key)]
            again = "; choose another folder" + (", or --again" if renew is not None else "")
            raise InputError(f"{folder} was {made} with another {', '.join(differ)}{again}")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists and is no {kind}; choose a new folder")
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(settings, indent=1) + "\n")


def new_run_dir(root: Path | str, name: str) -> Path:
    """Make and return a folder `root/name-NNN` that did not exist; never reuse or empty one. Raises InputError."""
    for number in itertools.count(1):
        path = Path(root) / f"{name}-{number:03d}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            if not Path(root).is_dir():
                raise InputError(f"cannot make {path}: {root} is not a folder; choose another one") from None
            continue
        except OSError as error:
            raise InputError(f"cannot make {path}: {error.strerror or error}; choose another folder") from error
        return path
    raise AssertionError("unreachable")
