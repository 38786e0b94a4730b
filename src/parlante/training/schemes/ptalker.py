"""PTalker's own training on motion coordinates: style of voice and motion, and the terms that keep them apart.

The errors of position, lips and velocity are those of the other small models; the disentangling terms are PTalker's,
each a switch of the recipe's `loss`. Ours is that the styles of the voice and of the motion are each withheld half of
the time, so that a face can be driven by the identity's style alone, and a stranger's motion can stand in for it.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from parlante.models.ptalker.model import PTalker
from parlante.models.ptalker.objective import CONSTRAINTS, TermWeights, objective
from parlante.models.registry import FamilySpec
from parlante.training.engine.schema import Section
from parlante.training.engine.stage import Stage
from parlante.training.schemes.autoregressive import motion_stage
from parlante.training.schemes.joint_speech import JointSpeechModel
from parlante.training.schemes.motion_scheme import MotionScheme, Stretches

WITHHELD = 0.5
ERRORS = ("reconstruction", "mouth", "velocity")
"""Terms that the scheme's own errors stand for."""


class PTalkerScheme(MotionScheme):
    """The scheme of the other families around `ptalker.objective`."""

    voice_encoder = True
    network: PTalker | JointSpeechModel

    def __init__(self, *given: Any, loss: Mapping[str, float] | None = None, **named: Any) -> None:
        """loss: weights of the terms that a recipe gives, all but `ERRORS`."""
        super().__init__(*given, **named)
        self.terms = TermWeights(**dict.fromkeys(ERRORS, 0.0), **(loss or {}))

    def codes(self, subjects: Tensor, features: Tensor) -> Tensor:
        """(B, D): start token, identity and the style of the voice."""
        one_hot = nn.functional.one_hot(subjects, len(self.names)).to(features)
        return self.family.style_embedding(one_hot, emotion=features)

    def losses(self, batch: Stretches) -> dict[str, Tensor]:
        """All terms by name."""
        batch = self.encoded(batch)
        one_hot = nn.functional.one_hot(batch.subjects, len(self.names)).to(batch.features)
        steps = None if batch.lengths is None else batch.lengths * self.family.config.steps_per_frame
        made = objective(
            self.family,
            batch.features,
            batch.motion,
            one_hot,
            batch.features,
            lengths=batch.lengths,
            emotion_lengths=steps,
            term_weights=self.terms,
            style_dropout=WITHHELD,
            sampling=self.share(),
            only_weighted=True,
        )
        values = self.judge(made.prediction, batch.motion, batch.lengths)
        constraint = made.terms["constraint"]
        shown = {name: made.terms[name] for name in CONSTRAINTS if name in made.terms}
        return values | shown | {"constraint": constraint, "loss": values["loss"] + made.total}


def stage(spec: FamilySpec) -> Stage:
    """PTalker's stage."""
    return motion_stage(spec, PTalkerScheme, Section(TermWeights, without=ERRORS))
