"""The steps between a talker's windows and the finished frames, fed with one piece of a take after another.

Results do not depend on where the pieces were cut, and memory does not depend on their number.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core.interpolate import monotone

SURE = 0.6
"""A frame is silent when this probable."""
SHUT_AFTER_S, OPEN_BEFORE_S, EASE_S = 0.067, 0.134, 0.05
"""Seconds; see `mouth_gain`."""


@dataclass(frozen=True, eq=False)
class Motion:
    """Frames on their way through the stages."""

    weights: NDArray[np.float32]
    """(n, K) solved curves."""
    residual: NDArray[np.float32]
    """(n, V, 3) metres: what the curves do not explain."""
    wrinkle: NDArray[np.uint8] | None
    """(n, h, w, 3) bytes."""

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, rows: slice) -> "Motion":
        return replace(self, **{name: array[rows] for name, array in self._arrays().items()})

    def joined(self, other: "Motion") -> "Motion":
        """These frames, then those."""
        if not len(self):
            return other
        theirs = other._arrays()
        return replace(self, **{name: np.concatenate([array, theirs[name]]) for name, array in self._arrays().items()})

    def _arrays(self) -> dict[str, NDArray[Any]]:
        pairs = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: array for name, array in pairs if array is not None}


def mouth_gain(silence: NDArray[np.floating], fps: float) -> NDArray[np.float32]:
    """(T,) factor on the lower face: 0 where nobody speaks, 1 in speech, smooth in between.

    silence: (T,) 0..1, how sure it is that nobody speaks. The mouth starts to ease shut `SHUT_AFTER_S` after the last
    sound, and leaves its rest `OPEN_BEFORE_S` before the next, so that no articulation is cut.
    """
    if not len(silence):
        return np.zeros(0, np.float32)
    before, after = round(SHUT_AFTER_S * fps), round(OPEN_BEFORE_S * fps)
    quiet = np.pad(silence > SURE, (before, after), mode="edge")
    rest = np.lib.stride_tricks.sliding_window_view(quiet, before + after + 1).all(axis=1)
    sigma = EASE_S * fps
    reach = max(1, int(np.ceil(3 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    gain = np.convolve(np.pad(np.where(rest, 0.0, 1.0), reach, mode="edge"), taps / taps.sum(), mode="valid")
    return np.asarray(gain, np.float32)


def close_mouth(
    motion: Motion, gain: NDArray[np.float32], lower: NDArray[np.bool_], mask: NDArray[np.float32]
) -> Motion:
    """Scale curves `lower` (K,) by gain (n,), and the residual by it where `mask` (V,) 0..1 says lower face."""
    if (gain >= 1).all():
        return motion
    weights = motion.weights.copy()
    weights[:, lower] *= gain[:, None]
    return replace(
        motion, weights=weights, residual=motion.residual * (1 - (1 - gain[:, None, None]) * mask[None, :, None])
    )


class Resampler:
    """Frames at another rate. Curves by monotone cubics, which never overshoot; residuals and wrinkles linearly.

    The monotone cubic is Fritsch and Butland's (1984), as in scipy's PCHIP.
    """

    def __init__(self, source_fps: float, fps: float, total: int) -> None:
        """`total`: frames to make in all; the face is held after the last source frame."""
        self._ratio = source_fps / fps
        self._total = total
        self._held: Motion | None = None
        self._first = 0  # source frame number of self._held[0]
        self._made = 0

    def feed(self, motion: Motion) -> Motion:
        """Frames between sources that are known, with one to spare on either side."""
        return self._advance(motion, last=False)

    def finish(self, motion: Motion) -> Motion:
        """Everything up to `total`."""
        return self._advance(motion, last=True)

    def _advance(self, motion: Motion, *, last: bool) -> Motion:
        held = motion if self._held is None else self._held.joined(motion)
        end = self._first + len(held)
        known = int(np.ceil((end - 2) / self._ratio - 1e-9))  # frame j needs source floor(j * ratio) + 2
        stop = self._total if last else min(self._total, max(self._made, known))
        position = np.minimum(np.arange(self._made, stop) * self._ratio, end - 1) - self._first
        made = self._at(held, position)
        self._made = stop
        keep = max(self._first, int(np.floor(stop * self._ratio)) - 1)
        keep = min(keep, end - 1) if len(held) else self._first
        self._held = held[max(0, keep - self._first) :]
        self._first = max(self._first, keep)
        return made

    def _at(self, held: Motion, position: NDArray[np.float64]) -> Motion:
        if not len(position):
            return held[:0]
        low = np.clip(np.floor(position + 1e-9).astype(int), 0, max(0, len(held) - 2))
        high = np.minimum(low + 1, len(held) - 1)
        fraction = np.clip(position - low, 0.0, 1.0).astype(np.float32)

        def linear(array: NDArray[Any]) -> NDArray[Any]:
            share = fraction.reshape(-1, *[1] * (array.ndim - 1))
            mixed = array[low] * (1 - share) + array[high] * share
            return np.rint(mixed).astype(np.uint8) if array.dtype == np.uint8 else mixed.astype(array.dtype)

        return replace(
            held,
            weights=monotone(held.weights, low, high, fraction),
            residual=linear(held.residual),
            wrinkle=None if held.wrinkle is None else linear(held.wrinkle),
        )
