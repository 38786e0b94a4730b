"""Train a model, on speech and motion made on the spot.

SynthTalk is a corpus that a program writes: voices, faces and their motion, with known truth. Two steps teach nothing:
set `loop.max_steps` to 150 for a first model, and use a larger corpus for a good one.
"""

import sys
from pathlib import Path

from parlante.cli import main as parlante

RECIPE = Path(__file__).parents[1] / "recipes" / "faceformer" / "small.yaml"


def run(*words: str) -> None:
    """One `parlante` command; stops where it fails."""
    if code := parlante(list(words)):
        sys.exit(code)


def main(out: str = "out") -> None:
    """Write a corpus of four people who say four sentences each, train on it, and keep the run."""
    corpus, folder = f"{out}/corpus", f"{out}/first-run"
    run("synth", "--subjects", "4", "--sentences", "4", "--out", corpus, "--seed", "1")
    changes = [f"data.corpus={corpus}", f"data.cache={out}/cache", "data.num_augmentations=0", "loop.max_steps=2"]
    options = [word for change in changes for word in ("--set", change)]
    run("train", str(RECIPE), "--run", folder, *options)
    print("parlante animate line.wav --model", f"{folder}/export")


if __name__ == "__main__":
    main(*sys.argv[1:])
