"""Whatever holds speech and moving faces, opened alike: a store, a prepared corpus, SynthTalk or a published folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from parlante.core import Clip, Identity, InputError, Topology
from parlante.core.timing import num_samples
from parlante.data.splits import wanted_splits


class Corpus(Protocol):
    """A sequence of `Clip`s whose frames are read when they are sliced."""

    dataset: str
    """vocaset, BIWI, mead, multiface, textalk4d, synthtalk, or the name of one's own."""
    fps: float
    """Frames per second of every clip."""
    sample_rate: int
    """Hz of every clip's sound."""
    unit: str
    """m: metres; normalised: BIWI's published unit, or another made by its authors; unknown."""

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """Of each clip: key, subject, split, frames; sentence where it is known; and what the reader knows beside."""

    @property
    def subjects(self) -> Mapping[str, Mapping[str, Any]]:
        """What is known of each subject, those of other splits included."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Clip: ...

    @property
    def topology(self) -> Topology:
        """Of every mesh; a topology without triangles where the dataset has none."""

    def identity(self, subject: str) -> Identity:
        """A subject at rest. Raises InputError for an unknown subject."""


def open_corpus(path: Path | str, split: str | None = None, *, fps: float | None = None) -> Corpus:
    """The corpus at `path`: a folder, or the URL of a clip store that fsspec understands (`s3://bucket/corpus`).

    Args:
        path: a clip store, a prepared corpus, a SynthTalk corpus; or, unconverted, VOCASET (official files), BIWI,
            3D-MEAD, Multiface or TexTalk4D as published, or a folder with `vertices_npy/`, `wav/` and templates.
        split: train, val, test_seen (seen subjects), test_unseen (unseen subjects), test (both), or none for all clips.
        fps: frames per second on disk of one's own folder; without it it is taken from the sound's length.

    Raises:
        InputError: nothing there that can be opened, it is damaged, or there is no such split.
    """
    if "://" in str(path):
        from parlante.data.store.clip_store import ClipStore

        return ClipStore(path, split)
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"no such folder: {root}" if not root.exists() else f"{root} is a file; give a corpus folder")
    if (root / "store.json").is_file() or (root / "writing.json").is_file():
        from parlante.data.store.clip_store import ClipStore

        return ClipStore(root, split)
    if (root / "prepared.json").is_file():
        from parlante.data.store.packed_corpus import Prepared

        return Prepared(root, split)
    if (root / "index.json").is_file():
        from parlante.data.datasets.synthtalk import SynthTalk

        return SynthTalk(root, split)
    return _published(root, split, fps)


def _published(root: Path, split: str | None, fps: float | None) -> Corpus:
    if (root / "data_verts.npy").is_file():
        from parlante.data.datasets.vocaset import Vocaset

        return Vocaset(root, split)
    if (root / "vertices_npy").is_dir():
        from parlante.data.datasets.folder import Layout

        return Layout(root, split, fps=fps)
    if (root / "faces").is_dir():
        from parlante.data.datasets.biwi import Biwi

        return Biwi(root, split)
    folders = [folder for folder in sorted(root.iterdir()) if folder.is_dir()]
    if (root / "tracked_mesh").is_dir() or any((folder / "tracked_mesh").is_dir() for folder in folders):
        from parlante.data.datasets.multiface import Multiface

        return Multiface(root, split)
    if any((folder / "Models").is_dir() for folder in folders):
        from parlante.data.datasets.textalk4d import TexTalk4D

        return TexTalk4D(root, split)
    if any((folder / "video").is_dir() for folder in folders):
        from parlante.data.datasets.mead import Mead

        return Mead(root, split)
    raise InputError(
        f"{root} holds no corpus that is known; wanted a clip store, a prepared or SynthTalk corpus, a published "
        "dataset, or vertices_npy/ and wav/ (see docs/reference/datasets.md)"
    )


def pick(rows: Sequence[dict[str, Any]], split: str | None, root: Path | str) -> list[dict[str, Any]]:
    """The rows of a split (`test`: both tests), all of them for none. Raises InputError if there are none."""
    wanted = () if split is None else wanted_splits(split)
    chosen = [row for row in rows if split is None or row["split"] in wanted]
    if not chosen:
        known = ", ".join(sorted({row["split"] for row in rows})) or "no clips at all"
        raise InputError(f"{root} has no split {split!r}; it has {known}" if split else f"{root} has no clips")
    return chosen


def window(clip: Clip, first: int, frames: int) -> Clip:
    """`frames` frames of a clip from frame `first` on, read now, with the sound that belongs to them.

    Raises InputError if the window does not lie within the clip.
    """
    total = len(clip.vertices)
    if first < 0 or frames < 1 or first + frames > total:
        raise InputError(f"frames {first} to {first + frames} do not lie within {clip.sentence} of {total} frames")
    span = slice(first, first + frames)
    start = num_samples(first, clip.sample_rate, clip.fps)
    end = start + num_samples(frames, clip.sample_rate, clip.fps)  # windows of as many frames are equally long
    textures = None if clip.textures is None else np.asarray(clip.textures[span])
    vertices = np.asarray(clip.vertices[span], np.float32)
    return Clip(clip.audio[start:end], clip.sample_rate, vertices, clip.fps, clip.subject, clip.sentence, textures)
