"""`parlante compare`: reports ranked, and which differences are beyond noise."""

import argparse
from pathlib import Path

EPILOG = """examples:
  parlante compare report
  parlante compare runs/a/report runs/b/report --by mve
  parlante compare mine/report.json theirs/report.json --by fdd --json ranking.json

Models are judged on the clips that all reports share, with the same bootstrap draws; a difference is beyond noise if
that holds after correction for the number of pairs (Holm, 5 %). --pool takes runs of several seeds as one model.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description = "Rank the models of one report or of several, made by parlante evaluate on the same data."
    parser.epilog = EPILOG
    parser.add_argument("reports", nargs="+", metavar="RUN|REPORT", help="report or run folder, or a report.json")
    parser.add_argument("--by", metavar="MEASURE", help="what to rank by (default: lip_mm, else lip_error, else mve)")
    parser.add_argument(
        "--pool",
        action="append",
        default=[],
        metavar="NAME=PATTERN",
        help="runs that differ only by their seed as one model, as in mine='runs/a-*'; may be given several times",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the ranking as JSON too")


def run(options: argparse.Namespace) -> int:
    """Print the ranking."""
    import json

    from parlante.core import InputError, atomic_path
    from parlante.evaluation.compare import joined, pooled, rank, seed_spread, table
    from parlante.evaluation.results import load_results

    reports = {}
    for path in options.reports:
        if path in reports:
            raise InputError(f"{path} is given twice")
        reports[path] = load_results(path)
    whole = joined(reports)
    results, lines = pooled(whole, dict(_pool(text) for text in options.pool))
    ranking = rank(results, options.by)
    better = ranking.measure.better.replace("near:", "near ")
    print(f"{ranking.measure.label} {ranking.unit} ({better} is better), {ranking.clips} clips")
    head = ("", "model", f"{ranking.measure.name} [95 %]", "the next one is worse by", "beats beyond noise")
    rows = [head, *table(ranking)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    for line, name in zip(lines, [text.partition("=")[0] for text in options.pool]):
        apart = seed_spread(whole, results["models"][name], ranking.measure)
        print(f"{line}; standard deviation over seeds {apart:.{ranking.measure.digits_in(whole['unit'])}f}")
    if options.json is not None:
        with atomic_path(options.json) as part:
            part.write_text(json.dumps(ranking.as_dict(), indent=1) + "\n")
    return 0


def _pool(text: str) -> tuple[str, str]:
    from parlante.core import InputError

    name, equals, pattern = text.partition("=")
    if not (name and equals and pattern):
        raise InputError(f"--pool wants NAME=PATTERN, got {text!r}")
    return name, pattern
