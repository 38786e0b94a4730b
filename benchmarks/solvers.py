"""Few denoising steps against all of them: the solvers of TexTalker on SynthTalk's Test-A, one thread.

    python benchmarks/solvers.py --corpus CORPUS [--talker FOLDER] [--clips 12] [--steps 20]

Lip vertex error (worst lip vertex, mean over frames, mm) and PSNR of the coloured skin (every fourth frame, dB) against
the truth, and their difference from the published sampler: all steps, ancestral, guidance 1. That sampler runs once
more with another seed, which shows how far chance alone goes. Time is CPU time of the sampling, relative to the same
sampler. The last line is JSON.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path

import torch
from synthtalk_clips import Clips

from parlante.audio.phonetic import PhoneticEncoder
from parlante.core.timing import num_frames
from parlante.data.synthtalk import SynthTalk, Take
from parlante.evaluation.synthetic import Bench, Made
from parlante.models.textalker.talker import ASSET, TexTalker
from parlante.uv import offsets_from_maps


class Run:
    """One solver of a talker; adds up the CPU time of its sampling."""

    def __init__(self, bench: Bench, solver: str, steps: int, seed: int) -> None:
        self.bench, self.solver, self.steps, self.seed = bench, solver, steps, seed
        self.cpu = 0.0

    def __call__(self, take: Take, heard: torch.Tensor) -> Made:
        talker, faces = self.bench.talker, self.bench.faces
        began = time.process_time()
        windows = list(
            talker.latents(
                heard,
                talker.style(take.subject),
                num_frames(len(take.audio)),
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
        return Made(offsets, wrinkle.permute(0, 2, 3, 1).numpy())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder written by `parlante synth`")
    parser.add_argument("--talker", type=Path, default=ASSET, help="checkpoint folder (default: the shipped one)")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    talker = TexTalker.from_pretrained(options.talker)
    bench = Bench(SynthTalk(options.corpus), talker, PhoneticEncoder.from_pretrained())
    clips = Clips(bench, talker.config.styles, options.clips)
    every = talker.config.denoiser.steps
    runs = [("ancestral", every, 0), ("ancestral", every, 1)]
    runs += [(solver, options.steps, 0) for solver in ("ddim", "dpmsolver++", "unipc")]
    runs += [("ddim", steps, 0) for steps in sorted({1, 4, 10} - {options.steps})]
    print(f"{len(clips.takes)} clips, {clips.frames} frames\n")
    print("| solver | steps | seed | lip error mm | to all steps | skin dB | to all steps | CPU s per s | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    for solver, steps, seed in runs:
        run = Run(bench, solver, steps, seed)
        row = {"solver": solver, "steps": steps, "seed": seed, **clips.score(run), "cpu": 30 * run.cpu / clips.frames}
        rows.append(row)
        base = rows[0]
        lip, dark = row["lip_mm"] / base["lip_mm"] - 1, row["psnr_db"] - base["psnr_db"]
        print(
            f"| {solver} | {steps} | {seed} | {row['lip_mm']:.3f} | {100 * lip:+.2f} % | {row['psnr_db']:.2f} "
            f"| {dark:+.3f} dB | {row['cpu']:.4f} | {base['cpu'] / row['cpu']:.1f}x |",
            flush=True,
        )
    print(json.dumps({"clips": len(clips.takes), "denoiser": dataclasses.asdict(talker.config.denoiser), "rows": rows}))


if __name__ == "__main__":
    main()
