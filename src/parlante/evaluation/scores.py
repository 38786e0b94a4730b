"""The figures of one prediction of one clip."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante import metrics
from parlante.evaluation.clip import EvalClip, Prediction

PictureDistance = Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]
"""Two pictures (h, w, 3) -> how far apart they look."""


def scores(clip: EvalClip, prediction: Prediction, *, lpips: PictureDistance | None = None) -> dict[str, float]:
    """Measure -> value of one prediction, as `measures` stores it; what cannot be measured is left out."""
    frames = min(len(prediction.vertices), len(clip.vertices))
    predicted, true = prediction.vertices[:frames], clip.vertices[:frames]
    found = _of_motion(clip, predicted) | _against_truth(clip, predicted, true)
    if clip.pictures is not None and prediction.picture is not None:
        found |= _of_pictures(clip, prediction, frames, lpips)
    return _finite(found)


def scores_of_truth(clip: EvalClip) -> dict[str, float]:
    """The measures that need no truth beside the motion, of the truth itself."""
    return _finite(_of_motion(clip, clip.vertices))


def _finite(found: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def _against_truth(clip: EvalClip, predicted: NDArray[Any], true: NDArray[Any]) -> dict[str, float]:
    rules = clip.rules
    found = {"mve": metrics.mean_vertex_error([predicted], [true], rules.skin)}
    if rules.lips is not None:
        found["lip_mm" if rules.unit == "m" else "lip_error"] = metrics.frame_lip_error(
            predicted, true, rules.lips
        ).mean()
        found["lve"] = metrics.lip_vertex_error_m2([predicted], [true], rules.lips)
        if len(predicted) > 1:
            found["lip_dynamics"] = metrics.lip_dynamics(predicted, true, rules.lips)
    if rules.upper is not None:
        found["fdd"] = metrics.upper_face_dynamics_deviation([predicted], [true], [clip.neutral], rules.upper)
        found["abs_fdd"] = abs(found["fdd"])
    if len(predicted) >= 4:
        own, wanted = (metrics.temporal_jitter(rules.of_skin(m), clip.fps) for m in (predicted, true))
        found["jitter"] = own / wanted if wanted > 0 else np.nan
    return found


def _of_motion(clip: EvalClip, motion: NDArray[Any]) -> dict[str, float]:
    """What motion (T, V, 3) scores alone or beside the sound."""
    rules, found = clip.rules, {}
    frames = min(len(motion), len(clip.vertices))
    motion = motion[:frames]
    if clip.silent is not None and frames > 1:
        found["silence_motion"] = metrics.silence_motion_ratio(rules.of_skin(motion), clip.silent[:frames])
    opening = rules.mouth_opening(motion)
    if opening is not None:
        if np.ptp(opening) > 0:
            lag, correlation = metrics.lag_and_correlation(opening, clip.loudness[:frames])
            found |= {"audio_lag": abs(lag), "audio_correlation": correlation}
        if clip.bilabials:
            found["closure"] = metrics.closure_recall(opening, clip.bilabials, clip.fps)
    if len(clip.styles) > 1 and clip.subject in clip.styles:
        own = metrics.style_vector(rules.of_skin(motion), rules.of_skin(clip.neutral))
        distances = {name: metrics.style_distance(own, style) for name, style in clip.styles.items()}
        found["style_distance"] = distances[clip.subject]
        found["style_hit"] = float(min(distances, key=lambda name: distances[name]) == clip.subject)
    return found


def _of_pictures(
    clip: EvalClip, prediction: Prediction, frames: int, lpips: PictureDistance | None
) -> dict[str, float]:
    assert clip.pictures is not None and prediction.picture is not None
    lists: dict[str, list[float]] = {}
    moving = clip.moving
    inside = metrics.without_border(moving, metrics.BORDER)
    for frame, true in clip.pictures.items():
        if frame >= frames:
            continue
        picture = prediction.picture(frame)
        error = np.square(picture.astype(np.float64) - true.astype(np.float64))
        similarity = metrics.ssim_map(picture, true)
        values = {"psnr": error.mean(), "ssim": similarity.mean()}
        if moving.any():
            values["psnr_moving"] = error[moving].mean()
        if inside.any():
            values["ssim_moving"] = similarity[inside].mean()
        if lpips is not None:
            values["lpips"] = lpips(picture, true)
        for name, value in values.items():
            lists.setdefault(name, []).append(float(value))
    return {name: float(np.mean(values)) for name, values in lists.items()}


def load_lpips(path: Any) -> PictureDistance:
    """LPIPS from a file of weights. Raises InputError if it cannot be read."""
    import torch

    from parlante.losses.perceptual import LPIPS

    network = LPIPS.from_file(path)

    def distance(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
        pair = [torch.from_numpy(np.array(p, np.float32) / 255).permute(2, 0, 1)[None] for p in (image, other)]
        with torch.inference_mode():
            return float(network(*pair))

    return distance
