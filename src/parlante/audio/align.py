"""Speech features to motion frames: exact times, any pair of rates."""

from collections.abc import Sequence

import torch
from torch import Tensor


def align(
    features: Tensor, num_frames: int, *, fps: float = 30.0, rate: float = 50.0, frame_offsets: Sequence[float] = (0.0,)
) -> Tensor:
    """Read features at the times of motion frames: (B, S, D) -> (B, num_frames, D * len(frame_offsets)).

    Frame t is at t / fps seconds, feature s is centred at (s + 0.5) / rate seconds; between two features the answer is
    linear, before the first and after the last it is theirs. `frame_offsets` are seconds relative to the frame,
    read side by side: (-0.02, 0, 0.02) keeps what happens between frames. Raises ValueError without any feature.
    """
    if features.ndim != 3 or not features.shape[1]:
        raise ValueError(f"features must be (B, S, D) with S >= 1, got {tuple(features.shape)}")
    time = torch.arange(num_frames, dtype=torch.float64, device=features.device) / fps
    last = features.shape[1] - 1
    parts = []
    for offset in frame_offsets:
        place = ((time + offset) * rate - 0.5).clamp(0, last)
        left = place.floor().long().clamp(max=max(last - 1, 0))
        share = (place - left).to(features.dtype)[:, None]
        parts.append(torch.lerp(features[:, left], features[:, (left + 1).clamp(max=last)], share))
    return torch.cat(parts, -1)
