"""How many speech features a model gets per second, and which of them belong to a frame.

Speech networks give 50 features a second; a published model changes that to its own rate between the network's
convolutions and its transformer, each in its own way. The ways are data here (`RateRule`), so that no network knows the
name of a dataset.

    >>> change_rate(torch.zeros(1, 205, 512), RateRule(kind="aligned", fps=30.0)).shape
    torch.Size([1, 122, 512])
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from parlante.core import InputError
from parlante.core.typed import Mistyped, typed

FEATURE_RATE = 50.0
"""Features per second before any change."""
Kind = Literal["none", "pairs", "aligned", "centred"]
KINDS: tuple[Kind, ...] = ("none", "pairs", "aligned", "centred")


@dataclass(frozen=True, kw_only=True)
class RateRule:
    """From L features at 50 per second to S steps, of which `steps_per_frame` belong to each motion frame.

    none     as they are.
    pairs    an odd last feature is dropped, then those beyond the given frames: two features for each 1/25 s frame.
    aligned  linear resampling that keeps both end points, to the given frames or to int((L / 50.0) * fps) steps.
    centred  the features of the given frames, resampled linearly with each sample at the centre of its interval.
    """

    kind: Kind = "none"
    fps: float = FEATURE_RATE
    """Steps per second that `aligned` and `centred` make."""
    steps_per_frame: int = 1
    """Consecutive steps that belong to one motion frame; 2 for `pairs`."""
    keep_fps: float | None = None
    """`centred` only: the rate by which the features to keep are counted; None: `fps`. Counting at half the rate keeps
    up to twice the audio and squeezes it into the frames (a published model does)."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"rate rule: kind is {self.kind!r}, wanted one of {', '.join(KINDS)}")
        if not self.fps > 0 or self.steps_per_frame < 1 or (self.keep_fps is not None and not self.keep_fps > 0):
            raise InputError(f"rate rule: fps, keep_fps and steps_per_frame must be positive, got {self}")
        if self.kind == "pairs" and self.steps_per_frame != 2:
            raise InputError(f"rate rule: pairs have 2 steps a frame, got {self.steps_per_frame}")
        if self.kind in ("none", "pairs") and self.fps != FEATURE_RATE:
            raise InputError(f"rate rule: {self.kind!r} leaves 50 steps a second, got fps={self.fps:g}")

    @classmethod
    def from_dict(cls, fields: "dict[str, Any] | RateRule") -> "RateRule":
        """A rule from the fields of a config file. Raises InputError on unknown ones."""
        if isinstance(fields, RateRule):
            return fields
        try:
            made: RateRule = typed(cls, fields, "the rule", closed=True)
        except Mistyped as error:
            raise InputError(f"rate rule: {error}; wanted kind, fps, steps_per_frame, keep_fps") from None
        return made

    def to_dict(self) -> dict[str, Any]:
        """Fields for a config file."""
        return asdict(self)

    @property
    def frame_rate(self) -> float:
        """Motion frames per second."""
        return self.fps / self.steps_per_frame

    def steps(self, length: int, frames: int | None = None) -> int:
        """Steps made of `length` features, for `frames` motion frames where given.

        The free length of `aligned` is computed in double precision in exactly this order: 205 features become 122
        steps at 30 per second, where real arithmetic says 123.
        """
        if self.kind == "none":
            return length
        if self.kind == "pairs":
            even = length - length % 2
            return even if frames is None else min(even, 2 * frames)
        if frames is not None:
            return frames * self.steps_per_frame
        if self.kind == "aligned":
            return int((length / FEATURE_RATE) * self.fps)
        return round(length / FEATURE_RATE * self.fps)

    def frames(self, steps: int) -> int:
        """Whole motion frames in `steps`."""
        return steps // self.steps_per_frame


REFERENCE_RULES: dict[str, RateRule] = {
    "aligned30": RateRule(kind="aligned", fps=30.0),
    "pairs25": RateRule(kind="pairs", steps_per_frame=2),
    "aligned60": RateRule(kind="aligned", fps=60.0),
    "none": RateRule(),
}
"""The rules of published models: motion at 30 fps, motion at 25 fps, style features at 60 per second, no change."""


def change_rate(features: Tensor, rule: RateRule, frames: int | None = None) -> Tensor:
    """Apply a rule: (B, L, C) -> (B, S, C) with S = rule.steps(L, frames).

    Positions are computed in double precision, so float32 features do not lose time on long clips. Raises ValueError on
    another shape and InputError where the audio is too short for a single step.
    """
    if features.ndim != 3:
        raise ValueError(f"features must be (B, L, C), got {tuple(features.shape)}")
    length = features.shape[1]
    steps = rule.steps(length, frames)
    if steps < 1 or length < 1:
        asked = "" if frames is None else f" for {frames} frames"
        raise InputError(
            f"the audio is too short: {length} speech features at {FEATURE_RATE:g} per second make no step{asked} "
            f"under rate rule {rule.kind!r} at {rule.fps:g} per second; use at least 0.1 s of audio"
        )
    if rule.kind in ("none", "pairs"):
        return features[:, :steps]
    index = torch.arange(steps, dtype=torch.float64, device=features.device)
    if rule.kind == "aligned":
        return _read(features, index * ((length - 1) / max(steps - 1, 1)))
    keep = length if frames is None else min(length, round(steps * FEATURE_RATE / (rule.keep_fps or rule.fps)))
    return _read(features[:, :keep], ((index + 0.5) * (keep / steps) - 0.5).clamp(min=0))


def _read(features: Tensor, place: Tensor) -> Tensor:
    """Linear reading at fractional places (S,), double precision, 0 at the first feature: (B, L, C) -> (B, S, C)."""
    last = features.shape[1] - 1
    left = place.floor().long().clamp(max=max(last - 1, 0))
    share = (place - left).clamp(max=1.0 if last else 0.0).to(features.dtype)[:, None]
    return torch.lerp(features[:, left], features[:, (left + 1).clamp(max=last)], share)
