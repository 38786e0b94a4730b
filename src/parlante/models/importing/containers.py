"""Files of named tensors as other people's training scripts leave them, read without running anything from them.

Accepted: torch's zip format (1.6 and later), its older stream format, and safetensors; in each a bare state dict or one
under `state_dict`, `model`, `model_state_dict`, `params` or `params_ema`, with or without the prefix `module.` of
data-parallel training.

Before torch sees a file, its pickle is read by `core.restricted_pickle` into descriptions of tensors: what it names
must be on a short list, and what it claims must fit inside the bytes that are there. Then `torch.load` reads it with
weights only; there is no other way in.
"""

import math
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from parlante.core import InputError
from parlante.core.restricted_pickle import Buffer, Builder, Machine, Refused

_WRAPPERS = ("state_dict", "params_ema", "params", "model", "model_state_dict")
"""Entries under which training scripts keep the state dict, best first."""
_PREFIX = "module."
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_ITEM_BYTES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8,
    "IntStorage": 4, "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1,
}  # fmt: skip
_MOST_SHARING = 4
"""Tensors may share storage (tied weights); together they may claim at most this many times the size of the file."""


def read_tensors(path: Path | str, *, entry: str | None = None, without: Collection[str] = ()) -> dict[str, Tensor]:
    """Name -> float32 tensor of the one state dict in a file; the wrapping and `module.` are taken off.

    entry: which state dict to take where there are several. without: names to leave out, whatever they are.

    Raises InputError if the file is missing, truncated, no torch or safetensors file, asks for anything but tensors to
    be made, claims more than it holds, or holds numbers that are not finite. Nothing in the file is executed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is no file; give the .pth itself" if path.exists() else f"no such file: {path}")
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(16)
    try:
        if head[:4] == b"PK\x03\x04":
            _check_zip(path, size)
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        elif head[8:9] == b"{" and int.from_bytes(head[:8], "little") + 8 <= size:  # a length may start with \x80 too
            content = load_file(path)
        elif head[:1] == b"\x80" and size > 16:
            _check_stream(path)
            content = torch.load(path, map_location="cpu", weights_only=True)
        else:
            raise InputError(f"{path} is neither a torch nor a safetensors file; give the .pth as it was published")
    except Refused as error:
        raise InputError(
            f"{path} was refused, nothing was executed: {error}; a checkpoint holds tensors only"
        ) from error
    except InputError:
        raise
    except (ValueError, SafetensorError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged or cut short: {error}; download it again") from error
    except Exception as error:  # whatever torch found that the checks above did not
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} cannot be read with weights only: {first_line}") from error
    state = _state_dict(content, path, entry)
    return _numbers({name: tensor for name, tensor in state.items() if name not in without}, path, size)


def _state_dict(content: Any, path: Path, entry: str | None) -> dict[str, Tensor]:
    """The state dict inside its wrapping, names without `module.`."""
    for _ in range(3):
        if not isinstance(content, dict):
            raise InputError(f"{path} holds a {type(content).__name__}, wanted a dict of named tensors")
        inner = next((name for name in (entry, *_WRAPPERS) if isinstance(content.get(name), dict)), None)
        if inner is None:
            break
        content = content[inner]
    wrong = [str(name) for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if wrong or not content:
        what = f"entries that are no tensors: {', '.join(wrong[:5])}" if wrong else "nothing"
        raise InputError(f"{path} holds {what}; wanted a state dict, bare or under {', '.join(map(repr, _WRAPPERS))}")
    if all(name.startswith(_PREFIX) for name in content):
        return {name.removeprefix(_PREFIX): tensor for name, tensor in content.items()}
    return dict(content)


def _numbers(state: dict[str, Tensor], path: Path, size: int) -> dict[str, Tensor]:
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if claimed > _MOST_SHARING * size:
        raise InputError(f"{path} has {size} bytes but its tensors claim {claimed}; it was refused")
    numbers: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise InputError(f"{path}: {name} is {tensor.dtype} ({tensor.layout}), wanted plain float32")
        numbers[name] = tensor.float()
        if not bool(numbers[name].isfinite().all()):
            raise InputError(f"{path}: {name} holds numbers that are not finite; the training that wrote it failed")
    return numbers


# -- what a torch pickle claims


@dataclass(frozen=True)
class _Storage:
    key: str
    count: int
    item_bytes: int


def _storage(identity: Any) -> _Storage:
    """The storage that a persistent id ('storage', type, key, device, count[, view]) names."""
    if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != "storage":
        raise Refused("it refers to something outside itself")
    _, kind, key, _, count = identity[:5]
    name = str(kind).rpartition(".")[2]
    if name not in _ITEM_BYTES or not isinstance(key, str) or not isinstance(count, int) or count < 0:
        raise Refused(f"it holds numbers of an unexpected kind ({name[:40]})")
    if len(identity) == 6 and identity[5] is not None:
        raise Refused("it uses storage views of a very old torch; load and save it again with a newer one")
    return _Storage(key, count, _ITEM_BYTES[name])


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> None:
    """Checks that a tensor lies inside its storage, and does not repeat it."""
    if not isinstance(storage, _Storage) or not all(isinstance(n, int) and n >= 0 for n in (offset, *shape, *strides)):
        raise ValueError("a tensor of impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides))
    if len(shape) != len(strides) or math.prod(shape) > storage.count or (0 not in shape and last >= storage.count):
        raise ValueError(f"a tensor of shape {tuple(shape)} does not fit into its {storage.count} numbers")


_BUILDERS: dict[str, Builder] = {
    "collections.OrderedDict": lambda *pairs: dict(*pairs),
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
}
_NAMES = frozenset(f"torch.{kind}" for kind in _ITEM_BYTES) | {"torch.Size"}


class _Claims(list[_Storage]):
    """The storages that a pickle refers to."""

    def read(self, data: Buffer, start: int = 0) -> int:
        return Machine(_BUILDERS, _NAMES, self._note).run(data, start)[1]

    def _note(self, identity: Any) -> _Storage:
        self.append(_storage(identity))
        return self[-1]


def _check_zip(path: Path, size: int) -> None:
    """Raises ValueError or Refused unless every storage the pickle claims is there, whole and uncompressed."""
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if any(m.compress_type != zipfile.ZIP_STORED for m in members.values()):
            raise Refused("its parts are compressed, which torch never does")
        if sum(m.file_size for m in members.values()) > size or len(members) != len(archive.infolist()):
            raise Refused("its parts claim to be larger than the file")
        pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1 or any(name.endswith("/constants.pkl") for name in members):
            raise ValueError("a zip file, but no state dict saved by torch")
        folder = pickles[0].removesuffix("data.pkl")
        claims = _Claims()
        claims.read(archive.read(pickles[0]))
    for claim in claims:
        record = members.get(f"{folder}data/{claim.key}")
        if record is None or record.file_size < claim.count * claim.item_bytes:
            raise ValueError(f"the numbers of storage {claim.key[:20]} are not all there")


def _check_stream(path: Path) -> None:
    """The same for torch's older format: pickles of magic number, version, system, content and keys, then numbers."""
    with path.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as data:
        plain = Machine({})
        magic, at = plain.run(data)
        if magic != _LEGACY_MAGIC:
            raise ValueError("a pickle, but no state dict saved by torch")
        _, at = plain.run(data, at)
        _, at = plain.run(data, at)
        claims = _Claims()
        at = claims.read(data, at)
        keys, at = plain.run(data, at)
        bytes_of = {claim.key: claim.count * claim.item_bytes for claim in claims}
        if not isinstance(keys, list) or {str(key) for key in keys} != bytes_of.keys() or len(keys) != len(bytes_of):
            raise ValueError("the list of numbers does not match the tensors")
        for key in keys:
            at += 8 + bytes_of[str(key)]
        if at > len(data):
            raise ValueError(f"{len(data)} bytes, wanted {at}")
