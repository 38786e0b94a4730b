"""Every figure of a report: what it is called, how clips are pooled, which way is better, and how a clip is measured.

A clip's value is a mean, so that pooled values are weighted means of clips: by frames where the published scripts pool
frames, evenly by predictions where they pool sequences. Pictures keep their squared error; decibels come after pooling.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from parlante import metrics

if TYPE_CHECKING:
    from parlante.evaluation.clips import Case, Prediction

PEAK = 255.0**2
MOVING = 0.02
"""A texel moves where its true colour leaves the skin at rest by more than this share in some judged frame."""


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
        return self.unit if unit == "m" or not self.length else "data units"

    def digits_in(self, unit: str) -> int:
        """Decimals of the figure shown for data in `unit`; what the size of a data unit is, nobody knows."""
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
OF_MOTION_ALONE = ("silence_motion", "closure", "audio_lag", "audio_correlation", "style_distance", "style_hit")
"""Measures that the truth itself can be given."""


def measured(case: "Case", made: "Prediction", *, alone: bool = False) -> dict[str, float]:
    """Stored values of one prediction of a clip; what cannot be measured is left out.

    alone: only those that need no truth beside the prediction.
    """
    frames = min(len(made.vertices), len(case.vertices))
    p, t = made.vertices[:frames], case.vertices[:frames]
    found = _alone(case, p, frames)
    if not alone:
        found |= _against(case, p, t)
        if case.pictures is not None and made.picture is not None:
            found |= _pictures(case, made, frames)
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def _against(case: "Case", p: NDArray[Any], t: NDArray[Any]) -> dict[str, float]:
    rules = case.rules
    found = {"mve": metrics.mean_vertex_error([p], [t], rules.skin)}
    if rules.lips is not None:
        found["lip_mm"] = metrics.frame_lip_error(p, t, rules.lips).mean()
        found["lve"] = metrics.lip_vertex_error_m2([p], [t], rules.lips)
        if len(p) > 1:
            found["lip_dynamics"] = metrics.lip_dynamics(p, t, rules.lips)
    if rules.upper is not None:
        found["fdd"] = metrics.upper_face_dynamics_deviation([p], [t], [case.neutral], rules.upper)
        found["abs_fdd"] = abs(found["fdd"])
    if len(p) >= 4:
        own, true = (metrics.temporal_jitter(rules.of_skin(m), case.fps) for m in (p, t))
        found["jitter"] = own / true if true > 0 else np.nan
    return found


def _alone(case: "Case", p: NDArray[Any], frames: int) -> dict[str, float]:
    rules, found = case.rules, {}
    if case.silent is not None and len(p) > 1:
        found["silence_motion"] = metrics.silence_motion_ratio(rules.of_skin(p), case.silent[:frames])
    opening = rules.opening(p)
    if opening is not None:
        if np.ptp(opening) > 0:
            lag, correlation = metrics.lag_and_correlation(opening, case.loudness[:frames])
            found |= {"audio_lag": abs(lag), "audio_correlation": correlation}
        if case.bilabials:
            found["closure"] = metrics.closure_recall(opening, case.bilabials, case.fps)
    if len(case.styles) > 1 and case.subject in case.styles:
        own = metrics.style_vector(rules.of_skin(p), rules.of_skin(case.neutral))
        apart = {name: metrics.style_distance(own, style) for name, style in case.styles.items()}
        found["style_distance"] = apart[case.subject]
        found["style_hit"] = float(min(apart, key=lambda name: apart[name]) == case.subject)
    return found


def _pictures(case: "Case", made: "Prediction", frames: int) -> dict[str, float]:
    assert case.pictures is not None and made.picture is not None and case.rest is not None
    lists: dict[str, list[float]] = {}
    moving = case.moving
    inside = metrics.without_border(moving, metrics.BORDER)
    for frame, true in case.pictures.items():
        if frame >= frames:
            continue
        picture = made.picture(frame)
        error = np.square(picture.astype(np.float64) - true.astype(np.float64))
        similarity = metrics.ssim_map(picture, true)
        values = {"psnr": error.mean(), "ssim": similarity.mean()}
        if moving.any():
            values["psnr_moving"] = error[moving].mean()
        if inside.any():
            values["ssim_moving"] = similarity[inside].mean()
        if case.lpips is not None:
            values["lpips"] = case.lpips(picture, true)
        for name, value in values.items():
            lists.setdefault(name, []).append(float(value))
    return {name: float(np.mean(values)) for name, values in lists.items()}
