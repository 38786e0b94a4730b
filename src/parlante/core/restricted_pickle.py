"""Pickles read as data: dict, list, tuple, text, bytes, numbers and numpy arrays come out; nothing is ever called.

A pickle is a program for a small stack machine (Python's `pickletools` documents its instructions). This is another
such machine, one that lacks the dangerous instructions: a name such as `os.system` is looked up in a fixed table of our
own builders, never imported, and a name outside the table stops the reading. Python 2 text is read as latin-1.
"""

import math
import struct
from collections.abc import Callable, Mapping
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np

from parlante.core.errors import InputError

Buffer = bytes | mmap
Builder = Callable[..., Any]


class Refused(ValueError):
    """The pickle asks for more than data. The message names what."""


class Pending:
    """A value that a later BUILD instruction completes; until then it only passes through stack and memo."""

    def __init__(self, finish: Callable[[Any], Any]) -> None:
        self.finish = finish
        self.memo_keys: list[int] = []


class _Name(str):
    """A global's dotted name, on the stack where Python would put the object itself."""


_MARK = object()
_PLAIN_KEYS = (str, bytes, int, float, type(None))
"""What a dict key may be; nested tuples could take for ever to hash."""

_PACKED = {  # instruction: struct format of a number that stands behind it
    b"J": "<i", b"K": "<B", b"M": "<H", b"G": ">d",
}  # fmt: skip
_SIZED = {  # instruction: (struct format of the length before the bytes, what the bytes are)
    b"T": ("<I", "latin1"), b"U": ("<B", "latin1"),
    b"X": ("<I", "utf8"), b"\x8c": ("<B", "utf8"), b"\x8d": ("<Q", "utf8"),
    b"B": ("<I", "bytes"), b"C": ("<B", "bytes"), b"\x8e": ("<Q", "bytes"), b"\x96": ("<Q", "bytes"),
    b"\x8a": ("<B", "long"), b"\x8b": ("<I", "long"),
}  # fmt: skip
_LINES: dict[bytes, Callable[[str], Any]] = {  # instruction: how to read the line of text behind it
    b"F": float,
    b"I": lambda text: text == "01" if text in ("00", "01") else int(text),
    b"L": lambda text: int(text.rstrip("L")),
}
_CONSTANTS: dict[bytes, Callable[[], Any]] = {
    b"N": lambda: None, b"\x88": lambda: True, b"\x89": lambda: False,
    b"}": dict, b"]": list, b")": tuple, b"(": lambda: _MARK,
}  # fmt: skip
_MEMO_PUT = {b"q": "<B", b"r": "<I"}
_MEMO_GET = {b"h": "<B", b"j": "<I"}
_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}


class Machine:
    """Reads one pickle out of a buffer.

    builders: dotted name -> what REDUCE with that name makes from its arguments. names: dotted names that may appear as
    values only. persistent: what makes a value of a persistent id (torch's storages). Raises Refused for anything else.
    """

    def __init__(
        self,
        builders: Mapping[str, Builder],
        names: frozenset[str] = frozenset(),
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._builders, self._names, self._persistent = builders, names, persistent

    def run(self, data: Buffer, start: int = 0) -> tuple[Any, int]:
        """(value, position behind the pickle). Raises Refused, or ValueError for what is no whole pickle."""
        self._data, self._at = data, start
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        try:
            while (code := self._take(1)) != b".":
                self._step(code)
            return self._value(self._stack.pop()), self._at
        except (IndexError, KeyError, TypeError, AttributeError, OverflowError, struct.error) as error:
            raise ValueError(f"damaged near byte {self._at}") from error

    def _step(self, code: bytes) -> None:
        stack = self._stack
        if code in _CONSTANTS:
            stack.append(_CONSTANTS[code]())
        elif code in _PACKED:
            stack.append(self._number(_PACKED[code]))
        elif code in _SIZED:
            stack.append(self._sized(*_SIZED[code]))
        elif code in _LINES:
            stack.append(_LINES[code](self._line().decode("ascii")))
        elif code == b"S":
            stack.append(_unquote(self._line()))
        elif code == b"V":
            stack.append(self._line().decode("raw-unicode-escape"))
        elif code in _MEMO_PUT or code in (b"p", b"\x94"):
            self._remember(code)
        elif code in _MEMO_GET:
            stack.append(self._memo[self._number(_MEMO_GET[code])])
        elif code == b"g":
            stack.append(self._memo[int(self._line())])
        elif code in _TUPLES:
            stack.append(tuple(self._value(v) for v in self._pop(_TUPLES[code])))
        elif code in b"tld":
            self._collect(code)
        elif code in b"aesu":
            self._fill(code)
        elif code == b"c":
            stack.append(self._global(f"{self._line().decode('utf8')}.{self._line().decode('utf8')}"))
        elif code == b"\x93":
            module, name = self._pop(2)
            stack.append(self._global(f"{module}.{name}"))
        elif code in (b"R", b"\x81"):
            self._reduce()
        elif code == b"b":
            self._build()
        elif code == b"Q" and self._persistent is not None:
            stack.append(self._persistent(self._value(stack.pop())))
        elif code == b"0":
            stack.pop()
        elif code == b"1":
            self._pop_mark()
        elif code == b"2":
            stack.append(stack[-1])
        elif code == b"\x80":
            if self._number("<B") > 5:
                raise ValueError("a pickle of an unknown version")
        elif code == b"\x95":
            self._number("<Q")
        else:
            raise Refused(f"it uses the pickle instruction {code!r}, which makes objects other than data")

    # -- reading

    def _take(self, count: int) -> bytes:
        piece = self._data[self._at : self._at + count]
        if len(piece) < count:
            raise ValueError("the file ends too early")
        self._at += count
        return piece

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self._at)
        if end < 0:
            raise ValueError("the file ends too early")
        line = self._data[self._at : end]
        self._at = end + 1
        return line.rstrip(b"\r")

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _sized(self, form: str, kind: str) -> Any:
        raw = self._take(self._number(form))
        if kind == "long":
            return int.from_bytes(raw, "little", signed=True)
        return raw if kind == "bytes" else raw.decode(kind, "surrogatepass" if kind == "utf8" else "strict")

    # -- stack and memo

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise IndexError
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def _pop_mark(self) -> list[Any]:
        for place in range(len(self._stack) - 1, -1, -1):
            if self._stack[place] is _MARK:
                values = self._stack[place + 1 :]
                del self._stack[place:]
                return values
        raise IndexError

    @staticmethod
    def _value(value: Any) -> Any:
        """`value`, if it may be part of the result."""
        if value is _MARK or isinstance(value, Pending):
            raise ValueError("an unfinished value")
        return value

    def _remember(self, code: bytes) -> None:
        if code == b"\x94":
            key = len(self._memo)
        else:
            key = int(self._line()) if code == b"p" else self._number(_MEMO_PUT[code])
        self._memo[key] = self._stack[-1]
        if isinstance(self._stack[-1], Pending):
            self._stack[-1].memo_keys.append(key)

    def _collect(self, code: bytes) -> None:
        values = [self._value(v) for v in self._pop_mark()]
        if code == b"d":
            self._stack.append({})
            self._put(self._stack[-1], values)
        else:
            self._stack.append(tuple(values) if code == b"t" else values)

    def _fill(self, code: bytes) -> None:
        values = self._pop_mark() if code in b"eu" else self._pop(1 if code == b"a" else 2)
        values = [self._value(v) for v in values]
        target = self._stack[-1]
        if code in b"ae" and type(target) is list:
            target.extend(values)
        elif code in b"su" and type(target) is dict:
            self._put(target, values)
        else:
            raise ValueError("an item for something that is neither list nor dict")

    @staticmethod
    def _put(target: dict[Any, Any], values: list[Any]) -> None:
        if len(values) % 2:
            raise ValueError("a dict key without a value")
        for key, value in zip(values[::2], values[1::2]):
            if not isinstance(key, _PLAIN_KEYS):
                raise Refused("a dict key is neither text nor number")
            target[key] = value

    # -- names and what they build

    def _global(self, name: str) -> _Name:
        if name not in self._builders and name not in self._names:
            raise Refused(f"it asks for {name[:80]!r}, which is not plain data")
        return _Name(name)

    def _reduce(self) -> None:
        name, arguments = self._pop(2)
        if not isinstance(name, _Name) or name not in self._builders or type(arguments) is not tuple:
            raise Refused("it calls something that is no builder of data")
        self._stack.append(self._builders[name](*arguments))

    def _build(self) -> None:
        state = self._value(self._stack.pop())
        target = self._stack[-1]
        if isinstance(target, Pending):
            value = target.finish(state)
            self._stack[-1] = value
            for key in target.memo_keys:
                if self._memo.get(key) is target:
                    self._memo[key] = value
        elif type(target) is not dict:  # attributes of an ordered dict (torch's `_metadata`) carry no numbers: dropped
            raise Refused("it sets the state of something that has none")


def _unquote(line: bytes) -> str:
    """A Python 2 string literal as latin-1 text."""
    import codecs

    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("a string without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin1")


# -- numpy


def _raw(data: Any) -> bytes:
    if isinstance(data, str):
        return data.encode("latin1")
    if not isinstance(data, bytes):
        raise Refused("an array whose numbers are not bytes")
    return data


def _dtype(kind: Any, *_: Any) -> np.dtype[Any] | Pending:
    """`numpy.dtype('f8', ...)`, of real numbers only; a BUILD behind it gives the byte order."""
    made = np.dtype(str(kind))
    if made.kind not in "biuf" or made.itemsize > 8:
        raise Refused(f"an array of {str(kind)[:20]!r}, wanted numbers")

    def order(state: Any) -> np.dtype[Any]:
        sign = state[1] if isinstance(state, tuple) and len(state) > 1 else "|"
        return made.newbyteorder(">") if sign == ">" else made.newbyteorder("<") if sign == "<" else made

    return Pending(order)


def _array(shape: Any, kind: Any, fortran: bool, data: Any) -> np.ndarray[Any, Any]:
    shape = tuple(int(n) for n in shape)
    raw = _raw(data)
    if not isinstance(kind, np.dtype) or min(shape, default=0) < 0 or len(shape) > 8:
        raise ValueError("an array of impossible shape or type")
    if math.prod(shape) * kind.itemsize != len(raw):
        raise ValueError(f"an array of shape {shape} with {len(raw)} bytes")
    return np.frombuffer(raw, kind).reshape(shape, order="F" if fortran else "C").astype(kind.newbyteorder("="))


def _reconstruct(*_: Any) -> Pending:
    return Pending(lambda state: _array(state[1], state[2], state[3], state[4]))


def _scalar(kind: Any, data: Any) -> Any:
    return _array((), kind, False, data).item()


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    return _array(shape, kind, order == "F", data)


NUMPY: dict[str, Builder] = {
    "numpy.dtype": _dtype,
    "_codecs.encode": lambda text, _="latin1": _raw(text),
    "collections.OrderedDict": lambda *pairs: dict(*pairs),
    "collections.defaultdict": lambda *_: {},
    **{f"{core}.multiarray._reconstruct": _reconstruct for core in ("numpy.core", "numpy._core")},
    **{f"{core}.multiarray.scalar": _scalar for core in ("numpy.core", "numpy._core")},
    **{f"{core}.numeric._frombuffer": _from_buffer for core in ("numpy.core", "numpy._core")},
}
"""What a pickle of plain Python and numpy data calls."""

_LARGEST = 1 << 30
_NAMES = frozenset(
    {"numpy.ndarray", *(f"{m}.{t}" for m in ("builtins", "__builtin__") for t in ("dict", "list", "int"))}
)
"""What may be named but is never called: the class of an array, and the default of a defaultdict."""


def read_pickle(path: Path | str) -> Any:
    """The data of a pickle file (protocols 0 to 5, Python 2 included), nothing executed.

    Raises InputError if there is no such file, it is damaged, beyond 1 GiB, or asks for anything but data.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    if path.stat().st_size > _LARGEST:
        raise InputError(f"{path} is larger than 1 GiB; wanted a pickle of a few arrays")
    try:
        content = path.read_bytes()
        value, end = Machine(NUMPY, _NAMES).run(content)
        if end < len(content):
            raise ValueError(f"{len(content) - end} bytes stand behind its end")
        return value
    except Refused as error:
        raise InputError(
            f"{path} was refused, nothing was executed: {error}; wanted numbers, text and arrays"
        ) from error
    except ValueError as error:
        raise InputError(f"cannot read {path} as a pickle: {error}") from error
