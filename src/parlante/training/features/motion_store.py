"""Preparation for the small models: every clip of a corpus as motion coordinates and speech features.

Audio is encoded by a frozen encoder, once as it is and in several augmented views; the features are kept at twice the
frame rate, locked to the frames, so that any stretch of clips reads its frame offsets by index. Where a speech network
is trained along (`finetune`), the same views are kept as audio.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from parlante.core.arrays import read_npy
from parlante.core.timing import SAMPLE_RATE
from parlante.data.open import open_corpus
from parlante.models.motion_basis import MotionBasis
from parlante.training.engine.scheme import validation_clips
from parlante.training.features.cache import StoredClip, fingerprint_of, made_once, read_index, write_index
from parlante.training.features.embedded_motion import EmbeddedMotion
from parlante.training.features.mesh_motion import MeshMotion
from parlante.training.features.motion_data import MotionDataConfig, MotionSource
from parlante.training.features.speech_features import GRID, EncodeAudio

APART = ("corpus", "basis", "encoder", "finetune", "cache", "rows", "autoencoder")
"""Settings that the source's digest stands for, or that make no difference."""


@dataclass(frozen=True, eq=False)
class MotionStore:
    """What `prepare` made, memory-mapped."""

    config: MotionDataConfig
    source: MotionSource
    basis: MotionBasis
    motion: NDArray[np.float32]
    """(N, R) coordinates of all frames of all clips."""
    features: NDArray[np.float16]
    """(views, GRID N, F); view 0 is the clean audio, the others exist for training clips only. Empty beside `audio`."""
    clips: list[StoredClip]
    audio: NDArray[np.float32] | None = None
    """(M,) all views at 16 kHz, for a speech network that is trained along."""

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.source.fps

    def lips(self) -> NDArray[np.float32]:
        """(R, 3 n): coordinates -> offsets of the lips in thousandths of the unit, flattened."""
        return self.basis.part(self.source.lip_vertices)

    def subjects(self) -> tuple[str, ...]:
        """Those with training clips, sorted: the order of the one-hots."""
        return tuple(sorted({clip.subject for clip in self.clips if clip.split == "train"}))

    def features_at(
        self, frames: NDArray[np.integer], views: NDArray[np.integer], frame_offsets: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """(..., T, F * offsets) features at frames (..., T) of views (..., T); offsets count in 1 / (GRID fps) seconds.

        Neighbours are those within `frames`, so clips laid end to end are read as one recording would be.
        """
        length = frames.shape[-1]
        place = (np.arange(length)[:, None] * GRID + np.asarray(frame_offsets)).clip(0, length * GRID - 1)
        frame, half = place // GRID, place % GRID  # (T, offsets)
        rows = frames[..., frame] * GRID + half
        values = self.features[views[..., frame], rows]
        return values.reshape(*values.shape[:-2], -1).astype(np.float32)

    def audio_at(self, frames: NDArray[np.integer], view: int) -> NDArray[np.float32]:
        """(n,) the audio of consecutive frames (T,) of one clip."""
        assert self.audio is not None
        clip = next(c for c in self.clips if c.start <= frames[0] < c.start + c.frames)
        start, size = clip.audio[view]
        per_frame = size / clip.frames
        count = round(len(frames) * per_frame)
        first = start + min(round((frames[0] - clip.start) * per_frame), size - count)
        return np.array(self.audio[first : first + count])


def prepare(config: MotionDataConfig, *, validated: bool = False) -> MotionStore:
    """Open the cache folder that fits `config`, or make it.

    validated: whether the corpus must have validation clips. Raises InputError if an ingredient is missing.
    """
    source: MotionSource = (EmbeddedMotion if open_corpus(config.corpus).has_weights else MeshMotion)(config)
    if validated:
        validation_clips(source.clips)
    settings = {name: value for name, value in asdict(config).items() if name not in APART}
    name = f"motion-{fingerprint_of(source.digest, settings)}"
    folder = made_once(config.cache, name, lambda partial: _make(config, source, partial))
    features = np.zeros((1, 0, 0), np.float16)
    if not config.finetune:
        features = read_npy(folder / "features.npy", mapped=True)
    return MotionStore(
        config=config,
        source=source,
        basis=source.basis(folder),
        motion=read_npy(folder / "motion.npy"),
        features=features,
        clips=read_index(folder)[0],
        audio=np.memmap(folder / "audio.f32", np.float32, "r") if config.finetune else None,
    )


def _make(config: MotionDataConfig, source: MotionSource, folder: Path) -> None:
    from parlante.audio.augment import augmented_views

    basis = source.basis(folder)
    clips = _chosen(source.clips, config.clips_per_subject)
    total = sum(clip.frames for clip in clips)
    motion = np.zeros((total, len(basis)), np.float32)
    views = config.num_augmentations + 1
    writer = _audio(folder) if config.finetune else _features(folder, source.encoding(), views, total)
    written = []
    with writer as write:
        for clip in tqdm(clips, desc="encoding audio", disable=None):
            motion[clip.span], audio = source.read(clip, basis)
            if config.finetune:  # as long as the motion, so that stretches of both are cut alike
                size = round(clip.frames * SAMPLE_RATE / source.fps)
                audio = np.pad(audio[:size], (0, max(0, size - len(audio))))
            count = config.num_augmentations if clip.split == "train" else 0
            for view, (seen, speed) in enumerate(
                augmented_views(audio, count, seed=config.seed, number=clip.number, strength=config.strength)
            ):
                clip = write(clip, view, seen, speed)
            written.append(clip)
    np.save(folder / "motion.npy", motion, allow_pickle=False)
    write_index(folder, written)


def _chosen(clips: list[StoredClip], most: int | None) -> list[StoredClip]:
    """Clips laid end to end, at most so many training clips of each subject."""
    used: dict[str, int] = {}
    chosen, start = [], 0
    for clip in clips:
        if clip.split == "train":
            used[clip.subject] = used.get(clip.subject, 0) + 1
            if most is not None and used[clip.subject] > most:
                continue
        chosen.append(replace(clip, start=start))
        start += clip.frames
    return chosen


Write = Callable[[StoredClip, int, NDArray[np.float32], float], StoredClip]
"""Keeps an augmented view of a clip: number of the view, audio, speed; gives the clip with what is known of it now."""


@contextmanager
def _features(folder: Path, encode: EncodeAudio, views: int, frames: int) -> Iterator[Write]:
    shape = (views, GRID * frames, encode(np.zeros(16000, np.float32), 1, 1.0).shape[1])
    features = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float16, shape)

    def write(clip: StoredClip, view: int, audio: NDArray[np.float32], speed: float) -> StoredClip:
        rows = slice(GRID * clip.start, GRID * (clip.start + clip.frames))
        features[view, rows] = encode(audio, clip.frames, speed).half().numpy()
        return clip

    yield write
    features.flush()


@contextmanager
def _audio(folder: Path) -> Iterator[Write]:
    with (folder / "audio.f32").open("wb") as file:

        def write(clip: StoredClip, view: int, audio: NDArray[np.float32], speed: float) -> StoredClip:
            place = (file.tell() // 4, len(audio))
            file.write(audio.astype(np.float32).tobytes())
            return replace(clip, audio=(*clip.audio, place))

        yield write
