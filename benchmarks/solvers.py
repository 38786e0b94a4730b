"""Few denoising steps against all of them: the solvers of TexTalker on SynthTalk's test_seen, one thread.

    python benchmarks/solvers.py --corpus CORPUS [--talker FOLDER] [--clips 12] [--steps 20]

Lip vertex error (worst lip vertex, mean over frames, mm) and PSNR of the coloured skin (every fourth frame, dB) against
the truth, and their difference from all steps: of the published sampler (ancestral, guidance 1), and of the solver's
own kind, which is DDIM where nothing is drawn on the way. The published one runs once more with another seed, which
shows how far chance alone goes. `lips apart` is the mean distance of lip vertices from all steps of the solver's kind.
Time is CPU time of the sampling, relative to the published sampler. The last line is JSON.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch
from synthtalk_clips import FaceMotion, SeenClips, TexTalkerData

from parlante.core import Clip
from parlante.core.timing import num_frames
from parlante.geometry.uv import offsets_from_maps
from parlante.models.textalker.model import ASSET, TexTalker


class Run:
    """One solver of a talker; adds up the CPU time of its sampling."""

    def __init__(self, data: TexTalkerData, solver: str, steps: int, spacing: str, seed: int) -> None:
        self.data, self.solver, self.steps, self.spacing, self.seed = data, solver, steps, spacing, seed
        self.cpu = 0.0
        self.offsets: list[np.ndarray] = []

    def __call__(self, clip: Clip, features: torch.Tensor) -> FaceMotion:
        talker, faces = self.data.talker, self.data.faces
        talker.config = dataclasses.replace(talker.config, spacing=self.spacing)
        began = time.process_time()
        windows = list(
            talker.latents(
                features,
                talker.style(clip.subject),
                num_frames(len(clip.audio)),
                steps=self.steps,
                solver=self.solver,
                guidance=1.0,
                generator=torch.Generator().manual_seed(self.seed),
            )
        )
        self.cpu += time.process_time() - began
        with torch.inference_mode():
            motion = talker.decode_motion(torch.cat([w.motion[0] for w in windows]))
            wrinkle = talker.decode_wrinkle(torch.cat([w.wrinkle[0] for w in windows]))
            offsets = offsets_from_maps(motion, faces.table, faces.stats).numpy()
        self.offsets.append(offsets)
        return FaceMotion(offsets, wrinkle.permute(0, 2, 3, 1).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder written by `parlante synth`")
    parser.add_argument("--talker", type=Path, default=ASSET, help="checkpoint folder (default: the shipped one)")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    talker = TexTalker.from_pretrained(options.talker)
    data = TexTalkerData(options.corpus, talker)
    clips = SeenClips(data, talker.config.styles, options.clips)
    every = talker.config.denoiser.steps
    few = options.steps
    runs = [("ancestral", every, "even", 0), ("ddim", every, "even", 0), ("ancestral", every, "even", 1)]
    runs += [(solver, few, "quadratic", 0) for solver in ("sde-dpmsolver++", "dpmsolver++", "ddim")]
    runs += [(solver, few, "even", 0) for solver in ("sde-dpmsolver++", "dpmsolver++", "unipc", "ddim")]
    runs += [("ddim", steps, "even", 0) for steps in sorted({1, 4, 10} - {few})]
    print(f"{len(clips.clips)} clips, {clips.frames} frames\n")
    columns = (
        *("solver", "steps", "spacing", "seed", "lip error mm", "to published", "to its kind"),
        *("skin dB", "to published", "to its kind", "lips apart mm", "CPU s per s", "ratio"),
    )
    print("| " + " | ".join(columns) + " |")
    print("|" + " --- |" * len(columns))
    rows: list[dict] = []
    made: list[list[np.ndarray]] = []
    for solver, steps, spacing, seed in runs:
        run = Run(data, solver, steps, spacing, seed)
        row = {"solver": solver, "steps": steps, "spacing": spacing, "seed": seed, **clips.score(run)}
        row["cpu"] = 30 * run.cpu / clips.frames
        rows.append(row)
        made.append(run.offsets)
        kind = 0 if solver in ("ancestral", "sde-dpmsolver++") or len(rows) == 1 else 1
        row["apart_mm"] = 1e3 * float(
            np.mean([np.linalg.norm((a - b)[:, clips.lips], axis=-1).mean() for a, b in zip(made[-1], made[kind])])
        )
        to = [(100 * (row["lip_mm"] / rows[k]["lip_mm"] - 1), row["psnr_db"] - rows[k]["psnr_db"]) for k in (0, kind)]
        print(
            f"| {solver} | {steps} | {spacing} | {seed} | {row['lip_mm']:.3f} | {to[0][0]:+.2f} % | {to[1][0]:+.2f} % "
            f"| {row['psnr_db']:.2f} | {to[0][1]:+.3f} dB | {to[1][1]:+.3f} dB | {row['apart_mm']:.3f} "
            f"| {row['cpu']:.4f} | {rows[0]['cpu'] / row['cpu']:.1f}x |",
            flush=True,
        )
    print(json.dumps({"clips": len(clips.clips), "denoiser": dataclasses.asdict(talker.config.denoiser), "rows": rows}))


if __name__ == "__main__":
    main()
