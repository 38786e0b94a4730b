"""Every figure of a report: what it is called, how clips are pooled, and which way is better.

A clip's value is a mean, so that pooled values are weighted means of clips: by frames where the published scripts pool
frames, evenly by predictions where they pool sequences. Pictures keep their squared error; decibels come after pooling.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

PEAK = 255.0**2


@dataclass(frozen=True)
class Measure:
    """A column of a report."""

    name: str
    label: str
    unit: str = ""
    """Of the figure shown, for data in metres; squared and plain lengths of other data are in the data's own unit."""
    better: str = "low"
    """low, high, or near:X for a figure that should be X."""
    pool: str = "sequences"
    """frames or sequences: what weighs alike when clips are pooled."""
    scale: float = 1.0
    """Stored value -> figure shown, for data in metres."""
    digits: int = 3
    decibel: bool = False
    """Stored as a mean squared error, shown as a peak signal-to-noise ratio."""
    length: bool = False
    """Scaled by `scale` only where data is in metres."""

    def shown(self, pooled: Any, unit: str = "m") -> Any:
        """Pooled stored values (...,) as shown."""
        if self.decibel:
            return 10 * np.log10(PEAK / np.maximum(pooled, 1e-12))
        return pooled * (self.scale if unit == "m" or not self.length else 1.0)

    def unit_in(self, unit: str) -> str:
        """The unit of the figure shown for data in `unit`."""
        if unit == "m" or not self.length:
            return self.unit
        return "data units²" if self.unit.endswith("²") else "data units"

    def stored_unit(self, unit: str) -> str:
        """The unit of the values stored for each clip, for data in `unit`."""
        if self.decibel:
            return "mean squared error of bytes"
        if unit != "m" or not self.length:
            return self.unit_in(unit)
        return "m²" if self.unit.endswith("²") else "m"

    def digits_in(self, unit: str) -> int:
        """Decimals of the figure shown for data in `unit`; the size of other units is not known."""
        return self.digits if unit == "m" or not self.length else 6

    def badness(self, shown: Any) -> Any:
        """Figures as numbers of which the smaller is the better."""
        if self.better.startswith("near:"):
            return np.abs(shown - float(self.better[5:]))
        return shown if self.better == "low" else -shown


def _length(name: str, label: str, unit: str, scale: float, pool: str = "frames", **rest: Any) -> Measure:
    return Measure(name, label, unit, pool=pool, scale=scale, length=True, **rest)


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        _length("lip_mm", "lip vertex error (worst lip vertex, mean over frames)", "mm", 1e3, digits=2),
        _length("lip_error", "lip vertex error (worst lip vertex, mean over frames)", "mm", 1e3),
        _length("lve", "LVE (squared, as CodeTalker)", "1e-5 m²", 1e5),
        _length("mve", "MVE, mean vertex error", "mm", 1e3),
        _length("fdd", "FDD, upper face (signed)", "1e-7 m²", 1e7, "sequences", better="near:0"),
        _length("abs_fdd", "FDD, upper face (absolute)", "1e-7 m²", 1e7, "sequences"),
        Measure("lip_dynamics", "lip dynamics (correlation of speeds)", better="high"),
        Measure("jitter", "jitter, relative to the truth", better="near:1"),
        Measure("silence_motion", "motion in silence over motion in speech"),
        Measure("closure", "lips closed on p, b, m", better="high"),
        Measure("audio_lag", "lag of the mouth behind loudness (absolute)", "frames", digits=2),
        Measure("audio_correlation", "correlation of mouth opening and loudness", better="high"),
        Measure("style_distance", "style distance to the speaker"),
        Measure("style_hit", "style points at the speaker", better="high"),
        _length("diversity", "diversity over styles", "mm", 1e3, "sequences", better="high"),
        Measure("psnr", "texture PSNR", "dB", better="high", digits=2, decibel=True),
        Measure("psnr_moving", "texture PSNR in moving regions", "dB", better="high", digits=2, decibel=True),
        Measure("ssim", "texture SSIM", better="high", digits=4),
        Measure("ssim_moving", "texture SSIM in moving regions", better="high", digits=4),
        Measure("lpips", "texture LPIPS (VGG16)", digits=4),
    )
}
"""In the order of tables."""
