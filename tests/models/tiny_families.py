"""Small models of every autoregressive family, random everywhere, and how the shared tests call them.

A family adds a `Tiny` (usually a subclass that says what is special about it) to `FAMILIES`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from parlante.models.faceformer import FaceFormer, FaceFormerConfig
from parlante.models.talkingstyle import TalkingStyle, TalkingStyleConfig

SIZES: dict[str, Any] = {
    "motion_dim": 12,
    "audio_dim": 10,
    "width": 16,
    "period": 5,
    "subjects": 3,
    "layers": 2,
    "steps_per_frame": 2,
}


class Tiny:
    """One family: how to build it, what it takes, and which weights of the original are known to do nothing."""

    dead: frozenset[str] = frozenset()
    """Parameters that no gradient reaches, by the authors' design or mistake."""
    whole_clip_only: str = ""
    """Why this family has no frame-by-frame law; empty if it has."""

    def __init__(self, build: Callable[[], nn.Module], dead: frozenset[str] = frozenset()) -> None:
        self.build, self.dead = build, dead

    def model(self) -> Any:
        """In double precision, evaluation mode, and random where training would start from zero."""
        torch.manual_seed(0)
        model = self.build().double().eval()
        for parameter in model.parameters():
            if not parameter.any():
                nn.init.normal_(parameter, std=0.3)
        return model

    def inputs(self, model: Any, batch: int = 1, frames: int = 7) -> dict[str, Tensor]:
        """Floats in double precision: features (B, S, A), motion (B, T, M), weights (B, N), and what else it needs."""
        draw = torch.Generator().manual_seed(1)
        c = model.config

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        return {
            "features": normal(batch, frames * c.steps_per_frame, c.audio_dim),
            "motion": normal(batch, frames, c.motion_dim),
            "weights": normal(batch, c.subjects).softmax(-1),
        }

    def train(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Teacher forcing: (B, T, M)."""
        return model(inputs["features"], inputs["motion"], model.style_code(inputs["weights"]))

    def generate(self, model: Any, inputs: dict[str, Tensor], lengths: Tensor | None = None) -> Tensor:
        """(B, T, M)."""
        return model.generate(inputs["features"], model.style_code(inputs["weights"]), lengths=lengths)

    def session(self, model: Any, inputs: dict[str, Tensor]) -> Any:
        """A streaming session."""
        return model.session(model.style_code(inputs["weights"]))

    def cut(self, model: Any, inputs: dict[str, Tensor], item: int, frames: int) -> dict[str, Tensor]:
        """One item of a batch, at its own length."""
        steps = {"features": frames * model.config.steps_per_frame, "motion": frames}
        one = {k: v[item : item + 1] for k, v in inputs.items()}
        return {k: v[:, : steps[k]] if k in steps else v for k, v in one.items()}


FAMILIES: dict[str, Tiny] = {
    "faceformer": Tiny(lambda: FaceFormer(FaceFormerConfig(**SIZES))),
    "talkingstyle": Tiny(
        lambda: TalkingStyle(TalkingStyleConfig(**SIZES)),
        dead=frozenset(f"style_encoder.attention.{k}.{part}" for k in ("Wq", "Wk") for part in ("weight", "bias")),
    ),
}
