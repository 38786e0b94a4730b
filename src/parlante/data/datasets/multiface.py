"""Multiface as published (Wuu et al., 2022): tracked heads with pictures of the skin at 30 frames a second.

    ROOT/m--20180227--0000--6795937--GHS/tracked_mesh/SEN_x/000102.bin   7,306 x 3 float32 millimetres, no head pose
                                         tracked_mesh/SEN_x/000102.obj   the same with triangles and uv
                                         unwrapped_uv_1024/SEN_x/average/000102.png
                                         audio/SEN_x.wav
                                         vert_mean.bin, tex_mean.png     means over all frames

ROOT may also be one person's folder. Segments with audio are the 50 sentences SEN_*. FaceDiffuser (MIG 2023) drops the
vertices that MeshTalk does not have, leaving 6,172, and scales every axis to -1..1 by constants: `published=True`.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.audio.io import read_audio
from parlante.core import Clip, Identity, InputError, Topology
from parlante.core.options import option
from parlante.core.pictures import read_picture
from parlante.core.timing import SAMPLE_RATE, num_samples
from parlante.data.contract import ClipInfo, Corpus, select, subjects_of
from parlante.data.lazy import lazy_frames
from parlante.data.meshes import bare_topology, find_topology, mesh_topology
from parlante.data.pictures import lazy_pictures
from parlante.data.splits import multiface_split
from parlante.geometry.mesh import Mesh, read_mesh

FPS = 30.0
METRES = 1e-3
NEUTRAL = "E001_Neutral_Eyes_Open"
FULL, MESHTALK = 7306, 6172
"""Vertices as tracked, and as MeshTalk has them."""
LOW = np.array([-117.798, -213.735, -177.091])
HIGH = np.array([125.922, 185.79601, 75.365097])
"""Millimetres that FaceDiffuser takes to -1 and 1."""
_DROPPED = (  # first and last of the vertices that MeshTalk does not have
    (551, 781), (812, 883), (899, 911), (1145, 1152), (1156, 1160), (1193, 1203), (1284, 1293), (1299, 1299),
    (1514, 1514), (1657, 1660), (1662, 1664), (2010, 2010), (2231, 2245), (2468, 2492), (3102, 3109), (3163, 3167),
    (3169, 3174), (3176, 3179), (3200, 3200), (3205, 3207), (3246, 3337), (3339, 3339), (3343, 3343), (3351, 3351),
    (3355, 3356), (3364, 3365), (3374, 3374), (3384, 3389), (3418, 3420), (3422, 3427), (3429, 3444), (3447, 3455),
    (3469, 3505), (4651, 4822), (4824, 4824), (4826, 4838), (4849, 4852), (4855, 4856), (4858, 4860), (4862, 4870),
    (4875, 4881), (4888, 4895), (4900, 4910), (4914, 4915), (4965, 5146), (5149, 5150), (5153, 5156), (5159, 5159),
    (5162, 5163), (5166, 5167), (5170, 5170), (5187, 5233), (5235, 5235), (5265, 5270), (5272, 5272), (5274, 5274),
    (5276, 5276), (5537, 5538), (5582, 5583), (5588, 5588), (6439, 6443), (6958, 6960), (6977, 6978), (6980, 7011),
)  # fmt: skip
_SENTENCES = (
    "alfalfa allow all_your and_you approach are_you as_she a_good a_voice both boy by_eating cliff did_shawn do_they "
    "drop george go_change greg have_you however how_do how_long how_ya id_rather if_dark im_going its_healthier jeffs "
    "more_he nobody oh_we she_always take_charge thank_you then_he theyre_going theyve_never they_all they_are "
    "they_enjoy they_had they_werent the_small when_she why_buy why_charge why_put with_each youre_boiling"
)
"""How the sentences begin, from 1 to 50."""


def meshtalk_vertices() -> NDArray[np.int64]:
    """(6172,) numbers of the tracked vertices that MeshTalk keeps."""
    dropped = np.concatenate([np.arange(first, last + 1) for first, last in _DROPPED])
    return np.setdiff1d(np.arange(FULL), dropped)


def sentence_number(segment: str) -> int | None:
    """1 to 50 of a segment SEN_*, in FaceDiffuser's order; none for others."""
    words = segment.lower().removeprefix("sen_")
    numbers = (k for k, start in enumerate(_SENTENCES.split(), 1) if f"{words}_".startswith(f"{start}_"))
    return next(numbers, None) if segment.startswith("SEN_") else None


@dataclass(frozen=True)
class _Stretch:
    """Frames in a row of one segment."""

    folder: Path
    """Of the person."""
    segment: str
    names: tuple[str, ...]
    """Of the frames."""
    offset: int
    """Frames of the segment before these."""

    def file(self, name: str) -> Path:
        stem = self.folder / "tracked_mesh" / self.segment / name
        return stem.with_suffix(".bin") if stem.with_suffix(".bin").is_file() else stem.with_suffix(".obj")

    @property
    def audio(self) -> Path:
        return self.folder / "audio" / f"{self.segment}.wav"

    def picture(self, name: str) -> Path:
        return self.folder / "unwrapped_uv_1024" / self.segment / "average" / f"{name}.png"


@dataclass(frozen=True, kw_only=True)
class MultifaceOptions:
    """What a corpus of Multiface depends on beside its files."""

    template: Path | None = option(None, ".ply or .obj with the triangles", "MESH", kept=False)
    textures: bool = option(True, "meshes and audio only")
    published: bool = option(False, "MeshTalk's 6,172 vertices in FaceDiffuser's unit (default: metres)")
    shortest: int = option(30, "frames without a gap that make a clip", "N")


class Multiface(Corpus):
    """The published folders as `Clip`s in metres; meshes and pictures are read from their files when they are sliced.

    Where frames are missing a segment falls into several clips.

    Args:
        root: folder of persons' folders, or one of them.
        split: see `open_corpus`; FaceDiffuser's, by sentence.
        textures: whether clips carry the average pictures, where every frame has one.
        published: MeshTalk's vertices in FaceDiffuser's unit instead of all in metres.
        shortest: frames in a row that make a clip.
        template: a mesh with the triangles (none: the first `.obj` found).

    Raises:
        InputError: no person or no sentence there, or no such split.
    """

    dataset = "multiface"
    fps = FPS

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        *,
        textures: bool = True,
        published: bool = False,
        shortest: int = 30,
        template: Path | str | None = None,
    ) -> None:
        self.root: Path = Path(root)
        self.textures, self.published, self.template = textures, published, template
        self.shortest = shortest
        self.unit = "normalised" if published else "m"
        self.problems: list[str] = []
        """What had to be left out, in words."""
        self.people = {_subject(folder): folder for folder in people(self.root)}
        self.stretches: dict[str, _Stretch] = {}
        clips: list[ClipInfo] = []
        for subject, folder in self.people.items():
            for segment in sorted(p.name for p in (folder / "tracked_mesh").iterdir() if p.is_dir()):
                if not (folder / "audio" / f"{segment}.wav").is_file():
                    if segment.startswith("SEN_"):
                        self.problems.append(f"{subject}_{segment}: no audio/{segment}.wav")
                    continue
                clips += self._clips(subject, folder, segment, shortest)
        if not clips:
            why = f" ({self.problems[0]})" if self.problems else ""
            raise InputError(
                f"{root} has no sentence that can be used{why}; wanted tracked_mesh/SEN_x and audio/SEN_x.wav"
            )
        self.subjects = subjects_of(clips)
        self.clips = select(clips, split, self.root)

    def _clips(self, subject: str, folder: Path, segment: str, shortest: int) -> list[ClipInfo]:
        clips = []
        runs = _runs(folder / "tracked_mesh" / segment)
        for run in runs:
            names, offset = run
            key = f"{subject}_{segment}" if len(runs) == 1 else f"{subject}_{segment}-{names[0]}"
            if len(names) < shortest:
                self.problems.append(f"{key}: {len(names)} frames in a row, wanted {shortest}")
                continue
            self.stretches[key] = _Stretch(folder, segment, names, offset)
            split = multiface_split(sentence_number(segment))
            clips.append(ClipInfo(key=key, subject=subject, sentence=segment, split=split, frames=len(names)))
        return clips

    def read(self, index: int) -> Clip:
        info = self.clips[index]
        stretch = self.stretches[info.key]
        audio = read_audio(stretch.audio)
        start, end = num_samples(stretch.offset), num_samples(stretch.offset + info.frames)
        if start >= len(audio):
            raise InputError(f"{stretch.audio} ends before frame {stretch.names[0]}")
        count = self.topology.num_vertices
        moving: Any = lazy_frames(
            info.frames, (count, 3), np.float32, lambda n: self._frame(stretch.file(stretch.names[n]))
        )
        files = self.picture_files(index)
        pictures: Any = lazy_pictures(files) if files else None
        return Clip(audio[start:end], SAMPLE_RATE, moving, FPS, info.subject, info.key, pictures)

    def sources(self, index: int) -> list[Path]:
        """The files that clip `index` is made of."""
        stretch = self.stretches[self.clips[index].key]
        return [stretch.audio, *(stretch.file(name) for name in stretch.names), *self.picture_files(index)]

    def picture_files(self, index: int) -> list[Path]:
        """The average picture of every frame of clip `index`, or none."""
        stretch = self.stretches[self.clips[index].key]
        files = [stretch.picture(name) for name in stretch.names]
        return files if self.textures and all(path.is_file() for path in files) else []

    def albedo_file(self, subject: str) -> Path | None:
        """The average picture of the neutral face, or the mean of all."""
        folder = self.people[subject]
        still = folder / "unwrapped_uv_1024" / NEUTRAL / "average"
        files = [*sorted(still.glob("*.png")), folder / "tex_mean.png"]
        return files[0] if self.textures and files[0].is_file() else None

    @cached_property
    def _mesh(self) -> Mesh | None:
        """As tracked, with triangles."""
        for folder in self.people.values():
            found = next((folder / "tracked_mesh").glob("*/*.obj"), None)
            if found is not None:
                return read_mesh(found)
        return None

    @cached_property
    def _tracked(self) -> int:
        """Vertices in the files."""
        if self._mesh is not None:
            return len(self._mesh.vertices)
        stretch = next(iter(self.stretches.values()))
        return stretch.file(stretch.names[0]).stat().st_size // 12

    @cached_property
    def topology(self) -> Topology:
        """Of every clip."""
        count = self._tracked
        if self.published and count not in (FULL, MESHTALK):
            raise InputError(f"{self.root} has meshes of {count} vertices; the published unit needs {FULL}")
        kept = MESHTALK if self.published else count
        if self.template is not None:
            return find_topology(self.root, self.dataset, kept, self.template)
        if self._mesh is None:
            return bare_topology(self.dataset, kept)
        return mesh_topology(self.dataset, self._mesh if kept == count else _without(self._mesh, meshtalk_vertices()))

    def identity(self, subject: str) -> Identity:
        """A person at rest: the first neutral frame, or the mean of all. Raises InputError if there is neither."""
        if subject not in self.people:
            raise InputError(f"no subject {subject!r} in {self.root}; it has {', '.join(self.people)}")
        folder = self.people[subject]
        still = folder / "tracked_mesh" / NEUTRAL
        files = [*sorted(still.glob("*.bin")), *sorted(still.glob("*.obj")), folder / "vert_mean.bin"]
        skin = self.albedo_file(subject)
        albedo = read_picture(skin) if skin is not None else None
        return Identity(subject, self.topology, self._frame(files[0]), albedo)

    def _frame(self, path: Path) -> NDArray[np.float32]:
        """(V, 3) of a file, in this corpus' vertices and unit."""
        from parlante.geometry.obj import read_vertices

        if path.suffix == ".obj":
            frame = read_vertices(path, self._tracked)[0]
        else:
            try:
                frame = np.fromfile(path, "<f4") if path.stat().st_size == 12 * self._tracked else np.zeros(0)
            except OSError as error:
                raise InputError(f"cannot read {path}: {error.strerror or error}") from error
            if frame.size != 3 * self._tracked:
                raise InputError(f"{path} has {path.stat().st_size} bytes, wanted {self._tracked} x 3 numbers of 4")
            frame = frame.reshape(-1, 3)
        if not self.published:
            return (METRES * frame).astype(np.float32)
        if len(frame) == FULL:
            frame = frame[meshtalk_vertices()]
        return (2 * (frame - LOW) / (HIGH - LOW) - 1).astype(np.float32)


def people(root: Path) -> list[Path]:
    """The persons' folders. Raises InputError if there are none."""
    if not root.is_dir():
        raise InputError(f"no such folder: {root}")
    found = (
        [root]
        if (root / "tracked_mesh").is_dir()
        else sorted(f for f in root.iterdir() if (f / "tracked_mesh").is_dir())
    )
    if not found:
        raise InputError(f"{root} has no folder with tracked_mesh in it; is it Multiface?")
    return found


def _subject(folder: Path) -> str:
    found = re.fullmatch(r"m--\d+--\d+--(\w+)--GHS", folder.resolve().name)
    return found[1] if found else folder.resolve().name


def _runs(folder: Path) -> list[tuple[tuple[str, ...], int]]:
    """Names of frames in a row, and how many frames of the segment are before them.

    Numbers may go up in steps; the smallest step is one frame.
    """
    names = sorted({p.stem for p in folder.iterdir() if p.suffix in (".bin", ".obj") and p.stem.isdecimal()}, key=int)
    if not names:
        return []
    numbers = np.array([int(name) for name in names])
    steps = np.diff(numbers)
    step = max(1, int(steps.min(initial=10**9)))
    cuts = [0, *(np.flatnonzero(steps > step) + 1).tolist(), len(names)]
    before = ((numbers - numbers[0]) // step).tolist()
    return [(tuple(names[a:b]), before[a]) for a, b in pairwise(cuts)]


def _without(mesh: Mesh, kept: NDArray[np.int64]) -> Mesh:
    """A mesh of only these vertices, without the triangles that lose a corner."""
    place = np.full(len(mesh.vertices), -1, np.int32)
    place[kept] = np.arange(len(kept))
    triangles = place[mesh.triangles]
    whole = (triangles >= 0).all(1)
    uv_triangles = mesh.uv_triangles[whole] if len(mesh.uv_triangles) else mesh.uv_triangles
    return Mesh(mesh.vertices[kept], triangles[whole], mesh.uv, uv_triangles)
