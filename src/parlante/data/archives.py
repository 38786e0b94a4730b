"""Tar archives read in place: nothing is unpacked, and what is not a plain file within the archive is refused."""

import gzip
import struct
import tarfile
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from parlante.core import InputError

SUFFIXES = (".tgz", ".tar.gz", ".tar")
MEMBER_LIMIT = 1 << 30
"""Bytes that a member may have."""
TOTAL_LIMIT = 1 << 40
"""Bytes that an archive may unpack to."""
MEMBERS_LIMIT = 5_000_000
_DAMAGE = (
    tarfile.TarError, OSError, EOFError, zlib.error, struct.error, ValueError, OverflowError, MemoryError,
    RecursionError,
)  # fmt: skip


class _Limited:
    """A file of which no piece beyond a limit is read at once, for tar headers may ask for any size."""

    def __init__(self, file: Any, name: str) -> None:
        self.file, self.name = file, name

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > MEMBER_LIMIT:
            raise InputError(f"{self.name} was refused: it asks for {size} bytes at once")
        content: bytes = self.file.read(size)
        return content

    def seek(self, place: int, whence: int = 0) -> int:
        if whence == 0 and place > TOTAL_LIMIT:
            raise InputError(f"{self.name} was refused: it unpacks to more than {TOTAL_LIMIT >> 30} GiB")
        return int(self.file.seek(place, whence))

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self.file.tell())

    def close(self) -> None:
        self.file.close()


class Archive:
    """A `.tar` or `.tgz`; several threads may share it, and `lock` keeps others out for longer.

    Args:
        path: the file.
        content: the archive's bytes as a file, if it lies in another archive.

    Raises:
        InputError: it cannot be read as an archive.
    """

    def __init__(self, path: Path, content: IO[bytes] | None = None) -> None:
        self.path = path
        self.lock = threading.RLock()
        try:
            self._raw = raw = content or path.open("rb")
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            self._stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
            limited: Any = _Limited(self._stream, str(path))
            self._tar = tarfile.open(fileobj=limited, mode="r:")  # noqa: SIM115
        except InputError:
            raw.close()
            raise
        except _DAMAGE as error:
            raise InputError(f"cannot read {path} as a tar archive: {error}; copy it again") from error

    def members(self) -> Iterator[tarfile.TarInfo]:
        """The plain files, in order. Raises InputError for links, devices, paths that lead outside, and damage."""
        total = 0
        try:
            with self.lock:
                for count, member in enumerate(self._tar, 1):
                    total += max(0, member.size)
                    self._check(member, count, total)
                    if member.isreg():
                        yield member
        except InputError:
            raise
        except _DAMAGE as error:
            raise InputError(f"cannot read {self.path}: {error}; copy it again") from error

    def read(self, member: tarfile.TarInfo) -> bytes:
        """The bytes of a file. Raises InputError for damage."""
        try:
            with self.lock:
                file = self._tar.extractfile(member)
                content = file.read(member.size) if file is not None else b""
        except InputError:
            raise
        except _DAMAGE as error:
            raise InputError(f"cannot read {member.name} in {self.path}: {error}; copy it again") from error
        if len(content) < member.size:
            raise InputError(f"{member.name} in {self.path} is cut short; copy it again")
        return content

    def close(self) -> None:
        """Close the file."""
        self._tar.close()
        self._stream.close()
        self._raw.close()

    def inner(self, member: tarfile.TarInfo) -> "Archive":
        """An archive within this one; its reading and this one's exclude each other."""
        file = self._tar.extractfile(member)
        if file is None:
            raise InputError(f"{member.name} in {self.path} is no file")
        archive = Archive(self.path / member.name, file)
        archive.lock = self.lock
        return archive

    def _check(self, member: tarfile.TarInfo, count: int, total: int) -> None:
        name = PurePosixPath(member.name.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in member.name[:3]:
            raise InputError(f"{self.path} was refused: its member {member.name!r} leads outside")
        if not (member.isreg() or member.isdir()):
            raise InputError(f"{self.path} was refused: its member {member.name!r} is a link or a device")
        if member.size > MEMBER_LIMIT or member.size < 0 or total > TOTAL_LIMIT or count > MEMBERS_LIMIT:
            raise InputError(f"{self.path} was refused: it is too large at {member.name!r} ({member.size} bytes)")


def is_archive(name: str) -> bool:
    """Whether a file of this name is a tar archive."""
    return name.lower().endswith(SUFFIXES)
