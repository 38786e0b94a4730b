"""Content and style of a motion, from a sequence of embedded frames (PTalker, "style disentanglement").

    frames -> 6 x [convolution over time, norm, ReLU] -> norm -> 2D -> + positions -> 6 encoder layers -> D

Content is normalised per feature over time, which takes a person's constant traits away; style is normalised per frame,
and its mean over time is the style embedding. Unequal lengths are masked everywhere, so a batch equals single runs.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from parlante.models.components.causal_decoder import periodic_positions

EPSILON = 1e-5


def mean_over_time(x: Tensor, real: Tensor | None = None) -> Tensor:
    """Mean of x (B, T, D) over time, or over the frames that are `real` (B, T)."""
    if real is None:
        return x.mean(1)
    kept = real[..., None].to(x)
    return (x * kept).sum(1) / kept.sum(1).clamp(min=1.0)


def norm_over_time(x: Tensor, real: Tensor | None = None) -> Tensor:
    """Each feature of x (B, T, D) at mean 0 and variance 1 over (real) time: an instance norm without parameters."""
    centred = x - mean_over_time(x, real)[:, None]
    return centred * (mean_over_time(centred.square(), real)[:, None] + EPSILON).rsqrt()


class TimeNorm(nn.Module):
    """`norm_over_time` as a layer."""

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """x (B, T, D), real (B, T) or none -> (B, T, D)."""
        return norm_over_time(x, real)


class FrameNorm(nn.LayerNorm):
    """Layer norm over the features of each frame."""

    def forward(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """x (B, T, D) -> (B, T, D); `real` is not needed."""
        return super().forward(x)


class ConvLayer(nn.Module):
    """Convolution over three frames without bias, norm, ReLU."""

    def __init__(self, width: int, layer_norm: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, padding=1, bias=False)
        self.layer_norm = layer_norm

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """x (B, T, D), zero in padding -> the same shape."""
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.layer_norm(x, real).relu()


class Projection(nn.Module):
    """Norm, then a linear map to the encoder's width."""

    def __init__(self, width: int, layer_norm: nn.Module) -> None:
        super().__init__()
        self.layer_norm = layer_norm
        self.projection = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor, real: Tensor | None) -> Tensor:
        """(B, T, D) -> (B, T, 2D)."""
        return self.projection(self.layer_norm(x, real))


class MotionEncoder(nn.Module):
    """What the two encoders share. `dead_layers` adds `motion_map`, which the published files hold and never use."""

    def __init__(
        self,
        width: int,
        period: int,
        *,
        convolutions: int = 6,
        layers: int = 6,
        heads: int = 2,
        hidden: int | None = None,
        dropout: float = 0.1,
        dead_layers: bool = False,
    ) -> None:
        super().__init__()
        self.period, self.dropout = period, dropout
        if dead_layers:
            self.motion_map = nn.Linear(width, width)
        self.conv_layers = nn.ModuleList(ConvLayer(width, self._norm(width)) for _ in range(convolutions))
        self.feature_projection = Projection(width, self._norm(width))
        layer = nn.TransformerEncoderLayer(2 * width, heads, hidden or 3 * width, dropout, batch_first=True)
        self.transformer_encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.feature_map = nn.Linear(2 * width, width)

    def _norm(self, width: int) -> nn.Module:
        raise NotImplementedError

    def encode(self, frames: Tensor, real: Tensor | None = None) -> Tensor:
        """frames (B, T, D), real (B, T) bool or none -> (B, T, D); values in padding mean nothing."""
        x = frames
        for layer in self.conv_layers:
            x = layer(x if real is None else x * real[..., None].to(x), real)
        x = self.feature_projection(x, real)
        x = x + periodic_positions(0, x.shape[1], x.shape[2], self.period).to(x)
        x = F.dropout(x, self.dropout, self.training)
        x = self.transformer_encoder(x, src_key_padding_mask=None if real is None else ~real)
        return self.feature_map(x)


class MotionContent(MotionEncoder):
    """What is said: a sequence, one vector a frame."""

    def _norm(self, width: int) -> nn.Module:
        return TimeNorm()

    def forward(self, frames: Tensor, real: Tensor | None = None) -> Tensor:
        """frames (B, T, D), real (B, T) or none -> (B, T, D).

        Raises ValueError for a single frame: normalised over time it is zero, whatever it shows.
        """
        if frames.shape[1] < 2:
            raise ValueError("the content of a motion needs at least 2 frames, got 1; give a longer clip")
        return self.encode(frames, real)


class MotionStyle(MotionEncoder):
    """How it is said: one embedding for the clip, and the sequence it is the mean of."""

    def _norm(self, width: int) -> nn.Module:
        return FrameNorm(width)

    def forward(self, frames: Tensor, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """frames (B, T, D), real (B, T) or none -> embedding (B, D), sequence (B, T, D)."""
        sequence = self.encode(frames, real)
        return mean_over_time(sequence, real), sequence
