"""PNG written in stripes of rows that are compressed side by side, so that an 8K picture never lies in memory whole.

PNG specification, third edition (W3C 2025). Each stripe is a run of raw deflate blocks that ends on a byte boundary;
runs follow one another in one zlib stream (RFC 1950), whose check sum is combined from theirs.
"""

import struct
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MODULUS = 65521
_SUB, _UP = 1, 2


def compress_stripe(rows: NDArray[np.uint8 | np.uint16]) -> tuple[bytes, int, int]:
    """Rows (n, W) or (n, W, 3), bytes or 16 bit -> deflate blocks, Adler-32 and length of what they hold.

    The first row is predicted from the left, the others from the row above, so stripes need no neighbours.
    """
    height = len(rows)
    raw = (rows.astype(">u2") if rows.dtype == np.uint16 else rows).view(np.uint8).reshape(height, -1)
    step = raw.shape[1] // rows.shape[1]
    filtered: Any = np.empty((height, raw.shape[1] + 1), np.uint8)
    filtered[0, 0], filtered[1:, 0] = _SUB, _UP
    filtered[0, 1 : step + 1] = raw[0, :step]
    np.subtract(raw[0, step:], raw[0, :-step], out=filtered[0, step + 1 :])
    np.subtract(raw[1:], raw[:-1], out=filtered[1:, 1:])
    # on differences, matching runs is as small as searching for repeats, and faster
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
    blocks = squeeze.compress(filtered) + squeeze.flush(zlib.Z_FULL_FLUSH)
    return blocks, zlib.adler32(filtered), filtered.size


class PngWriter:
    """A PNG being written from compressed stripes, in order; a context manager that closes the file.

    path: where; size: (height, width); channels: 3 for colour or 1 for grey; bits: 8 or 16.
    """

    def __init__(self, path: Path, size: tuple[int, int], channels: int = 3, bits: int = 8) -> None:
        self._file = path.open("wb")
        self._adler, self._begun = 1, False
        self._file.write(_SIGNATURE)
        colour = {1: 0, 3: 2}[channels]
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], bits, colour, 0, 0, 0))
        if channels == 3:
            self._chunk(b"sRGB", b"\0")

    def write(self, stripe: tuple[bytes, int, int]) -> None:
        """Append what `compress_stripe` made."""
        blocks, adler, length = stripe
        self._chunk(b"IDAT", blocks if self._begun else b"\x78\x01" + blocks)
        self._begun = True
        self._adler = adler32_combine(self._adler, adler, length)

    def __enter__(self) -> "PngWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._chunk(b"IDAT", b"\x03\x00" + struct.pack(">I", self._adler))  # an empty last block
                self._chunk(b"IEND", b"")

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">I", len(data)) + kind)
        self._file.write(data)
        self._file.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))


def adler32_combine(first: int, second: int, length: int) -> int:
    """Adler-32 of two strings one after the other, from those of each and the second's length (RFC 1950)."""
    a1, b1, a2, b2 = first & 0xFFFF, first >> 16, second & 0xFFFF, second >> 16
    low = (a1 + a2 - 1) % _MODULUS
    high = (b1 + b2 + length * (a1 - 1)) % _MODULUS
    return high << 16 | low
