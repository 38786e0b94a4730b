"""A `.npz` written while its arrays are still being made.

The zip format wants each member in one piece, so members of known size get their place at once and are filled in as
frames arrive; one member of unknown (compressed) size may grow at the end of the file. Layout: PKWARE APPNOTE 6.3,
sections 4.3 and 4.5.3 (zip64), always with 64-bit sizes.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_DOS_TIME, _DOS_DATE = 0, (1980 - 1980) << 9 | 1 << 5 | 1  # a fixed date: the same input gives the same bytes
_VERSION = 45


@dataclass
class _Member:
    name: bytes
    offset: int
    """Of the local header."""
    data: int
    """Of the first byte of content."""
    deflated: bool
    size: int = 0
    stored: int = 0
    crc: int = 0


def npy_header(shape: Sequence[int], dtype: np.dtype[Any]) -> bytes:
    """The bytes that come before the raw data in a `.npy` file (version 1.0, C order)."""
    out = BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": tuple(shape)}
    )
    return out.getvalue()


class NpzStream:
    """Write arrays of known shape row by row, several at once, into one `.npz`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._end = 0
        self._members: list[_Member] = []
        self._growing: tuple[_Member, Any] | None = None

    def reserve(self, key: str, shape: Sequence[int], dtype: Any) -> "NpzRows":
        """Set aside the place of an array, stored as it is; fill it with `NpzRows.append`."""
        assert self._growing is None, "reserve before grow"
        header = npy_header(shape, np.dtype(dtype))
        member = self._begin(key, deflated=False)
        self._end = member.data + len(header) + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        rows = NpzRows(self, member)
        rows._put(header)
        return rows

    def grow(self, key: str, shape: Sequence[int], dtype: Any) -> "NpzRows":
        """The one array that is compressed as it comes; nothing else may be added until `close`."""
        assert self._growing is None, "only one array can grow"
        member = self._begin(key, deflated=True)
        self._growing = member, zlib.compressobj(1, zlib.DEFLATED, -15)
        rows = NpzRows(self, member)
        rows._put(npy_header(shape, np.dtype(dtype)))
        return rows

    def add(self, key: str, array: NDArray[Any]) -> None:
        """A whole array, stored."""
        self._finish_growing()
        rows = self.reserve(key, array.shape, array.dtype)
        for start in range(0, len(array) if array.ndim else 1, 1 << 20):
            rows.append(array[start : start + (1 << 20)] if array.ndim else array)

    def close(self) -> None:
        """Write the sizes, checksums and the directory. The file itself stays open."""
        self._finish_growing()
        for member in self._members:
            self._file.seek(member.offset)
            self._file.write(_local_header(member))
        self._file.seek(self._end)
        directory = b"".join(_directory_entry(member) for member in self._members)
        self._file.write(directory + _end_records(len(self._members), len(directory), self._end))

    def _begin(self, key: str, *, deflated: bool) -> _Member:
        name = f"{key}.npy".encode()
        member = _Member(name, self._end, self._end + 30 + len(name) + 20, deflated)
        self._members.append(member)
        return member

    def _put(self, member: _Member, data: bytes | memoryview) -> None:
        member.crc = zlib.crc32(data, member.crc)
        member.size += len(data)
        if member.deflated:
            assert self._growing is not None
            data = self._growing[1].compress(data)
        self._file.seek(member.data + member.stored)
        self._file.write(data)
        member.stored += len(data)

    def _finish_growing(self) -> None:
        if self._growing is None:
            return
        member, compressor = self._growing
        tail = compressor.flush()
        self._file.seek(member.data + member.stored)
        self._file.write(tail)
        member.stored += len(tail)
        self._end = member.data + member.stored
        self._growing = None


class NpzRows:
    """One array being filled."""

    def __init__(self, stream: NpzStream, member: _Member) -> None:
        self._stream, self._member = stream, member

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows along the first axis; their type must be the reserved one."""
        if rows.size:
            self._put(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)

    def _put(self, data: bytes | memoryview) -> None:
        self._stream._put(self._member, data)


def _local_header(member: _Member) -> bytes:
    return (
        struct.pack(
            "<IHHHHHIIIHH",
            0x04034B50,
            _VERSION,
            0,
            8 if member.deflated else 0,
            _DOS_TIME,
            _DOS_DATE,
            member.crc,
            0xFFFFFFFF,
            0xFFFFFFFF,
            len(member.name),
            20,
        )
        + member.name
        + struct.pack("<HHQQ", 1, 16, member.size, member.stored)
    )


def _directory_entry(member: _Member) -> bytes:
    return (
        struct.pack(
            "<IHHHHHHIIIHHHHHII",
            0x02014B50,
            _VERSION,
            _VERSION,
            0,
            8 if member.deflated else 0,
            _DOS_TIME,
            _DOS_DATE,
            member.crc,
            0xFFFFFFFF,
            0xFFFFFFFF,
            len(member.name),
            28,
            0,
            0,
            0,
            0,
            0xFFFFFFFF,
        )
        + member.name
        + struct.pack("<HHQQQ", 1, 24, member.size, member.stored, member.offset)
    )


def _end_records(count: int, size: int, offset: int) -> bytes:
    zip64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, _VERSION, _VERSION, 0, 0, count, count, size, offset)
    locator = struct.pack("<IIQI", 0x07064B50, 0, offset + size, 1)
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return zip64 + locator + end
