"""PTalker's ablation table on SynthTalk, from nothing: each group of its terms left out, and what it leaves out put in.

    python benchmarks/ptalker_ablations.py --corpus CORPUS [--out FOLDER] [--updates 600] [--seeds 2]

Trains every variant of recipes/ptalker/small.yaml for the same number of updates on one thread, and judges it on the
corpus's test clips of seen and of unseen speakers: worst lip vertex, mean over frames, mm; and, of seen ones, how far
the style of what is said lies from theirs (`style_distance` of `parlante evaluate`). A training that is done in
--out is not done again, so the command can be interrupted, and `--only NAME` runs one variant. Small budgets rank
noisily: --seeds says how often each variant is trained; the table gives mean and range. The last line is JSON.
"""

import argparse
import contextlib
import io
import json
from pathlib import Path

import numpy as np

from parlante.cli import main as parlante

RECIPE = Path(__file__).parents[1] / "recipes" / "ptalker" / "small.yaml"
VARIANTS: dict[str, tuple[str, ...]] = {
    "all terms": (),
    "no disentangling terms": ("loss.constraint=0",),
    "no orthogonality": ("loss.orthogonal_audio=0", "loss.orthogonal_motion=0"),
    "no InfoNCE": ("loss.info_audio=0", "loss.info_motion=0"),
    "no contrast, no KL": ("loss.contrastive=0", "loss.kl=0"),
    "no adversary": ("loss.adversarial=0",),
    "auxiliary term added": ("loss.auxiliary=1.0e-3",),
    "terms 100 times stronger": ("loss.constraint=1.0",),
    "temporal alignment added": ("model.temporal_window=5",),
}
"""Name of a row -> its changes of the recipe."""
SPLITS = ("test_seen", "test_unseen")
COLUMNS = {
    "seen speakers, mm": ("test_seen", "lip_mm"),
    "unseen speakers, mm": ("test_unseen", "lip_mm"),
    "style distance, seen": ("test_seen", "style_distance"),
}
"""Column -> split and figure."""


def trained(name: str, seed: int, options: argparse.Namespace) -> Path:
    """The run folder of a variant, trained if it is not done."""
    run: Path = options.out / f"{name}, seed {seed}".replace(" ", "_").replace(",", "")
    if not (run / "export").is_dir():
        changes = [
            f"data.corpus={options.corpus}", f"data.cache={options.out / 'cache'}", "data.num_augmentations=1",
            f"loop.max_steps={options.updates}", f"loop.validate_every={options.updates}", f"loop.seed={seed}",
            f"loop.warmup={max(1, options.updates // 10)}", "loop.threads=1", "loop.accelerator=cpu", *VARIANTS[name],
        ]  # fmt: skip
        told = [part for change in changes for part in ("--set", change)]
        if parlante(["train", str(RECIPE), "--run", str(run), *told]) != 0:
            raise SystemExit(f"the training of {name} failed; see {run}")
    return run


def judged(run: Path, split: str, options: argparse.Namespace) -> dict[str, float]:
    """Figures of a run on a split."""
    folder = run / f"report-{split}"
    if not (folder / "report.json").is_file():
        told = ["--split", split, "--clips", str(options.clips), "--textures", "0", "--no-video", "--no-baselines"]
        if parlante(["evaluate", str(run), "--data", str(options.corpus), *told, "-o", str(folder)]) != 0:
            raise SystemExit(f"{run} could not be judged")
    found = next(iter(json.loads((folder / "report.json").read_text())["models"].values()))["figures"]
    return {name: float(figure["value"]) for name, figure in found.items() if name in ("lip_mm", "style_distance")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder written by `parlante synth`")
    parser.add_argument("--out", type=Path, default=Path("runs/ptalker-ablations"))
    parser.add_argument("--updates", type=int, default=600, help="of each training")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each variant")
    parser.add_argument("--clips", type=int, default=12, help="judged clips of each split")
    parser.add_argument("--only", choices=list(VARIANTS), action="append", help="only this variant; may be repeated")
    options = parser.parse_args()
    rows = []
    print(f"| variant | {' | range | '.join(COLUMNS)} | range |\n| {' | '.join(['---'] * (1 + 2 * len(COLUMNS)))} |")
    for name in options.only or list(VARIANTS):
        scores: dict[str, list[float]] = {column: [] for column in COLUMNS}
        for seed in range(options.seeds):
            with contextlib.redirect_stdout(io.StringIO()):
                run = trained(name, seed, options)
                figures = {split: judged(run, split, options) for split in SPLITS}
            for column, (split, figure) in COLUMNS.items():
                scores[column].append(figures[split][figure])
        cells = [f"{np.mean(found):.3f} | {min(found):.3f} to {max(found):.3f}" for found in scores.values()]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        rows.append({"variant": name, **scores})
    settings = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}
    print(json.dumps({"rows": rows, "settings": settings}))


if __name__ == "__main__":
    main()
