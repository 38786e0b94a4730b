"""FaceDiffuser's training as published: the clean sequence of vertices, estimated from a noised one at a random step.

Huber loss (delta 1) on absolute positions; batches of one; the speech changes its rate after the network, of which the
convolutions, the projection and the first two layers stay. The authors' script trains 51 epochs (0 to 50) by default
and tests the last weights.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import huber_loss

from parlante.core.ranges import Amount, Whole
from parlante.training.engine.stage import Stage
from parlante.training.schemes.vertex_space import (
    ClipSchemeConfig,
    EncodedClips,
    VertexDataConfig,
    VertexScheme,
    VertexTraining,
    mean_of_clips,
)


@dataclass(frozen=True, kw_only=True)
class FaceDiffuserDataConfig(VertexDataConfig):
    """The `data:` part of FaceDiffuser's recipes."""

    frozen_layers: Whole = 2
    """Keep the projection and so many of the first transformer layers of the speech network as they are, too."""


@dataclass(frozen=True, kw_only=True)
class DiffusionLossConfig:
    """The `loss:` part of FaceDiffuser's recipes."""

    huber: Amount = 1.0
    """Huber loss (delta 1) of the estimated clean sequence."""


class FaceDiffuserVertexScheme(VertexScheme):
    """Steps and noise come from torch's generator, which the loop seeds by the step."""

    rate_after_encoder: ClassVar[bool] = True

    def terms(self, clips: EncodedClips, *, train: bool) -> dict[str, Tensor]:
        """The published loss."""
        style = self.family.style_embedding(clips.style)
        made = self.family(clips.features, clips.motion, style, template=clips.neutral)
        errors = huber_loss(made, clips.motion, reduction="none")
        huber = mean_of_clips(errors, clips.lengths)
        return {"huber": huber, "loss": self.loss.huber * huber}


def stage() -> Stage:
    """The stage `facediffuser_vertices`."""
    return VertexTraining(
        "facediffuser",
        FaceDiffuserVertexScheme,
        "FaceDiffuser (MIG 2023) on the vertices of a corpus's own mesh, as published.",
        data=FaceDiffuserDataConfig,
        own=ClipSchemeConfig,
        loss=DiffusionLossConfig,
    ).stage()
