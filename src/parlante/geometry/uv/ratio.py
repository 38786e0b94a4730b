"""Wrinkle maps: how a frame's skin colour differs from the neutral, squeezed to 0..1.

TexTalker (CVPR 2025), section "texture ratio": with the neutral colour I0 and the frame's colour I in 0..1 and the
ratio r = I / (I0 + eps), the map is w = 2 (sigmoid(r) - 1/2) = tanh(r / 2). Unchanged skin is tanh(1/2) = 0.46212.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

UNCHANGED = float(np.tanh(0.5))
"""The value of w where the skin has its neutral colour."""
UNCHANGED_BYTE = 118
"""The same in a stored map: round(255 * 0.46212). Read back it means a ratio of exactly one."""
EPS = 1e-8
EXTRACTION_EPS = 1e-5
"""What the published script that extracts latents adds to the neutral colour; `EPS` is its training set's."""


def encode(ratio: Any) -> Any:
    """Ratio -> w = tanh(ratio / 2); numpy array or tensor of any shape."""
    half = ratio / 2
    return np.tanh(half) if isinstance(half, np.ndarray | np.generic | float) else half.tanh()


def decode(wrinkle: Any) -> Any:
    """w in 0..1 -> ratio ln((p + eps) / (1 - p + eps)) with p = w / 2 + 1/2, as published; array or tensor."""
    p = wrinkle / 2 + 0.5
    odds = (p + EPS) / (1 - p + EPS)
    return np.log(odds) if isinstance(odds, np.ndarray | np.generic | float) else odds.log()


def wrinkle_from_frames(frame: Any, neutral: Any, eps: float = EPS) -> Any:
    """w of a frame's colours against the neutral ones, arrays or tensors 0..1 of one shape or broadcasting."""
    return encode(frame / (neutral + eps))


def to_bytes(wrinkle: "NDArray[np.floating] | Tensor") -> NDArray[np.uint8]:
    """w -> round(255 w) as uint8, the form in which an `Animation` keeps it."""
    array = wrinkle if isinstance(wrinkle, np.ndarray) else wrinkle.detach().cpu().numpy()
    return np.clip(np.rint(255.0 * array), 0, 255).astype(np.uint8)


def from_bytes(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Stored map -> w float32; 118 comes back as the exact unchanged value."""
    return _W_OF_BYTE[stored]


def ratio_from_bytes(stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Stored map -> ratio float32; 118 gives exactly 1."""
    return _RATIO_OF_BYTE[stored]


def apply_ratio(albedo: NDArray[np.uint8], wrinkle: NDArray[Any]) -> NDArray[np.uint8]:
    """Colour a neutral albedo (H, W, 3) sRGB uint8 with a wrinkle map (h, w, 3); returns uint8 (H, W, 3).

    The map may be stored bytes or float w, and of any size: the logarithm of its ratio is enlarged bilinearly
    (half-pixel centres), which keeps valleys and ridges symmetric, so one map serves an albedo of any resolution.
    At equal sizes this is the published decoding: clip to 0..1, times 255, round half to even.
    """
    from parlante.geometry.uv import _apply

    if albedo.ndim != 3 or albedo.shape[2] != 3 or albedo.dtype != np.uint8:
        raise ValueError(f"albedo must be (H, W, 3) uint8, got {albedo.shape} {albedo.dtype}")
    if wrinkle.ndim != 3 or wrinkle.shape[2] != 3:
        raise ValueError(f"wrinkle must be (h, w, 3), got {wrinkle.shape}; for several frames, call once per frame")
    ratio = ratio_from_bytes(wrinkle) if wrinkle.dtype == np.uint8 else decode(wrinkle).astype(np.float32)
    if ratio.shape == albedo.shape:
        return np.clip(np.rint(albedo * ratio), 0, 255).astype(np.uint8)
    logarithm = np.log(np.maximum(ratio, 1e-3, dtype=np.float32))
    return _apply.enlarge_and_apply(np.ascontiguousarray(albedo), logarithm)


def _byte_tables() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    w = np.arange(256) / 255.0
    ratio = decode(w)
    w[UNCHANGED_BYTE], ratio[UNCHANGED_BYTE] = UNCHANGED, 1.0
    return w.astype(np.float32), ratio.astype(np.float32)


_W_OF_BYTE, _RATIO_OF_BYTE = _byte_tables()
