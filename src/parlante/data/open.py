"""Whatever holds speech and moving faces, opened alike: a store, a prepared corpus, SynthTalk or a published folder."""

from pathlib import Path

from parlante.core import InputError
from parlante.data.contract import Corpus


def open_corpus(
    path: Path | str, split: str | None = None, *, fps: float | None = None, texture_size: int = 0
) -> Corpus:
    """The corpus at `path`: a folder, or the URL of a clip store that fsspec understands (`s3://bucket/corpus`).

    Args:
        path: a clip store, a prepared corpus, a SynthTalk corpus; or, unconverted, VOCASET (official files), BIWI,
            3D-MEAD, Multiface or TexTalk4D as published, or a folder with `vertices_npy/`, `wav/` and templates.
        split: train, val, test_seen (seen subjects), test_unseen (unseen subjects), test (both), or none for all clips.
        fps: frames per second on disk of one's own folder; without it it is taken from the audio's length.
        texture_size: side in texels of the pictures of the skin, where the corpus computes them (SynthTalk); 0: none.

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

        return SynthTalk(root, split, texture_size=texture_size)
    corpus = _published(root, split, fps)
    corpus.count_frames()
    return corpus


def open_with_weights(path: Path | str, split: str | None = None) -> Corpus:
    """A corpus whose clips carry the weights of the embedded head's shapes. Raises InputError for any other."""
    corpus = open_corpus(path, split)
    if not corpus.has_weights:
        raise InputError(f"{path} has no blendshape weights, which this needs; give a corpus written by parlante synth")
    return corpus


def _published(root: Path, split: str | None, fps: float | None) -> Corpus:
    if (root / "data_verts.npy").is_file():
        from parlante.data.datasets.vocaset import Vocaset

        return Vocaset(root, split)
    if (root / "vertices_npy").is_dir():
        from parlante.data.datasets.folder import FolderDataset

        return FolderDataset(root, split, fps=fps)
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
