"""The report in words and files: a table for the terminal, Markdown, JSON, a table of clips, and the picture."""

import csv
import json
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from parlante.core import InputError, atomic_path
from parlante.data.validation.picture import check_picture
from parlante.data.validation.run import Report

_LAST = {
    "ok": "fit to train on",
    "warn": "fit to train on; look at the warnings",
    "bad": "not fit to train on: repair the lines marked bad first",
}
_SUBJECTS = 12
"""Subjects that the terminal shows."""


def table(report: Report, *, only_faults: bool = False) -> list[str]:
    """Lines for the terminal."""
    lines = []
    for finding in report.findings:
        if only_faults and finding.verdict == "ok":
            continue
        head = f"{finding.verdict:4}  {finding.check:22}  "
        indent = " " * len(head)
        lines += textwrap.wrap(head + (finding.found or "fine"), 118, subsequent_indent=indent) or [head]
        if finding.todo:
            lines += textwrap.wrap(f"-> {finding.todo}", 118, initial_indent=indent, subsequent_indent=indent + "   ")
    if not only_faults:
        rows = sorted(report.subject_rows, key=lambda row: (-row["bad"], -row["warn"]))
        lines += ["", *_columns(rows[:_SUBJECTS])]
        if len(rows) > _SUBJECTS:
            lines.append(f"... and {len(rows) - _SUBJECTS} subjects more")
        lines.append("")
    minutes = sum(m.frames / m.fps for m in report.clips if m.fps) / 60
    return [*lines, f"{len(report.clips)} clips, {minutes:.1f} minutes of {report.dataset}: {_LAST[report.verdict]}"]


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    names = list(rows[0])
    cells = [names, *([str(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(names))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells]


def write_report(report: Report, folder: Path) -> None:
    """`check.md`, `check.json`, `clips.csv` and `check.png` in `folder`. Raises InputError if it cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"cannot write {folder}: it is a file; give a folder")
    with atomic_path(folder / "check.md") as path:
        path.write_text(_markdown(report), encoding="utf-8")
    with atomic_path(folder / "check.json") as path:
        path.write_text(json.dumps(as_dict(report), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with atomic_path(folder / "clips.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        rows = [_clip_row(report, m) for m in report.clips]
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["key"])
        writer.writeheader()
        writer.writerows(rows)
    with atomic_path(folder / "check.png") as path:
        Image.fromarray(check_picture(report)).save(path, format="PNG")


def as_dict(report: Report) -> dict[str, Any]:
    """Everything but the curves, for JSON."""
    return {
        "data": report.path,
        "dataset": report.dataset,
        "unit": report.unit,
        "verdict": report.verdict,
        "findings": [asdict(finding) for finding in report.findings],
        "subjects": report.subject_rows,
    }


def _clip_row(report: Report, m: Any) -> dict[str, Any]:
    verdict, why = report.clip_verdict(m)
    row = {"key": m.key, "subject": m.subject, "split": m.split, "verdict": verdict, "why": why}
    names = "frames vertices audio_s extent step spread noise frozen turn_deg shift from_template peak loud_db"
    row |= {name: getattr(m, name) for name in f"{names} clipped speaking".split()}
    return {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}


def _markdown(report: Report) -> str:
    def row(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    lines = [f"# {report.dataset}: {_LAST[report.verdict]}", "", "![the check on one page](check.png)", ""]
    lines += [row(["check", "verdict", "found", "what to do"]), row(["---"] * 4)]
    lines += [row([f.check, f.verdict, f.found or "fine", f.todo]) for f in report.findings]
    if report.subject_rows:
        names = list(report.subject_rows[0])
        lines += ["", row(names), row(["---"] * len(names))]
        lines += [row([str(entry[name]) for name in names]) for entry in report.subject_rows]
    lines += ["", "Every clip, with its verdict and its numbers: clips.csv.", ""]
    return "\n".join(lines)
