"""SynthTalk: synthetic speakers whose curves, phones and manner are known. Written by `parlante synth`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parlante.core import Clip, Identity, InputError, Topology, read_npz
from parlante.data.lazy import LazyFrames
from parlante.data.splits import SPLITS, current_name, wanted_splits


@dataclass(frozen=True, eq=False)
class Take:
    """All that is known of one clip except its mesh."""

    key: str
    subject: str
    identity: str
    voice: str
    split: str
    text: str
    manner: Mapping[str, float]
    """Field of `parlante.head.speaker_profile.SpeakerProfile`: value."""
    audio: NDArray[np.float32]
    """(N,) mono, -1..1."""
    curves: NDArray[np.float32]
    """(T, 52) ARKit weights."""
    head_pose: NDArray[np.float32]
    """(T, 6) pitch, yaw, roll in radians; x, y, z in metres."""
    phones: tuple[tuple[str, float, float], ...]
    """Symbol, start and end in seconds; contiguous."""


def curve_vertices(
    neutral: NDArray[np.float32], shapes: NDArray[np.float32], curves: NDArray[np.float32]
) -> LazyFrames:
    """(T, V, 3) float32 metres, lazily: `neutral` (V, 3) + `curves` (T, 52) @ `shapes` (52, V, 3)."""
    flat = shapes.reshape(len(shapes), -1)

    def render(chosen: NDArray[np.float32]) -> NDArray[Any]:
        moved = (chosen.astype(np.float32) @ flat).reshape(len(chosen), *neutral.shape)
        return (moved + neutral).astype(np.float32, copy=False)

    return LazyFrames(curves, neutral.shape, np.float32, render)


class SynthTalk:
    """A corpus folder as a sequence of `Clip`s; meshes are computed only when their frames are asked for.

    Args:
        root: folder written by `parlante synth`.
        split: train, val, test_seen (seen subjects, unseen sentences), test_unseen (both unseen), test, or all.
        textures: side in texels of the skin frames that clips carry (0: none); computed when sliced.

    Raises:
        InputError: no corpus there, an unfinished or damaged one, or no such split.
    """

    dataset = "synthtalk"
    unit = "m"

    def __init__(self, root: Path | str, split: str | None = None, textures: int = 0) -> None:
        self.root = Path(root)
        index = _read_index(self.root)
        wanted = SPLITS if split is None else wanted_splits(split)
        if not set(wanted) <= set(SPLITS):
            raise InputError(f"no split {split!r} in SynthTalk; choose one of {', '.join(SPLITS)}")
        self.split = split
        self.fps = float(index["fps"])
        self.sample_rate = int(index["sample_rate"])
        self.phone_names: tuple[str, ...] = tuple(index["phones"])
        self.subjects: dict[str, dict[str, Any]] = {row["name"]: row for row in index["subjects"]}
        """By name: identity, voice, manner, seen."""
        self.rows: list[dict[str, Any]] = [row for row in index["clips"] if row["split"] in wanted]
        """Of each clip: key, subject, split, text, frames, samples."""
        self.textures = textures

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def topology(self) -> Topology:
        """Of the embedded head."""
        from parlante.head import load_head

        return load_head().topology

    def identity(self, subject: str) -> Identity:
        """The face that a subject wears, at rest. Raises InputError for an unknown subject."""
        from parlante.head import load_head

        if subject not in self.subjects:
            raise InputError(f"no subject {subject!r} in {self.root}; it has {', '.join(self.subjects)}")
        return load_head().identity(self.subjects[subject]["identity"])

    def neutral(self, subject: str) -> NDArray[np.float32]:
        """(V, 3) metres: `identity(subject).neutral` at once, for no skin is painted. Raises InputError likewise."""
        from parlante.head import load_head

        if subject not in self.subjects:
            raise InputError(f"no subject {subject!r} in {self.root}; it has {', '.join(self.subjects)}")
        return load_head().neutral(self.subjects[subject]["identity"])

    def take(self, index: int) -> Take:
        """Clip `index` without its mesh: fast, and needs no head."""
        row = self.rows[index]
        person = self.subjects[row["subject"]]
        path = self.root / "clips" / f"{row['key']}.npz"
        arrays = read_npz(path, ("audio", "curves", "head_pose", "phone_symbols", "phone_times"))
        if arrays["curves"].shape[:1] != (row["frames"],) or arrays["audio"].shape != (row["samples"],):
            raise InputError(f"{path} is not the clip that index.json lists; write the corpus again")
        _check_take(arrays, len(self.phone_names), path)
        spans = arrays["phone_times"].astype(float).tolist()
        names = [self.phone_names[number] for number in arrays["phone_symbols"]]
        return Take(
            key=row["key"],
            subject=row["subject"],
            identity=person["identity"],
            voice=person["voice"],
            split=row["split"],
            text=row["text"],
            manner=person["manner"],
            audio=arrays["audio"].astype(np.float32) / np.float32(32768),
            curves=arrays["curves"].astype(np.float32),
            head_pose=arrays["head_pose"].astype(np.float32),
            phones=tuple((name, start, end) for name, (start, end) in zip(names, spans, strict=True)),
        )

    def curves(self, index: int) -> NDArray[np.float32]:
        """(T, 52) ARKit weights of clip `index`."""
        return self.take(index).curves

    def manner(self, index: int) -> Mapping[str, float]:
        """How the speaker of clip `index` moves."""
        manner: Mapping[str, float] = self.subjects[self.rows[index]["subject"]]["manner"]
        return manner

    def __getitem__(self, index: int) -> Clip:
        from parlante.head import load_head

        take = self.take(index)
        head = load_head()
        identity = head.identity(take.identity)
        vertices: Any = curve_vertices(identity.neutral, head.shapes(take.identity), take.curves)
        textures: Any = self._skin(take) if self.textures else None
        return Clip(take.audio, self.sample_rate, vertices, self.fps, take.subject, take.key, textures)

    def _skin(self, take: Take) -> LazyFrames:
        """(T, size, size, 3) uint8 sRGB, lazily: the albedo times the wrinkle ratio, at the speaker's own depth."""
        from parlante.head import load_head

        size, head = self.textures, load_head()
        shapes = head.shapes(take.identity)
        albedo = head.identity(take.identity).albedo
        if albedo is None:
            raise InputError(f"{take.identity} has no painted skin; read the corpus without textures")
        rest = np.asarray(Image.fromarray(albedo).resize((size, size), Image.Resampling.BOX), np.float32)
        dynamics = _dynamics(take.identity, size, round(take.manner["wrinkle_depth"], 3))

        def render(chosen: NDArray[np.float32]) -> NDArray[Any]:
            offsets = np.einsum("tk,kvc->tvc", chosen, shapes, optimize=True)
            return np.clip(np.round(rest * dynamics.maps(offsets)), 0, 255).astype(np.uint8)

        return LazyFrames(take.curves, (size, size, 3), np.uint8, render)


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
    try:
        index = json.loads(path.read_text())
        if index["format"] != 1:
            raise InputError(f"{path} is of format {index['format']}, this version reads 1; write the corpus again")
        _check_index(index)
    except (ValueError, KeyError, TypeError, OSError, AttributeError, OverflowError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {path}: {error}; write the corpus again") from error
    result: dict[str, Any] = index
    return result


def _check_index(index: dict[str, Any]) -> None:
    """Raises ValueError, KeyError or TypeError where the index is not what `parlante synth` writes."""
    if not 1 <= float(index["fps"]) <= 1000 or not 1000 <= int(index["sample_rate"]) <= 400000:
        raise ValueError("impossible rates")
    if not all(isinstance(name, str) for name in index["phones"]):
        raise TypeError("phones")
    people = {}
    for row in index["subjects"]:
        people[row["name"]] = row
        if not all(isinstance(row[key], str) for key in ("name", "identity", "voice")):
            raise TypeError(f"subject {row['name']!r}")
        if not all(isinstance(value, int | float) for value in row["manner"].values()):
            raise TypeError(f"manner of {row['name']!r}")
    for row in index["clips"]:
        key = row["key"]
        row["split"] = current_name(row["split"])
        if not all(isinstance(row[name], str) for name in ("key", "subject", "split", "text")):
            raise TypeError(f"clip {key!r}")
        if row["subject"] not in people or key.startswith("/") or ".." in key.split("/"):
            raise ValueError(f"clip {key!r} of {row['subject']!r}")
        if not all(type(row[name]) is int and row[name] > 0 for name in ("frames", "samples")):
            raise ValueError(f"length of {key!r}")


def _check_take(arrays: Mapping[str, NDArray[Any]], phones: int, path: Path) -> None:
    frames, spans = len(arrays["curves"]), len(np.atleast_1d(arrays["phone_symbols"]))
    wanted = {"curves": (frames, 52), "head_pose": (frames, 6), "phone_symbols": (spans,), "phone_times": (spans, 2)}
    for name, shape in wanted.items():
        values = arrays[name]
        if values.shape != shape or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            raise InputError(f"{path}: {name} of {values.shape}, wanted numbers {shape}; write the corpus again")
    symbols = arrays["phone_symbols"]
    if arrays["audio"].dtype.kind not in "iu" or symbols.dtype.kind not in "iu" or (symbols >= phones).any():
        raise InputError(f"{path} is not what parlante synth writes; write the corpus again")
