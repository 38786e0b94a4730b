"""TexTalker's ablation table on SynthTalk, from nothing: joint or separate, two codebooks or one, pivots or one-hot.

    python benchmarks/ablations.py --corpus CORPUS [--out FOLDER] [--vq-updates 600] [--updates 1000]

Trains three small autoencoders (motion, wrinkles, both in one) and then every variant for the same number of updates,
one thread, all with codes at inference, as published. A stage that is done in --out is not done again, so the command
can be interrupted, and `--only NAME` runs one variant. Judged on test_seen: lip vertex error (worst lip vertex, mean
over frames, mm) and PSNR of the coloured skin (every fourth frame, dB). Small budgets rank noisily: --seeds says how
often each variant is trained; the table, printed row by row, gives mean and range. The last line is JSON.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch
from synthtalk_clips import FaceMotion, SeenClips, TexTalkerData

from parlante.cli import train
from parlante.core import Clip
from parlante.core.timing import num_frames
from parlante.geometry.uv import offsets_from_maps
from parlante.models.textalker.model import TexTalker

RECIPES = Path(__file__).parents[1] / "recipes" / "textalker"
KINDS = ("motion", "wrinkle")
VARIANTS: dict[str, dict[str, tuple[str, ...]]] = {
    "joint, two codebooks, pivots": {"both": ()},
    "separate models": {"motion": ("scheme.outputs=motion",), "wrinkle": ("scheme.outputs=wrinkle",)},
    "one codebook": {"both": ("one codebook",)},
    "one-hot styles": {"both": ("data.origin=mean",)},
}
"""Name of a row -> its models -> their changes of the recipe."""


class Trainings:
    """Trainings of one command, each in a folder of its own under `root`; a finished one is used again."""

    def __init__(self, root: Path, corpus: Path) -> None:
        self.root, self.corpus = root, corpus
        self.minutes: dict[str, float] = {}

    def export(self, name: str, recipe: str, *changes: str) -> Path:
        """The checkpoint of a training, made if it is not there."""
        folder = self.root / name
        done = sorted(folder.glob("*/export/config.json"))
        if not done:
            began = time.monotonic()
            changed = [f"data.corpus={self.corpus}", "loop.threads=1", "loop.accelerator=cpu", *changes]
            train.run(argparse.Namespace(recipe=RECIPES / f"{recipe}.yaml", set=changed, resume=None, out=folder))
            self.minutes[name] = (time.monotonic() - began) / 60
            done = sorted(folder.glob("*/export/config.json"))
        return done[-1].parent


def speak(talker: TexTalker, data: TexTalkerData, clip: Clip, features: torch.Tensor) -> FaceMotion:
    """What a model makes of a clip with its own settings."""
    frames, generator = num_frames(len(clip.audio)), torch.Generator().manual_seed(0)
    windows = list(talker.generate(features, talker.style(clip.subject), frames, generator=generator))
    motion = torch.cat([w.motion[0] for w in windows])
    wrinkle = torch.cat([w.wrinkle[0] for w in windows if w.wrinkle is not None]).permute(0, 2, 3, 1)
    return FaceMotion(offsets_from_maps(motion, data.faces.table, data.faces.stats).numpy(), wrinkle.numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder written by `parlante synth`")
    parser.add_argument("--out", type=Path, default=Path("runs/ablations"))
    parser.add_argument("--vq-updates", type=int, default=600, help="of each of the three autoencoders")
    parser.add_argument("--updates", type=int, default=1000, help="of each model of a variant")
    parser.add_argument("--clips-per-subject", type=int, default=6, help="training clips of each subject")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each variant")
    parser.add_argument("--clips", type=int, default=12, help="judged clips")
    parser.add_argument("--steps", type=int, default=4, help="denoising steps at inference")
    parser.add_argument("--only", choices=list(VARIANTS), action="append", help="only this variant; may be repeated")
    options = parser.parse_args()
    torch.set_num_threads(1)
    trainings = Trainings(options.out, options.corpus)
    budget = (f"loop.max_steps={options.vq_updates}", f"loop.validate_every={options.vq_updates}")
    sides = ("model.img_size=128", "model.patch=8", *budget)
    clips: SeenClips | None = None
    rows = []
    print("| variant | lip error mm | range | skin dB | range |\n| --- | --- | --- | --- | --- |", flush=True)
    for name in options.only or list(VARIANTS):
        scores = []
        for seed in range(options.seeds):
            talkers = {}
            for part, changes in VARIANTS[name].items():
                if "one codebook" in changes:
                    own = dict.fromkeys(KINDS, trainings.export("joint_vqgan", "joint_vqgan", *budget))
                    changes = ()
                else:
                    own = {kind: trainings.export(f"{kind}_vqgan", f"{kind}_vqgan", *sides) for kind in KINDS}
                folder = trainings.export(
                    f"{name}, {part}, seed {seed}".replace(" ", "_").replace(",", ""),
                    "diffusion",
                    *(f"data.{kind}={own[kind]}" for kind in own),
                    f"data.cache={options.out / 'cache'}",
                    f"data.clips_per_subject={options.clips_per_subject}",
                    "data.num_augmentations=1",
                    "inference.quantise=true",
                    f"inference.steps={options.steps}",
                    f"loop.max_steps={options.updates}",
                    "loop.validate_every=200",
                    f"loop.warmup={options.updates // 10}",
                    f"loop.seed={seed}",
                    *changes,
                )
                talkers[part] = TexTalker.from_pretrained(folder)
            moving, skin = (talkers.get(kind, next(iter(talkers.values()))) for kind in ("motion", "wrinkle"))
            if clips is None:  # all variants share sizes, statistics and corpus
                data = TexTalkerData(options.corpus, moving)
                names = [subject for subject in moving.config.styles if not subject[-1].isdigit()]
                clips = SeenClips(data, tuple(names), options.clips)
            data = clips.data

            def predict(
                clip: Clip,
                features: torch.Tensor,
                moving: TexTalker = moving,
                skin: TexTalker = skin,
                data: TexTalkerData = data,
            ) -> FaceMotion:
                made = speak(moving, data, clip, features)
                return made if skin is moving else FaceMotion(made.offsets, speak(skin, data, clip, features).wrinkle)

            with torch.inference_mode():
                scores.append(clips.score(predict))
        rows.append({"variant": name, "scores": scores})
        lips, colours = ([score[key] for score in scores] for key in ("lip_mm", "psnr_db"))
        print(
            f"| {name} | {np.mean(lips):.3f} | {min(lips):.3f} to {max(lips):.3f} "
            f"| {np.mean(colours):.2f} | {min(colours):.2f} to {max(colours):.2f} |",
            flush=True,
        )
    spent = {name: round(minutes, 2) for name, minutes in trainings.minutes.items()}
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}
    sizes = dataclasses.asdict(talkers[part].config.denoiser)
    print(json.dumps({"rows": rows, "minutes": spent, "settings": settings, "denoiser": sizes}))


if __name__ == "__main__":
    main()
