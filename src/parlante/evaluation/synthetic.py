"""Against known truth: SynthTalk's Test-A (seen subjects, unseen sentences) and Test-B (unseen subjects).

Motion and wrinkles are judged as the model makes them, without the liveliness layer. Two baselines stand in the same
table: the neutral face, and the subject's mean face (the mean of the clips its style pivot was taken from).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parlante import metrics
from parlante.audio.encoders.phonetic import PhoneticEncoder
from parlante.core import Clip, Style
from parlante.core.timing import num_frames
from parlante.data.datasets.synthtalk import SynthTalk
from parlante.geometry.uv import MotionStats, offsets_from_maps
from parlante.geometry.uv.ratio import apply_ratio
from parlante.models.textalker.model import TexTalker
from parlante.training.features.maps import FaceMaps

PREDICTORS = ("TexTalker", "mean motion", "neutral face")
MOVING = 0.02
"""A texel moves where its true ratio leaves 1 by more than this in some frame of the clip."""


@dataclass(frozen=True, eq=False)
class Made:
    """Motion and wrinkles of one clip."""

    offsets: NDArray[np.float32]
    """(T, V, 3) metres from neutral."""
    wrinkle: NDArray[np.float32]
    """(T, h, w, 3) maps, 0..1."""


class Bench:
    """Model, encoder and corpus, joined: truth and prediction of any clip."""

    def __init__(self, corpus: SynthTalk, talker: TexTalker, encoder: PhoneticEncoder) -> None:
        from parlante.head import load_head

        self.corpus, self.talker, self.encoder = corpus, talker, encoder
        stats = MotionStats.from_dict(talker.config.stats)
        sizes = talker.config.motion.img_size, talker.config.wrinkle.img_size
        self.faces = FaceMaps(load_head(), corpus.subjects, motion_size=sizes[0], wrinkle_size=sizes[1], stats=stats)
        self._albedo: dict[str, NDArray[np.uint8]] = {}

    def truth(self, take: Clip) -> Made:
        """What the clip really does."""
        weights = take.known_weights()
        wrinkle = self.faces.wrinkle(take.subject, weights).permute(0, 2, 3, 1).numpy()
        return Made(self.faces.offsets(take.subject, weights), wrinkle)

    @torch.inference_mode()
    def predict(self, take: Clip, style: Style, seed: int = 0) -> Made:
        """What the model makes of the clip's audio in a style."""
        features = self.encoder(torch.from_numpy(take.audio)[None])
        frames = num_frames(len(take.audio), self.corpus.sample_rate, self.talker.config.fps)
        generator = torch.Generator().manual_seed(seed)
        offsets, wrinkle = [], []
        for window in self.talker.generate(features, style, frames, generator=generator):
            assert window.wrinkle is not None
            offsets.append(offsets_from_maps(window.motion[0], self.faces.table, self.faces.stats))
            wrinkle.append(window.wrinkle[0].permute(0, 2, 3, 1))
        return Made(torch.cat(offsets).numpy(), torch.cat(wrinkle).numpy())

    @torch.inference_mode()
    def reference(self, takes: Sequence[Clip], every: int = 3) -> tuple[Style, Made]:
        """Style pivots of a subject (mean latents) and its mean face, from some of its clips."""
        subject = takes[0].subject
        curves = np.concatenate([take.known_weights()[::every] for take in takes])
        latents = []
        for kind, model in (("motion", self.talker.motion), ("wrinkle", self.talker.wrinkle)):
            maps = [model.encode(self.faces.make(kind, subject, piece)) for piece in np.array_split(curves, len(takes))]
            latents.append(torch.cat(maps).mean(0).numpy())
        wrinkle = np.mean(
            [
                self.faces.wrinkle(subject, piece).mean(0).permute(1, 2, 0).numpy()
                for piece in np.array_split(curves, len(takes))
            ],
            axis=0,
        )
        mean = Made(self.faces.offsets(subject, curves.mean(0, keepdims=True)), wrinkle[None])
        return Style(latents[0], latents[1], subject), mean

    def albedo(self, subject: str) -> NDArray[np.uint8]:
        """(h, w, 3) skin of a subject at the size of the wrinkle maps."""
        if subject not in self._albedo:
            from PIL import Image

            identity = self.faces.head.identity(self.faces.identity(subject))
            size = self.faces.wrinkle_size
            self._albedo[subject] = np.asarray(
                Image.fromarray(identity.albedo).resize((size, size), Image.Resampling.BOX)
            )
        return self._albedo[subject]


def split_table(
    bench: Bench, split: str, clips: int, references: int = 3, progress: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Every metric for every predictor on up to `clips` clips of `split`, spread evenly over its subjects.

    A subject's pivot comes from `references` clips that are not judged: training clips where it has them, else
    clips of the split itself, which are then left out.
    """
    by_subject: dict[str, list[int]] = defaultdict(list)
    training: dict[str, list[int]] = defaultdict(list)
    for index, info in enumerate(bench.corpus.clips):
        if info.split == split:
            by_subject[info.subject].append(index)
        elif info.split == "train":
            training[info.subject].append(index)
    scores: dict[str, dict[str, list[Any]]] = {name: defaultdict(list) for name in PREDICTORS}
    per_subject = max(1, clips // max(1, len(by_subject)))
    done = 0
    regions = bench.faces.topology.regions
    for subject in sorted(by_subject):
        if done >= clips:
            break
        own = by_subject[subject]
        given = training.get(subject, [])[:references] or own[-references:]
        judged = [index for index in own if index not in given][: min(per_subject, clips - done)]
        style, mean = bench.reference([bench.corpus[index] for index in given])
        for index in judged:
            take = bench.corpus[index]
            if progress:
                progress(take.key)
            truth, made = bench.truth(take), bench.predict(take, style)
            frames = len(truth.offsets)
            candidates = {
                "TexTalker": made,
                "mean motion": Made(np.repeat(mean.offsets, frames, 0), np.repeat(mean.wrinkle, frames, 0)),
                "neutral face": Made(np.zeros_like(truth.offsets), np.full_like(truth.wrinkle, np.tanh(0.5))),
            }
            for name, candidate in candidates.items():
                _score(scores[name], candidate, truth, bench.albedo(subject), regions)
            done += 1
    return {name: _summary(lists) for name, lists in scores.items()} | {"clips": done, "subjects": len(by_subject)}


def _score(
    lists: dict[str, list[Any]], made: Made, truth: Made, albedo: NDArray[np.uint8], regions: Any, every: int = 4
) -> None:
    skin, upper = regions["skin"], regions["upper_face"]
    frames = min(len(made.offsets), len(truth.offsets))
    p, t = made.offsets[:frames], truth.offsets[:frames]
    lists["lip"].append(metrics.frame_lip_error(p, t, regions["lips"]))
    lists["lve"].append(metrics.lip_vertex_error_m2([p], [t], regions["lips"]))
    lists["mean"].append(np.linalg.norm(p[:, skin] - t[:, skin], axis=-1).mean(-1))
    rest = np.zeros_like(t[0])
    lists["fdd"].append(metrics.upper_face_dynamics_deviation([p], [t], [rest], upper))
    moving = np.abs(np.log(np.arctanh(truth.wrinkle[:frames].clip(0, 0.9999)) * 2)).max((0, 3)) > MOVING
    inside = metrics.without_border(moving, metrics.BORDER)
    lists["moving"].append(moving.mean())
    for frame in range(0, frames, every):
        picture, true = (apply_ratio(albedo, which.wrinkle[frame]) for which in (made, truth))
        error = np.square(picture.astype(np.float64) - true.astype(np.float64))
        lists["mse"].append(error.mean())
        lists["mse_moving"].append(error[moving].mean() if moving.any() else 0.0)
        similarity = metrics.ssim_map(picture, true)
        lists["ssim"].append(similarity.mean())
        lists["ssim_moving"].append(similarity[inside].mean() if inside.any() else 1.0)


def _summary(lists: dict[str, list[Any]]) -> dict[str, float]:
    if not lists:
        return {}
    lip = np.concatenate(lists["lip"])

    def decibel(errors: list[float]) -> float:
        return float(10 * np.log10(255.0**2 / max(float(np.mean(errors)), 1e-12)))

    return {
        "lip_vertex_error_mm": float(1000 * lip.mean()),
        "lve_1e-5_m2": float(1e5 * np.average(lists["lve"], weights=[len(frames) for frames in lists["lip"]])),
        "mean_vertex_error_mm": float(1000 * np.concatenate(lists["mean"]).mean()),
        "fdd_1e-7_m2": float(1e7 * np.mean(lists["fdd"])),
        "abs_fdd_1e-7_m2": float(1e7 * np.mean(np.abs(lists["fdd"]))),
        "psnr_db": decibel(lists["mse"]),
        "psnr_moving_db": decibel(lists["mse_moving"]),
        "ssim": float(np.mean(lists["ssim"])),
        "ssim_moving": float(np.mean(lists["ssim_moving"])),
        "moving_share": float(np.mean(lists["moving"])),
    }
