"""All families that are shipped small, on SynthTalk's test_seen and test_unseen: docs/models/benchmark.md.

    python benchmarks/benchmark.py [--corpus corpora/synthtalk] [--clips-seen 24] [--clips-unseen 24] [--work FOLDER]

All use the same phonetic encoder and were trained on the same corpus. Results of a split that are in the work folder
already are used again, with all their clips; remove the folder to measure anew. `parlante compare` reads them too.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from parlante.core import atomic_path
from parlante.evaluation.compare import rank, spread
from parlante.evaluation.config import EvalConfig
from parlante.evaluation.evaluate import evaluate
from parlante.evaluation.evaluation import Evaluation
from parlante.evaluation.measures import MEASURES
from parlante.evaluation.predictors import MeanMotion, Static, find_predictor
from parlante.evaluation.results import REPORT, TRUTH, load_results, save_results, stored_interval
from parlante.models.registry import families

FAMILIES = {spec.name: spec.title.partition(" (")[0] for spec in families().values() if spec.shipped}
TITLES = FAMILIES | {"mean motion": "*mean motion*", "static": "*static face*", TRUTH: "*truth*"}
TABLES = (
    ("Against the truth", ("lip_mm", "lve", "mve", "fdd", "abs_fdd", "lip_dynamics", "jitter")),
    ("How they move", ("closure", "silence_motion", "audio_lag", "audio_correlation", "style_distance", "style_hit")),
    ("Skin", ("psnr", "psnr_moving", "ssim", "ssim_moving")),
)
SPLITS = (
    ("test_seen", "test_seen: seen speakers, sentences that were not trained on"),
    ("test_unseen", "test_unseen: unseen speakers, their styles learnt from three clips that are not judged"),
)


def measure(corpus: Path, split: str, clips: int, folder: Path) -> dict[str, Any]:
    """Results of a split, from the work folder if they are there."""
    if (folder / REPORT).is_file():
        print(f"{split}: from {folder / REPORT}")
        return load_results(folder)
    evaluation = Evaluation(EvalConfig(data=corpus, split=split, clips=clips))
    predictors = [*(find_predictor(name, evaluation) for name in FAMILIES), MeanMotion(evaluation), Static()]
    with tqdm(total=len(evaluation.judged) * len(predictors), desc=split, unit=" clips") as bar:

        def tell(work: str) -> None:
            bar.update()

        results = evaluate(evaluation, predictors, show=0, progress=tell).results
    save_results(results, folder / REPORT)
    return results


def grid(results: dict[str, Any], names: Sequence[str], *, truth: bool) -> list[str]:
    """A table of some measures, one line for each model."""
    names = [name for name in names if name in results["measures"]]
    heads = [f"{MEASURES[name].label}{', ' if MEASURES[name].unit else ''}{MEASURES[name].unit}" for name in names]
    lines = ["| model | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(names)]
    shown = [*(name for name in results["models"] if name != TRUTH), *([TRUTH] if truth else [])]
    for who in shown:
        cells = []
        for name in names:
            found = results["models"][who]["figures"].get(name)
            if found is None:
                cells.append("")
                continue
            cells.append(spread(stored_interval(found), MEASURES[name].digits))
        lines.append(f"| {TITLES.get(who, who)} | " + " | ".join(cells) + " |")
        if who == list(FAMILIES)[-1]:
            lines.append("| CodeTalker | " + " | ".join(["no shipped weights", *[""] * (len(names) - 1)]) + " |")
    return [*lines, ""]


def ranked(results: dict[str, Any], name: str) -> list[str]:
    """Who is better than whom beyond noise."""
    ranking = rank(results, name)
    lines = [f"By {MEASURES[name].label}, best first, on the same clips:", ""]
    for place, one in enumerate(ranking.places):
        after = [other.name for other in ranking.places[place + 1 :]]
        if not after:
            lines.append(f"{place + 1}. {TITLES[one.name]}")
            continue
        unsure = [TITLES[other] for other in after if other not in one.beyond]
        said = f"not beyond noise: {', '.join(unsure)}" if unsure else "beyond noise from all that follow"
        lines.append(f"{place + 1}. {TITLES[one.name]}; {said}")
    return [*lines, ""]


def page(found: dict[str, dict[str, Any]], command: str) -> str:
    """docs/models/benchmark.md."""
    lines = [
        "# SynthTalk benchmark",
        "",
        f"Made by `{command}`.",
        "Every family that is shipped small was trained on the same corpus and uses the",
        "same phonetic encoder. Brackets are 95 % bootstrap intervals over clips (2,000 seeded draws); with few clips",
        "they are wide, and an interval over clips says nothing about other speakers than these. A difference is",
        "*beyond noise* if its paired interval, on the same clips, leaves out zero; no correction is made for many",
        "pairs.",
        "",
        "The models' own motion is judged, without the liveliness layer; the truth blinks, which no model can foresee.",
        "*Mean motion* is the speaker's mean face over three clips that are not judged, *static face* the one at rest,",
        "*truth* what the recorded motion itself scores where no truth is needed beside it. MVE is over the skin. A",
        "style *points at the speaker* if its style vector lies nearest that speaker's among the judged ones; it",
        "covers the whole skin, so that blinks and brows weigh as much as the mouth, and one short clip hardly",
        "identifies even the truth.",
        "",
        "Less is better, except for correlations, closed lips, style hits, PSNR and SSIM; the truth has a signed FDD",
        "of 0 and a jitter of 1.",
        "",
        "**Skin.** TexTalker predicts wrinkle maps. The other families move the mesh only; their wrinkles follow from",
        "the motion by the rule that drew the corpus, at the depth of the face's own profile, so their skin columns",
        "say how good the motion is, and no more.",
        "**CodeTalker** is implemented and can be trained or converted, but no small weights are shipped.",
        "",
    ]
    for split, title in SPLITS:
        if split not in found:
            lines += [f"## {title}", "", "Not measured in this run.", ""]
            continue
        results = found[split]
        people = len({clip["subject"] for clip in results["clips"].values()})
        aside = "; the corpus has two sentences in it, which the speakers take in turn" if split == "test_seen" else ""
        lines += [f"## {title}", "", f"{len(results['clips'])} clips of {people} speakers{aside}.", ""]
        for heading, names in TABLES:
            lines += [f"### {heading}", "", *grid(results, names, truth=heading == "How they move")]
        lines += ranked(results, "lip_mm")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("corpora/synthtalk"))
    parser.add_argument("--clips-seen", type=int, default=24)
    parser.add_argument("--clips-unseen", type=int, default=24, help="0 leaves test_unseen out")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark"))
    parser.add_argument("--out", type=Path, default=Path("docs/models/benchmark.md"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    clips = {"test_seen": options.clips_seen, "test_unseen": options.clips_unseen}
    found = {
        split: measure(options.corpus, split, clips[split], options.work / split) for split, _ in SPLITS if clips[split]
    }
    counts = (len(found[split]["clips"]) if split in found else 0 for split, _ in SPLITS)
    command = "python benchmarks/benchmark.py --clips-seen {} --clips-unseen {}".format(*counts)
    with atomic_path(options.out) as part:
        part.write_text(page(found, command))
    print(f"{options.out} written")


if __name__ == "__main__":
    main()
