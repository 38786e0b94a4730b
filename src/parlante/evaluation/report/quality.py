"""The quality report as a Markdown page: every figure measured by one run, with the command that made it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parlante.core import atomic_path
from parlante.data.splits import TESTS
from parlante.evaluation.compare import spread
from parlante.evaluation.measures import MEASURES
from parlante.evaluation.predictors import BASELINES
from parlante.evaluation.recordings import MEASURES as JUDGE_MEASURES
from parlante.evaluation.results import stored_interval

SHOWN = ("lip_mm", "lve", "mve", "fdd", "abs_fdd", "psnr", "psnr_moving", "ssim", "ssim_moving")
"""Measures of the tables."""
TITLES = dict(zip(TESTS, ("Seen subjects, sentences that were not trained on", "Unseen subjects")))


def write_report(path: Path, results: Mapping[str, Any]) -> None:
    """Write the page and, beside it, the numbers as JSON."""
    lines = [
        f"# Quality of {results['model']}",
        "",
        f"Made by `{results['command']}`; raw numbers in `{path.stem}.json`.",
        "",
    ]
    lines += _synthetic(results)
    lines += _styles(results["styles"])
    lines += _recordings(results.get("recordings"))
    with atomic_path(path) as part:
        part.write_text("\n".join(lines))
    with atomic_path(path.with_suffix(".json")) as part:
        part.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")


def _synthetic(results: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Synthetic speakers, whose truth is known",
        "",
        "SynthTalk clips (see `docs/models/textalker.md` for the corpus). Seen subjects speak in the styles that the",
        "model knows them by, unseen ones in styles learnt from three clips that are not judged. The model's own",
        "motion is judged; the truth blinks, which no model can foresee from speech. *Mean motion* is the subject's",
        "mean face, *static* the face at rest. Moving regions are texels whose true colour changes by over 2 %.",
        "Brackets are 95 % bootstrap intervals over clips; `docs/guides/evaluate.md` explains the measures.",
        "",
    ]
    for split in TESTS:
        lines += _split(results[split], results["model"], TITLES[split])
    return lines


def _split(found: Mapping[str, Any], model: str, title: str) -> list[str]:
    names = (model, *BASELINES)
    lines = [f"### {title}", "", f"{found['clips']} clips of {found['subjects']} subjects.", ""]
    lines += ["| measure | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for name in SHOWN:
        measure, figures = MEASURES[name], [found["figures"][who].get(name) for who in names]
        if any(figures):
            cells = ["" if one is None else spread(stored_interval(one), measure.digits) for one in figures]
            label = f"{measure.label}{', ' if measure.unit else ''}{measure.unit}"
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
    own, mean, static = (found["figures"][who] for who in names)
    lines += ["", f"Lip vertex error is {own['lip_mm']['value'] / mean['lip_mm']['value']:.2f} of the mean face's"]
    lines[-1] += " (aim: at most 0.50)."
    if "psnr_moving" in own:
        gain = own["psnr_moving"]["value"] - static["psnr_moving"]["value"]
        lines[-1] += f" Wrinkles in moving regions are {gain:+.1f} dB against the skin at rest (aim: at least +3.0)."
    return [*lines, ""]


def _styles(styles: Mapping[str, Any]) -> list[str]:
    lines = [
        "## Style separation",
        "",
        f"The same sentences in the style of each subject; {styles['pairs']} pairs. Correlation and slope between",
        "the pair's true difference and the predicted one, in logarithms: how far jaw and lips move, and how much the",
        "skin changes.",
        "",
        "| measure | correlation | slope |",
        "| --- | --- | --- |",
    ]
    for name, value in styles["correlation"].items():
        lines.append(f"| {name} | {value:.2f} | {styles['slope'][name]:.2f} |")
    return [*lines, ""]


def _recordings(result: Mapping[str, Any] | None) -> list[str]:
    if result is None:
        return [
            "## Recordings of people",
            "",
            "Not measured in this run: the recordings and the judge were not at hand.",
            "",
        ]
    pooled, loud = result["pooled"], result.get("loudness", {}).get("measures", {})
    lags = list(pooled["lag_frames"].values())
    lines = [
        "## Recordings of people",
        "",
        f"{pooled['clips']} recordings ({pooled['frames']} frames, {pooled['closure_segments']} closures of 30 ms or",
        "more) that took no part in training, pooled, judged against mouth cues of a forced aligner.",
        "*Chance* is the same animation shifted in time; *loudness* is a mouth that follows the recording's loudness.",
        "",
        "| measure | value | chance | loudness | aim |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, (aim, way) in JUDGE_MEASURES.items():
        entry = pooled["measures"].get(name)
        if not entry:
            continue
        base = (loud.get(name) or {}).get("value")
        wanted = f"{way} {aim:.2f}" if aim is not None else ""
        shown = "" if base is None else f"{base:.3f}"
        lines.append(f"| {name} | {entry['value']:.3f} | {entry['chance']:.3f} | {shown} | {wanted} |")
    lines += [
        "",
        f"Best lag per recording, frames at 30 fps: {', '.join(f'{lag:+d}' for lag in lags)} (aim: within 1).",
        "",
    ]
    return lines
