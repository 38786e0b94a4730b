"""numpy's files from anywhere: sizes are checked against the file before anything is allocated, nothing is unpickled.

A zip of a few megabytes may claim arrays of many gigabytes, all zeros. So every `.npz` is opened here: its headers are
read first, whoever reads an array says how large it may be, and small files may claim no more than `MOST_UNPACKED`.
"""

import ast
import io
import os
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parlante.core.errors import InputError
from parlante.core.files import first_line, open_regular, shortened, why

MOST_UNPACKED = 1 << 30
"""Bytes that the arrays of a smaller `.npz` may have together."""
_LONGEST_HEADER = 1 << 16
_KINDS = "biufcSU"
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError, struct.error,
    KeyError, OverflowError,
)  # fmt: skip


class Header(NamedTuple):
    """What a file says about an array."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool = False

    @property
    def nbytes(self) -> int:
        """Of the numbers, without the header."""
        total = self.dtype.itemsize
        for size in self.shape:
            total *= size
        return total


class ArrayArchive:
    """The arrays of a `.npz`: headers checked on opening, numbers read when they are asked for. A context manager.

    Every method raises InputError for what cannot be read.
    """

    def __init__(self, source: Path | str | bytes, name: str = "", *, wanted: str = "a .npz of arrays") -> None:
        """A file or its content. name: in messages, by default the file's; wanted: what to give instead."""
        self.name, self._wanted = name or ("" if isinstance(source, bytes) else shortened(source)), wanted
        try:
            self._file: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else open_regular(source)
        except FileNotFoundError as error:
            raise InputError(f"no such file: {self.name}") from error
        except (OSError, ValueError) as error:
            raise self.refusal(why(error)) from error
        try:
            self.size = self._file.seek(0, os.SEEK_END)
            self._zip = zipfile.ZipFile(self._file)
            members = [each for each in self._zip.infolist() if re.fullmatch(r"[^\\\0]{1,200}\.npy", each.filename)]
            self.headers = {each.filename.removesuffix(".npy"): self._header(each) for each in members}
        except _ZIP_ERRORS as error:
            self._file.close()
            raise (error if isinstance(error, InputError) else self.refusal(first_line(error))) from error

    def __enter__(self) -> "ArrayArchive":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._zip.close()
        self._file.close()

    def refusal(self, reason: str) -> InputError:
        """The error to raise."""
        return InputError(f"cannot read {self.name}: {reason}; give {self._wanted}")

    def require(self, keys: Sequence[str]) -> None:
        """Raises InputError if one of the arrays is missing."""
        if missing := [key for key in keys if key not in self.headers]:
            there = ", ".join(sorted(self.headers)[:20]) or "nothing"
            raise InputError(f"{self.name} lacks {', '.join(missing)}; it has: {shortened(there)}; give {self._wanted}")

    def read(self, key: str, most: int) -> NDArray[Any]:
        """A whole array of at most so many bytes. Raises InputError if it claims more, or text that is none."""
        header = self.headers[key]
        if header.nbytes > most:
            raise self.refusal(f"{key} claims {header.nbytes} bytes, more than the {most} that it may have here")
        with self.open(key) as file:
            flat = self._numbers(key, file, header.dtype, header.nbytes)
        array = flat.reshape(header.shape, order="F" if header.fortran else "C")
        if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
            codes = np.ascontiguousarray(np.atleast_1d(array)).view(f"{array.dtype.str[0]}u4")
            if codes.max() > 0x10FFFF:
                raise self.refusal(f"{key} is no text")
        return array

    def open(self, key: str) -> IO[bytes]:
        """An array's numbers as a stream."""
        try:
            file = self._zip.open(f"{key}.npy")
            read_header(file)
        except _ZIP_ERRORS as error:
            raise self.refusal(first_line(error)) from error
        return file

    def rows(self, key: str, file: IO[bytes], count: int) -> NDArray[Any]:
        """The next `count` rows of an array that `open` opened."""
        shape, dtype, fortran = self.headers[key]
        if fortran and len(shape) > 1:
            raise self.refusal(f"{key} is stored by columns")
        wanted = Header((count, *shape[1:]), dtype).nbytes
        return self._numbers(key, file, dtype, wanted).reshape(count, *shape[1:])

    def _numbers(self, key: str, file: IO[bytes], dtype: np.dtype[Any], wanted: int) -> NDArray[Any]:
        try:
            data = file.read(wanted)
        except (*_ZIP_ERRORS, MemoryError) as error:
            raise self.refusal(first_line(error)) from error
        if len(data) != wanted:
            raise self.refusal(f"{key} is cut short")
        return np.frombuffer(bytearray(data), dtype) if wanted else np.zeros(0, dtype)

    def _header(self, member: zipfile.ZipInfo) -> Header:
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or member.flag_bits & 1:
            raise self.refusal(f"{shortened(member.filename)} is packed in a way that numpy does not use")
        with self._zip.open(member) as file:
            header, start = read_header(file)
        if header.nbytes != member.file_size - start:
            held = member.file_size - start
            raise self.refusal(f"{shortened(member.filename)} announces {header.nbytes} bytes but holds {held}")
        return header


def read_header(file: IO[bytes]) -> tuple[Header, int]:
    """The header of an array file that is read from its beginning, and where the numbers begin.

    Raises ValueError if it is none, or holds anything but plain numbers and text.
    """
    lead = file.read(10)
    if lead[:6] != b"\x93NUMPY" or lead[6:7] not in (b"\x01", b"\x02", b"\x03") or len(lead) < 10:
        raise ValueError("it is no array in numpy's format")
    if lead[6] > 1:
        lead += file.read(2)
    start = len(lead) + int.from_bytes(lead[8:], "little")
    if start > _LONGEST_HEADER:
        raise ValueError("an array has an outsized header")
    try:
        with warnings.catch_warnings():  # of types that numpy will drop
            warnings.simplefilter("ignore")
            said = ast.literal_eval(file.read(start - len(lead)).decode("utf-8"))
            dtype, shape, fortran = np.dtype(said["descr"]), tuple(said["shape"]), said["fortran_order"]
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError, AttributeError) as error:
        raise ValueError(f"an array's header is damaged ({first_line(error)})") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never read")
    whole = all(type(size) is int and 0 <= size < 1 << 48 for size in shape) and len(shape) <= 32
    if dtype.kind not in _KINDS or dtype.subdtype is not None or not whole or not isinstance(fortran, bool):
        raise ValueError(f"an array is {shortened(str(dtype))} {shortened(str(shape))}, wanted plain numbers or text")
    return Header(shape, dtype, fortran), start


def read_npz(
    source: Path | str | bytes,
    required: Sequence[str] = (),
    *,
    name: str = "",
    most: int = MOST_UNPACKED,
    wanted: str = "a file written by parlante",
) -> dict[str, NDArray[Any]]:
    """All arrays of a `.npz` or its content, unpickling nothing.

    most: bytes that they may have together; a larger file may have its own size. Raises InputError if the file is
    unreadable, claims more, or a `required` key is missing.
    """
    with ArrayArchive(source, name, wanted=wanted) as archive:
        archive.require(required)
        allowed = max(most, archive.size)
        total = sum(header.nbytes for header in archive.headers.values())
        if total > allowed:
            raise archive.refusal(f"its arrays claim {total} bytes, more than the {allowed} that they may have here")
        return {key: archive.read(key, allowed) for key in archive.headers}


def read_npy(path: Path | str, *, mapped: bool = False, wanted: str = "an array of numbers") -> NDArray[Any]:
    """The array in a `.npy`; mapped: left on the disk until it is used.

    Raises InputError if it is missing, holds anything but plain numbers and text, or less than it claims.
    """
    try:
        with open_regular(path) as file:
            header, start = read_header(file)
            held = os.fstat(file.fileno()).st_size - start
            if header.nbytes > held:
                raise ValueError(f"it claims {header.nbytes} bytes and holds {held}")
        if mapped and header.nbytes:
            found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            found = np.load(path, allow_pickle=False)
        return found
    except FileNotFoundError as error:
        raise InputError(f"no such file: {shortened(path)}; give {wanted}") from error
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise InputError(f"cannot read {shortened(path)}: {why(error)}; wanted {wanted}") from error
