"""3D-MEAD: FLAME meshes that were reconstructed from the videos of MEAD, 30 frames a second.

    ROOT/M003/video/front/angry/level_1/001.npy   {"verts": (T, 5023, 3) metres, "beta": ...}, pickled, as Speech4Mesh
                                                  (ICCV 2023) published them; or a plain array (T, 5023, 3)
    AUDIO/M003/audio/angry/level_1/001.m4a        speech, as MEAD has it (AUDIO may be ROOT); or the video's own audio

The array folders of TalkingStyle (vertices_npy, wav, templates.pkl) are read by `folder.FolderDataset`.
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.audio.io import read_audio
from parlante.core import Clip, Identity, InputError, Topology
from parlante.core.arrays import read_npy
from parlante.core.files import NUMPY_ERRORS, first_line
from parlante.core.options import option
from parlante.core.restricted_pickle import NUMPY, Machine, Pending, Refused
from parlante.core.timing import SAMPLE_RATE
from parlante.data.contract import ClipInfo, Corpus, select, subjects_of
from parlante.data.lazy import LazyFrames
from parlante.data.meshes import find_topology, read_templates
from parlante.data.splits import mead_split

FPS = 30.0
VERTICES = 5023
_PERSON = re.compile(r"[MW]\d{3}")
_RECORDINGS = (".wav", ".m4a", ".flac", ".mp3")
_LARGEST = 1 << 31


@dataclass(frozen=True, kw_only=True)
class MeadOptions:
    """What a corpus of 3D-MEAD depends on beside its files."""

    template: Path | None = option(None, ".ply or .obj with the triangles", "MESH", kept=False)
    audio: Path | None = option(None, "MEAD itself, if the audio is not in SRC", "MEAD", kept=False)
    camera: str = option("front", "whose reconstructions to use (default front; all)", "NAME")


class Mead(Corpus):
    """The published files as `Clip`s in metres; a file is read whole when frames of it are asked for.

    Args:
        root: folder of the speakers' folders.
        split: see `open_corpus`; EMOTE's, by speaker.
        audio: folder of MEAD itself, if the audio is not in `root`.
        camera: whose reconstructions to use, or `all`.
        template: a mesh with the triangles (none: one in `root`, if there is one).

    Raises:
        InputError: nothing usable there, or no such split.
    """

    dataset = "mead"
    unit = "m"
    fps = FPS

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        audio: Path | str | None = None,
        camera: str = "front",
        template: Path | str | None = None,
    ) -> None:
        self.root: Path = Path(root)
        self.audio = self.root if audio is None else Path(audio)
        self.template = template
        self.problems: list[str] = []
        """What had to be left out, in words."""
        self.files: dict[str, tuple[Path, Path]] = {}
        """key: its meshes and its recording."""
        clips = []
        for path, (subject, view, emotion, level, name) in _found(self.root):
            if camera not in ("all", view):
                continue
            sentence = f"{emotion}_{level}_{name}"
            key = f"{subject}_{sentence}" if camera != "all" else f"{subject}_{view}_{sentence}"
            recording = self._recording(subject, view, emotion, level, name)
            if recording is None:
                self.problems.append(f"{key}: no recording {subject}/audio/{emotion}/{level}/{name}.m4a")
                continue
            self.files[key] = path, recording
            clips.append(ClipInfo(key=key, subject=subject, sentence=sentence, split=mead_split(subject)))
        self._need(clips)
        self.subjects = subjects_of(clips)
        self.clips = select(clips, split, self.root)

    def _need(self, clips: list[ClipInfo]) -> None:
        if not clips:
            why = f" ({self.problems[0]})" if self.problems else ""
            wanted = "M003/video/front/angry/level_1/001.npy"
            raise InputError(f"{self.root} has no clip that can be used{why}; wanted {wanted}")

    def count_frames(self) -> None:
        """Reads every file."""
        counted = []
        for info in self.clips:
            try:
                counted.append(replace(info, frames=len(read_verts(self.files[info.key][0]))))
            except InputError as error:
                self.problems.append(f"{info.key}: {error}")
        self._need(counted)
        self.clips = counted

    def read(self, index: int) -> Clip:
        info = self.clips[index]
        path, recording = self.files[info.key]
        verts = read_verts(path)
        numbers = np.arange(len(verts))[:, None]
        vertices: Any = LazyFrames(numbers, verts.shape[1:], np.float32, lambda chosen: verts[chosen[:, 0]])
        return Clip(read_audio(recording), SAMPLE_RATE, vertices, FPS, info.subject, info.key)

    def sources(self, index: int) -> list[Path]:
        """The files that clip `index` is made of."""
        return list(self.files[self.clips[index].key])

    @cached_property
    def topology(self) -> Topology:
        """FLAME's, without triangles if no mesh tells them."""
        return find_topology(self.root, self.dataset, VERTICES, self.template)

    @cached_property
    def _templates(self) -> dict[str, NDArray[np.float32]]:
        names = ("templates.pkl", "templates.npz", "templates")
        return read_templates(self.root, VERTICES) if any((self.root / name).exists() for name in names) else {}

    def identity(self, subject: str) -> Identity:
        """A speaker at rest: the template, or else the first frame of a neutral clip; raises InputError without either.

        The release has no templates, so the first frame stands for one.
        """
        if subject in self._templates:
            return Identity(subject, self.topology, self._templates[subject])
        calm = [key for key in sorted(self.files) if key.startswith(f"{subject}_") and "_neutral_" in f"_{key}_"]
        if not calm:
            raise InputError(f"{self.root} has no template of {subject!r}, nor a neutral clip to take one from")
        return Identity(subject, self.topology, read_verts(self.files[calm[0]][0])[0])

    def _recording(self, subject: str, view: str, emotion: str, level: str, name: str) -> Path | None:
        for root in dict.fromkeys((self.audio, self.root)):
            stem = root / subject / "audio" / emotion / level / name
            places = [stem.with_suffix(suffix) for suffix in _RECORDINGS]
            places.append(root / subject / "video" / view / emotion / level / f"{name}.mp4")
            for place in places:
                if place.is_file():
                    return place
        return None


def _found(root: Path) -> list[tuple[Path, tuple[str, ...]]]:
    """Files, with subject, camera, emotion, level and name."""
    found = []
    for person in sorted(root.iterdir()) if root.is_dir() else []:
        if _PERSON.fullmatch(person.name):
            for path in sorted((person / "video").glob("*/*/*/*.npy")):
                found.append((path, (person.name, *path.relative_to(person / "video").parts[:-1], path.stem)))
    return found


_OBJECTS = object()


def _dtype(kind: Any, *rest: Any) -> Any:
    """numpy's, and the one of objects, which only a single dict may follow."""
    return Pending(lambda _: _OBJECTS) if str(kind) in ("O", "O8") else NUMPY["numpy.dtype"](kind, *rest)


def _reconstruct(*rest: Any) -> Pending:
    def finish(state: Any) -> Any:
        if state[2] is not _OBJECTS:
            return NUMPY["numpy.core.multiarray._reconstruct"](*rest).finish(state)
        if tuple(state[1]) != () or len(state[4]) != 1 or not isinstance(state[4][0], dict):
            raise Refused("an array of objects other than one dict")
        return state[4][0]

    return Pending(finish)


_BUILDERS = {
    **NUMPY,
    "numpy.dtype": _dtype,
    "numpy.core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray._reconstruct": _reconstruct,
}


def read_verts(path: Path) -> NDArray[np.float32]:
    """(T, V, 3) of a `.npy`, either a plain array or a pickled dict with `verts`; nothing is executed.

    Raises InputError if it is missing, damaged, refused, or of another shape.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is larger than 2 GiB; wanted the meshes of one clip")
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
            _, _, dtype = read(file)
            if dtype.hasobject:
                content = file.read()
                value = Machine(_BUILDERS, frozenset({"numpy.ndarray"})).run(content)[0]
                if not isinstance(value, dict) or "verts" not in value:
                    raise InputError(f"{path} holds no dict with verts; wanted {{'verts': (T, {VERTICES}, 3)}}")
                verts = np.asarray(value["verts"])
            else:
                verts = read_npy(path, mapped=True)
    except InputError:
        raise
    except Refused as error:
        raise InputError(f"{path} was refused, nothing was executed: {error}") from error
    except NUMPY_ERRORS as error:
        raise InputError(f"cannot read {path}: {first_line(error)}; copy it again") from error
    if verts.ndim != 3 or verts.shape[1:] != (VERTICES, 3) or not len(verts) or verts.dtype.kind != "f":
        raise InputError(f"{path} has an array of shape {verts.shape}, wanted (T, {VERTICES}, 3)")
    return np.asarray(verts, np.float32)
