"""From a file name to its writer, and the checks that come before any work begins."""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parlante.core import Animation, InputError
from parlante.export.take import Chunk, Sink, Take, chunks_of, take_of


@dataclass(frozen=True)
class Picture:
    """How the outputs that show pictures show them."""

    size: int = 512
    """Pixels, square."""
    view: str | float = "front"
    """A name of `parlante.render.VIEWS` or degrees around the head."""
    texture: bool = True
    """False shows the bare shape."""


def _npz(path: Path, take: Take, picture: Picture) -> Sink:
    from parlante.export.npz import NpzSink

    return NpzSink(path, take)


def _glb(path: Path, take: Take, picture: Picture) -> Sink:
    from parlante.export.glb import GlbSink

    return GlbSink(path, take)


def _csv(path: Path, take: Take, picture: Picture) -> Sink:
    from parlante.export.livelink_csv import LiveLinkCsv

    return LiveLinkCsv(path, take)


def _mp4(path: Path, take: Take, picture: Picture) -> Sink:
    from parlante.export.mp4 import Mp4Sink

    return Mp4Sink(path, take, picture)


def _folder(path: Path, take: Take, picture: Picture) -> Sink:
    from parlante.export.folder import FolderSink

    return FolderSink(path, take, picture)


FORMATS: dict[str, tuple[Callable[[Path, Take, Picture], Sink], str]] = {
    ".mp4": (_mp4, "video with sound"),
    ".webm": (_mp4, "the same as VP9 and Opus"),
    ".glb": (_glb, "glTF: 52 ARKit morph targets, weights animation, skin"),
    ".csv": (_csv, "Live Link Face CSV, 61 columns"),
    ".npz": (_npz, "all numbers: vertices, wrinkle maps, weights, head pose, sound"),
    "/": (_folder, "numbered PNG pictures and the sound as .wav"),
}
"""suffix: (sink, what it is); a name that ends in / or has no suffix is a folder."""


def check_outputs(outputs: Sequence[Path | str]) -> list[Path]:
    """The outputs as paths, after making sure that each can be written.

    Raises InputError for an unknown suffix, the same file twice, a folder that is not empty, or a place that cannot be
    written to. Also removes what a killed run left half-written beside these targets.
    """
    paths = [Path(output) for output in outputs]
    for output, path in zip(outputs, paths):
        if not str(output).strip() or not path.name:
            raise InputError(f"cannot write to {str(output)!r}: give a file name, such as talk.mp4")
        kind = _kind(output)
        if kind not in FORMATS:
            raise InputError(f"cannot write {path}: unknown format {path.suffix}; choose {', '.join(FORMATS)}")
        if kind == "/":
            if path.exists() and (not path.is_dir() or any(path.iterdir())):
                raise InputError(f"cannot write {path}/: it exists and is not an empty folder; choose another name")
        elif path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder; give a file name")
        elif path.exists() and not path.stat().st_mode & 0o222:
            raise InputError(f"cannot write {path}: it is read-only; choose another output path")
        _check_writable(path)
        _remove_leftovers(path)
    resolved = [path.resolve() for path in paths]
    for path in paths:
        if resolved.count(path.resolve()) > 1:
            raise InputError(f"{path} is named twice as an output; give each output its own name")
    return paths


@contextmanager
def open_sinks(outputs: Iterable[Path | str], take: Take, picture: Picture | None = None) -> Iterator[list[Sink]]:
    """Open a sink per output. Leaving the block cleanly publishes all of them; an error leaves none behind."""
    outputs = list(outputs)
    _check_space([Path(output) for output in outputs if _kind(output) == ".npz"], take)
    with ExitStack() as stack:
        yield [
            stack.enter_context(FORMATS[_kind(output)][0](Path(output), take, picture or Picture()))
            for output in outputs
        ]


def save(animation: Animation, *outputs: Path | str, picture: Picture | None = None) -> None:
    """Write an animation to files; the suffix chooses the format. Raises InputError as `check_outputs`."""
    paths = check_outputs(outputs)
    write_all(take_of(animation), chunks_of(animation), [_same_kind(o, p) for o, p in zip(outputs, paths)], picture)


def write_all(
    take: Take, chunks: Iterable[Chunk], outputs: Iterable[Path | str], picture: Picture | None = None
) -> None:
    """Stream a take's frames into every output."""
    with open_sinks(outputs, take, picture) as sinks:
        for chunk in chunks:
            for sink in sinks:
                sink.write(chunk)


def _kind(output: Path | str) -> str:
    path = Path(output)
    if str(output).endswith(("/", os.sep)) or not path.suffix or (path.is_dir() and path.suffix not in FORMATS):
        return "/"
    return path.suffix.lower()


def _same_kind(output: Path | str, path: Path) -> Path | str:
    return f"{path}/" if _kind(output) == "/" else path


def _check_writable(path: Path) -> None:
    folder = path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        if not folder.is_dir():
            raise InputError(f"cannot write {path}: {folder} is a file, not a folder; choose another output path")
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write {path}: {error.strerror or error} in {folder}; choose another output path"
        ) from error


def _remove_leftovers(path: Path) -> None:
    """Delete partial outputs of processes that no longer live."""
    if not path.parent.is_dir():
        return
    suffixes = "|".join(re.escape(suffix) for suffix in FORMATS if suffix != "/")
    pattern = re.compile(rf"\.{re.escape(path.stem)}\.(\d+)\.part({suffixes})?")
    for entry in path.parent.iterdir():
        match = pattern.fullmatch(entry.name)
        if match is None or _alive(int(match[1])):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _check_space(paths: list[Path], take: Take) -> None:
    """An hour of vertices is gigabytes: say so before the work, not after it."""
    if not paths:
        return
    frame = take.topology.num_vertices * 12 + int(np.prod(take.wrinkle_size or (0, 0))) * 3 // 2
    needed = take.num_frames * frame + take.audio.nbytes
    for path in paths:
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise InputError(
                f"{path} needs about {needed / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free; "
                "write to another disk, or choose .mp4, .glb or .csv"
            )
