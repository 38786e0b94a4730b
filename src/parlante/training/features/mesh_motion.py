"""Motion of a mesh of its own: clips of any corpus as coordinates of a basis that is fitted to it.

`VOCASET`, `BIWI`, own recordings: whatever `open_corpus` opens. What is trained becomes a checkpoint folder like those
of `parlante convert`: the family, the basis, the faces of the training speakers, the speech encoder.
"""

import logging
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.audio.rates import RateRule
from parlante.core import Identity, InputError, Topology
from parlante.data.open import open_corpus
from parlante.data.subject_lists import with_subjects
from parlante.models.mesh_network import MeshNetwork, MeshNetworkConfig
from parlante.models.motion_basis import MotionBasis
from parlante.models.templates import Templates
from parlante.training.features.cache import StoredClip, file_digest
from parlante.training.features.motion_data import MotionDataConfig, TrainedMotion
from parlante.training.features.speech_features import (
    EncodeAudio,
    network_digest,
    network_encoding,
    phonetic_digest,
    phonetic_encoding,
    speech_network,
)

FITTED = 400
"""Frames that the basis is fitted to, spread evenly over the training clips."""
LIPS = ("lips", "lve_facediffuser", "lip_talkingstyle", "lve")
"""Vertex lists that stand for the lips, the first that a topology has."""
JUDGED = 500
"""The lips' loss looks at so many of them."""
LIP_WEIGHT = 12.0
"""How many times the lips' squared error counts in the basis."""

log = logging.getLogger("parlante.training")


class MeshMotion:
    """The training and validation clips of a corpus. Raises InputError where none of them can be learnt."""

    def __init__(self, config: MotionDataConfig) -> None:
        if config.rows < 1:
            raise InputError(f"data.rows must be at least 1, got {config.rows}")
        self._config, self.network = config, config.encoder
        self.corpus = with_subjects(open_corpus(config.corpus), config)
        self.fps, self.unit, self.topology = float(self.corpus.fps), self.corpus.unit, self.corpus.topology
        self.neutrals: dict[str, NDArray[np.float32]] = {}
        self.clips = self._usable()
        self.digest = self._digest()
        every = _lips(self.topology)
        self.lip_vertices = every[:: max(1, -(-len(every) // JUDGED))]

    def _usable(self) -> list[StoredClip]:
        missing = set()
        clips = []
        for number, info in enumerate(self.corpus.clips):
            if info.split not in ("train", "val") or info.subject in missing:
                continue
            try:
                self.identity(info.subject)
            except InputError as error:
                missing.add(info.subject)
                log.warning("clips of %s are left out: %s", info.subject, error)
                continue
            clips.append(StoredClip.of(info, number))
        if not any(clip.split == "train" for clip in clips):
            raise InputError(
                f"{self._config.corpus} has no training clips of subjects with a face at rest; see parlante check"
            )
        return clips

    def identity(self, subject: str) -> Identity:
        """A subject at rest. Raises InputError where the corpus has no template of it."""
        found = self.corpus.identity(subject)
        self.neutrals.setdefault(subject, np.asarray(found.neutral, np.float32))
        return found

    def _digest(self) -> bytes:
        """Changes with the corpus, the basis and the encoder."""
        config = self._config
        own = f"{self.corpus.fingerprint()} {config.rows}".encode()
        basis = file_digest(Path(config.basis)) if config.basis else b""
        if config.finetune:
            return own + basis + b"audio"
        return own + basis + (network_digest(config.encoder) if config.encoder else phonetic_digest(""))

    def offsets(self, clip: StoredClip, frames: Any = slice(None)) -> NDArray[np.float32]:
        """(n, V, 3) displacements of chosen frames, in the corpus's unit."""
        moved = np.asarray(self.corpus[clip.number].vertices[frames], np.float32)
        return moved - self.neutrals[clip.subject]

    def audio(self, clip: StoredClip) -> NDArray[np.float32]:
        """(N,) at 16 kHz."""
        return np.asarray(self.corpus[clip.number].audio, np.float32)

    def basis(self, folder: Path) -> MotionBasis:
        """The recipe's, or the one in `folder`, which is fitted if there is none."""
        if self._config.basis:
            return MotionBasis.load(self._config.basis)
        path = folder / "basis.npz"
        if not path.is_file():
            self._fit(self._config.rows).save(path)
        return MotionBasis.load(path)

    def _fit(self, size: int) -> MotionBasis:
        """A basis of at most `size` rows."""
        clips = [clip for clip in self.clips if clip.split == "train"]
        every = max(1, -(-sum(clip.frames for clip in clips) // FITTED))
        motions = [self.offsets(clip, slice(place % every, None, every)) for place, clip in enumerate(clips)]
        if not any(np.ptp(moved, 0).any() for moved in motions):
            raise InputError("the faces of the training clips do not move; see parlante check")
        weight = np.ones(self.topology.num_vertices)
        weight[_lips(self.topology)] = LIP_WEIGHT
        return MotionBasis.fit(motions, size, weight=weight, topology=self.topology.name, fewer=True)

    def read(self, clip: StoredClip, basis: MotionBasis) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Coordinates (T, R) and audio (N,)."""
        return basis.encode(self.offsets(clip)), self.audio(clip)

    def encoding(self) -> EncodeAudio:
        """The recipe's network, or the shipped phonetic encoder."""
        return network_encoding(self.network, self.fps) if self.network else phonetic_encoding("", self.fps)

    def shown(self, clip: StoredClip) -> tuple[Identity, NDArray[np.float32]]:
        """Who speaks in a clip, and the audio."""
        return self.identity(clip.subject), self.audio(clip)

    def export(self, trained: TrainedMotion, folder: Path) -> None:
        """Write a `MeshNetwork`, with the network that encoded the audio."""
        network = trained.speech
        if network is None and self.network:
            network = speech_network(self.network, self.fps)
        offsets = list(trained.frame_offsets)
        phonetic = {"encoder": "phonetic", "fps": self.fps, "steps_per_frame": 1, "frame_offsets": offsets}
        save_mesh_network(
            folder,
            self,
            trained.family,
            trained.network,
            trained.subjects,
            speech=network or phonetic,
            voice=(network or phonetic) if trained.voice_encoder else None,
            basis=trained.basis,
        )

    def faces(self, subjects: Collection[str]) -> dict[str, NDArray[np.float32]]:
        """Faces at rest of the training subjects, then of the corpus's others, as far as it has them: test speakers are
        animated too."""
        return {name: self.neutrals[name] for name in subjects} | self._faces_of_others(subjects)

    def _faces_of_others(self, known: Collection[str]) -> dict[str, NDArray[np.float32]]:
        """Faces at rest of the corpus's other subjects, as far as it has them: test speakers are animated too."""
        found = {}
        for name in sorted({info.subject for info in self.corpus.clips} - set(known)):
            try:
                found[name] = np.asarray(self.corpus.identity(name).neutral, np.float32)
            except InputError as error:
                log.warning("the export lacks the face of %s: %s", name, error)
        return found


def save_mesh_network(
    folder: Path,
    source: MeshMotion,
    family: str,
    network: Any,
    subjects: tuple[str, ...],
    *,
    speech: SpeechEncoder | dict[str, Any],
    voice: SpeechEncoder | dict[str, Any] | None = None,
    basis: MotionBasis | None = None,
    rate: RateRule | None = None,
) -> None:
    """Write a trained family as a `MeshNetwork`.

    network: the family; subjects in the order of its styles; speech, voice: trained networks, or the spec of an encoder
    without weights of its own; basis: none where it moves vertices; rate: of the features after the speech network.
    """
    spec = {
        name: each.spec() if isinstance(each, SpeechEncoder) else each
        for name, each in (("speech", speech), ("emotion", voice))
    }
    mesh = source.topology
    config = MeshNetworkConfig(
        model=family,
        family=asdict(network.config),
        speech=spec["speech"] or {},
        emotion=spec["emotion"],
        fps=source.fps,
        subjects=subjects,
        topology=mesh.name,
        basis=0 if basis is None else len(basis),
        rate=None if rate is None else rate.to_dict(),
    )
    templates = Templates(source.faces(subjects), mesh.triangles, mesh.uv, mesh.uv_triangles)
    rows = None if basis is None else torch.from_numpy(basis.scale * basis.rows)
    talker = MeshNetwork(config, basis=rows, templates=templates)
    talker.family.load_state_dict(network.state_dict())
    for encoder, trained in ((talker.audio_encoder, speech), (talker.emotion_encoder, voice)):
        if isinstance(trained, SpeechEncoder):
            encoder.load_state_dict(trained.state_dict())
    talker.save(folder)


def _lips(topology: Topology) -> NDArray[np.int64]:
    name = next((name for name in LIPS if name in topology.regions), None)
    found = np.arange(topology.num_vertices) if name is None else np.unique(topology.regions[name])
    return np.asarray(found, np.int64)
