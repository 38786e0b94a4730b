"""Evaluate two models on one corpus.

The same clips, the same figures, with intervals. The report is one HTML file, and JSON beside it.
"""

import json
import sys
from pathlib import Path

from parlante.cli import main as parlante


def run(*words: str) -> None:
    """One `parlante` command; stops where it fails."""
    if code := parlante(list(words)):
        sys.exit(code)


def main(out: str = "out", clips: str = "2") -> None:
    """Write a small corpus and judge the small FaceFormer and TalkingStyle on its held-out sentences."""
    corpus, report = f"{out}/judged", f"{out}/report"
    run("synth", "--subjects", "4", "--sentences", "4", "--out", corpus, "--seed", "2")
    models, quick = ["faceformer", "talkingstyle"], ["--textures", "0", "--no-video"]
    data = ["--data", corpus, "--split", "test_seen", "--clips", clips]
    run("evaluate", *models, *data, *quick, "-o", report)
    run("compare", report, "--by", "mve")

    results = json.loads((Path(report) / "report.json").read_text())
    for name in models:
        print(name, "worst lip vertex, mean over frames, mm:", results["models"][name]["figures"]["lip_mm"]["value"])


if __name__ == "__main__":
    main(*sys.argv[1:])
