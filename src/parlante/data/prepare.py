"""A corpus packed into a clip store: every clip is read, checked and written, or named with what is wrong with it."""

import hashlib
import importlib
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError
from parlante.data.contract import ClipInfo, Corpus
from parlante.data.store.storage_root import CannotWrite
from parlante.data.store.writer import StoreWriter


@dataclass
class Report:
    """What `write_store` did."""

    clips: list[ClipInfo]
    """In the store."""
    fps: float
    kept: int = 0
    """Clips that stood there already."""
    left_out: dict[str, str] = field(default_factory=dict)
    """key: why."""
    problems: list[str] = field(default_factory=list)
    """What the reader left out before."""

    def table(self, most: int = 20) -> list[str]:
        """Clips, subjects and length of every split; then what was left out, at most so many lines."""
        lines = [f"{'split':12}{'clips':>7}{'subjects':>10}{'minutes':>9}"]
        for split in sorted({clip.split for clip in self.clips}):
            clips = [clip for clip in self.clips if clip.split == split]
            minutes = sum(clip.frames for clip in clips) / self.fps / 60
            lines.append(f"{split:12}{len(clips):7}{len({c.subject for c in clips}):10}{minutes:9.1f}")
        words = self.problems + [f"{key}: {why}" for key, why in self.left_out.items()]
        if words:
            lines.append("left out, or worth knowing:")
            lines += [f"  {text}" for text in words[:most]]
        if len(words) > most:
            lines.append(f"  and {len(words) - most} more")
        return lines


READERS = {
    "vocaset": "parlante.data.datasets.vocaset:Vocaset",
    "biwi": "parlante.data.datasets.biwi:Biwi",
    "mead": "parlante.data.datasets.mead:Mead",
    "multiface": "parlante.data.datasets.multiface:Multiface",
    "own": "parlante.data.datasets.folder:FolderDataset",
}
"""Name of a dataset: its reader."""


def open_reader(name: str, source: Path | str, arguments: Mapping[str, Any]) -> Corpus:
    """The reader of `READERS` on a folder, with keyword arguments that JSON can hold. Raises InputError as it does."""
    module, kind = READERS[name].split(":")
    paths = {key: Path(value) for key, value in arguments.items() if key in ("template", "audio") and value is not None}
    reader: Corpus = getattr(importlib.import_module(module), kind)(source, **{**arguments, **paths})
    return reader


class Packer:
    """Packs the clips of a reader into a new clip store, or goes on with one; any number may work on one store.

    options: what the store depends on beside its files. Raises InputError if the target cannot be used.
    """

    def __init__(self, reader: Corpus, target: Path | str, options: Mapping[str, Any] | None = None) -> None:
        _check_target(reader, target)
        self.reader = reader
        self.writer = StoreWriter(
            target,
            dataset=reader.dataset,
            fps=reader.fps,
            unit=reader.unit,
            topology=reader.topology,
            sample_rate=reader.sample_rate,
            options=options,
        )
        self.report = Report([], reader.fps, problems=list(reader.problems))
        self.neutrals = _Neutrals(reader, self.report)

    def signature(self, index: int) -> str:
        """What clip `index` is made from. Raises InputError if a file is gone."""
        info = self.reader.clips[index]
        return _signature(info, self.reader.sources(index), self.neutrals.of(info.subject))

    def stands(self, index: int) -> bool:
        """Whether the store has clip `index`, made from the files as they are. Raises InputError if one is gone."""
        return self.writer.written(self.reader.clips[index].key, self.signature(index))

    def pack(self, index: int) -> bool:
        """Write clip `index` unless it stands there; says whether it was written. Raises InputError for a clip that
        cannot be used, CannotWrite for a full place."""
        reader, info = self.reader, self.reader.clips[index]
        signature = self.signature(index)
        if self.writer.written(info.key, signature):
            return False
        pictures = reader.picture_files(index)
        self.writer.add(
            reader[index],
            info.split,
            sentence=info.sentence,
            first=info.first,
            starts_at_rest=info.starts_at_rest,
            signature=signature,
            neutral=self.neutrals.of(info.subject),
            pictures=map(_content, pictures) if pictures else None,
        )
        return True

    def finish(self) -> Report:
        """Write subjects and index, once nobody packs any more. Raises InputError if no clip can be used."""
        reader, report = self.reader, self.report
        keys = [info.key for info in reader.clips if info.key not in report.left_out]
        if not keys:
            raise InputError(f"no clip can be used; {next(iter(report.left_out.values()))}")
        for subject in sorted({info.subject for info in reader.clips}):
            skin = reader.albedo_file(subject)
            content = _content(skin) if skin is not None else b""
            self.writer.subject(reader.subjects[subject], self.neutrals.of(subject), content)
        report.clips = self.writer.finish(keys)
        return report


def write_store(
    reader: Corpus,
    target: Path | str,
    *,
    jobs: int = 1,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Pack every clip of `reader` into a new clip store at `target`, or go on with one.

    jobs: threads; options: what the store depends on beside its files; progress(done, total): called with clips. Clips
    whose files have not changed are kept. Raises InputError if no clip can be used, or if the target cannot.
    """
    packer = Packer(reader, target, options)
    total = len(reader)
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(packer.pack, index): index for index in range(total)}
        for done, future in enumerate(as_completed(futures), 1):
            try:
                packer.report.kept += not future.result()
            except CannotWrite:
                raise
            except InputError as error:
                packer.report.left_out[reader.clips[futures[future]].key] = str(error)
            if progress is not None:
                progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)
    return packer.finish()


class _Neutrals:
    """Neutral faces by subject; a subject without one is named once."""

    def __init__(self, reader: Corpus, report: Report) -> None:
        self.reader, self.report = reader, report
        self.found: dict[str, NDArray[np.float32] | None] = {}
        self.lock = threading.Lock()

    def of(self, subject: str) -> NDArray[np.float32] | None:
        with self.lock:
            if subject not in self.found:
                try:
                    self.found[subject] = self.reader.identity(subject).neutral
                except InputError as error:
                    self.found[subject] = None
                    self.report.problems.append(f"neutral face of {subject}: {error}")
            return self.found[subject]


def _check_target(reader: Corpus, target: Path | str) -> None:
    if "://" in str(target) or "://" in str(reader.root):
        return
    inner, outer = Path(target).resolve(), Path(reader.root).resolve()
    if inner == outer or outer in inner.parents:
        raise InputError(f"{target} lies within the source {reader.root}; prepare into a folder of its own")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def _signature(info: ClipInfo, files: Iterable[Path], neutral: NDArray[np.float32] | None) -> str:
    """Of a clip, of the names, sizes and times of its files, and of the face that offsets are measured from."""
    digest = hashlib.sha256(repr(sorted(asdict(info).items())).encode())
    for path in files:
        try:
            found = path.stat()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
        digest.update(f"{path.name} {found.st_size} {found.st_mtime_ns}\n".encode())
    digest.update(b"" if neutral is None else neutral.tobytes())
    return digest.hexdigest()
