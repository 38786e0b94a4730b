"""VOCASET as published with VOCA (CVPR 2019): FLAME meshes of twelve speakers at 60 frames a second.

    ROOT/data_verts.npy         (N, 5023, 3) metres, all frames of all sequences; mapped, never read whole
    ROOT/subj_seq_to_idx.pkl    subject: {sequence: {frame: row of data_verts}}
    ROOT/raw_audio_fixed.pkl    subject: {sequence: {"audio": (S,) samples, "sample_rate": Hz}}
    ROOT/templates.pkl          subject: (5023, 3) neutral face

The triangles are not part of it: a `.ply` or `.obj` with as many vertices beside it (FLAME_sample.ply) gives them.
"""

import logging
import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import Clip, Identity, InputError, Topology
from parlante.core.arrays import read_npy
from parlante.core.options import option
from parlante.core.restricted_pickle import read_pickle
from parlante.core.timing import SAMPLE_RATE
from parlante.data.contract import ClipInfo, Corpus, select, subjects_of
from parlante.data.lazy import LazyFrames
from parlante.data.meshes import find_topology, read_templates
from parlante.data.splits import vocaset_split

VERTS, INDEX, AUDIO = "data_verts.npy", "subj_seq_to_idx.pkl", "raw_audio_fixed.pkl"
PUBLISHED_FPS = 60.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class VocasetOptions:
    """What a corpus of VOCASET depends on beside its files."""

    every: int = option(2, "take every Nth of 60 frames a second (default 2: 30)", "N")
    template: Path | None = option(None, ".ply or .obj with the triangles", "MESH", kept=False)

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"--every must be 1 or more, got {self.every}")


class Vocaset(Corpus):
    """The official files as `Clip`s in metres, every second frame, with FaceFormer's splits; opens at once.

    Args:
        root: the folder.
        split: see `open_corpus`.
        every: take every so many frames; 2 gives the 30 frames a second that the published methods use.
        template: a mesh with the triangles (none: one beside the files, if there is one).

    Raises:
        InputError: a file is missing or damaged, or no such split.
    """

    dataset = "vocaset"
    unit = "m"

    def __init__(
        self, root: Path | str, split: str | None = None, *, every: int = 2, template: Path | str | None = None
    ) -> None:
        self.root: Path = Path(root)
        self.fps = PUBLISHED_FPS / every
        self.template = template
        self.problems: list[str] = []
        """What had to be left out, in words."""
        self._lock = threading.Lock()
        self.data = _read_verts(self.root / VERTS)
        """(N, V, 3), mapped."""
        clips = []
        self.frame_rows: dict[str, NDArray[np.int64]] = {}
        """key: (T,) rows of `data`."""
        for subject, sequence, numbers in self._sequences():
            key = f"{subject}_{sequence}"
            numbers = numbers[::every]
            self.frame_rows[key] = numbers
            split_of = vocaset_split(subject, sequence)
            clips.append(ClipInfo(key=key, subject=subject, sentence=sequence, split=split_of, frames=len(numbers)))
        if not clips:
            why = f" ({self.problems[0]})" if self.problems else ""
            raise InputError(f"{self.root / INDEX} names no sequence that can be used{why}")
        self.subjects = subjects_of(clips)
        self.clips = select(clips, split, self.root)

    def count_frames(self) -> None:
        """Leaves out the sequences that have no sound, and names them; for that all sound is read."""
        mute = [info for info in self.clips if not self._has_audio(info)]
        if not mute:
            return
        names = ", ".join(info.key for info in mute)
        self.problems.append(f"{len(mute)} sequences have no sound in {AUDIO} and are left out: {names}")
        _log.warning("%s: %s", self.root, self.problems[-1])
        self.clips = [info for info in self.clips if info not in mute]
        if not self.clips:
            raise InputError(f"{self.root / AUDIO} has the sound of none of the sequences in {INDEX}; copy it again")

    def _has_audio(self, info: ClipInfo) -> bool:
        with self._lock:
            recordings = self._recordings
        try:
            return len(recordings[info.subject][info.sentence]["audio"]) > 0
        except (KeyError, TypeError, IndexError):
            return False

    def read(self, index: int) -> Clip:
        info = self.clips[index]
        shape = self.data.shape[1:]

        def make(chosen: NDArray[Any]) -> NDArray[Any]:
            return np.asarray(self.data[chosen[:, 0]], np.float32)

        vertices: Any = LazyFrames(self.frame_rows[info.key][:, None], shape, np.float32, make)
        audio = self._audio(info.subject, info.sentence)
        return Clip(audio, SAMPLE_RATE, vertices, self.fps, info.subject, info.key)

    def sources(self, index: int) -> list[Path]:
        """The files that clip `index` is made of."""
        return [self.root / name for name in (VERTS, INDEX, AUDIO)]

    @cached_property
    def templates(self) -> dict[str, NDArray[np.float32]]:
        """subject: (V, 3) metres. Raises InputError if they are missing or do not fit."""
        return read_templates(self.root, self.data.shape[1])

    @cached_property
    def topology(self) -> Topology:
        """FLAME's, without triangles if no mesh tells them."""
        return find_topology(self.root, self.dataset, self.data.shape[1], self.template)

    def identity(self, subject: str) -> Identity:
        """A subject at rest. Raises InputError for an unknown subject or one without template."""
        if subject not in self.templates:
            raise InputError(f"{self.root} has no template of {subject!r}; it has {', '.join(sorted(self.templates))}")
        return Identity(subject, self.topology, self.templates[subject])

    def _sequences(self) -> list[tuple[str, str, NDArray[np.int64]]]:
        """(subject, sequence, rows of `data` in the order of the frames)."""
        index = read_pickle(self.root / INDEX)
        found = []
        for subject, sequences in _pairs(index, self.root / INDEX):
            for sequence, frames in _pairs(sequences, self.root / INDEX):
                key = f"{subject}_{sequence}"
                try:
                    order = sorted((int(frame), int(row)) for frame, row in _pairs(frames, self.root / INDEX))
                    numbers = np.array([row for _, row in order], np.int64)
                except (ValueError, TypeError, OverflowError):
                    self.problems.append(f"{key}: frames that are no numbers")
                    continue
                if not len(numbers) or numbers.min() < 0 or numbers.max() >= len(self.data):
                    self.problems.append(f"{key}: rows that {VERTS} of {len(self.data)} does not have")
                    continue
                gaps = order[-1][0] - order[0][0] + 1 - len(order)
                if gaps:
                    self.problems.append(f"{key} lacks {gaps} frames; it is used as if it had none missing")
                found.append((str(subject), str(sequence), numbers))
        return found

    def _audio(self, subject: str, sequence: str) -> NDArray[np.float32]:
        with self._lock:
            recordings = self._recordings
        try:
            entry = recordings[subject][sequence]
            samples, rate = np.asarray(entry["audio"]), int(entry["sample_rate"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(f"{self.root / AUDIO} has no audio of {subject} {sequence}") from error
        if samples.ndim != 1 or not len(samples) or samples.dtype.kind not in "iuf" or not 1000 <= rate <= 400000:
            raise InputError(f"{self.root / AUDIO}: {subject} {sequence} is no mono recording")
        return resample(samples, rate)

    @cached_property
    def _recordings(self) -> Any:
        return read_pickle(self.root / AUDIO)


def _pairs(value: Any, path: Path) -> list[tuple[Any, Any]]:
    if not isinstance(value, dict):
        raise InputError(f"{path} holds {type(value).__name__}, wanted subject: {{sequence: {{frame: row}}}}")
    return list(value.items())


def _read_verts(path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise InputError(f"no such file: {path}; VOCASET has it beside {INDEX}")
    data = read_npy(path, mapped=True, wanted="the array as it was published")
    if data.ndim != 3 or data.shape[2] != 3 or not data.size:
        raise InputError(f"{path} has shape {getattr(data, 'shape', None)}, wanted (N, 5023, 3)")
    if data.dtype.kind != "f":
        raise InputError(f"{path} holds {data.dtype}, wanted floating point")
    return data


def resample(samples: NDArray[Any], rate: int) -> NDArray[np.float32]:
    """Mono samples (N,) at `rate` Hz, integers or -1..1, as a wav file of them would be read: (M,) at 16 kHz."""
    import av

    from parlante.audio.io import mono

    audio = mono(samples)
    if np.abs(audio).max(initial=0) > 4:  # 16-bit numbers kept as floating point
        audio = audio / np.float32(32768)
    if rate == SAMPLE_RATE:
        return audio
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio[None]), format="fltp", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="fltp", rate=SAMPLE_RATE)
    pieces = [out.to_ndarray()[0] for out in (*resampler.resample(frame), *resampler.resample(None))]
    return np.concatenate(pieces).astype(np.float32)
