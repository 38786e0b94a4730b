"""Speaker profiles: the numbers that make one synthetic speaker move unlike another. Known truth for measuring
style."""

import hashlib
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SpeakerProfile:
    """How a person moves when speaking. Gains are factors on the common articulation; 1 is the average speaker."""

    jaw_gain: float = 1.0
    """How far the jaw opens."""
    lip_gain: float = 1.0
    """How far the lips spread, rise and fall."""
    protrusion: float = 1.0
    """How far the lips pucker."""
    press: float = 1.0
    """How hard the lips press together in p, b, m."""
    asymmetry: float = 0.0
    """-1..1; positive: the left half of the mouth moves more."""
    lead_s: float = 0.0
    """Seconds by which vowels and rounding run ahead of the audio; closures stay on time."""
    smile: float = 0.0
    """Resting smile (negative: frown), weight of the mouth corners."""
    upper_face: float = 1.0
    """Brow energy."""
    blink_rate: float = 0.3
    """Blinks per second."""
    head_motion: float = 1.0
    """Amplitude of nods and sway."""
    gaze_motion: float = 1.0
    """Amplitude of glances."""
    wrinkle_depth: float = 1.0
    """Contrast of wrinkles."""

    def __post_init__(self) -> None:
        for field in fields(self):
            low, high = RANGES[field.name]
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise ValueError(f"SpeakerProfile.{field.name} must lie in {low}..{high}, got {value}")

    @classmethod
    def random(cls, rng: np.random.Generator) -> "SpeakerProfile":
        """A speaker drawn from a wide population: gains log-uniform, the rest uniform."""

        def gain(low: float, high: float) -> float:
            return float(np.exp(rng.uniform(np.log(low), np.log(high))))

        return cls(
            jaw_gain=gain(0.6, 1.5),
            lip_gain=gain(0.6, 1.5),
            protrusion=gain(0.6, 1.5),
            press=gain(0.5, 2.0),
            asymmetry=float(rng.uniform(-0.6, 0.6)),
            lead_s=float(rng.uniform(-0.02, 0.03)),
            smile=float(rng.uniform(-0.08, 0.18)),
            upper_face=gain(0.35, 2.2),
            blink_rate=gain(0.15, 0.6),
            head_motion=gain(0.35, 2.0),
            gaze_motion=gain(0.4, 1.6),
            wrinkle_depth=gain(0.5, 1.8),
        )

    def vector(self) -> NDArray[np.float32]:
        """(len(NAMES),) float32 in the order of NAMES."""
        return np.array([getattr(self, name) for name in NAMES], np.float32)

    @classmethod
    def from_vector(cls, values: NDArray[np.floating]) -> "SpeakerProfile":
        """Inverse of `vector`. Raises ValueError if the length is not len(NAMES)."""
        if np.shape(values) != (len(NAMES),):
            raise ValueError(f"a profile is {len(NAMES)} numbers ({', '.join(NAMES)}), got shape {np.shape(values)}")
        return cls(**{name: float(value) for name, value in zip(NAMES, values, strict=True)})


RANGES: dict[str, tuple[float, float]] = {
    "jaw_gain": (0.0, 3.0),
    "lip_gain": (0.0, 3.0),
    "protrusion": (0.0, 3.0),
    "press": (0.0, 4.0),
    "asymmetry": (-1.0, 1.0),
    "lead_s": (-0.1, 0.1),
    "smile": (-0.5, 0.5),
    "upper_face": (0.0, 4.0),
    "blink_rate": (0.0, 2.0),
    "head_motion": (0.0, 4.0),
    "gaze_motion": (0.0, 4.0),
    "wrinkle_depth": (0.0, 4.0),
}
"""Allowed values of each field."""
NAMES: tuple[str, ...] = tuple(field.name for field in fields(SpeakerProfile))
"""Fields in the order of `SpeakerProfile.vector`."""
NEUTRAL = SpeakerProfile()
"""The average speaker."""


def profile_of(identity: str) -> SpeakerProfile:
    """The profile that belongs to an embedded identity, fixed by its name: what "in the style of NAME" means."""
    return SpeakerProfile.random(np.random.default_rng(stable_number("manner", identity)))


def stable_number(*parts: object) -> int:
    """63 bits that depend on `parts` alone."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
