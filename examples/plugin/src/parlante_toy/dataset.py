"""A dataset: a folder `toy-waves/` with one .npz per clip, named SUBJECT_SENTENCE.npz, of `audio` and `vertices`."""

from pathlib import Path

import numpy as np

from parlante.core import Clip, Identity, InputError, Topology, read_npz
from parlante.data.contract import ClipInfo, Corpus, select, subjects_of
from parlante.data.registry import DatasetSpec

FPS = 30.0
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]], np.int32)
"""A mouth of five vertices."""


class ToyWaves(Corpus):
    """Sentence 0 of each subject is for validation, sentence 1 for the test, the others are for training."""

    dataset, fps, unit = "toy-waves", FPS, "m"

    def __init__(self, root: Path | str, split: str | None = None) -> None:
        self.root = Path(root)
        files = sorted(self.root.glob("*_*.npz"))
        if not files:
            raise InputError(f"{root} has no clips; wanted files such as ann_0.npz with audio and vertices")
        everything = [self._info(file) for file in files]
        self.clips, self.subjects = select(everything, split, root), subjects_of(everything)

    def _info(self, file: Path) -> ClipInfo:
        subject, _, sentence = file.stem.rpartition("_")
        split = {"0": "val", "1": "test_seen"}.get(sentence, "train")
        arrays = read_npz(file, ("audio", "vertices"))
        sizes = {"frames": len(arrays["vertices"]), "samples": len(arrays["audio"])}
        return ClipInfo(key=file.stem, subject=subject, split=split, sentence=sentence, **sizes)

    @property
    def topology(self) -> Topology:
        """Of every mesh."""
        return Topology("toy", 5, TRIANGLES, np.zeros((1, 2), np.float32), np.zeros_like(TRIANGLES))

    def identity(self, subject: str) -> Identity:
        """The first frame of the subject's first clip, which is a closed mouth."""
        first = next(clip for clip in self.clips if clip.subject == subject)
        return Identity(subject, self.topology, read_npz(self.root / f"{first.key}.npz", ("vertices",))["vertices"][0])

    def read(self, index: int) -> Clip:
        """Clip `index`. Raises InputError if its file is damaged."""
        info = self.clips[index]
        arrays = read_npz(self.root / f"{info.key}.npz", ("audio", "vertices"))
        return Clip(arrays["audio"], self.sample_rate, arrays["vertices"], FPS, info.subject, info.key)


DATASET = DatasetSpec(
    name="toy-waves", title="an example", open="parlante_toy.dataset:ToyWaves", rate="30", unit="metres"
)
