"""`parlante compare`: reports ranked, and which differences are beyond noise."""

import argparse
from pathlib import Path

EPILOG = """examples:
  parlante compare report
  parlante compare runs/a/report runs/b/report --by mve
  parlante compare mine/report.json theirs/report.json --by fdd --json ranking.json

Models are judged on the clips that all reports share, with the same bootstrap draws; a difference is beyond noise if
its 95 % interval leaves out zero. With many models some pairs will seem to differ by chance.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Rank the models of one report or of several, made by parlante evaluate on the same data."
    parser.epilog = EPILOG
    parser.add_argument("reports", nargs="+", metavar="RUN|REPORT", help="report or run folder, or a report.json")
    parser.add_argument("--by", metavar="MEASURE", help="what to rank by (default: lip_mm, else lip_error, else mve)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the ranking as JSON too")


def run(options: argparse.Namespace) -> int:
    """Print the ranking."""
    import json

    from parlante.core import InputError, atomic_path
    from parlante.evaluation.compare import joined, rank, table
    from parlante.evaluation.results import load_results

    reports = {}
    for path in options.reports:
        if path in reports:
            raise InputError(f"{path} is given twice")
        reports[path] = load_results(path)
    ranking = rank(joined(reports), options.by)
    better = ranking.measure.better.replace("near:", "near ")
    print(f"{ranking.measure.label} {ranking.unit} ({better} is better), {ranking.clips} clips")
    head = ("", "model", f"{ranking.measure.name} [95 %]", "the next one is worse by", "beats beyond noise")
    rows = [head, *table(ranking)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    if options.json is not None:
        with atomic_path(options.json) as part:
            part.write_text(json.dumps(ranking.as_dict(), indent=1) + "\n")
    return 0
