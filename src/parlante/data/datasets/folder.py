"""Folders of arrays: how the published methods want a dataset, and the simplest way to bring one's own.

    ROOT/vertices_npy/SUBJECT_SENTENCE.npy   (T, 3 V) or (T, V, 3) positions
    ROOT/wav/SUBJECT_SENTENCE.wav            speech
    ROOT/templates.pkl                       subject: (V, 3) or (3 V,) at rest; or templates.npz, templates/SUBJECT.ply
    ROOT/*.ply, ROOT/templates/*.ply|obj     a mesh that tells the triangles (optional)
    ROOT/textures/SUBJECT_SENTENCE/*.png     a picture of the skin per frame, by name (optional)
    ROOT/textures/SUBJECT.png                the skin at rest (optional)
    ROOT/splits.json                         {"train": [keys or subjects], "val": ...} (optional)

VOCASET's, BIWI's, 3D-MEAD's and Multiface's folders in this layout are known by subject names and vertex counts, and
get their published rate, unit and split.
"""

import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.audio.io import read_audio
from parlante.core import Clip, Identity, InputError, Topology
from parlante.core.options import option
from parlante.core.pictures import read_picture
from parlante.core.timing import SAMPLE_RATE
from parlante.core.typed import Mistyped, read_json, typed
from parlante.data import splits
from parlante.data.contract import ClipInfo, Corpus, select, subjects_of
from parlante.data.lazy import LazyFrames
from parlante.data.meshes import find_topology, map_array, read_templates
from parlante.data.pictures import lazy_pictures

_log = logging.getLogger(__name__)
RATES = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 100.0, 120.0)
"""Frames per second that a dataset without a stated rate may have."""
_PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Convention:
    """What is agreed about a published dataset in this layout."""

    dataset: str
    keys: str
    """Pattern of file names, of which the groups are subject and sentence."""
    vertices: int
    fps: float
    """On disk."""
    stride: int
    """Every so many frames are used."""
    unit: str
    split: Callable[[str, str], str]


CONVENTIONS = (
    Convention("vocaset", r"(FaceTalk_\d{6}_\d{5}_TA)_(.+)", 5023, 60.0, 2, "m", splits.vocaset_split),
    Convention("BIWI", r"([FM]\d)_(.+)", 23370, 25.0, 1, "normalised", splits.biwi_split),
    Convention("mead", r"([MW]\d{3})_(.+)", 5023, 30.0, 1, "m", splits.mead_split),
    Convention(
        "multiface",
        r"(\d+)_(\d+)",
        6172,
        30.0,
        1,
        "normalised",
        lambda subject, sentence: splits.multiface_split(splits.sentence_number(sentence)),
    ),
)


@dataclass(frozen=True, kw_only=True)
class FolderOptions:
    """What a corpus of one's own depends on beside its files."""

    template: Path | None = option(None, ".ply or .obj with the triangles", "MESH", kept=False)
    fps: float | None = option(None, "frames a second (default: what fits the audio)", "F", kept=False)
    unit: float | None = option(None, "metres in one unit; the store is then in metres", "M")
    name: str | None = option(None, "what the dataset is called (default: its folder's name)", "NAME", kept=False)

    def __post_init__(self) -> None:
        for key, value in (("fps", self.fps), ("unit", self.unit)):
            if value is not None and not 0 < value < 1e4:
                raise InputError(f"--{key} must be positive, got {value:g}")


class FolderDataset(Corpus):
    """The folder as `Clip`s, as published and in its own unit; arrays are mapped, audio is decoded on access.

    Args:
        root: the folder.
        split: see `open_corpus`.
        fps: frames per second on disk; none: the published one, else what fits the audio's length.
        name: what to call a dataset that is not known.
        unit: metres in one unit of the arrays, to have them in metres; none: leave them as they are.
        template: a mesh with the triangles (none: one beside the arrays, if there is one).

    Raises:
        InputError: no pair of array and recording there, arrays of different vertex counts, or no such split.
    """

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        fps: float | None = None,
        name: str | None = None,
        unit: float | None = None,
        template: Path | str | None = None,
    ) -> None:
        self.root: Path = Path(root)
        self.scale, self.template = np.float32(1.0 if unit is None else unit), template
        self.problems: list[str] = []
        """What had to be left out, in words."""
        self.mixed = ""
        """How meshes of several topologies lie in the folder, in words; empty if they do not."""
        shapes = self._shapes()
        self.vertices = next(iter(shapes.values()))[1]
        """Vertices of every mesh."""
        known = _convention(shapes, self.vertices)
        self.dataset = known.dataset if known else name or self.root.resolve().name
        self.unit = "m" if unit is not None else known.unit if known else "unknown"
        self.stride = known.stride if known else 1
        rate = fps or (known.fps if known else None) or self._rate(shapes)
        self.fps = rate / self.stride
        names = {key: _parts(key, known) for key in shapes}
        split_of = self._splits(names, known)
        clips = []
        for key, (frames, _) in shapes.items():
            subject, sentence = names[key]
            count = -(-frames // self.stride)
            clips.append(ClipInfo(key=key, subject=subject, sentence=sentence, split=split_of[key], frames=count))
        self.subjects = subjects_of(clips)
        self.clips = select(clips, split, self.root)

    def read(self, index: int) -> Clip:
        info = self.clips[index]
        array = map_array(self.file(info.key))
        numbers = np.arange(0, len(array), self.stride)[:, None]
        count, scale = self.vertices, self.scale

        def make(chosen: NDArray[Any]) -> NDArray[Any]:
            return scale * np.asarray(array[chosen[:, 0]], np.float32).reshape(len(chosen), count, 3)

        vertices: Any = LazyFrames(numbers, (count, 3), np.float32, make)
        audio = read_audio(self.root / "wav" / f"{info.key}.wav")
        textures = self._textures(index)
        return Clip(audio, SAMPLE_RATE, vertices, self.fps, info.subject, info.key, textures)

    def file(self, key: str) -> Path:
        """A clip's array."""
        return self.root / "vertices_npy" / f"{key}.npy"

    def sources(self, index: int) -> list[Path]:
        """The files that clip `index` is made of."""
        key = self.clips[index].key
        return [self.file(key), self.root / "wav" / f"{key}.wav", *self.picture_files(index)]

    def picture_files(self, index: int) -> list[Path]:
        """The picture of every frame of clip `index`, or none."""
        folder = self.root / "textures" / self.clips[index].key
        if not folder.is_dir():
            return []
        return sorted(p for p in folder.iterdir() if p.suffix.lower() in _PICTURES)[:: self.stride]

    def albedo_file(self, subject: str) -> Path | None:
        """`textures/SUBJECT.png` or `.jpg`, or none."""
        files = (self.root / "textures" / f"{subject}{suffix}" for suffix in _PICTURES)
        return next((path for path in files if path.is_file()), None)

    @cached_property
    def templates(self) -> dict[str, NDArray[np.float32]]:
        """subject: (V, 3). Raises InputError if there are none or they do not fit the arrays."""
        return {name: self.scale * shape for name, shape in read_templates(self.root, self.vertices).items()}

    @cached_property
    def topology(self) -> Topology:
        """Triangles of the first mesh beside the arrays that fits; without one, none."""
        return find_topology(self.root, self.dataset, self.vertices, self.template)

    def identity(self, subject: str) -> Identity:
        """A subject at rest. Raises InputError for an unknown subject or one without template."""
        if subject not in self.subjects:
            raise InputError(f"no subject {subject!r} in {self.root}; it has {', '.join(self.subjects)}")
        if subject not in self.templates:
            raise InputError(f"{self.root} has no template of {subject}; it has {', '.join(sorted(self.templates))}")
        skin = self.albedo_file(subject)
        albedo = read_picture(skin) if skin is not None else None
        return Identity(subject, self.topology, self.templates[subject], albedo)

    # -- what the folder holds

    def _shapes(self) -> dict[str, tuple[int, int]]:
        """key: (frames, vertices) of every clip that has array and audio."""
        shapes: dict[str, tuple[int, int]] = {}
        counts: dict[int, list[str]] = {}
        for path in sorted((self.root / "vertices_npy").glob("*.npy")):
            key = path.stem
            if key.startswith("."):  # what a Mac leaves behind
                continue
            if "_" not in key:
                self.problems.append(f"{path.name}: wanted SUBJECT_SENTENCE.npy")
            elif not (self.root / "wav" / f"{key}.wav").is_file():
                self.problems.append(f"{path.name}: no wav/{key}.wav")
            else:
                try:
                    shapes[key] = _shape(path)
                except InputError as error:
                    self.problems.append(str(error))
                    continue
                counts.setdefault(shapes[key][1], []).append(key)
        if not shapes:
            why = f" ({self.problems[0]})" if self.problems else ""
            raise InputError(f"{self.root} has no clips{why}; wanted vertices_npy/NAME.npy and wav/NAME.wav")
        self._leave_out_other_meshes(shapes, counts)
        if self.problems:
            _log.warning("%s: %d clips left out (%s, ...)", self.root, len(self.problems), self.problems[0])
        return shapes

    def count_frames(self) -> None:
        """Raises InputError where meshes of another topology lie among the others: only `parlante prepare`, which shows
        a table of what it leaves out, goes on without them."""
        if self.mixed:
            raise InputError(f"{self.mixed}; keep one topology a folder, or let parlante prepare leave the others out")

    def _leave_out_other_meshes(self, shapes: dict[str, tuple[int, int]], counts: dict[int, list[str]]) -> None:
        """Drop clips of another vertex count than most have. Raises InputError where no count is that of most."""
        if len(counts) == 1:
            return
        most = max(counts.values(), key=len)
        examples = ", ".join(f"{count} in {keys[0]}" for count, keys in sorted(counts.items()))
        self.mixed = f"{self.root}/vertices_npy mixes vertex counts: {examples}"
        if 2 * len(most) <= len(shapes):
            raise InputError(f"{self.mixed}; keep one topology a folder")
        for count, keys in sorted(counts.items()):
            for key in keys if keys is not most else ():
                del shapes[key]
                self.problems.append(f"{key}.npy: {count} vertices, most have {shapes[most[0]][1]}")

    def _rate(self, shapes: dict[str, tuple[int, int]]) -> float:
        rates: list[float] = []
        for key, (frames, _) in shapes.items():
            try:
                rates.append(frames * SAMPLE_RATE / len(read_audio(self.root / "wav" / f"{key}.wav")))
            except InputError:  # named when that clip is read
                continue
            if len(rates) == 3:
                break
        if not rates:
            raise InputError(f"{self.root}/wav has no recording that can be read")
        found = float(np.median(rates))
        nearest = min(RATES, key=lambda rate: abs(np.log(rate / found)))
        if abs(nearest / found - 1) > 0.06:
            raise InputError(
                f"{self.root} has {found:.2f} frames per second of audio, which is no common rate; give --fps"
            )
        return nearest

    def _splits(self, names: dict[str, tuple[str, str]], known: Convention | None) -> dict[str, str]:
        """key: split."""
        pairs = [(key, subject) for key, (subject, _) in names.items()]
        path = self.root / "splits.json"
        if path.is_file():
            wanted = "{split: [keys or subjects]}"
            try:
                return splits.listed_splits(typed(dict[str, list[str]], read_json(path, wanted)), pairs)
            except (Mistyped, ValueError) as error:
                if isinstance(error, InputError):
                    raise
                raise InputError(f"cannot use {path}: {error}; wanted {wanted}") from error
        if known is not None:
            return {key: known.split(subject, sentence) for key, (subject, sentence) in names.items()}
        return splits.own_splits(pairs)

    def _textures(self, index: int) -> Any:
        files, frames = self.picture_files(index), self.clips[index].frames
        if not files:
            return None
        if len(files) != frames:
            raise InputError(f"{files[0].parent} has {len(files)} pictures, wanted one a frame: {frames}")
        return lazy_pictures(files)


def _convention(keys: Iterable[str], vertices: int) -> Convention | None:
    for convention in CONVENTIONS:
        if vertices == convention.vertices and all(re.fullmatch(convention.keys, key) for key in keys):
            return convention
    return None


def _parts(key: str, known: Convention | None) -> tuple[str, str]:
    """Subject and sentence of a file name; the sentence is the last part where nothing else is agreed."""
    found = re.fullmatch(known.keys if known else r"(.+)_([^_]*)", key)
    return (found[1], found[2]) if found else (key, "")


def _shape(path: Path) -> tuple[int, int]:
    """(frames, vertices) of an array file."""
    shape = map_array(path).shape
    if len(shape) == 3 and shape[2] == 3 and min(shape) > 0:
        return shape[0], shape[1]
    if len(shape) == 2 and shape[1] % 3 == 0 and min(shape) > 0:
        return shape[0], shape[1] // 3
    raise InputError(f"{path} has shape {shape}, wanted (T, 3 V) or (T, V, 3)")
