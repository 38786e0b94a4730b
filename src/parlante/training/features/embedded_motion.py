"""Motion of the embedded head: clips with blendshape weights, in the shipped motion basis.

Blinks and glances are left out, which no speech foretells.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.core import Identity, InputError
from parlante.core.timing import FPS
from parlante.data.open import open_with_weights
from parlante.data.subject_lists import with_subjects
from parlante.models.head_network import HeadNetwork, TalkerMetadata
from parlante.models.motion_basis import ASSET as BASIS_FILE
from parlante.models.motion_basis import MotionBasis
from parlante.training.features.cache import StoredClip, file_digest
from parlante.training.features.motion_data import MotionDataConfig, TrainedMotion
from parlante.training.features.speech_curves import spoken
from parlante.training.features.speech_features import EncodeAudio, phonetic_digest, phonetic_encoding


class EmbeddedMotion:
    """A corpus written by `parlante synth`. Raises InputError where an ingredient is missing."""

    def __init__(self, config: MotionDataConfig) -> None:
        from parlante.head import load_head

        if config.finetune:
            raise InputError(
                f"{config.corpus} is SynthTalk, which the phonetic encoder reads; data.finetune is for the meshes of "
                "other corpora"
            )
        self.fps, self.unit, self.network = float(FPS), "m", ""
        self._file, self._encoder = Path(config.basis or BASIS_FILE), config.encoder
        self._corpus, self._head = with_subjects(open_with_weights(config.corpus), config), load_head()
        corpus = bytes.fromhex(self._corpus.fingerprint())
        self.digest = corpus + file_digest(self._file) + phonetic_digest(config.encoder)
        self.clips = [StoredClip.of(info, number) for number, info in enumerate(self._corpus.clips)]
        self.lip_vertices = np.asarray(self._head.topology.regions["lips"], np.int64)
        self._shapes: dict[str, NDArray[np.float32]] = {}

    def basis(self, folder: Path) -> MotionBasis:
        """The shipped one, or the recipe's."""
        return MotionBasis.load(self._file)

    def read(self, clip: StoredClip, basis: MotionBasis) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Coordinates (T, R) and audio (N,)."""
        found = self._corpus[clip.number]
        if found.face not in self._shapes:
            self._shapes[found.face] = basis.shapes(self._head.shapes(found.face))
        return spoken(found.known_weights()) @ self._shapes[found.face], found.audio

    def encoding(self) -> EncodeAudio:
        """The shipped phonetic encoder, or the recipe's."""
        return phonetic_encoding(self._encoder, self.fps)

    def shown(self, clip: StoredClip) -> tuple[Identity, NDArray[np.float32]]:
        """Who speaks in a clip, and the audio."""
        found = self._corpus[clip.number]
        return self._head.identity(found.face), found.audio

    def export(self, trained: TrainedMotion, folder: Path) -> None:
        """Write a `HeadNetwork`."""
        metadata = TalkerMetadata(
            frame_offsets=trained.frame_offsets,
            subjects=trained.subjects,
            fps=self.fps,
            basis_scale=trained.basis.scale,
            topology=trained.basis.topology,
        )
        HeadNetwork(trained.family, trained.network, metadata).save(folder)
