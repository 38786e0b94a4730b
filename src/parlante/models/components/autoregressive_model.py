"""FaceFormer's loop, kept by TalkingStyle: a frame is decoded from speech, style and the frames before it.

    memory m = audio_feature_map(speech);  tokens e_0 = s, e_t = E(y_{t-1}) + s;  y = D(decoder(e + positions | m))

E and D are linear maps from and to the displacements of all vertices. A family says what it calls them and
where its style s comes from; training, generation and streaming are here.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.core.ranges import Count, Share
from parlante.models.components.causal_decoder import SPAN, CausalDecoder, zero_past
from parlante.models.components.incremental_decoder import MotionSession, Rollout, fuse_feedback, teacher_forcing_tokens
from parlante.models.components.motion_family import MotionFamily


@dataclass(frozen=True, kw_only=True)
class AutoregressiveConfig:
    """Sizes of an autoregressive model; a family sets its published ones as defaults."""

    motion_dim: int = 15069
    """Numbers of one frame of motion M: 3 per vertex, or coefficients of a fixed motion basis."""
    audio_dim: int
    """Width A of the speech encoder."""
    width: Count = 64
    """Width D of every hidden feature."""
    period: Count = 30
    """Frames after which positions repeat and attention fades by a step."""
    subjects: int = 8
    """Speakers N seen in training."""
    layers: Count
    """Decoder layers."""
    heads: Count = 4
    """Attention heads; must divide `width`."""
    steps_per_frame: Count = 1
    """Speech features that belong to one frame."""
    dropout: Share = 0.1
    """In training."""
    hidden: Count | None = None
    """Inner width of the decoder layers; none: twice `width`."""
    span: Count | None = SPAN
    """Frames that a frame attends to, itself included; none: all before it, at a cost that grows with the square of the
    length. The published code can decode no more than the default."""

    def __post_init__(self) -> None:
        if self.span is not None and self.span < 1:
            raise ValueError(f"span must be at least 1 frame, or none for all of the past, got {self.span}")
        for name in ("motion_dim", "audio_dim", "width", "period", "layers", "heads", "steps_per_frame"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads or self.width % 2:
            raise ValueError(f"width must be even and divisible by heads, got {self.width} and {self.heads}")

    def resized(self, motion_dim: int) -> "AutoregressiveConfig":
        """The same sizes for motion of so many numbers a frame."""
        return replace(self, motion_dim=motion_dim)

    def decoder(self) -> CausalDecoder:
        """A decoder of these sizes."""
        sizes = {"heads": self.heads, "period": self.period, "steps_per_frame": self.steps_per_frame}
        return CausalDecoder(self.width, self.layers, hidden=self.hidden, dropout=self.dropout, span=self.span, **sizes)


class AutoregressiveModel(MotionFamily):
    """Motion is the displacement from the template, (B, T, M), in the unit of training.

    A family's constructor makes `audio_feature_map`, `transformer_decoder` (`config.decoder()`) and the maps it names.
    """

    motion_in: str
    """Attribute that holds E."""
    motion_out: str
    """Attribute that holds D."""
    searches_styles = True
    audio_feature_map: nn.Linear
    transformer_decoder: CausalDecoder

    def __init__(self, config: AutoregressiveConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def motion_maps(self) -> tuple[str, tuple[str, ...]]:
        """Names of the linear map that makes motion, and of those that read it."""
        return self.motion_out, (self.motion_in,)

    @property
    def encode(self) -> nn.Linear:
        """E: motion -> token."""
        return getattr(self, self.motion_in)

    @property
    def decode(self) -> nn.Linear:
        """D: hidden frame -> motion."""
        return getattr(self, self.motion_out)

    def style_embedding(self, weights: Tensor) -> Tensor:
        """Style of a speaker (one-hot) or a mixture of speakers: weights (B, N) -> (B, D)."""
        raise NotImplementedError

    def forward(
        self,
        features: Tensor,
        motion: Tensor,
        style: Tensor,
        lengths: Tensor | None = None,
        *,
        reference: bool = False,
    ) -> Tensor:
        """Each frame from the true frames before it (teacher forcing).

        features (B, S, A); motion (B, T, M); style (B, D); lengths (B,) real frames -> (B, min(T, S // w), M), zero
        past `lengths`. `reference`: the first token is E(0) + s as in the authors' teacher forcing, where their
        generation (and training) starts from s alone; ours starts from s in both.
        """
        frames = min(motion.shape[1], self.transformer_decoder.frames_covered(features.shape[1]))
        tokens = teacher_forcing_tokens(self.encode, motion, style, frames, self.config.period, reference=reference)
        tokens = F.dropout(tokens, self.config.dropout, self.training)
        return self._decode(self.transformer_decoder(tokens, self.audio_feature_map(features)), lengths)

    def rollout(self, features: Tensor, style: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Each frame from the predicted frames before it, differentiable: how the authors train. See `generate`."""
        hidden = self._start(style).advance(self.audio_feature_map(features), self.config.dropout, lengths)
        return self._decode(hidden, lengths)

    @torch.no_grad()
    def generate(self, features: Tensor, style: Tensor, *, lengths: Tensor | None = None) -> Tensor:
        """Motion for speech of any length: features (B, S, A), style (B, D), lengths (B,) frames -> (B, S // w, M)."""
        return self.rollout(features, style, lengths)

    @torch.no_grad()
    def session(self, style: Tensor) -> MotionSession:
        """Motion piece by piece, `session.push(features)`; the same numbers as `generate`. style (B, D)."""
        return MotionSession(self._start(style), self.audio_feature_map, self.decode)

    def _start(self, style: Tensor) -> Rollout:
        return Rollout(self.transformer_decoder, style, fuse_feedback(self.decode, self.encode))

    def _decode(self, hidden: Tensor, lengths: Tensor | None) -> Tensor:
        motion = self.decode(hidden)
        return motion if lengths is None else zero_past(motion, lengths)
