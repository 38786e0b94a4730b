"""Cache folders: what becomes of a corpus once, and is read in every training after that.

A folder's name carries a hash of everything that it was made from, so a stale one is never used.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from parlante.core import InputError
from parlante.core.typed import Mistyped, read_json, typed
from parlante.data.contract import ClipInfo
from parlante.training.engine.processes import one_at_a_time


@dataclass(frozen=True)
class StoredClip:
    """A clip among others that are laid end to end."""

    key: str
    subject: str
    split: str
    number: int
    """In the corpus."""
    frames: int
    start: int = 0
    """Its first frame, among those of all stored clips."""
    audio: tuple[tuple[int, int], ...] = ()
    """Where audio is stored: first sample, and samples, of each augmented view."""

    @classmethod
    def of(cls, info: ClipInfo, number: int, start: int = 0) -> "StoredClip":
        """Clip `number` of a corpus."""
        return cls(info.key, info.subject, info.split, number, info.frames, start)

    @property
    def span(self) -> slice:
        """Its frames among those of all."""
        return slice(self.start, self.start + self.frames)


def made_once(root: Path | str, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `root/name`, which `make` fills if it is not there; several processes never make the same one."""
    folder = Path(root) / name
    with one_at_a_time(folder):
        if not (folder / "index.json").is_file():
            partial = folder.with_name(folder.name + ".part")
            shutil.rmtree(partial, ignore_errors=True)  # only ever our own unfinished work
            partial.mkdir(parents=True)
            make(partial)
            partial.rename(folder)
    return folder


@dataclass(frozen=True)
class _Index:
    clips: list[StoredClip]


def write_index(folder: Path, clips: Iterable[StoredClip], **facts: Any) -> None:
    """Write index.json, the last file of a cache folder."""
    (folder / "index.json").write_text(json.dumps({"clips": [asdict(clip) for clip in clips], **facts}))


def read_index(folder: Path) -> tuple[list[StoredClip], dict[str, Any]]:
    """The clips of a cache folder, and the other facts."""
    wanted = "a cache that was finished, or remove it"
    facts = read_json(folder / "index.json", wanted)
    try:
        return list(typed(_Index, facts).clips), facts
    except Mistyped as error:
        raise InputError(f"cannot read {folder / 'index.json'}: {error}; give {wanted}") from error


def file_digest(path: Path) -> bytes:
    """SHA-256 of a file's content. Raises InputError where it is missing."""
    if not path.is_file():
        raise InputError(f"the recipe needs {path}, which is missing; make it or correct the recipe's data")
    return hashlib.sha256(path.read_bytes()).digest()


def fingerprint_of(ingredients: bytes, settings: Mapping[str, Any]) -> str:
    """The hash in a folder's name, of digests of files and of settings."""
    digest = hashlib.sha256(ingredients)
    digest.update(json.dumps(settings, sort_keys=True).encode())
    return digest.hexdigest()[:12]
