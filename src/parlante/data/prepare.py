"""A corpus packed into a clip store: every clip is read, checked and written, or named with what is wrong with it."""

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import Clip, InputError
from parlante.core.pictures import picture
from parlante.data.contract import ClipInfo, Corpus, cut, stretches
from parlante.data.lazy import DamagedFrame
from parlante.data.store.storage_root import CannotWrite
from parlante.data.store.writer import StoreWriter

_TOLD = 5
"""Damaged frames of a clip that are told in words."""


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
    """What else is missing or damaged."""

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


class Packer:
    """Packs the clips of a corpus into a new clip store, or goes on with one; any number may work on one store.

    options: what the store depends on beside its files. Raises InputError if the target cannot be used.
    """

    def __init__(self, corpus: Corpus, target: Path | str, options: Mapping[str, Any] | None = None) -> None:
        _check_target(corpus, target)
        self.corpus = corpus
        self.writer = StoreWriter(
            target,
            dataset=corpus.dataset,
            fps=corpus.fps,
            unit=corpus.unit,
            topology=corpus.topology,
            sample_rate=corpus.sample_rate,
            options=options,
        )
        self.report = Report([], corpus.fps, problems=list(corpus.problems))
        self.neutrals = _Neutrals(corpus, self.report)

    def signature(self, index: int) -> str:
        """What clip `index` is made from. Raises InputError if a file is gone."""
        info = self.corpus.clips[index]
        return _signature(info, self.corpus.sources(index), self.neutrals.of(info.subject))

    def stands(self, index: int) -> bool:
        """Whether the store has clip `index`, made from the files as they are. Raises InputError if one is gone."""
        return self.writer.written(self.corpus.clips[index].key, self.signature(index))

    def pack(self, index: int) -> bool:
        """Write clip `index` unless it stands there; says whether it was written. Raises InputError for a clip that
        cannot be used, CannotWrite for a full place."""
        info, signature = self.corpus.clips[index], self.signature(index)
        if self.writer.written(info.key, signature):
            return False
        clip, pictures = self.corpus[index], self.corpus.picture_files(index)
        try:
            self._write(clip, info, pictures, signature)
        except DamagedFrame as error:
            if not self.corpus.shortest:
                raise
            self._write_around(error, clip, info, pictures, signature)
        return True

    def _write(
        self,
        clip: Clip,
        info: ClipInfo,
        pictures: Sequence[Path],
        signature: str,
        problems: Sequence[str] = (),
        part_of: str = "",
    ) -> None:
        self.writer.add(
            clip,
            info.split,
            sentence=info.sentence,
            first=info.first,
            starts_at_rest=info.starts_at_rest,
            signature=signature,
            neutral=self.neutrals.of(info.subject),
            pictures=map(_content, pictures) if pictures else None,
            problems=problems,
            part_of=part_of,
        )

    def _write_around(
        self, error: DamagedFrame, clip: Clip, info: ClipInfo, pictures: Sequence[Path], signature: str
    ) -> None:
        """The stretches between damaged frames, as clips of their own; the first keeps the key.

        Raises InputError if none is long enough.
        """
        shortest = self.corpus.shortest
        damaged = _damage(clip, pictures) or {error.frame: str(error)}
        runs = stretches((frame for frame in range(len(clip.vertices)) if frame not in damaged), shortest)
        if not runs:
            raise InputError(f"no {shortest} frames in a row can be used; {next(iter(damaged.values()))}")
        problems = [f"{info.key}: {why}" for why in list(damaged.values())[:_TOLD]]
        if len(damaged) > _TOLD:
            problems.append(f"{info.key}: {len(damaged) - _TOLD} more frames are damaged")
        for number, (start, end) in enumerate(runs):
            part = replace(
                info,
                key=f"{info.key}+{start}" if number else info.key,
                first=(info.first or 0) + start,
                starts_at_rest=info.starts_at_rest and start == 0,
            )
            piece = replace(cut(clip, start, end - start), key=part.key)
            about = ((), info.key) if number else (problems, "")
            self._write(piece, part, pictures[start:end], signature, *about)

    def finish(self) -> Report:
        """Write subjects and index, once nobody packs any more. Raises InputError if no clip can be used."""
        corpus, report = self.corpus, self.report
        keys = [info.key for info in corpus.clips if info.key not in report.left_out]
        if not keys:
            raise InputError(f"no clip can be used; {next(iter(report.left_out.values()))}")
        for subject in sorted({info.subject for info in corpus.clips}):
            skin = corpus.albedo_file(subject)
            content = _content(skin) if skin is not None else b""
            self.writer.subject(corpus.subjects[subject], self.neutrals.of(subject), content)
        report.clips, problems = self.writer.finish(keys)
        report.problems += problems
        return report


def write_store(
    corpus: Corpus,
    target: Path | str,
    *,
    jobs: int = 1,
    options: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Pack every clip of `corpus` into a new clip store at `target`, or go on with one.

    jobs: threads; options: what the store depends on beside its files; progress(done, total): called with clips. Clips
    whose files have not changed are kept. Raises InputError if no clip can be used, or if the target cannot.
    """
    packer = Packer(corpus, target, options)
    total = len(corpus)
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = {pool.submit(packer.pack, index): index for index in range(total)}
        for done, future in enumerate(as_completed(futures), 1):
            try:
                packer.report.kept += not future.result()
            except CannotWrite:
                raise
            except InputError as error:
                packer.report.left_out[corpus.clips[futures[future]].key] = str(error)
            if progress is not None:
                progress(done, total)
    finally:
        pool.shutdown(cancel_futures=True)
    return packer.finish()


class _Neutrals:
    """Neutral faces by subject; a subject without one is named once."""

    def __init__(self, corpus: Corpus, report: Report) -> None:
        self.corpus, self.report = corpus, report
        self.found: dict[str, NDArray[np.float32] | None] = {}
        self.lock = threading.Lock()

    def of(self, subject: str) -> NDArray[np.float32] | None:
        with self.lock:
            if subject not in self.found:
                try:
                    self.found[subject] = self.corpus.neutral(subject)
                except InputError as error:
                    self.found[subject] = None
                    self.report.problems.append(f"neutral face of {subject}: {error}")
            return self.found[subject]


def _damage(clip: Clip, pictures: Sequence[Path]) -> dict[int, str]:
    """Frames of a clip that cannot be read, and why; all of them are looked at."""
    found: dict[int, str] = {}
    sizes: dict[int, tuple[int, ...]] = {}
    for frame in range(len(clip.vertices)):
        try:
            if not np.isfinite(np.asarray(clip.vertices[frame])).all():
                raise InputError(f"frame {frame} has numbers that are not finite")
            if pictures:
                sizes[frame] = picture(_content(pictures[frame]), str(pictures[frame])).shape[:2]
        except InputError as error:
            found[frame] = str(error)
    usual = Counter(sizes.values()).most_common(1)[0][0] if sizes else ()
    for frame, size in sizes.items():
        if size != usual and frame not in found:
            found[frame] = f"{pictures[frame]} has {size[0]}x{size[1]} pixels, most have {usual[0]}x{usual[1]}"
    return found


def _check_target(corpus: Corpus, target: Path | str) -> None:
    if "://" in str(target) or "://" in str(corpus.root):
        return
    inner, outer = Path(target).resolve(), Path(corpus.root).resolve()
    if inner == outer or outer in inner.parents:
        raise InputError(f"{target} lies within the source {corpus.root}; prepare into a folder of its own")


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
