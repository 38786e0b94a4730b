"""What one half of a face says of the other: wrinkles given motion, motion given wrinkles, on SynthTalk's test_seen.

python benchmarks/completion.py --corpus corpora/synthtalk --clips 4
PSNR of moving skin is that of `parlante evaluate`, on every fourth frame; a texel moves where its true ratio leaves 1
by more than 2 % in some frame. Pivots come from three training clips of each subject.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from synthtalk_clips import TexTalkerData
from torch import Tensor

from parlante import metrics
from parlante.core import Style
from parlante.evaluation.evaluation import MOVING
from parlante.geometry.uv import apply_ratio, offsets_from_maps
from parlante.models.textalker.completion import complete_latents
from parlante.models.textalker.model import LatentWindow, TexTalker

EVERY = 4
STEPS = (2, 8, 16)


class TrueClip:
    """Truth of one clip, and how near an answer comes."""

    def __init__(self, data: TexTalkerData, number: int, training: list[int]) -> None:
        self.data, clip = data, data.corpus[number]
        self.style, self.mean = data.style_and_mean([data.corpus[index] for index in training])
        truth = data.truth(clip)
        self.offsets, self.wrinkle = truth.offsets, truth.wrinkle
        self.features = data.encode_audio(clip.audio)
        self.albedo = data.albedo(clip.subject)
        self.latents = {
            kind: torch.cat(
                [
                    getattr(data.talker, kind).encode(data.faces.make(kind, clip.subject, piece))
                    for piece in np.array_split(clip.weights, max(1, len(clip.weights) // 30))
                ]
            )
            for kind in ("motion", "wrinkle")
        }
        self.moving = np.abs(np.log(np.arctanh(self.wrinkle.clip(0, 0.9999)) * 2)).max((0, 3)) > MOVING

    def skin(self, maps: NDArray[np.floating]) -> tuple[float, float]:
        """Mean squared error of moving skin for maps (T / EVERY, h, w, 3), and of its change in EVERY frames."""
        true = np.stack([apply_ratio(self.albedo, w)[self.moving] for w in self.wrinkle[::EVERY]]).astype(float)
        made = np.stack([apply_ratio(self.albedo, w)[self.moving] for w in maps]).astype(float)
        return float(np.square(made - true).mean()), float(np.square(np.diff(made - true, axis=0)).mean())

    def decoded(self, latents: Tensor) -> NDArray[np.float32]:
        return self.data.talker.decode_wrinkle(latents[::EVERY]).permute(0, 2, 3, 1).numpy()

    def motion(self, latents: Tensor) -> tuple[float, float]:
        """Mean distance of skin vertices and mean worst lip distance, mm."""
        maps = self.data.talker.decode_motion(latents)
        return self.distance(offsets_from_maps(maps, self.data.faces.table, self.data.faces.stats).numpy())

    def distance(self, offsets: NDArray[np.float32]) -> tuple[float, float]:
        regions = self.data.faces.topology.regions
        skin = np.linalg.norm((offsets - self.offsets)[:, regions["skin"]], axis=-1).mean()
        return float(1e3 * skin), float(1e3 * metrics.frame_lip_error(offsets, self.offsets, regions["lips"]).mean())


def halves(windows: Iterable[LatentWindow]) -> tuple[Tensor, Tensor]:
    """Motion and wrinkle latents of all windows, (T, C, h, w)."""
    made = list(windows)
    return torch.cat([w.motion[0] for w in made]), torch.cat([w.wrinkle[0] for w in made])


def seed() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", default="corpora/synthtalk")
    parser.add_argument("--clips", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    begun = time.process_time()
    talker = TexTalker.from_pretrained()
    data = TexTalkerData(options.corpus, talker)
    test, training = defaultdict(list), defaultdict(list)
    for index, info in enumerate(data.corpus.clips):
        {"test_seen": test, "train": training}.get(info.split, defaultdict(list))[info.subject].append(index)
    subjects = sorted(test)[:: max(1, len(test) // options.clips)][: options.clips]
    skin: dict[str, list[tuple[float, float]]] = defaultdict(list)
    motion: dict[str, list[tuple[float, float]]] = defaultdict(list)
    seconds: dict[str, float] = defaultdict(float)
    frames = 0
    with torch.inference_mode():
        for subject in subjects:
            clip = TrueClip(data, test[subject][0], training[subject][:3])
            style: Style = clip.style
            count = len(clip.offsets)
            frames += count
            still = np.repeat(clip.mean.wrinkle, -(-count // EVERY), 0)
            skin["static: mean of training clips"].append(clip.skin(still))
            skin["static: neutral"].append(clip.skin(np.full_like(still, np.tanh(0.5))))
            motion["static: mean of training clips"].append(clip.distance(np.repeat(clip.mean.offsets, count, 0)))
            spoken = halves(talker.latents(clip.features, style, count, generator=seed()))
            skin["speech only, as shipped"].append(clip.skin(clip.decoded(spoken[1])))
            motion["speech only, as shipped"].append(clip.motion(spoken[0]))
            for how, features in (("with speech", clip.features), ("alone", None)):
                for steps in STEPS:
                    start = time.process_time()
                    made = halves(
                        complete_latents(
                            talker, "motion", clip.latents["motion"], style, features, steps=steps, generator=seed()
                        )
                    )
                    seconds[f"{steps} steps"] += (time.process_time() - start) / 2
                    skin[f"motion {how}, {steps} steps"].append(clip.skin(clip.decoded(made[1])))
                    made = halves(
                        complete_latents(
                            talker, "wrinkle", clip.latents["wrinkle"], style, features, steps=steps, generator=seed()
                        )
                    )
                    motion[f"wrinkles {how}, {steps} steps"].append(clip.motion(made[0]))
            skin["ceiling: autoencoder alone"].append(clip.skin(clip.decoded(clip.latents["wrinkle"])))
            motion["ceiling: autoencoder alone"].append(clip.motion(clip.latents["motion"]))
    figures: dict[str, float] = {"clips": len(subjects), "frames": frames}
    print("wrinkles                          PSNR of moving skin, dB    of its change, dB")
    for name, errors in skin.items():
        level, change = (10 * np.log10(255**2 / np.mean(column)) for column in zip(*errors))
        figures[f"skin, {name}"] = level
        print(f"  {name:<34}{level:>8.2f}{change:>22.2f}")
    print("motion                            mean skin vertex, mm       worst lip vertex, mm")
    for name, distances in motion.items():
        mean, lips = (float(np.mean(column)) for column in zip(*distances))
        figures |= {f"mean mm, {name}": mean, f"lips mm, {name}": lips}
        print(f"  {name:<34}{mean:>8.3f}{lips:>22.3f}")
    for name, spent in seconds.items():
        print(f"{name}: {1e3 * spent / frames:.2f} ms of processor a frame")
    print(f"{time.process_time() - begun:.0f} s of processor in all")
    print(json.dumps({key: round(float(value), 3) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
