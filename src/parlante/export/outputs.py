"""From a file name to its writer, and the checks that come before any work begins."""

import importlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from parlante.core import Animation, InputError
from parlante.core.options import Picture
from parlante.export.frames import AnimationInfo, FrameBlock, Sink, animation_info, frame_blocks


@dataclass(frozen=True)
class Fidelity:
    """How closely the outputs that can choose keep the motion."""

    motion: str = "auto"
    """curves: morph targets driven by the curves; vertices: what the vertices do beyond them too; auto: curves where
    there are any."""
    error: float = 2e-4
    """Metres: the farthest that a vertex may stand off where vertices are put on a basis."""
    reduce: float = 0.0
    """Largest error of a weight where keys are left out; 0 keeps a key on every frame."""
    flame_model: str | None = None
    """The user's FLAME as an `.npz` of its arrays, for `.flame.npz`."""

    def __post_init__(self) -> None:
        if self.motion not in ("auto", "curves", "vertices"):
            raise InputError(f"motion must be auto, curves or vertices, got {self.motion!r}")
        if not 0 < self.error < 1:
            raise InputError(f"the error of a basis must lie in 0..1 m, got {self.error:g}; 0.0002 is the usual one")
        if not 0 <= self.reduce < 1:
            raise InputError(f"the error of reduced keys must lie in 0..1, got {self.reduce:g}; try 0.005")


class Format(NamedTuple):
    """One line of `FORMATS`."""

    sink: str
    """module:class, made of (path, take, *needs)."""
    about: str
    needs: tuple[str, ...] = ()
    """What the class takes besides: picture, fidelity, outputs (the paths of all)."""


FORMATS: dict[str, Format] = {
    ".mp4": Format("parlante.export.mp4:Mp4Sink", "video with sound", ("picture",)),
    ".webm": Format("parlante.export.mp4:Mp4Sink", "the same as VP9 and Opus", ("picture",)),
    ".glb": Format(
        "parlante.export.glb:GlbSink", "glTF: morph targets, their animation, skin", ("fidelity", "outputs")
    ),
    ".skin.mp4": Format("parlante.export.skin_video:SkinVideoSink", "the skin, wrinkles included, as video with sound"),
    ".skin.webm": Format("parlante.export.skin_video:SkinVideoSink", "the same as VP9 and Opus"),
    ".csv": Format("parlante.export.livelink_csv:LiveLinkCsv", "Live Link Face CSV, 61 columns"),
    ".npz": Format("parlante.export.npz:NpzSink", "all numbers: vertices, wrinkle maps, weights, head pose, sound"),
    ".vrm": Format("parlante.export.vrm:VrmSink", "VRM 1.0 avatar: expressions, animation", ("fidelity",)),
    ".vrma": Format("parlante.export.vrm:VrmaSink", "VRM animation: vowels, blinks, head", ("fidelity",)),
    ".arkit.vrma": Format("parlante.export.vrm:VrmaSink", "VRM animation: the 52 curves, head", ("fidelity",)),
    **{
        suffix: Format("parlante.export.usd:UsdSink", f"USD: {about}", ("fidelity",))
        for suffix, about in (
            (".usdz", "blend shapes or points, skin of every frame and sound in one file"),
            (".usdc", "the same in binary, the skin at rest and the sound beside it"),
            (".usd", "as .usdc"),
            (".usda", "as .usdc, but text"),
        )
    },
    ".a2f.csv": Format("parlante.export.a2f:A2fCsv", "curves as Audio2Face-3D's sample clients write them"),
    ".a2f.json": Format("parlante.export.a2f:A2fJson", "curves as the Audio2Face application exports them"),
    ".keys.json": Format("parlante.export.keys:KeysSink", "each curve as few keys, within --reduce", ("fidelity",)),
    ".tsv": Format("parlante.export.visemes:VisemeTsv", "mouth shapes A to H and X, as Rhubarb's TSV"),
    ".visemes.json": Format("parlante.export.visemes:VisemeJson", "the same as Rhubarb's JSON"),
    ".flame.npz": Format(
        "parlante.export.flame:FlameSink", "FLAME's expression and jaw, for its mesh and with your model", ("fidelity",)
    ),
    ".pc2": Format("parlante.export.pc2:Pc2Sink", "vertex cache (Blender, 3ds Max)"),
    ".mdd": Format("parlante.export.mdd:MddSink", "vertex cache (Blender, LightWave, Houdini)"),
    ".mc": Format("parlante.export.maya_cache:MayaCacheSink", "Maya vertex cache, with its .xml beside it"),
    ".neutral.obj": Format("parlante.export.obj:NeutralObjSink", "the face at rest, the mesh for a vertex cache"),
    ".obj/": Format("parlante.export.obj:ObjSink", "a folder of one OBJ per frame"),
    ".ply/": Format("parlante.export.ply:PlySink", "a folder of one PLY per frame, coloured vertices"),
    "/": Format("parlante.export.folder:FolderSink", "numbered PNG pictures and the sound as .wav", ("picture",)),
}
"""suffix: (sink, what it is); a name that ends in / or has no suffix is a folder. The longest suffix that fits wins."""


def check_outputs(outputs: Sequence[Path | str]) -> list[Path]:
    """The outputs as paths, after making sure that each can be written.

    Raises InputError for an unknown suffix, the same file twice (what formats put beside it included), a folder that is
    not empty, or a place that cannot be written to. Also removes what a killed run left half-written beside them.
    """
    paths = [Path(output) for output in outputs]
    for output, path in zip(outputs, paths):
        if not str(output).strip() or not path.name:
            raise InputError(f"cannot write to {str(output)!r}: give a file name, such as talk.mp4")
        kind = _kind(output)
        if kind not in FORMATS:
            raise InputError(f"cannot write {path}: unknown format {path.suffix}; choose {', '.join(FORMATS)}")
        if kind.endswith("/"):
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
    written: dict[Path, Path] = {}
    for output, path in zip(outputs, paths):
        for companion in _companions(output):
            other = written.setdefault(companion.resolve(), path)
            if other is not path:
                raise InputError(f"{other} and {path} would both write {companion}; give them different names")
    return paths


@contextmanager
def open_sinks(
    outputs: Iterable[Path | str], take: AnimationInfo, picture: Picture | None = None, fidelity: Fidelity | None = None
) -> Iterator[list[Sink]]:
    """Open a sink per output. Leaving the block cleanly publishes all of them; an error leaves none behind."""
    outputs = list(outputs)
    _check_space([Path(output) for output in outputs if _kind(output) in (".npz", ".pc2", ".mdd", ".mc")], take)
    with ExitStack() as stack:
        wishes = {
            "picture": picture or Picture(),
            "fidelity": fidelity or Fidelity(),
            "outputs": [Path(output) for output in outputs],
        }
        yield [stack.enter_context(_sink(output, take, wishes)) for output in outputs]


def save(
    animation: Animation,
    *outputs: Path | str,
    picture: Picture | None = None,
    fidelity: Fidelity | None = None,
) -> None:
    """Write an animation to files; the suffix chooses the format. Raises InputError as `check_outputs`."""
    paths = check_outputs(outputs)
    kinds = [_same_kind(output, path) for output, path in zip(outputs, paths)]
    write_all(animation_info(animation), frame_blocks(animation), kinds, picture, fidelity)


def write_all(
    take: AnimationInfo,
    chunks: Iterable[FrameBlock],
    outputs: Iterable[Path | str],
    picture: Picture | None = None,
    fidelity: Fidelity | None = None,
) -> None:
    """Stream a take's frames into every output."""
    with open_sinks(outputs, take, picture, fidelity) as sinks:
        for chunk in chunks:
            for sink in sinks:
                sink.write(chunk)


def _sink(output: Path | str, take: AnimationInfo, wishes: Mapping[str, object]) -> Sink:
    chosen = FORMATS[_kind(output)]
    module, name = chosen.sink.split(":")
    sink: Sink = getattr(importlib.import_module(module), name)(
        Path(output), take, *(wishes[need] for need in chosen.needs)
    )
    return sink


def _kind(output: Path | str) -> str:
    path = Path(output)
    name = path.name.lower()
    for suffix in sorted(FORMATS, key=len, reverse=True):
        bare = suffix.removesuffix("/")
        if bare and name.endswith(bare) and len(name) > len(bare):
            return suffix
    if str(output).endswith(("/", os.sep)) or not path.suffix or path.is_dir():
        return "/"
    return path.suffix.lower()


def _same_kind(output: Path | str, path: Path) -> Path | str:
    return f"{path}/" if _kind(output) == "/" else path


def _companions(output: Path | str) -> list[Path]:
    """All files that an output consists of: itself, and what its format puts beside it."""
    path, kind = Path(output), _kind(output)
    beside: tuple[str, ...] = ()
    if kind in (".usd", ".usda", ".usdc"):
        beside = (".albedo.png", ".sound.wav")
    elif kind == ".mc":
        beside = (".xml",)
    return [path, *(path.with_name(path.name[: -len(kind)] + suffix) for suffix in beside)]


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


def _check_space(paths: list[Path], take: AnimationInfo) -> None:
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


SKINLESS = (".csv", ".tsv", ".a2f.json", ".keys.json", ".visemes.json", ".vrma", ".pc2", ".mdd", ".mc")
"""Outputs that show no skin."""
FACELESS = (".npz", ".pc2", ".mdd", ".mc")
"""Outputs that need no triangles."""


def shows_skin(outputs: Sequence[Path | str]) -> bool:
    """Whether any of the outputs shows the skin of a face."""
    return not all(str(output).lower().endswith(SKINLESS) for output in outputs)


def check_fit(outputs: Sequence[Path | str], info: AnimationInfo) -> None:
    """Raises InputError where an animation does not have what an output shows."""
    for output in map(str, outputs):
        if not info.weight_names and output.lower().endswith(".csv"):
            raise InputError(
                f"cannot write {output}: {info.provenance['model']} on {info.topology.name} makes no curves; choose "
                ".npz, .obj/, .ply/ or .mp4"
            )
        if not len(info.topology.triangles) and not output.lower().endswith(FACELESS):
            raise InputError(
                f"cannot write {output}: the checkpoint knows {info.topology.num_vertices} vertices and no triangles; "
                f"choose {', '.join(FACELESS)}, give --identity FACE.ply, or convert again with --topology FACE.ply"
            )
