"""Comparison with stored numbers."""

from torch import Tensor


def close(ours: Tensor, theirs: Tensor, tolerance: float = 2e-5) -> None:
    """Largest difference relative to the largest absolute value."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    scale = max(theirs.abs().max().item(), 1e-12)
    error = (ours - theirs).abs().max().item() / scale
    assert error <= tolerance, f"largest relative difference {error:.2e}, allowed {tolerance:.0e}"
