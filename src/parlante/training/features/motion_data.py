"""What the small models learn from: the `data:` part of their recipes, and what a source of motion answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.core import Identity
from parlante.core.ranges import Amount, Count, Whole
from parlante.data.subject_lists import SubjectLists
from parlante.models.motion_basis import MotionBasis
from parlante.training.features.cache import StoredClip
from parlante.training.features.speech_features import EncodeAudio


@dataclass(frozen=True, kw_only=True)
class MotionDataConfig(SubjectLists):
    """The `data:` part of a recipe."""

    corpus: str
    """Folder written by `parlante synth`, or any other corpus."""
    basis: str = ""
    """File of a motion basis; empty: the shipped one for SynthTalk, one that is fitted for other corpora."""
    rows: Count = 64
    """Rows of a basis that is fitted, at most."""
    encoder: str = ""
    """Speech encoder, frozen without `finetune`; empty: the shipped phonetic encoder. SynthTalk: folder of another one.
    Other corpora: hub name or local folder of a wav2vec 2.0, HuBERT or WavLM; `scheme.frame_offsets` then does not
    apply."""
    finetune: bool = False
    """Train the network that `encoder` names along, all but its convolutions, as published."""
    cache: str = "runs/cache"
    """Where prepared folders are kept."""
    num_augmentations: Whole = 2
    """Augmented views of the audio of every training clip (recoloured, re-recorded) beside the clean one."""
    strength: Amount = 0.7
    """Strength of the augmentation."""
    clips_per_subject: Count | None = None
    """Use only so many training clips of each subject; none uses all."""
    seed: Whole = 0
    """Seed of the augmentation."""

    def __post_init__(self) -> None:
        if self.finetune and not self.encoder:
            raise ValueError(
                "finetune trains a speech network along, and the shipped phonetic encoder is none; name one, for "
                "example --set data.encoder=facebook/wav2vec2-base-960h"
            )


@dataclass(frozen=True, kw_only=True)
class TrainedMotion:
    """A family after training, for its export."""

    family: str
    """Its name."""
    network: Any
    basis: MotionBasis
    subjects: tuple[str, ...]
    """In the order of the one-hots."""
    frame_offsets: tuple[float, ...]
    """Seconds around a frame at which features are read."""
    speech: SpeechEncoder | None = None
    """The speech network that was trained along; none: the source's encoder."""
    voice_encoder: bool = False
    """Whether the family reads the style of the voice from a second speech encoder."""


class MotionSource(Protocol):
    """A corpus as motion coordinates and audio, on the embedded head or on a mesh of its own."""

    fps: float
    unit: str
    """Of the meshes, as `data.contract.Corpus.unit`."""
    clips: list[StoredClip]
    """Those that training may read."""
    lip_vertices: NDArray[np.int64]
    """(n,) that the lips' loss looks at."""
    network: str
    """Hub name or folder of the speech network that encodes the audio; empty: a phonetic encoder."""
    digest: bytes
    """Changes with whatever the motion and the features depend on."""

    def basis(self, folder: Path) -> MotionBasis:
        """The motion basis; one that is fitted is kept in the cache folder."""
        ...

    def read(self, clip: StoredClip, basis: MotionBasis) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Coordinates (T, R) and audio (N,) at 16 kHz."""
        ...

    def encoding(self) -> EncodeAudio:
        """Audio to features, as the exported talker does it."""
        ...

    def shown(self, clip: StoredClip) -> tuple[Identity, NDArray[np.float32]]:
        """Who speaks in a clip, and the audio (N,) at 16 kHz."""
        ...

    def export(self, trained: TrainedMotion, folder: Path) -> None:
        """Write a checkpoint folder of a talker."""
        ...
