"""A model family: speech features in, motion coordinates out, by one recurrent layer."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from parlante.models.components.motion_family import MotionFamily
from parlante.models.registry import FamilySpec


@dataclass(frozen=True, kw_only=True)
class ToyGruConfig:
    """Sizes. A recipe's `model:` section may set those that the data does not decide."""

    audio_dim: int
    """Width A of the speech features; the data decides it."""
    motion_dim: int
    """Motion coordinates M of a frame; the data decides it."""
    subjects: int
    """Training speakers N; the data decides it."""
    width: int = 32
    """Width D of the recurrent layer and of a style."""
    steps_per_frame: int = 1
    """Speech features of a frame."""


class ToyGru(MotionFamily):
    """No frame depends on the motion before it, so `past` is not looked at."""

    def __init__(self, config: ToyGruConfig) -> None:
        super().__init__()
        self.config = config
        self.style = nn.Linear(config.subjects, config.width, bias=False)
        self.enter = nn.Linear(config.audio_dim * config.steps_per_frame, config.width)
        self.gru = nn.GRU(config.width, config.width, batch_first=True)
        self.leave = nn.Linear(config.width, config.motion_dim)

    def style_embedding(self, weights: Tensor) -> Tensor:
        """Weights (B, N) of the training speakers -> style embedding (B, D)."""
        return self.style(weights)

    def forward(self, features: Tensor, past: Tensor, code: Tensor, lengths: Tensor | None = None) -> Tensor:
        """What training calls: features (B, T * w, A), true motion (B, T, M), style (B, D) -> motion (B, T, M)."""
        return self.generate(features, code, lengths=lengths)

    def generate(self, features: Tensor, code: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Features (B, T * w, A) and style (B, D) -> motion (B, T, M)."""
        return self.session(code).push(features)

    def session(self, code: Tensor) -> "ToySession":
        """One utterance in pieces."""
        return ToySession(self, code)


class ToySession:
    """All state of an utterance: the recurrent layer's."""

    def __init__(self, network: ToyGru, code: Tensor) -> None:
        self.network, self.code = network, code
        self.state: Tensor | None = None

    def push(self, features: Tensor) -> Tensor:
        """The next features (B, n * w, A) -> their frames (B, n, M)."""
        frames = features.unflatten(1, (-1, self.network.config.steps_per_frame)).flatten(2)
        hidden, self.state = self.network.gru(torch.tanh(self.network.enter(frames)) + self.code[:, None], self.state)
        return self.network.leave(hidden)


FAMILY = FamilySpec(
    name="toy-gru",
    network="parlante_toy.family:ToyGru",
    config="parlante_toy.family:ToyGruConfig",
    title="One recurrent layer, an example",
)
