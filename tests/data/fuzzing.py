"""Seeded damage to files, and a watch over what a reader does with them.

Damage is to bytes, and to structure in files that stay whole: fields of JSON, YAML and glTF of other types and sizes,
arrays of other types, ranks and sizes, headers of pictures and tensors. A reader must give a value or raise InputError
with one clear line, within seconds and without taking much memory, running nothing that a file names and writing
nothing.
"""

import io
import json
import os
import random
import signal
import sys
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parlante.core import InputError

LIMIT_S = 10.0
"""CPU seconds one reading may take."""
LIMIT_BYTES = 1 << 30
"""Address space one reading may take beyond what the process has: files here have a few kilobytes."""
_NUMBERS = (
    b"nan",
    b"-1",
    b"1e400",
    b"99999999999999999999",
    b"0",
    b"2147483648",
    b"-inf",
    b"1e38",
    b"",
    b"0x10",
    b"1/1",
)
_DEEP = "@deep@"
"""Stands for lists in lists, deeper than any parser goes, until the text is written."""
_JSON: tuple[Any, ...] = (
    _DEEP,
    2**53,
    10**400,
    1.5,
    "1",
    "x" * 300,
    "a\0b",
    {"a": {"b": [1]}},
    [0] * 5000,
    [None, "x", -1],
    None,
    [],
    {},
    "",
    "..",
    "/etc/passwd",
    -1,
    0,
    1e300,
    2**70,
    True,
    [[]],
    float("nan"),
    "\ud800x",
)
_HOSTILE = (
    b"cos\nsystem\n(S'touch EXECUTED'\ntR.",
    b"\x80\x02cbuiltins\nexec\n(X\x1b\x00\x00\x00open('EXECUTED','w').close()\ntR.",
    b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x0etouch EXECUTED\x85R.",
    b"(lp0\n" * 3000 + b".",
    b"\x80\x04]\x94" + b"(h\x00h\x00e" * 40 + b".",
    b"\x80\x02" + b"\x8b\xff\xff\xff\x7f" + b"0",
)


@dataclass(frozen=True)
class Reader:
    """A reader, and how to make what it reads."""

    name: str
    seed: Callable[[Path], object]
    """Fills an empty folder with valid files."""
    read: Callable[[Path], object]
    """Reads all of that folder; called once on the valid files, which must do."""


# -- damage


def damage(content: bytes, name: str, rng: random.Random) -> bytes:
    """Another content for a file."""
    ways: list[Callable[[bytes, random.Random], bytes]] = [_flip, _flip, _bytes, _cut, _drop, _repeat, _insert, _swap]
    if name.endswith((".pkl", ".pt", ".pth")):
        ways += [_hostile, _hostile]
    if content[:2] == b"PK":
        ways += [_member] * 6
    if content[:1] in b"{[" and content:
        ways += [_json] * 8
    if name.endswith((".yaml", ".yml")):
        ways += [_yaml] * 8
    if content[8:10] == b'{"' and name.endswith((".safetensors", ".style")):
        ways += [_tensors] * 6
    if content[:4] == b"\x89PNG":
        ways += [_png_header] * 4
    if content[:4] == b"glTF":
        ways += [_gltf] * 8
    if _is_text(content):
        ways += [_number] * 4
    if content[:6] == b"\x93NUMPY":
        ways += [_numpy_header] * 2 + [_array] * 6
    for _ in range(8):
        changed = rng.choice(ways)(content, rng)
        if changed != content:
            return changed
    return b""


def _place(content: bytes, rng: random.Random) -> int:
    """Headers are hit as often as all the rest."""
    end = max(1, len(content))
    return rng.randrange(min(end, 200)) if rng.random() < 0.5 else rng.randrange(end)


def _flip(content: bytes, rng: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if data:
            data[_place(content, rng)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _bytes(content: bytes, rng: random.Random) -> bytes:
    at = _place(content, rng)
    patch = rng.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", b"\x80", b"\r", b"\0" * 64, rng.randbytes(16)))
    return content[:at] + patch + content[at + len(patch) :]


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: _place(content, rng)]


def _drop(content: bytes, rng: random.Random) -> bytes:
    at = _place(content, rng)
    return content[:at] + content[at + rng.choice((1, 2, 7, 64, 1000)) :]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    at, length = _place(content, rng), rng.choice((1, 4, 33, 500))
    return content[:at] + content[at : at + length] * rng.choice((2, 3, 40)) + content[at + length :]


def _insert(content: bytes, rng: random.Random) -> bytes:
    at = _place(content, rng)
    return content[:at] + rng.randbytes(rng.choice((1, 3, 100))) + content[at:]


def _swap(content: bytes, rng: random.Random) -> bytes:
    a, b = sorted((_place(content, rng), _place(content, rng)))
    return content[b:] + content[a:b] + content[:a]


def _is_text(content: bytes) -> bool:
    head = content[:400]
    return bool(head) and sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in head) >= 0.95 * len(head)


def _number(content: bytes, rng: random.Random) -> bytes:
    """A word of a text becomes another number."""
    words = content.split(b" ")
    words[rng.randrange(len(words))] = rng.choice(_NUMBERS)
    return b" ".join(words)


def _json(content: bytes, rng: random.Random) -> bytes:
    """A value somewhere becomes one of another kind, or goes."""
    try:
        root = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not _mistype(root, rng):
        return b"[]"
    return json.dumps(root).replace(f'"{_DEEP}"', "[" * 99_999 + "]" * 99_999).encode()


def _yaml(content: bytes, rng: random.Random) -> bytes:
    """The same for YAML, of which JSON is a part; or a list that names lists that name lists."""
    import yaml

    if rng.random() < 0.1:
        names = [f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]" for n in range(1, 12)]
        return content + "\n".join(["x0: &x0 [1]", *names, ""]).encode()
    try:
        root = yaml.safe_load(content)
    except (ValueError, RecursionError, yaml.YAMLError):
        return content
    if not _mistype(root, rng):
        return b"[]"
    return json.dumps(root).replace(f'"{_DEEP}"', "[" * 9_999 + "]" * 9_999).encode()


def _mistype(root: Any, rng: random.Random) -> bool:
    """One to three values become of another kind or size, or go, in place. Whether there were any."""
    return all(_mistype_once(root, rng) for _ in range(rng.choice((1, 1, 1, 2, 3))))


def _mistype_once(root: Any, rng: random.Random) -> bool:
    spots: list[tuple[Any, Any]] = []
    stack = [root]
    while stack:
        node = stack.pop()
        keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        for key in list(keys):
            spots.append((node, key))
            stack.append(node[key])
    if not spots:
        return False
    holder, key = rng.choice(spots)
    value, way = holder[key], rng.random()
    if way < 0.2:
        del holder[key]
    elif way < 0.3:
        holder[key] = [value]
    elif way < 0.4 and isinstance(value, list) and value:
        holder[key] = value[:-1] if rng.random() < 0.5 else value * 3
    elif way < 0.5 and isinstance(value, list):
        holder[key] = {str(at): each for at, each in enumerate(value)}
    elif way < 0.6 and isinstance(value, int | float) and abs(value) < 1e300:
        holder[key] = rng.choice((-value, value + 1, value * 1000, str(value), float(value) + 0.5, -(2**31)))
    else:
        holder[key] = rng.choice(_JSON)
    return True


def _tensors(content: bytes, rng: random.Random) -> bytes:
    """A field of the header in front of tensors changes, or one of its words becomes another."""
    end = 8 + int.from_bytes(content[:8], "little")
    if end > len(content):
        return content
    text = content[8:end]
    if rng.random() < 0.5:
        old = rng.choice((b'"F32"', b'"F16"', b'"I64"'))
        text = text.replace(old, rng.choice((b'"F8_E4M3"', b'"BOOL"', b'"F64"', b'"U8"', b'"BF16"', b'"X"')))
    else:
        text = _json(text, rng)
    return len(text).to_bytes(8, "little") + text + content[end:]


def _png_header(content: bytes, rng: random.Random) -> bytes:
    """Another size, depth or kind of colour, under a checksum that is right."""
    head = bytearray(content[12:29])
    if len(head) < 17 or head[:4] != b"IHDR":
        return content
    place = rng.choice((4, 8, 12, 13, 16))
    if place < 12:
        head[place : place + 4] = rng.choice((0, 1, 7, 20_000, 60_000, 2**31 - 1)).to_bytes(4, "big")
    else:
        head[place] = rng.choice((0, 1, 3, 4, 6, 16, 255))
    return content[:12] + bytes(head) + zlib.crc32(head).to_bytes(4, "big") + content[33:]


def _array(content: bytes, rng: random.Random) -> bytes:
    """An array of another type, rank, size or with other numbers, in a file that is whole."""
    try:
        array = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError, TypeError):
        return content
    way = rng.randrange(9)
    if way == 0:
        kind = rng.choice(("f8", "f2", "i8", "u1", "?", "U3", "S2", "c8", "i1"))
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                array = array.astype(kind)
            except (ValueError, TypeError):
                array = np.zeros(array.shape, kind)
    elif way == 1:
        array = array[None]
    elif way == 2:
        array = array.reshape(-1)
    elif way == 3:
        array = array.reshape(-1)[0] if array.size else array
    elif way == 4:
        array = np.asfortranarray(array.T) if array.ndim > 1 else np.tile(array, 7)
    elif way == 5:
        array = array[:0] if array.ndim else np.zeros(0, array.dtype)
    elif way == 6:
        array = np.zeros(((1 << 21) // max(1, array.nbytes), *array.shape), array.dtype).reshape(-1, *array.shape[1:])
    elif array.dtype.kind in "iuf" and array.size:
        array = np.array(array)
        limits = np.iinfo(array.dtype) if array.dtype.kind in "iu" else np.finfo(array.dtype)
        values = [limits.max, limits.min, 0, *([] if array.dtype.kind in "iu" else [np.nan, np.inf])]
        array.reshape(-1)[rng.randrange(array.size)] = rng.choice(values)
    else:
        array = np.zeros((3, 1, 2), np.float32)
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _gltf(content: bytes, rng: random.Random) -> bytes:
    """A value of the JSON in a whole binary glTF changes."""
    if len(content) < 20 or content[16:20] != b"JSON":
        return content
    end = 20 + int.from_bytes(content[12:16], "little")
    text = _json(content[20:end], rng)
    text += b" " * (-len(text) % 4)
    body = len(text).to_bytes(4, "little") + b"JSON" + text + content[end:]
    return content[:8] + (12 + len(body)).to_bytes(4, "little") + body


def _numpy_header(content: bytes, rng: random.Random) -> bytes:
    text = content[:128].decode("latin1")
    old, new = rng.choice(
        (("'descr': '<f4'", "'descr': '|O'"), ("<f4", "<f8"), ("<f4", "<c8"), ("<f4", "<U9"), ("<f4", "<M8"),
         ("<f8", "<f4"), ("<f8", "|O8"), ("False", "True "), ("(", "(9"), ("(", "(-"), (", 3)", ",99999999999)"),
         ("(", "(0,"), ("3)", "0)"), ("}", " "), ("<i4", "<f4"), ("<i2", ">i2"), ("|u1", "|b1"))
    )  # fmt: skip
    return text.replace(old, new, 1).encode("latin1") + content[128:]


def _member(content: bytes, rng: random.Random) -> bytes:
    """A member of a zip is damaged, goes or is there twice, in an archive that is whole otherwise."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {info.filename: archive.read(info) for info in archive.infolist()}
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError):
        return content
    if not members:
        return content
    name = rng.choice(sorted(members))
    way = rng.random()
    if way < 0.15:
        del members[name]
    elif way < 0.3:
        members[rng.choice(("../EXECUTED", "x" * 300, f"{name}.npy", "a/b.npy"))] = members.pop(name)
    else:
        members[name] = damage(members[name], name, rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for each, data in members.items():
            archive.writestr(each, data)
    return buffer.getvalue()


def _hostile(content: bytes, rng: random.Random) -> bytes:
    program = rng.choice(_HOSTILE)
    return program if rng.random() < 0.5 else content[: rng.randrange(max(1, len(content)))] + program


@contextmanager
def damaged(root: Path, rng: random.Random) -> Iterator[str]:
    """One file under `root` is damaged or gone within the block; gives its name."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    groups: dict[str, list[Path]] = {}
    for path in files:  # each kind of file as often, however many there are of it
        groups.setdefault(path.suffix + str(len(path.relative_to(root).parts)), []).append(path)
    path = rng.choice(groups[rng.choice(sorted(groups))])
    content = path.read_bytes()
    way = rng.random()
    try:
        if way < 0.02:
            path.unlink()
        elif way < 0.04:
            path.unlink()
            path.mkdir()
        elif way < 0.06:
            other = rng.choice(files)
            path.write_bytes(b"" if other == path else other.read_bytes())
        else:
            path.write_bytes(damage(content, path.name, rng))
        yield str(path.relative_to(root))
    finally:
        if path.is_dir():
            path.rmdir()
        path.write_bytes(content)


# -- watch

_seen: list[str] | None = None
_FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "pickle.find_class",
    "os.remove",
    "os.rename",
)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _seen is None:
        return
    if event in _FORBIDDEN:
        _seen.append(f"{event} {arguments}")
    elif event == "open" and len(arguments) == 3:
        path, mode, flags = arguments
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) if isinstance(flags, int) else "w" in str(mode)
        if writes and not str(path).endswith((".pyc", ".nbi", ".nbc")) and "__pycache__" not in str(path):
            _seen.append(f"open for writing: {path}")


sys.addaudithook(_audit)


class _TooLong(BaseException):
    pass


@contextmanager
def bounded_memory(limit: int = LIMIT_BYTES) -> Iterator[None]:
    """Within the block the process gets at most so many bytes more, where the system can tell."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def outcome(read: Callable[[Path], object], root: Path) -> str:
    """read, refused, or what went wrong."""
    global _seen

    def stop(number: int, frame: Any) -> None:
        raise _TooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
    _seen = []
    try:
        with bounded_memory(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numbers that overflow are refused or read
            read(root)
        result = "read"
    except InputError as error:
        line = str(error)
        clear = 12 <= len(line) <= 2000 and "\n" not in line.strip() and "allow_pickle" not in line
        result = "refused" if clear else f"unclear message: {line[:300]!r}"
        causes: list[BaseException | None] = [error]
        while causes[-1] is not None and len(causes) < 9:
            causes.append(causes[-1].__cause__ or causes[-1].__context__)
        if any(isinstance(each, MemoryError) for each in causes):
            result = f"asked for more memory than there is: {line[:300]!r}"
    except _TooLong:
        result = f"took more than {LIMIT_S:g} s"
    except (Exception, SystemExit, RecursionError) as error:
        place = traceback.extract_tb(error.__traceback__)
        ours = [f for f in place if "parlante" in f.filename] or list(place)
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        result = f"{type(error).__name__} at {where}: {str(error)[:200]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        events, _seen = _seen, None
    if events:
        result = f"did what a reader must not: {events[:3]}"
    if (root / "EXECUTED").exists() or Path("EXECUTED").exists():
        result = "ran what the file says"
    return result


def fuzz(reader: Reader, root: Path, count: int, start: int = 0) -> tuple[dict[str, int], list[str]]:
    """`count` damages: how many were read and how many refused; and the failures, each with its seed."""
    root.mkdir(parents=True, exist_ok=True)
    reader.seed(root)
    reader.read(root)  # compiled code and lazily imported modules come now, not under the watch
    sound = outcome(reader.read, root)
    if sound != "read":
        return {}, [f"{reader.name}: cannot read its own valid files: {sound}"]
    tally = {"read": 0, "refused": 0}
    failures = []
    for seed in range(start, start + count):
        with damaged(root, random.Random(f"{reader.name} {seed}")) as name:
            result = outcome(reader.read, root)
        if result in tally:
            tally[result] += 1
        else:
            failures.append(f"{reader.name} seed {seed}, {name}: {result}")
    return tally, failures
