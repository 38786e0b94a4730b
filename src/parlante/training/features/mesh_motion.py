"""The small talkers on meshes of their own: clips of any corpus as coordinates of a basis that is fitted to it.

`VOCASET`, `BIWI`, own recordings: whatever `open_corpus` opens. What is trained becomes a checkpoint folder like those
of `parlante convert`: the family, the basis, the faces of the training speakers, who hears.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.core import Identity, InputError, Topology
from parlante.data.open import open_corpus
from parlante.models.motion_basis import MotionBasis

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

    def __init__(self, corpus: Path | str) -> None:
        self.corpus = open_corpus(corpus)
        self.fps = float(self.corpus.fps)
        self.topology: Topology = self.corpus.topology
        self.neutrals: dict[str, NDArray[np.float32]] = {}
        missing = set()
        self.rows: list[dict[str, Any]] = []
        for number, info in enumerate(self.corpus.clips):
            if info.split not in ("train", "val") or info.subject in missing:
                continue
            try:
                self.identity(info.subject)
            except InputError as error:
                missing.add(info.subject)
                log.warning("clips of %s are left out: %s", info.subject, error)
                continue
            known = {"key": info.key, "subject": info.subject, "split": info.split, "frames": info.frames}
            self.rows.append({**known, "number": number})
        if not any(row["split"] == "train" for row in self.rows):
            raise InputError(f"{corpus} has no training clips of subjects with a face at rest; see parlante check")

    def identity(self, subject: str) -> Identity:
        """A subject at rest. Raises InputError where the corpus has no template of it."""
        found = self.corpus.identity(subject)
        self.neutrals.setdefault(subject, np.asarray(found.neutral, np.float32))
        return found

    def offsets(self, row: Mapping[str, Any], frames: Any = slice(None)) -> NDArray[np.float32]:
        """(n, V, 3) displacements of chosen frames, in the corpus's unit."""
        moved = np.asarray(self.corpus[row["number"]].vertices[frames], np.float32)
        return moved - self.neutrals[row["subject"]]

    def audio(self, row: Mapping[str, Any]) -> NDArray[np.float32]:
        """(N,) at 16 kHz."""
        return np.asarray(self.corpus[row["number"]].audio, np.float32)

    def fit(self, size: int) -> MotionBasis:
        """A basis of at most `size` rows."""
        clips = [row for row in self.rows if row["split"] == "train"]
        every = max(1, -(-sum(row["frames"] for row in clips) // FITTED))
        motions = [self.offsets(row, slice(place % every, None, every)) for place, row in enumerate(clips)]
        if not any(np.ptp(moved, 0).any() for moved in motions):
            raise InputError("the faces of the training clips do not move; see parlante check")
        weight = np.ones(self.topology.num_vertices)
        weight[_lips(self.topology)] = LIP_WEIGHT
        return MotionBasis.fit(motions, size, weight=weight, topology=self.topology.name, fewer=True)

    def lips(self) -> NDArray[np.int64]:
        """(n,) vertices that the lips' loss looks at; of all, where the topology has no list of lips."""
        every = _lips(self.topology)
        return every[:: max(1, -(-len(every) // JUDGED))]


def _lips(topology: Topology) -> NDArray[np.int64]:
    name = next((name for name in LIPS if name in topology.regions), None)
    found = np.arange(topology.num_vertices) if name is None else np.unique(topology.regions[name])
    return np.asarray(found, np.int64)


def export(
    family: str, network: nn.Module, corpus: Path | str, basis: MotionBasis, taps: tuple[float, ...],
    subjects: tuple[str, ...], folder: Path, hearing: SpeechEncoder | None = None, *, voice_encoder: bool = False,
) -> Path:  # fmt: skip
    """Write what was trained as a checkpoint folder of a `MeshNetwork`.

    taps: seconds beside a frame at which the shipped phonetic encoder hears; `hearing`: the network that hears instead.
    voice_encoder: whether the family reads the style of the voice from a second encoder, here of the same kind.
    """
    from parlante.models.mesh_network import MeshNetwork, MeshNetworkConfig
    from parlante.models.templates import Templates

    motion = MeshMotion(corpus)
    mesh = motion.topology
    speech: dict[str, Any] = {
        "encoder": "phonetic",
        "fps": motion.fps,
        "steps_per_frame": 1,
        "frame_offsets": list(taps),
    }
    if hearing is not None:
        speech = hearing.spec()
    sizes: Any = network.config
    config = MeshNetworkConfig(
        model=family,
        family=asdict(sizes),
        speech=speech,
        emotion=speech if voice_encoder else None,
        fps=motion.fps,
        subjects=subjects,
        topology=mesh.name,
        basis=len(basis),
    )
    faces = {name: motion.neutrals[name] for name in subjects}
    templates = Templates(faces, mesh.triangles, mesh.uv, mesh.uv_triangles)
    talker = MeshNetwork(config, basis=torch.from_numpy(basis.scale * basis.rows), templates=templates)
    talker.family.load_state_dict(network.state_dict())
    for encoder in (talker.audio_encoder, talker.emotion_encoder):
        if hearing is not None and encoder is not None:
            encoder.load_state_dict(hearing.state_dict())
    return talker.save(folder)
