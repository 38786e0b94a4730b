"""Files that another file names: only regular ones in its own folder or below, of bounded size, never the network.

A file that somebody sent may name a device, a pipe, or what is none of its business.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote

from parlante.core.errors import InputError
from parlante.core.files import open_regular, shortened, why

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NEXT = "put the file beside it, or export one file with all in it"


def read_beside(folder: Path, name: str, *, of: str, least: int = 0, most: int = 1 << 32) -> bytes:
    """The bytes of the file that `of`, which lies in `folder`, calls `name`, a relative URI.

    least, most: how many bytes it may have. Raises InputError if it lies elsewhere, also by way of a link, is missing,
    no regular file, or of another size.
    """
    with open_beside(folder, name, of=of, least=least, most=most) as file:
        return file.read()


@contextmanager
def open_beside(folder: Path, name: str, *, of: str, least: int = 0, most: int = 1 << 32) -> Iterator[IO[bytes]]:
    """The file, open for reading. Raises InputError as `read_beside`."""
    told = f"{of} keeps a part of itself in {shortened(name)!r}"
    path = None if _SCHEME.match(name) else _inside(folder, unquote(name))
    if path is None:
        raise InputError(f"{told}, which is not in its folder; {_NEXT}")
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if not least <= size <= most:
                wanted = f"at least {least}" if size < least else f"at most {most}"
                raise InputError(f"{told}, which has {size} bytes, wanted {wanted}; copy it again")
            yield file
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(f"{told}, which cannot be read ({why(error)}); {_NEXT}") from error


def _inside(folder: Path, name: str) -> Path | None:
    """The place of the file with all links followed, or None outside of the folder."""
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or "\\" in name or name.startswith("/"):
        return None
    try:
        home = folder.resolve()
        path = home.joinpath(*parts).resolve()
    except (OSError, RuntimeError):  # links in a circle
        return None
    return path if path.is_relative_to(home) else None
