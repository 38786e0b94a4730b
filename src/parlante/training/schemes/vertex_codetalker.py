"""CodeTalker's two trainings as published, on vertices: a codebook of motions, then speech to its codes.

Stage 1: mean absolute error and the codebook's terms, AdamW, 200 epochs. Stage 2: squared errors of the vertices and of
the codes on the true past, Adam, 100 epochs; stage 1 stays as it is.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from parlante.core import InputError
from parlante.core.ranges import Amount, Count
from parlante.models.codetalker.autoencoder import MotionAutoencoder, MotionAutoencoderConfig
from parlante.models.codetalker.model import CodeTalker
from parlante.models.registry import build
from parlante.training.engine.corpora import MESHES
from parlante.training.engine.loop import fit
from parlante.training.engine.schema import Section
from parlante.training.engine.stage import Recipe, Stage
from parlante.training.features.mesh_motion import MeshMotion
from parlante.training.schemes.vertex_space import (
    ClipSchemeConfig,
    EncodedClips,
    EpochLoopConfig,
    MeshCorpusConfig,
    VertexClips,
    VertexDataConfig,
    VertexScheme,
    VertexTraining,
    mean_of_clips,
    open_clips,
)


@dataclass(frozen=True, kw_only=True)
class AutoencoderLossConfig:
    """The `loss:` part of stage 1's recipes."""

    absolute: Amount = 1.0
    """Mean absolute error of all coordinates."""
    codebook: Amount = 1.0
    """Weight of the term that pulls the codes to the encoder."""
    commitment: Amount = 0.25
    """Weight of the term that pulls the encoder to its codes."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderLoopConfig(EpochLoopConfig):
    """The `loop:` part of stage 1's recipes."""

    epochs: Count = 200
    """Passes over the training clips."""
    weight_decay: Amount | None = 0.01
    """Of AdamW (torch's own default, which the authors' script uses); none: Adam, without."""


class AutoencoderVertexScheme(VertexScheme):
    """Stage 1; audio plays no part."""

    def encoded(self, batch: VertexClips) -> EncodedClips:
        """The motion alone."""
        lengths = None if batch.lengths.unique().numel() == 1 else batch.lengths
        weights = nn.functional.one_hot(batch.subjects, len(self.subjects)).to(batch.motion)
        nothing = batch.motion.new_zeros(len(batch.motion), 0, 0)
        return EncodedClips(batch.motion, nothing, weights, lengths, batch.neutral, batch.audio, batch.samples)

    def terms(self, clips: EncodedClips, *, train: bool) -> dict[str, Tensor]:
        """Eq. 3 of the paper, each term with its weight."""
        own, motion, lengths = self.loss, clips.motion, clips.lengths
        stride = self.network.config.stride
        if stride > 1:  # whole steps of codes
            motion = motion[:, : motion.shape[1] // stride * stride]
            lengths = None if lengths is None else lengths // stride * stride
        made, codes = self.network(motion, lengths)
        absolute = mean_of_clips((made - motion).abs(), lengths)
        terms = {"absolute": absolute, "codebook": codes.codebook, "commitment": codes.commitment}
        total = sum((getattr(own, name) * value for name, value in terms.items()), start=motion.new_zeros(()))
        return {**terms, "perplexity": codes.perplexity.to(total), "loss": total}

    def speak(self, clips: EncodedClips) -> Tensor:
        """Reconstructions (B, T, 3V): stage 1 reads no speech."""
        motion = clips.motion[:, : clips.motion.shape[1] // self.network.config.stride * self.network.config.stride]
        made: Tensor = self.network(motion)[0]
        return made

    def export(self, folder: Path, figures: dict[str, float]) -> None:
        """Write a `MotionAutoencoder`, for stage 2."""
        self.network.save(folder, basis_scale=1.0, figures=figures)


def _train_autoencoder(recipe: Recipe, run_dir: Path) -> AutoencoderVertexScheme:
    loop = recipe["loop"]
    source = open_clips(recipe["data"], loop)
    torch.manual_seed(loop.seed)
    try:
        sizes = MotionAutoencoderConfig(motion_dim=3 * source.topology.num_vertices, **recipe["model"])
        model = MotionAutoencoder(sizes)
    except (TypeError, ValueError) as error:
        raise InputError(f"the recipe's model cannot be used: {error}") from error
    return fit(AutoencoderVertexScheme("codetalker", model, source, loop, recipe["scheme"], recipe["loss"]), run_dir)


def autoencoder_stage() -> Stage:
    """The stage `codetalker_autoencoder_vertices`."""
    return Stage(
        name="codetalker_autoencoder_vertices",
        about="CodeTalker (CVPR 2023), stage 1, on the vertices of a corpus's own mesh, as published.",
        sections={
            "data": Section(MeshCorpusConfig),
            "model": Section(MotionAutoencoderConfig, without=("motion_dim",)),
            "scheme": Section(ClipSchemeConfig),
            "loss": Section(AutoencoderLossConfig),
            "loop": Section(AutoencoderLoopConfig),
        },
        train=_train_autoencoder,
        corpora=MESHES.otherwise("for SynthTalk there is recipes/codetalker/autoencoder.yaml"),
    )


@dataclass(frozen=True, kw_only=True)
class CodeTalkerVertexDataConfig(VertexDataConfig):
    """The `data:` part of stage 2's recipes."""

    autoencoder: str
    """Folder that stage 1 exported."""


@dataclass(frozen=True, kw_only=True)
class CodeTalkerLossConfig:
    """The `loss:` part of stage 2's recipes."""

    motion: Amount = 1.0
    """Mean squared error of all coordinates of the decoded motion."""
    codes: Amount = 1.0
    """Mean squared distance from the codes of the true motion."""


class CodeTalkerVertexScheme(VertexScheme):
    """Stage 2."""

    def terms(self, clips: EncodedClips, *, train: bool) -> dict[str, Tensor]:
        """Eq. 7 of the paper."""
        style = self.family.style_embedding(clips.style)
        taught = self.family.teach(clips.features, clips.motion, style, clips.lengths, reference=True)
        motion = clips.motion[:, : taught.motion.shape[1]]
        moved = mean_of_clips((taught.motion - motion).square(), clips.lengths)
        coded = mean_of_clips((taught.latent - taught.target).square(), clips.lengths)
        return {"motion": moved, "codes": coded, "loss": self.loss.motion * moved + self.loss.codes * coded}


class CodeTalkerTraining(VertexTraining):
    """Stage 2 around a trained stage 1."""

    def build(self, found: dict[str, Any], recipe: Recipe, source: MeshMotion) -> nn.Module:
        """Raises InputError where stage 1 is of another mesh."""
        folder = recipe["data"].autoencoder
        first = MotionAutoencoder.from_pretrained(folder)
        if first.config.motion_dim != found["motion_dim"]:
            raise InputError(
                f"{folder} codes {first.config.motion_dim} coordinates, this corpus has {found['motion_dim']}; train "
                "recipes/codetalker/*_stage1.yaml on it first"
            )
        model = build(self.family, found | {"autoencoder": asdict(first.config)} | recipe["model"])
        assert isinstance(model, CodeTalker)
        model.autoencoder.load_state_dict(first.state_dict())
        return model


def stage() -> Stage:
    """The stage `codetalker_vertices`."""
    return CodeTalkerTraining(
        "codetalker",
        CodeTalkerVertexScheme,
        "CodeTalker (CVPR 2023), stage 2, on the vertices of a corpus's own mesh, as published.",
        data=CodeTalkerVertexDataConfig,
        own=ClipSchemeConfig,
        loss=CodeTalkerLossConfig,
        without=("autoencoder",),
    ).stage()
