"""`parlante check DATA`: validate a corpus before training."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parlante.data.validation import Report

EPILOG = """example:
  parlante check corpora/vocaset -o reports/vocaset
  parlante check MY_FOLDER --fps 60 --jobs 4

Looks at every frame of every clip: unit and scale, frame rate, length of audio and motion, templates, silent or clipped
audio, jitter, frozen and jumping faces, numbers that are not finite, head pose, triangles, duplicate
clips, and whether test clips were seen in training. -o writes check.md, check.json, clips.csv and check.png.

exit code: 0 fit to train on (warnings allowed), 3 not fit to train on (a line of the table says bad), 2 cannot be
opened. Clips that are useless but harmless, such as silent ones, are a warning while they are at most 5 % of all.
"""
NOT_FIT = 3


def configure(parser: argparse.ArgumentParser) -> None:
    parser.description = "Validate a corpus before training: a table with verdicts and what to do, and a picture."
    parser.epilog = EPILOG
    parser.add_argument("data", metavar="DATA", help="whatever training reads: a store, a corpus, a published folder")
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="write the report into this folder")
    parser.add_argument("--fps", type=float, metavar="N", help="frames per second of a folder that does not tell")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, only lines that are not ok")


def run(options: argparse.Namespace) -> int:
    """Check. Raises InputError for a corpus that cannot be opened or a folder that cannot be written."""
    from parlante.core import InputError
    from parlante.core.interruption import interruptible

    if options.jobs < 1:
        raise InputError(f"--jobs must be 1 or more, got {options.jobs}")
    if options.fps is not None and not 1 <= options.fps <= 1000:
        raise InputError(f"--fps must be 1 to 1000, got {options.fps:g}")
    with interruptible():
        report = _check(options)
        from parlante.data.validation.report import table, write_report

        for line in table(report, only_faults=options.quiet):
            print(line)
        if options.out is not None:
            write_report(report, options.out)
            print(f"report in {options.out}", file=sys.stderr)
    return NOT_FIT if report.verdict == "bad" else 0


def _check(options: argparse.Namespace) -> "Report":
    from tqdm import tqdm

    from parlante.data.validation import check_corpus

    with tqdm(unit=" frames", desc="check", disable=True if options.quiet else None) as bar:

        def progress(frames: int, total: int) -> None:
            bar.total = total
            bar.update(frames)

        return check_corpus(options.data, fps=options.fps, jobs=options.jobs, progress=progress)
