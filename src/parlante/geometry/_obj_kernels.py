"""The loops behind `obj`: bytes to numbers without Python strings. Compiled once; they release the GIL."""

import numba
import numpy as np
from numpy.typing import NDArray

_POWERS = 10.0 ** np.arange(23)


@numba.njit(cache=True, nogil=True, inline="always")
def _blank(c: int) -> bool:
    return c == 32 or c == 9 or c == 13


@numba.njit(cache=True, nogil=True, inline="always")
def _stop(c: int) -> bool:
    """Whether a word ends before this character: blank, line feed or comment."""
    return c == 32 or c == 9 or c == 13 or c == 10 or c == 35


@numba.njit(cache=True, nogil=True)
def _number(data: NDArray[np.uint8], at: int) -> tuple[float, int]:
    """(value, place after it) of the decimal number at or after `at`; the place is -1 if the next word is none.

    Up to 15 significant digits are read exactly as C reads them; digits past the 18th are cut.
    """
    while _blank(data[at]):
        at += 1
    sign = 1.0
    if data[at] == 45 or data[at] == 43:
        sign = -1.0 if data[at] == 45 else 1.0
        at += 1
    mantissa, digits, shift, any_digit = np.int64(0), 0, 0, False
    fraction = False
    while True:
        c = data[at]
        if c >= 48 and c <= 57:
            any_digit = True
            if digits < 18:
                mantissa = mantissa * 10 + np.int64(c - 48)
                digits += 1 if mantissa else 0
                shift -= 1 if fraction else 0
            elif not fraction:
                shift += 1
        elif c == 46 and not fraction:
            fraction = True
        else:
            break
        at += 1
    if not any_digit:
        return 0.0, -1
    if data[at] == 101 or data[at] == 69:
        at += 1
        negative = data[at] == 45
        if negative or data[at] == 43:
            at += 1
        if data[at] < 48 or data[at] > 57:
            return 0.0, -1
        power = 0
        while data[at] >= 48 and data[at] <= 57:
            power = min(power * 10 + np.int64(data[at] - 48), 1000)
            at += 1
        shift += -power if negative else power
    if not _stop(data[at]):
        return 0.0, -1
    value = float(mantissa)
    while shift < 0 and value != 0.0:
        step = min(-shift, 22)
        value /= _POWERS[step]
        shift += step
    while shift > 0 and value != 0.0 and not np.isinf(value):
        step = min(shift, 22)
        value *= _POWERS[step]
        shift -= step
    return sign * value, at


@numba.njit(cache=True, nogil=True, inline="always")
def _end(data: NDArray[np.uint8], at: int) -> int:
    while data[at] != 10:
        at += 1
    return at


@numba.njit(cache=True, nogil=True)
def _kind(data: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """(1: v, 2: vt, 3: f, 0: anything else; place after the keyword) of the line that starts at `at`."""
    while _blank(data[at]):
        at += 1
    if data[at] == 118:
        if _stop(data[at + 1]):
            return 1, at + 1
        if data[at + 1] == 116 and _stop(data[at + 2]):
            return 2, at + 2
    elif data[at] == 102 and _stop(data[at + 1]):
        return 3, at + 1
    return 0, at


@numba.njit(cache=True, nogil=True)
def count(data: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Vertices, uvs, faces and face corners."""
    v, t, f, c, at = 0, 0, 0, 0, 0
    while at < len(data):
        kind, place = _kind(data, at)
        end = _end(data, at)
        if kind == 1:
            v += 1
        elif kind == 2:
            t += 1
        elif kind == 3:
            f += 1
            while place < end and data[place] != 35:
                if not _blank(data[place]) and _blank(data[place - 1]):
                    c += 1
                place += 1
        at = end + 1
    return v, t, f, c


@numba.njit(cache=True, nogil=True)
def _index(data: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """(signed whole number, place after it) at `at`; 0 if there is none."""
    sign = 1
    if data[at] == 45:
        sign, at = -1, at + 1
    value = 0
    while data[at] >= 48 and data[at] <= 57:
        value = min(value * 10 + int(data[at] - 48), 2**31 - 2)
        at += 1
    return sign * value, at


@numba.njit(cache=True, nogil=True)
def fill(
    data: NDArray[np.uint8],
    vertices: NDArray[np.float64],
    uv: NDArray[np.float64],
    sizes: NDArray[np.int32],
    corners: NDArray[np.int32],
) -> int:
    """Fills arrays of the counted sizes; -1, or the place of the first line that cannot be read."""
    v, t, f, c, at = 0, 0, 0, 0, 0
    while at < len(data):
        kind, place = _kind(data, at)
        end = _end(data, at)
        if kind == 1 or kind == 2:
            for axis in range(3 if kind == 1 else 2):
                value, place = _number(data, place)
                if place < 0:
                    return at
                if kind == 1:
                    vertices[v, axis] = value
                else:
                    uv[t, axis] = value
            if kind == 1:
                v += 1
            else:
                t += 1
        elif kind == 3:
            start = c
            while place < end and data[place] != 35:
                if _blank(data[place]):
                    place += 1
                    continue
                vertex, place = _index(data, place)
                texture = 0
                if data[place] == 47:
                    texture, place = _index(data, place + 1)
                    if data[place] == 47:
                        _, place = _index(data, place + 1)
                if vertex == 0 or not _stop(data[place]):
                    return at
                corners[c, 0] = vertex - 1 if vertex > 0 else max(v + vertex, -2)
                if texture < 0:  # -1 is kept for corners without uv
                    corners[c, 1] = t + texture if t + texture >= 0 else -2
                else:
                    corners[c, 1] = texture - 1
                c += 1
            if c - start < 3:
                return at
            sizes[f] = c - start
            f += 1
        at = end + 1
    return -1


@numba.njit(cache=True, nogil=True)
def count_vertices(data: NDArray[np.uint8]) -> tuple[int, int]:
    """Vertices, and bytes of the uv and face lines."""
    v, rest, at = 0, 0, 0
    while at < len(data):
        kind, _ = _kind(data, at)
        end = _end(data, at)
        if kind == 1:
            v += 1
        elif kind:
            rest += end + 1 - at
        at = end + 1
    return v, rest


@numba.njit(cache=True, nogil=True)
def fill_vertices(data: NDArray[np.uint8], vertices: NDArray[np.float64], tail: NDArray[np.uint8]) -> int:
    """Fills positions and copies the uv and face lines; -1, or the place of the first line that cannot be read."""
    v, rest, at = 0, 0, 0
    while at < len(data):
        kind, place = _kind(data, at)
        end = _end(data, at)
        if kind == 1:
            for axis in range(3):
                vertices[v, axis], place = _number(data, place)
                if place < 0:
                    return at
            v += 1
        elif kind:
            for i in range(at, end + 1):
                tail[rest] = data[i]
                rest += 1
        at = end + 1
    return -1
