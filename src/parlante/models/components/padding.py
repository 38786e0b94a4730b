"""Batches of unequal lengths: which frames are real."""

import torch
from torch import Tensor


def real_frames(frames: int, lengths: Tensor) -> Tensor:
    """(B, T) bool: True for the first `lengths[b]` frames."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]
