"""SynthTalk as TexTalker sees it: truths as maps, clips of the seen subjects, and scores of what is made of them (no
command)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from parlante import metrics
from parlante.audio.encoders.phonetic import PhoneticEncoder
from parlante.core import Clip, Style
from parlante.data.datasets.synthtalk import SynthTalk
from parlante.geometry.uv import MotionStats
from parlante.geometry.uv.ratio import apply_ratio
from parlante.head import load_head
from parlante.models.textalker.model import TexTalker
from parlante.training.features.maps import FaceMaps


@dataclass(frozen=True, eq=False)
class FaceMotion:
    """Motion and wrinkles of one clip."""

    offsets: NDArray[np.float32]
    """(T, V, 3) metres from neutral."""
    wrinkle: NDArray[np.float32]
    """(T, h, w, 3) maps, 0..1."""


class TexTalkerData:
    """A SynthTalk corpus with a TexTalker and the phonetic encoder."""

    def __init__(self, root: Path | str, talker: TexTalker) -> None:
        self.corpus, self.talker = SynthTalk(root), talker
        self.encoder = PhoneticEncoder.from_pretrained()
        self.faces = FaceMaps(
            load_head(),
            self.corpus.subjects,
            motion_size=talker.config.motion.img_size,
            wrinkle_size=talker.config.wrinkle.img_size,
            stats=MotionStats.from_dict(talker.config.stats),
        )
        self._albedo: dict[str, NDArray[np.uint8]] = {}

    @torch.inference_mode()
    def encode_audio(self, audio: NDArray[np.float32]) -> torch.Tensor:
        """(1, S, D) speech features of audio (N,) at 16 kHz."""
        return self.encoder(torch.from_numpy(audio)[None])

    def truth(self, clip: Clip) -> FaceMotion:
        """What the clip really does."""
        weights = clip.known_weights()
        wrinkle = self.faces.wrinkle(clip.subject, weights).permute(0, 2, 3, 1).numpy()
        return FaceMotion(self.faces.offsets(clip.subject, weights), wrinkle)

    @torch.inference_mode()
    def style_and_mean(self, clips: Sequence[Clip], every: int = 3) -> tuple[Style, FaceMotion]:
        """Style pivots of a subject (mean latents) and its mean face, from some of its clips."""
        subject = clips[0].subject
        weights = np.concatenate([clip.known_weights()[::every] for clip in clips])
        pieces = np.array_split(weights, len(clips))
        latents = []
        for kind, model in (("motion", self.talker.motion), ("wrinkle", self.talker.wrinkle)):
            maps = [model.encode(self.faces.make(kind, subject, piece)) for piece in pieces]
            latents.append(torch.cat(maps).mean(0).numpy())
        means = [self.faces.wrinkle(subject, piece).mean(0).permute(1, 2, 0).numpy() for piece in pieces]
        offsets = self.faces.offsets(subject, weights.mean(0, keepdims=True))
        return Style(latents[0], latents[1], subject), FaceMotion(offsets, np.mean(means, axis=0)[None])

    def albedo(self, subject: str) -> NDArray[np.uint8]:
        """(h, w, 3) skin of a subject at the size of the wrinkle maps."""
        if subject not in self._albedo:
            albedo, size = self.corpus.identity(subject).albedo, self.faces.wrinkle_size
            self._albedo[subject] = np.asarray(Image.fromarray(albedo).resize((size, size), Image.Resampling.BOX))
        return self._albedo[subject]


Predict = Callable[[Clip, torch.Tensor], FaceMotion]
"""(clip, speech features (1, S, D)) -> what a model makes of it."""


class SeenClips:
    """Up to `count` clips of test_seen, spread over the subjects named `styles`."""

    def __init__(self, data: TexTalkerData, styles: tuple[str, ...], count: int) -> None:
        self.data = data
        infos = enumerate(data.corpus.clips)
        numbers = [k for k, info in infos if info.split == "test_seen" and info.subject in styles]
        if not numbers:
            raise SystemExit("the corpus has no test_seen clips of the model's subjects")
        chosen = [numbers[int(k)] for k in np.linspace(0, len(numbers) - 1, min(count, len(numbers)))]
        self.clips = [data.corpus[k] for k in chosen]
        self.truths = [data.truth(clip) for clip in self.clips]
        self.features = [data.encode_audio(clip.audio) for clip in self.clips]
        self.lips = data.faces.topology.regions["lips"]
        self.frames = sum(len(truth.offsets) for truth in self.truths)

    def score(self, predict: Predict) -> dict[str, float]:
        """Worst lip vertex, mean over frames, mm; PSNR of every fourth frame's coloured skin, dB."""
        lips, colours = [], []
        for clip, truth, features in zip(self.clips, self.truths, self.features, strict=True):
            made = predict(clip, features)
            count = min(len(made.offsets), len(truth.offsets))
            lips.append(metrics.lip_vertex_error_mm([made.offsets[:count]], [truth.offsets[:count]], self.lips))
            skins = [self._skin(clip.subject, x.wrinkle[:count]) for x in (made, truth)]
            colours.append(metrics.psnr(*skins))
        return {"lip_mm": float(np.mean(lips)), "psnr_db": float(np.mean(colours))}

    def _skin(self, subject: str, wrinkle: NDArray[np.float32]) -> NDArray[np.uint8]:
        return np.stack([apply_ratio(self.data.albedo(subject), frame) for frame in wrinkle[::4]])
