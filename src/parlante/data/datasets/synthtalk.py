"""SynthTalk: synthetic speakers whose weights, phones and profile are known. Written by `parlante synth`.

    ROOT/index.json              rates, phone symbols, subjects and clips; written last
    ROOT/clips/SUBJECT/NNN.npz   audio int16, curves (T, 52) ARKit weights, head_pose (T, 6), phone_symbols, phone_times

On disk weights are called curves, and a profile manner.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parlante.core import Clip, Identity, InputError, Topology, read_npz
from parlante.core.files import shortened
from parlante.core.ranges import Count, Range
from parlante.core.typed import Mistyped, read_json, typed
from parlante.data.contract import ClipInfo, Corpus, SubjectInfo, select
from parlante.data.lazy import LazyFrames
from parlante.data.splits import current_name

_KEPT = ("key", "subject", "split", "text", "frames", "samples")


def weighted_vertices(
    neutral: NDArray[np.float32], shapes: NDArray[np.float32], weights: NDArray[np.float32]
) -> LazyFrames:
    """(T, V, 3) float32 metres, lazily: `neutral` (V, 3) + `weights` (T, 52) @ `shapes` (52, V, 3)."""
    flat = shapes.reshape(len(shapes), -1)

    def render(chosen: NDArray[np.float32]) -> NDArray[Any]:
        moved = (chosen.astype(np.float32) @ flat).reshape(len(chosen), *neutral.shape)
        return (moved + neutral).astype(np.float32, copy=False)

    return LazyFrames(weights, neutral.shape, np.float32, render)


@dataclass(frozen=True, kw_only=True)
class SynthTalkOptions:
    """What may be chosen when a SynthTalk corpus is opened."""

    texture_size: int = 0
    """Side in texels of the skin frames that clips carry; 0: none."""


class SynthTalk(Corpus):
    """A corpus folder as `Clip`s with all that is known of them; meshes are computed when their frames are asked for.

    Args:
        root: folder written by `parlante synth`.
        split: see `open_corpus`.
        texture_size: side in texels of the skin frames that clips carry (0: none); computed when sliced.

    Raises:
        InputError: no corpus there, an unfinished or damaged one, or no such split.
    """

    dataset = "synthtalk"
    unit = "m"
    has_weights = True

    def __init__(self, root: Path | str, split: str | None = None, *, texture_size: int = 0) -> None:
        self.root: Path = Path(root)
        self.texture_size = texture_size
        index = _read_index(self.root)
        self.fps = float(index["fps"])
        self.sample_rate = int(index["sample_rate"])
        self.phone_names: tuple[str, ...] = tuple(index["phones"])
        self.subjects = {
            row["name"]: SubjectInfo(name=row["name"], face=row["identity"], voice=row["voice"], profile=row["manner"])
            for row in index["subjects"]
        }
        self.clips = select([ClipInfo(**{key: row[key] for key in _KEPT}) for row in index["clips"]], split, root)

    def fingerprint(self) -> str:
        """Of `index.json`: the same settings give the same clips."""
        return hashlib.sha256((self.root / "index.json").read_bytes()).hexdigest()

    @property
    def topology(self) -> Topology:
        """Of the embedded head."""
        from parlante.head import load_head

        return load_head().topology

    def _subject(self, name: str) -> SubjectInfo:
        if name not in self.subjects:
            raise InputError(f"no subject {name!r} in {self.root}; it has {', '.join(self.subjects)}")
        return self.subjects[name]

    def identity(self, subject: str) -> Identity:
        """The face that a subject has, at rest. Raises InputError for an unknown subject."""
        from parlante.head import load_head

        return load_head().identity(self._subject(subject).face)

    def neutral(self, subject: str) -> NDArray[np.float32]:
        """(V, 3) metres: `identity(subject).neutral` at once, for no skin is painted. Raises InputError likewise."""
        from parlante.head import load_head

        return load_head().neutral(self._subject(subject).face)

    def read(self, index: int) -> Clip:
        info = self.clips[index]
        subject = self.subjects[info.subject]
        path = self.root / "clips" / f"{info.key}.npz"
        arrays = read_npz(path, ("audio", "curves", "head_pose", "phone_symbols", "phone_times"))
        if arrays["curves"].shape[:1] != (info.frames,) or arrays["audio"].shape != (info.samples,):
            raise InputError(f"{path} is not the clip that index.json lists; write the corpus again")
        _check_arrays(arrays, len(self.phone_names), path)
        weights = arrays["curves"].astype(np.float32)
        vertices: Any = _lazy_vertices(weights, subject.face)
        textures: Any = self._skin(weights, subject) if self.texture_size else None
        spans = arrays["phone_times"].astype(float).tolist()
        names = [self.phone_names[number] for number in arrays["phone_symbols"]]
        return Clip(
            arrays["audio"].astype(np.float32) / np.float32(32768),
            self.sample_rate,
            vertices,
            self.fps,
            info.subject,
            info.key,
            textures,
            weights=weights,
            head_pose=arrays["head_pose"].astype(np.float32),
            phones=tuple((name, start, end) for name, (start, end) in zip(names, spans, strict=True)),
            text=info.text,
            face=subject.face,
            profile=subject.profile,
        )

    def _skin(self, weights: NDArray[np.float32], subject: SubjectInfo) -> LazyFrames:
        """(T, size, size, 3) uint8 sRGB, lazily: the albedo times the wrinkle ratio, at the speaker's own depth."""
        from parlante.head import load_head

        size, head = self.texture_size, load_head()
        shapes = head.shapes(subject.face)
        albedo = head.identity(subject.face).albedo
        if albedo is None:
            raise InputError(f"{subject.face} has no painted skin; read the corpus without textures")
        rest = np.asarray(Image.fromarray(albedo).resize((size, size), Image.Resampling.BOX), np.float32)
        depth = (subject.profile or {})["wrinkle_depth"]
        dynamics = _dynamics(subject.face, size, round(depth, 3))

        def render(chosen: NDArray[np.float32]) -> NDArray[Any]:
            offsets = np.einsum("tk,kvc->tvc", chosen, shapes, optimize=True)
            return np.clip(np.round(rest * dynamics.maps(offsets)), 0, 255).astype(np.uint8)

        return LazyFrames(weights, (size, size, 3), np.uint8, render)


def _lazy_vertices(weights: NDArray[np.float32], face: str) -> LazyFrames:
    """(T, V, 3) metres of a person of the embedded head, whose shapes are made when frames are asked for."""
    from parlante.head import load_head

    def render(chosen: NDArray[np.float32]) -> NDArray[Any]:
        head = load_head()
        return np.asarray(weighted_vertices(head.neutral(face), head.shapes(face), chosen))

    return LazyFrames(weights, (load_head().topology.num_vertices, 3), np.float32, render)


@lru_cache(maxsize=16)
def _dynamics(identity: str, size: int, depth: float) -> Any:
    from parlante.head import load_head
    from parlante.head.skin_dynamics import SkinDynamics

    return SkinDynamics(load_head(), identity, size, depth)


def _read_index(root: Path) -> dict[str, Any]:
    path = root / "index.json"
    if not path.is_file():
        state = "is unfinished" if (root / "corpus.json").is_file() else "holds no SynthTalk corpus"
        raise InputError(f"{root} {state}; run parlante synth --out {root}")
    wanted = "a corpus that parlante synth wrote"
    index: dict[str, Any] = read_json(path, wanted)
    if isinstance(index, dict) and index.get("format", 1) != 1:
        found = str(index.get("format"))[:40]
        raise InputError(f"{path} is of format {found}, this version reads 1; write the corpus again")
    try:
        typed(_Index, index)
    except Mistyped as error:
        raise InputError(f"cannot read {path}: {error}; write the corpus again") from error
    for row in index["clips"]:
        row["split"] = current_name(row["split"])
    return index


@dataclass(frozen=True)
class _Row:
    """A clip in index.json."""

    key: str
    subject: str
    split: str
    text: str
    frames: Count
    samples: Count

    def __post_init__(self) -> None:
        if self.key.startswith("/") or ".." in self.key.split("/") or "\0" in self.key:
            raise ValueError(f"clip {shortened(self.key)!r}")


@dataclass(frozen=True)
class _Subject:
    name: str
    identity: str
    voice: str
    manner: dict[str, float]


@dataclass(frozen=True)
class _Index:
    """index.json."""

    fps: Annotated[float, Range(1, 1000)]
    sample_rate: Annotated[int, Range(1000, 400_000)]
    phones: list[str]
    subjects: list[_Subject]
    clips: list[_Row]

    def __post_init__(self) -> None:
        known = {subject.name for subject in self.subjects}
        for row in self.clips:
            if row.subject not in known:
                raise ValueError(f"clip {shortened(row.key)!r} of {shortened(row.subject)!r}, who is no subject")


def _check_arrays(arrays: Mapping[str, NDArray[Any]], phones: int, path: Path) -> None:
    frames, spans = len(arrays["curves"]), len(np.atleast_1d(arrays["phone_symbols"]))
    wanted = {"curves": (frames, 52), "head_pose": (frames, 6), "phone_symbols": (spans,), "phone_times": (spans, 2)}
    for name, shape in wanted.items():
        values = arrays[name]
        if values.shape != shape or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise InputError(f"{path}: {name} of {values.shape}, wanted numbers {shape}; write the corpus again")
    symbols = arrays["phone_symbols"]
    if arrays["audio"].dtype.kind not in "iu" or symbols.dtype.kind not in "iu" or (symbols >= phones).any():
        raise InputError(f"{path} is not what parlante synth writes; write the corpus again")
