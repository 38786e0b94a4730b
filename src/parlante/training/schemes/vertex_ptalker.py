"""PTalker's training as published: vertices, two speech networks, and all terms of `ptalker.objective`.

The authors' code always trains on the true past (its schedule of autoregression is never taken), with batches of one.
"""

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from parlante.core import InputError
from parlante.models.ptalker.model import PTalker
from parlante.models.ptalker.objective import TermWeights, objective
from parlante.training.engine.stage import Recipe, Stage
from parlante.training.features.mesh_motion import MeshMotion
from parlante.training.schemes.vertex_space import (
    EncodedClips,
    VertexDataConfig,
    VertexScheme,
    VertexSchemeConfig,
    VertexTraining,
    mouth_vertices,
)


@dataclass(frozen=True, kw_only=True)
class PTalkerDataConfig(VertexDataConfig):
    """The `data:` part of PTalker's recipes."""

    voice_encoder: str
    """Second speech network, of the voice's style, as `encoder`. The authors' is a wav2vec 2.0 of emotional speech."""


@dataclass(frozen=True, kw_only=True)
class PTalkerSchemeConfig(VertexSchemeConfig):
    """The `scheme:` part of PTalker's recipes."""

    shuffle: bool = False
    """Another order of the clips in each epoch."""
    train_on: Literal["predicted", "true_frames"] = "true_frames"
    """The past that a frame is predicted from in training: true_frames (teacher forcing), or predicted."""
    spatial_graph: bool = False
    """Let each vertex look at its neighbours on the mesh before motion is embedded: the paper's graph encoder. Its
    wiring is ours, not published; so is that of the paper's temporal alignment, `model.temporal_window`."""


@dataclass(frozen=True, kw_only=True)
class PTalkerLossConfig(TermWeights):
    """The `loss:` part of PTalker's recipes: weights of the terms; 0 takes a term out of the sum."""

    mouth_list: str = ""
    """Vertex list of the mouth, by the name that the corpus has for it; empty: the first that it has of lips,
    lip_talkingstyle, lve."""
    reference: bool = False
    """As the authors' code, mistakes included: the mouth's list of vertices counts coordinates, and the contrastive
    term looks at the first frames only."""

    def weights(self) -> TermWeights:
        """The weights alone."""
        return TermWeights(**{each.name: getattr(self, each.name) for each in fields(TermWeights)})


class PTalkerVertexScheme(VertexScheme):
    """All terms by name."""

    voice_encoder = True

    @classmethod
    def check(cls, source: MeshMotion, loss: PTalkerLossConfig) -> None:
        """Raises InputError where the corpus has no list of the mouth."""
        if loss.mouth:
            mouth_vertices(source, loss.mouth_list)

    def terms(self, clips: EncodedClips, *, train: bool) -> dict[str, Tensor]:
        """See `ptalker.objective`."""
        voice = self.network.voice
        samples = clips.samples.tolist()
        emotion = voice(clips.audio, lengths=samples).float()
        made = objective(
            self.family,
            clips.features,
            clips.motion,
            clips.style,
            emotion,
            lengths=clips.lengths,
            emotion_lengths=clips.samples.new_tensor([voice.steps(n) for n in samples]),
            mouth=self.mouth_numbers().to(clips.motion.device) if self.loss.mouth else None,
            term_weights=self.loss.weights(),
            free_running=(self.own.train_on if train else self.own.validate_on) == "predicted",
            reference=self.loss.reference,
            only_weighted=True,
        )
        return made.terms | {"loss": made.total}

    def speak(self, clips: EncodedClips) -> Tensor:
        """Displacements (B, T, 3V) from speech alone, in the identity's style and that of the voice."""
        emotion = self.network.voice(clips.audio, lengths=clips.samples.tolist()).float()
        embedding = self.family.style_embedding(clips.style, emotion=emotion)
        made: Tensor = self.family.generate(clips.features, embedding)
        return made


class PTalkerTraining(VertexTraining):
    """With the edges of the corpus's mesh, where the recipe wants the spatial graph."""

    def build(self, found: dict[str, Any], recipe: Recipe, source: MeshMotion) -> nn.Module:
        """Raises InputError where the corpus knows no triangles."""
        if not recipe["scheme"].spatial_graph:
            return super().build(found, recipe, source)
        edges = torch.from_numpy(mesh_edges(source))
        model = super().build(found | {"spatial_edges": len(edges)}, recipe, source)
        assert isinstance(model, PTalker)
        model.connect(edges)
        return model


def mesh_edges(source: MeshMotion) -> NDArray[np.int64]:
    """(E, 2) pairs of vertices of the corpus's mesh that share an edge, in both directions. Raises InputError."""
    triangles = source.topology.triangles
    if not len(triangles):
        raise InputError(
            f"{source.corpus.root} knows no triangles, so scheme.spatial_graph has no edges; prepare it with "
            "--template FACE.ply"
        )
    pairs = np.concatenate([triangles[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))]).astype(np.int64)
    return np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0)


def stage() -> Stage:
    """The stage `ptalker_vertices`."""
    return PTalkerTraining(
        "ptalker",
        PTalkerVertexScheme,
        "PTalker (ACM MM 2025) on the vertices of a corpus's own mesh, as published.",
        data=PTalkerDataConfig,
        own=PTalkerSchemeConfig,
        loss=PTalkerLossConfig,
        without=("spatial_edges",),
    ).stage()
