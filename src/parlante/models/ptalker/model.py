"""PTalker: speech-driven faces whose style is separated from what they say.

Wang, Xu, Zhao, Zhang, Zhang, "PTalker: Personalized Speech-Driven 3D Talking Head Animation via Style Disentanglement
and Modality Alignment", ACM Multimedia 2025.

    style = start token + identity + style of the voice + style of a motion;  token t = E(motion of frame t - 1) + style
    tokens + periodic positions -> 6 causal decoder layers, frame t attends to its own speech -> D -> motion of frame t

Motion is the displacement from the template, M numbers a frame. Parameter names are those of the published files.
Shapes: B batch, T frames, S = T * steps_per_frame memory steps, A and E widths of the speech and the emotion features,
D width, N subjects, M motion coordinates. Where we differ from the published code: docs/models/ptalker.md.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.core import InputError
from parlante.core.ranges import Count, Whole
from parlante.models.components.autoregressive_model import AutoregressiveConfig
from parlante.models.components.causal_decoder import periodic_positions, zero_past
from parlante.models.components.incremental_decoder import MotionSession, Rollout, fuse_feedback
from parlante.models.components.motion_family import MotionFamily
from parlante.models.components.padding import real_frames
from parlante.models.components.style_embedding import StyleEncoder
from parlante.models.ptalker.alignment import SpatialAlignment, TemporalAlignment
from parlante.models.ptalker.audio_style import AudioStyle
from parlante.models.ptalker.motion_encoders import MotionContent, MotionStyle
from parlante.models.ptalker.reference import ReferenceRollout, reference_rollout
from parlante.models.ptalker.rollout import AlignedRollout

Mode = Literal["seen", "unseen", "reference"]


@dataclass(frozen=True, kw_only=True)
class PTalkerConfig(AutoregressiveConfig):
    """Sizes; the defaults are those that the published code can train (BIWI)."""

    motion_dim: int = 70110
    audio_dim: int = 1024
    emotion_dim: int = 1024
    """Width of the emotion features, 60 a second in the published model."""
    width: Count = 128
    period: Count = 25
    subjects: int = 6
    layers: Count = 6
    steps_per_frame: Count = 2
    audio_style_hidden: Count = 256
    """Width inside the encoder of the voice's style."""
    motion_convolutions: Whole = 6
    """Convolutions of each motion encoder."""
    motion_layers: Count = 6
    """Attention layers of each motion encoder."""
    motion_heads: Count = 2
    """Their attention heads; must divide twice the width."""
    motion_hidden: Count | None = None
    """Inner width of the motion encoders' layers; none: three times `width`."""
    auxiliary_classes: Count | None = None
    """Classes of the auxiliary classifier; none: one a subject. The published code has 6, whatever the subjects."""
    dead_layers: bool = False
    """Hold the layers that the published files contain and never use, so that those files load strictly."""
    spatial_edges: Whole = 0
    """Directed edges of the mesh for the paper's spatial alignment; 0 switches it off."""
    spatial_width: Count = 16
    """Width of the spatial alignment."""
    temporal_window: Whole = 0
    """Frames that the paper's temporal alignment looks back, the present one included; 0 switches it off."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.motion_heads < 1 or 2 * self.width % self.motion_heads:
            raise ValueError(f"motion_heads must divide twice the width, got {self.motion_heads} and {self.width}")
        if self.spatial_edges and self.motion_dim % 3:
            raise ValueError(
                f"spatial alignment needs motion that is vertices, got motion_dim={self.motion_dim}, which is not a "
                "multiple of 3; set spatial_edges=0 for coefficients"
            )


class Classifier(nn.Module):
    """One linear layer: a vector (B, D) -> logits (B, classes)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) -> (B, classes)."""
        return self.fc(x)


class Temperature(nn.Module):
    """The learned temperature of the contrastive loss."""

    def __init__(self, value: float = 0.07) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.tensor(value))


class PTalker(MotionFamily):
    """Speech features and a style embedding -> motion."""

    def __init__(self, config: PTalkerConfig) -> None:
        super().__init__()
        self.config = config
        width, dropout = config.width, config.dropout
        self.start_token = nn.Parameter(torch.zeros(1, 1, width))
        self.audio_feature_map = nn.Linear(config.audio_dim, width)
        self.vertice_encoder = nn.Linear(config.motion_dim, width)
        self.transformer_decoder = config.decoder()
        self.vertice_decoder = nn.Linear(width, config.motion_dim)
        nn.init.zeros_(self.vertice_decoder.weight)
        nn.init.zeros_(self.vertice_decoder.bias)
        self.onehot_style_encoder = StyleEncoder(config.subjects, width)
        self.AudioStyle = AudioStyle(config.emotion_dim, width, config.audio_style_hidden, dropout)
        sizes: dict[str, Any] = {
            "convolutions": config.motion_convolutions,
            "layers": config.motion_layers,
            "heads": config.motion_heads,
            "hidden": config.motion_hidden,
            "dropout": dropout,
            "dead_layers": config.dead_layers,
        }
        self.content_motion = MotionContent(width, config.period, **sizes)
        self.style_motion = MotionStyle(width, config.period, **sizes)
        # Only losses look at these three.
        self.auxiliary_style_classifier = Classifier(width, config.auxiliary_classes or config.subjects)
        self.cons = Temperature()
        self.style_classifier = Classifier(width, config.subjects)
        if config.spatial_edges:
            self.spatial = SpatialAlignment(config.spatial_edges, config.spatial_width)
        if config.temporal_window:
            self.temporal = TemporalAlignment(
                width, config.temporal_window, config.heads, config.steps_per_frame, dropout
            )

    def voice_style(self, features: Tensor, real: Tensor | None = None) -> Tensor:
        """Style of the voice: features (B, S, E), which are real (B, S) -> (B, D)."""
        return self.AudioStyle(features, real)

    def connect(self, edges: Tensor) -> None:
        """Tell spatial alignment the mesh: edges (spatial_edges, 2), from vertex [0] to vertex [1]."""
        if not self.config.spatial_edges:
            raise ValueError("this model has no spatial alignment; configure spatial_edges with the number of edges")
        self.spatial.connect(edges)

    # What goes in and what comes out, one map each.

    def encode_speech(self, features: Tensor) -> Tensor:
        """Speech features (B, S, A) -> memory (B, S, D)."""
        return self.audio_feature_map(features)

    def encode_motion(self, motion: Tensor) -> Tensor:
        """Motion (B, T, M) -> embedded frames (B, T, D)."""
        if self.config.spatial_edges:
            motion = self.spatial(motion.unflatten(-1, (-1, 3))).flatten(-2)
        return self.vertice_encoder(motion)

    def decode_motion(self, hidden: Tensor) -> Tensor:
        """Hidden frames (B, T, D) -> motion (B, T, M)."""
        return self.vertice_decoder(hidden)

    def style_embedding(
        self,
        weights: Tensor | None = None,
        *,
        emotion: Tensor | None = None,
        emotion_lengths: Tensor | None = None,
        reference_motion: Tensor | None = None,
        reference_lengths: Tensor | None = None,
    ) -> Tensor:
        """Who to move like, (B, D): start token + whatever is given of identity, voice and a reference motion.

        weights (B, N): one subject (one-hot) or a mixture; emotion (B, S, E): features of the voice, lengths in steps;
        reference_motion (B, T, M): a whole clip of displacements, lengths in frames. With nothing given, batch 1.
        """
        style = self.start_token[:, 0]
        if weights is not None:
            if weights.shape[-1] != self.config.subjects:
                raise InputError(f"style weights name {weights.shape[-1]} subjects, this model {self.config.subjects}")
            style = style + self.onehot_style_encoder(weights)
        if emotion is not None:
            real = None if emotion_lengths is None else real_frames(emotion.shape[1], emotion_lengths)
            style = style + self.AudioStyle(emotion, real)
        if reference_motion is not None:
            real = None if reference_lengths is None else real_frames(reference_motion.shape[1], reference_lengths)
            style = style + self.style_motion(self.encode_motion(reference_motion), real)[0]
        return style

    def forward(
        self,
        features: Tensor,
        motion: Tensor,
        style: Tensor,
        lengths: Tensor | None = None,
        *,
        sampling: float = 0.0,
        passes: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Each frame from the true frames before it: features (B, S, A), motion (B, T, M), style (B, D)
        -> (B, min(T, S // w), M).

        lengths (B,): real frames; the others come out as zero. sampling: probability that a frame before is the
        model's own (scheduled sampling, Bengio et al. 2015) instead of the true one. Own frames are predicted `passes`
        times over in parallel (Duckworth et al. 2019): after T passes they are exactly those of a frame-by-frame run.
        """
        memory = self.encode_speech(features)
        motion = motion[:, : self.transformer_decoder.frames_covered(memory.shape[1])]
        seen = motion
        if sampling > 0.0:
            dice = torch.rand(motion.shape[:2], generator=generator, device=motion.device)
            own = (dice < sampling)[..., None]
            for _ in range(passes):
                with torch.no_grad():
                    seen = torch.where(own, self._predict(seen, style, memory, lengths), motion)
        return self._predict(seen, style, memory, lengths)

    def _predict(self, motion: Tensor, style: Tensor, memory: Tensor, lengths: Tensor | None) -> Tensor:
        hidden = self.decode(self.encode_motion(before(motion)) + style[:, None], memory, lengths)
        predicted = self.decode_motion(hidden)
        return predicted if lengths is None else zero_past(predicted, lengths)

    def decode(self, tokens: Tensor, memory: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Tokens (B, T, D) without positions, memory (B, S, D) -> hidden frames (B, T, D), all at once."""
        if self.config.temporal_window:
            tokens = self.temporal(tokens, memory)
        positions = periodic_positions(0, tokens.shape[1], self.config.width, self.config.period).to(tokens)
        tokens = F.dropout(tokens + positions, self.config.dropout, self.training)
        return self.transformer_decoder(tokens, memory, lengths)

    @torch.no_grad()
    def generate(
        self,
        features: Tensor,
        style: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        mode: Mode | None = None,
        weights: Tensor | None = None,
        emotion: Tensor | None = None,
        emotion_lengths: Tensor | None = None,
        reference_motion: Tensor | None = None,
        reference_lengths: Tensor | None = None,
        reference: bool = False,
    ) -> Tensor:
        """Motion (B, T, M) for features (B, S, A), one frame after the other; zero past `lengths` (B,) frames.

        Give a `style` (B, D), or a `mode` and what it needs, as `style_embedding` takes it: "seen": weights; "unseen":
        no identity; "reference": a whole clip of displacements. `emotion` is optional here. The cost is linear in T,
        and the first token is that of training, so that `forward` on the result returns the result.

        reference: as the published `predict_seen`, `predict_unseen` and `predict_with_ref_motion` compute, odd corners
        included (see `reference.py`); needs a `mode` and `emotion`, and `reference_motion` in absolute coordinates,
        of which only frame 0 is read. Raises InputError if a mode lacks what it needs.
        """
        if (style is None) == (mode is None):
            raise InputError("give a style embedding or a mode ('seen', 'unseen', 'reference'), not both or neither")
        if mode is not None:
            _check_mode(mode, weights, emotion, reference_motion, reference)
        if reference:
            if mode is None or emotion is None:
                raise InputError("decoding as published needs a mode and emotion features, not a style embedding")
            real = None if emotion_lengths is None else real_frames(emotion.shape[1], emotion_lengths)
            identity = self.onehot_style_encoder(weights) if mode == "seen" and weights is not None else None
            frame = reference_motion[:, 0] if mode == "reference" and reference_motion is not None else None
            hidden = self.reference_rollout(
                self.encode_speech(features), self.AudioStyle(emotion, real), identity=identity, frame=frame
            ).hidden
        else:
            if style is None:
                style = self.style_embedding(
                    weights if mode == "seen" else None,
                    emotion=emotion,
                    emotion_lengths=emotion_lengths,
                    reference_motion=reference_motion,
                    reference_lengths=reference_lengths,
                )
            hidden = self._rollout(style.expand(len(features), -1)).advance(self.encode_speech(features), 0.0, lengths)
        motion = self.decode_motion(hidden)
        return motion if lengths is None else zero_past(motion, lengths)

    def reference_rollout(
        self,
        memory: Tensor,
        audio_style: Tensor,
        *,
        identity: Tensor | None = None,
        frame: Tensor | None = None,
    ) -> ReferenceRollout:
        """Decode memory (B, S, D) as published, see `reference.py`; differentiable if gradients are enabled.

        audio_style (B, D); identity (B, D) makes it `predict_seen`, frame (B, M), in absolute coordinates,
        `predict_with_ref_motion`, neither `predict_unseen`.
        """
        added = audio_style if identity is None else identity + audio_style
        first = added if identity is not None else self.start_token[:, 0] + audio_style
        if identity is None and frame is not None:
            first = self.vertice_encoder(frame)
        return reference_rollout(
            self.transformer_decoder,
            self.vertice_encoder,
            self.vertice_decoder,
            lambda inputs: self.style_motion(inputs)[0],
            memory,
            first=first,
            added=added,
            restart=identity,
            dropout=self.config.dropout,
        )

    @torch.no_grad()
    def session(self, style: Tensor) -> MotionSession:
        """Speech in pieces, motion out in pieces, for a style (B, D); the same numbers as `generate`."""
        return MotionSession(self._rollout(style), self.encode_speech, self.decode_motion)

    def _rollout(self, style: Tensor) -> Rollout:
        still = style.new_zeros(1, 1, self.config.motion_dim)
        first = self.encode_motion(still)[:, 0] + style
        feedback = fuse_feedback(self.vertice_decoder, self.vertice_encoder)
        if not (self.config.spatial_edges or self.config.temporal_window):
            return Rollout(self.transformer_decoder, style, feedback, first=first)
        return AlignedRollout(
            self.transformer_decoder,
            style,
            feedback,
            first=first,
            temporal=self.temporal if self.config.temporal_window else None,
            feed_back=(lambda hidden: self.encode_motion(self.decode_motion(hidden)))
            if self.config.spatial_edges
            else None,
        )

    def _feed_back(self, hidden: Tensor) -> Tensor:
        return self.encode_motion(self.decode_motion(hidden))


def before(motion: Tensor) -> Tensor:
    """The frame before each frame, (B, T, M) -> (B, T, M); the face at rest before the first."""
    return torch.cat([torch.zeros_like(motion[:, :1]), motion[:, :-1]], 1)


def _check_mode(
    mode: str, weights: Tensor | None, emotion: Tensor | None, reference_motion: Tensor | None, reference: bool
) -> None:
    if mode not in ("seen", "unseen", "reference"):
        raise InputError(f"no mode {mode!r}; known: 'seen', 'unseen', 'reference'")
    needed = {"seen": ("weights", weights), "reference": ("reference_motion", reference_motion)}.get(mode)
    if needed is not None and needed[1] is None:
        raise InputError(f"mode {mode!r} needs {needed[0]}")
    if reference and mode == "unseen" and emotion is None:
        raise InputError("decoding as published in mode 'unseen' needs emotion features")
