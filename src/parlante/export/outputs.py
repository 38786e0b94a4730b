"""From a file name to its writer, and the checks that come before any work begins."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from parlante.core import Animation, InputError
from parlante.core.checks import output_list
from parlante.core.options import Fidelity, Picture
from parlante.core.plugins import resolve
from parlante.export.formats import check_fit, format_of, formats, suffix_of
from parlante.export.frames import AnimationInfo, FrameBlock, FrameSink, animation_info, frame_blocks


def check_outputs(outputs: Sequence[Path | str] | Path | str) -> list[Path]:
    """The outputs, one or more, as paths, after making sure that each can be written.

    Raises InputError for an unknown suffix, a broken plug-in, the same file twice (what formats put beside it
    included), a folder that is not empty, or a place that cannot be written to. Also removes what a killed run left
    half-written beside them.
    """
    outputs = output_list(outputs)
    paths = [Path(output) for output in outputs]
    for output, path in zip(outputs, paths):
        if not str(output).strip() or not path.name:
            raise InputError(f"cannot write to {str(output)!r}: give a file name, such as talk.mp4")
        format_of(output)
        if suffix_of(output).endswith("/"):
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
    written: dict[Path, Path | str] = {}
    for output, path in zip(outputs, paths):
        for file in _files(output):
            other = written.setdefault(file.resolve(), output)
            shared = file != path and format_of(other) is format_of(output) and format_of(output).shared
            if other is not output and not shared:
                raise InputError(f"{other} and {output} would both write {file}; give them different names")
    return paths


@contextmanager
def open_sinks(
    outputs: Iterable[Path | str], info: AnimationInfo, picture: Picture | None = None, fidelity: Fidelity | None = None
) -> Iterator[list[FrameSink]]:
    """Open a sink per output. Leaving the block cleanly publishes all of them; an error leaves none behind."""
    outputs = list(outputs)
    check_fit(outputs, info)
    _check_space(outputs, info)
    with ExitStack() as stack:
        options = {
            "picture": picture or Picture(),
            "fidelity": fidelity or Fidelity(),
            "outputs": [Path(output) for output in outputs],
        }
        yield [stack.enter_context(_sink(output, info, options)) for output in outputs]


def save(
    animation: Animation,
    *outputs: Path | str,
    picture: Picture | None = None,
    fidelity: Fidelity | None = None,
) -> None:
    """Write an animation to files.

    outputs: paths, whose suffixes choose the formats (`parlante export --formats` lists them). picture: how pictures
    and videos look. fidelity: how closely the motion is kept where a format can choose. Raises InputError as
    `check_outputs`, and where the animation lacks what a format needs.
    """
    paths = check_outputs(outputs)
    named = [f"{path}/" if suffix_of(output) == "/" else path for output, path in zip(outputs, paths)]
    write_all(animation_info(animation), frame_blocks(animation), named, picture, fidelity)


def load(path: Path | str) -> Animation:
    """An animation read back from a file.

    path: its suffix chooses the reader; `.npz`, and what plug-ins bring. Raises InputError for other formats, and for a
    file that is damaged or missing.
    """
    loader = formats()[suffix_of(path)].loader if suffix_of(path) in formats() else ""
    if not loader:
        readable = ", ".join(suffix for suffix, each in formats().items() if each.loader)
        raise InputError(
            f"cannot read {path} as an animation: of the formats only {readable} can be read back; write one of those "
            "with parlante animate line.wav -o talk.npz"
        )
    animation: Animation = resolve(loader)(path)
    return animation


def write_all(
    info: AnimationInfo,
    blocks: Iterable[FrameBlock],
    outputs: Iterable[Path | str],
    picture: Picture | None = None,
    fidelity: Fidelity | None = None,
) -> None:
    """Stream an animation's frames into every output."""
    with open_sinks(outputs, info, picture, fidelity) as sinks:
        for block in blocks:
            for sink in sinks:
                sink.write(block)


def _sink(output: Path | str, info: AnimationInfo, options: Mapping[str, object]) -> FrameSink:
    chosen = format_of(output)
    sink: FrameSink = resolve(chosen.sink)(Path(output), info, *(options[name] for name in chosen.options))
    return sink


def _files(output: Path | str) -> list[Path]:
    """All files that an output consists of: itself, and what its format puts beside it."""
    path, suffix = Path(output), suffix_of(output)
    return [path, *(path.with_name(path.name[: -len(suffix)] + other) for other in format_of(output).companions)]


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
    names = "|".join(re.escape(name) for name in (path.stem, path.name))
    pattern = re.compile(rf"\.(?:{names})\.(\d+)\.part(?:\.\w+)?")
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


def _check_space(outputs: Iterable[Path | str], info: AnimationInfo) -> None:
    """An hour of vertices is gigabytes: say so before the work, not after it."""
    for output in outputs:
        size = format_of(output).bytes_per_frame
        if size is None:
            continue
        needed = info.num_frames * size(info) + info.audio.nbytes
        folder = Path(output).parent
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise InputError(
                f"{output} needs about {needed / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free; "
                "write to another disk, or choose .mp4, .glb or .csv"
            )
