"""Whatever holds speech and moving faces, opened alike: a clip store, a SynthTalk corpus, or a published folder."""

from pathlib import Path

from parlante.core import InputError
from parlante.data import registry
from parlante.data.contract import Corpus


def open_corpus(
    path: Path | str,
    split: str | None = None,
    *,
    dataset: str | None = None,
    fps: float | None = None,
    texture_size: int | None = None,
) -> Corpus:
    """The corpus at `path`: a folder, or the URL of a clip store that fsspec understands (`s3://bucket/corpus`).

    Args:
        path: a clip store; or a folder of one of `registry.datasets()` as it is: SynthTalk, VOCASET (official files),
            BIWI, 3D-MEAD, Multiface, TexTalk4D, any folder with `vertices_npy/`, `wav/` and templates, or what an
            installed plug-in reads.
        split: train, val, test_seen (seen subjects), test_unseen (unseen subjects), test (both), or none for all clips.
        dataset: whose folder it is; none: the files in it tell.
        fps: frames per second on disk of a folder that does not tell; none: what fits the audio's length.
        texture_size: side in texels of the pictures of the skin, where the corpus computes them (SynthTalk); none: it
            carries no pictures.

    Raises:
        InputError: nothing there that can be opened, it is damaged, or there is no such split.
    """
    from parlante.data.store.clip_store import ClipStore

    if "://" in str(path):
        return ClipStore(path, split)
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"no such folder: {root}" if not root.exists() else f"{root} is a file; give a corpus folder")
    if (root / "store.json").is_file() or (root / "writing.json").is_file():
        return ClipStore(root, split)
    if (root / "prepared.json").is_file():
        raise InputError(
            f"{root} was prepared by an earlier version, in a format that is no longer read; run it again into a new "
            "folder: parlante prepare textalk4d SRC NEW_FOLDER"
        )
    spec = registry.recognise(root) if dataset is None else registry.dataset(dataset)
    if spec is None:
        known = ", ".join(registry.datasets())
        raise InputError(
            f"{root} holds no corpus that is known; wanted a clip store, or the folder of a dataset: {known} (see "
            "docs/reference/datasets.md)"
        )
    corpus = spec.read(root, split, spec.fitting({"fps": fps, "texture_size": texture_size}))
    corpus.count_frames()
    return corpus


def open_with_weights(path: Path | str, split: str | None = None) -> Corpus:
    """A corpus whose clips carry the weights of the embedded head's shapes. Raises InputError for any other."""
    corpus = open_corpus(path, split)
    if not corpus.has_weights:
        raise InputError(f"{path} has no blendshape weights, which this needs; give a corpus written by parlante synth")
    return corpus
