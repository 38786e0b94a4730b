"""FaceDiffuser's own training on motion coordinates: a noised stretch is estimated clean, at one random step each.

The published loss is the Huber loss (delta 1) of the estimate. It stays, in units of the motion's variance, beside the
terms that all small models share: relative squared errors of position, lips and their frame-to-frame differences.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn.functional import huber_loss

from parlante.core.ranges import Amount
from parlante.models.components.padding import real_frames
from parlante.models.facediffuser.model import FaceDiffuser
from parlante.models.registry import FamilySpec
from parlante.training.engine.schema import Section
from parlante.training.engine.stage import Stage
from parlante.training.schemes.autoregressive import motion_stage
from parlante.training.schemes.joint_speech import JointSpeechModel
from parlante.training.schemes.motion_scheme import MotionScheme, Stretches


@dataclass(frozen=True, kw_only=True)
class DiffusionTermConfig:
    """The `loss:` part of a recipe: FaceDiffuser's own term, beside those of `scheme`."""

    huber: Amount = 1.0
    """Weight of the Huber loss (delta 1) over the motion's variance; 0: not computed."""


class FaceDiffuserScheme(MotionScheme):
    """The data, validation and judgement of the other families; a noised stretch takes the place of the past."""

    network: FaceDiffuser | JointSpeechModel

    def __init__(self, *given: Any, loss: DiffusionTermConfig | None = None, **named: Any) -> None:
        super().__init__(*given, **named)
        self.loss = loss or DiffusionTermConfig()

    def losses(self, batch: Stretches) -> dict[str, Tensor]:
        """All terms by name; steps and noise come from torch's generator, which the loop seeds by the step."""
        batch = self.encoded(batch)
        made = self.family(
            batch.features, batch.motion, self.codes(batch.subjects, batch.features), lengths=batch.lengths
        )
        values = self.judge(made, batch.motion, batch.lengths)
        if not self.loss.huber:
            return values
        if batch.lengths is None:
            huber = huber_loss(made, batch.motion) / self.scale[0]
        else:
            kept = real_frames(made.shape[1], batch.lengths)
            huber = huber_loss(made[kept], batch.motion[kept]) / self.scale[0]
        return values | {"huber": huber, "loss": values["loss"] + self.loss.huber * huber}


def stage(spec: FamilySpec) -> Stage:
    """FaceDiffuser's stage."""
    return motion_stage(spec, FaceDiffuserScheme, Section(DiffusionTermConfig))
