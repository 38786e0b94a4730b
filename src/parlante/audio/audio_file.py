"""A recording as FFmpeg may open it: a regular file and nothing else. Names are never protocols; pipes are read whole.

FFmpeg takes `http:`, `concat:` and the like at the beginning of a name for a protocol, and follows the addresses inside
playlists. Here it gets an open file, and only containers of sound and video.
"""

import os
import select
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from parlante.core.errors import InputError

CONTAINERS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "avi", "caf", "dts", "eac3", "flac", "flv",
    "gsm", "ircam", "m4v", "matroska", "mov", "mp3", "mpc", "mpc8", "mpeg", "mpegts", "mxf", "nistsphere", "nut",
    "ogg", "qcp", "qoa", "rm", "sbc", "sds", "sox", "spdif", "tak", "truehd", "tta", "voc", "w64", "wav", "wv",
)  # fmt: skip
"""Names of FFmpeg's readers that hold everything in one file: no playlists, no pictures, no devices."""
PIPE_S = 30.0
"""Seconds that a pipe may stay silent before its first byte."""
_RIFF = 12
"""Bytes of a WAV file's first header."""


@dataclass(frozen=True)
class AudioFile:
    """A file on the disk, and the stretches of it that are files by themselves."""

    name: str
    """What the user called it, for messages."""
    path: Path
    parts: tuple[tuple[int, int], ...]
    """First byte and length of each WAV file in it; one part, all of it, where it is anything else."""


@contextmanager
def opened(name: Path | str) -> Iterator[AudioFile]:
    """The recording as a file: itself, or a temporary copy of what comes through a pipe.

    Raises InputError for what is missing, a folder, a device, empty, or a pipe through which nothing comes.
    """
    path = Path(name)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be opened ({getattr(error, 'strerror', None) or error})") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder; give an audio file")
    if stat.S_ISREG(mode):
        yield _source(str(path), path)
        return
    if not stat.S_ISFIFO(mode):
        raise InputError(f"{path} is a device or a terminal, no recording; give a file or a pipe")
    with tempfile.NamedTemporaryFile(prefix="parlante-") as copy:
        with _listening(path) as pipe:
            shutil.copyfileobj(pipe, copy)
        copy.flush()
        yield _source(str(path), Path(copy.name))


@contextmanager
def _listening(path: Path) -> Iterator[IO[bytes]]:
    """A pipe through which something comes. Raises InputError where nothing does."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(number, "rb") as pipe:
        if not select.select([pipe], [], [], PIPE_S)[0]:
            raise InputError(f"{path}: nothing came through the pipe in {PIPE_S:g} s; start what writes into it first")
        os.set_blocking(number, True)
        yield pipe


def _source(name: str, path: Path) -> AudioFile:
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{name} is empty (0 bytes); give an audio file")
    try:
        with path.open("rb") as file:
            return AudioFile(name, path, tuple(_parts(file, size)))
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror or error})") from error


def _parts(file: IO[bytes], size: int) -> Iterator[tuple[int, int]]:
    """WAV files one behind another, by the sizes in their headers; else everything as one."""
    start = 0
    while True:
        file.seek(start)
        length = int.from_bytes(file.read(_RIFF)[4:8], "little") + 8
        length += length % 2
        file.seek(start + length)
        if not (_is_wave(file, start) and start + length < size and _is_wave(file, start + length)):
            yield start, size - start
            return
        yield start, length
        start += length


def _is_wave(file: IO[bytes], at: int) -> bool:
    file.seek(at)
    head = file.read(_RIFF)
    return head[:4] == b"RIFF" and head[8:] == b"WAVE"


class Part:
    """A stretch of an open file that reads and seeks like a file, for FFmpeg."""

    def __init__(self, file: IO[bytes], start: int, length: int, name: str) -> None:
        self._file, self._start, self._length, self._at = file, start, length, 0
        self.name = name
        """The last part of the path, whose suffix FFmpeg may use as a hint."""

    def read(self, count: int = -1) -> bytes:
        """At most `count` bytes."""
        left = self._length - self._at
        self._file.seek(self._start + self._at)
        data = self._file.read(left if count < 0 else min(count, left))
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """To another place, which is returned."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = min(max(0, base + offset), self._length)
        return self._at

    def tell(self) -> int:
        """Where it is."""
        return self._at


@contextmanager
def containers(source: AudioFile) -> Iterator[Iterator[Any]]:
    """PyAV containers of the parts, one after the other, each closed before the next. Raises InputError."""
    import av

    with source.path.open("rb") as file:

        def every() -> Iterator[Any]:
            for start, length in source.parts:
                part = Part(file, start, length, Path(source.name).name.rpartition(":")[2])
                try:
                    container = av.open(part, options={"format_whitelist": ",".join(CONTAINERS)})
                except (av.error.FFmpegError, ValueError) as error:
                    raise InputError(
                        f"{source.name} is not a recording that can be read ({reason(error)}); "
                        "give wav, flac, mp3, ogg or m4a"
                    ) from error
                with container:
                    yield container

        try:
            yield every()
        except (av.error.FFmpegError, MemoryError) as error:
            raise InputError(
                f"{source.name} cannot be decoded ({reason(error)}); give wav, flac, mp3, ogg or m4a"
            ) from error


def reason(error: Exception) -> str:
    """The text of an error of FFmpeg."""
    return getattr(error, "strerror", None) or str(error)
