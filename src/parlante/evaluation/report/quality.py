"""docs/models/quality.md: every figure measured by one run, with the command that made it."""

import json
from pathlib import Path
from typing import Any

from parlante.core import atomic_path
from parlante.evaluation.recordings import MEASURES
from parlante.evaluation.synthetic import PREDICTORS

_ROWS = (
    ("lip_vertex_error_mm", "lip vertex error, mm (worst lip vertex, mean over frames)", "{:.2f}"),
    ("lve_1e-5_m2", "LVE, 1e-5 m² (squared, as CodeTalker)", "{:.3f}"),
    ("mean_vertex_error_mm", "mean vertex error of the skin, mm", "{:.3f}"),
    ("fdd_1e-7_m2", "FDD, 1e-7 m² (signed)", "{:+.2f}"),
    ("abs_fdd_1e-7_m2", "FDD, 1e-7 m² (absolute)", "{:.2f}"),
    ("psnr_db", "texture PSNR, all texels, dB", "{:.2f}"),
    ("psnr_moving_db", "texture PSNR inside moving regions, dB", "{:.2f}"),
    ("ssim", "texture SSIM, all texels", "{:.4f}"),
    ("ssim_moving", "texture SSIM inside moving regions", "{:.4f}"),
)


def write_report(path: Path, results: dict[str, Any]) -> None:
    """Write the page and, beside it, the raw numbers as JSON."""
    lines = [
        "# Quality of the shipped model",
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


def _synthetic(results: dict[str, Any]) -> list[str]:
    lines = [
        "## Synthetic speakers, whose truth is known",
        "",
        "SynthTalk clips (see `docs/models/textalker.md` for the corpus). Test-A: seen subjects, unseen sentences.",
        "Test-B: unseen subjects and sentences; their style pivots come from clips that are not judged. The model's",
        "own motion is judged, blinks included, which no model can foresee from speech. *Mean motion* is the subject's",
        "mean face; *neutral face* is static. Moving regions: texels whose true colour ratio leaves 1 by over 2 %.",
        "",
    ]
    for split, title in (("test_seen", "Test-A"), ("test_unseen", "Test-B")):
        table = results[split]
        lines += [f"### {title}: {table['clips']} clips", "", "| measure | " + " | ".join(PREDICTORS) + " |"]
        lines += ["| --- |" + " --- |" * len(PREDICTORS)]
        for key, label, form in _ROWS:
            lines.append(f"| {label} | " + " | ".join(form.format(table[name][key]) for name in PREDICTORS) + " |")
        ratio = table["TexTalker"]["lip_vertex_error_mm"] / table["mean motion"]["lip_vertex_error_mm"]
        gain = table["TexTalker"]["psnr_moving_db"] - table["neutral face"]["psnr_moving_db"]
        lines += [
            "",
            f"Lip vertex error is {ratio:.2f} of the mean-motion baseline's (aim: at most 0.50); wrinkles inside",
            f"moving regions are {gain:+.1f} dB against the static skin (aim: at least +3.0).",
            "",
        ]
    return lines


def _styles(styles: dict[str, Any]) -> list[str]:
    lines = [
        "## Style separation",
        "",
        f"The same sentences with the pivots of each subject; {styles['pairs']} pairs. Correlation (and slope)",
        "between the pair's true difference and the predicted one, in logarithms of the measured gains.",
        "",
        "| measure | correlation | slope |",
        "| --- | --- | --- |",
    ]
    for name, value in styles["correlation"].items():
        lines.append(f"| {name} | {value:.2f} | {styles['slope'][name]:.2f} |")
    return [*lines, ""]


def _recordings(result: dict[str, Any] | None) -> list[str]:
    if result is None:
        return [
            "## Real recordings",
            "",
            "Not measured in this run: the recordings and the judge were not at hand.",
            "",
        ]
    pooled, loud = result["pooled"], result.get("loudness", {}).get("measures", {})
    lags = list(pooled["lag_frames"].values())
    lines = [
        "## Real recordings",
        "",
        f"{pooled['clips']} recordings of people ({pooled['frames']} frames, {pooled['closure_segments']} closures",
        "of 30 ms or more) that took no part in training, pooled, judged against mouth cues of a forced aligner.",
        "*Chance* is the same animation shifted in time; *loudness* is a mouth that follows the recording's loudness.",
        "",
        "| measure | value | chance | loudness | aim |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, (aim, way) in MEASURES.items():
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
