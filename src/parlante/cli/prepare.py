"""`parlante prepare NAME SRC DST`: a dataset, verified and packed into a clip store."""

import argparse
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parlante.data.registry import DatasetSpec

EPILOG = """example:
  parlante prepare textalk4d TexTalkData corpora/textalk4d
  parlante prepare textalk4d TexTalkTest corpora/unseen --unseen
  parlante prepare vocaset VOCASET corpora/vocaset --template FLAME_sample.ply
  parlante prepare folder recordings s3://bucket/recordings --fps 30 --unit 0.001

Every file is read and checked; a table tells what is missing. An interrupted run goes on where it stopped, and
what was made from files that have not changed is kept. parlante encode and the trainings read the result.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare one sub-command per dataset."""
    parser.epilog = EPILOG
    names = parser.add_subparsers(dest="dataset", metavar="NAME", required=True)
    for sub in declare_datasets(names, EPILOG):
        sub.add_argument("--jobs", type=int, metavar="N", help="threads (default: all cores)")


def declare_datasets(names: Any, epilog: str) -> list[argparse.ArgumentParser]:
    """One sub-command per dataset of the registry, with the options that say what is prepared."""
    from parlante.data.registry import datasets

    return [_declare(names, spec, epilog) for spec in datasets().values() if spec.prepares]


def _declare(names: Any, spec: "DatasetSpec", epilog: str) -> argparse.ArgumentParser:
    from parlante.cli._options import add_options

    sub: argparse.ArgumentParser = names.add_parser(
        spec.name, help=spec.title, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sub.add_argument("source", metavar="SRC", help="the dataset's folder, as published")
    sub.add_argument("target", metavar="DST", help="new folder or URL, or one to go on with")
    sub.add_argument("-q", "--quiet", action="store_true", help="no progress, no table")
    if spec.options:
        add_options(sub, spec.option_class())
    return sub


def run(options: argparse.Namespace) -> int:
    """Prepare. Raises InputError for a source or target that cannot be used."""
    from parlante.core import InputError
    from parlante.core.interruption import interruptible

    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs must be 1 or more, got {options.jobs}")
    with interruptible():
        _prepare(options)
    return 0


def chosen(options: argparse.Namespace) -> "tuple[DatasetSpec, dict[str, Any], dict[str, Any]]":
    """The dataset, what its reader is given, and what of it the store depends on, both such that JSON can hold them.

    Raises InputError for values out of range.
    """
    from parlante.cli._options import read_options
    from parlante.data.registry import dataset

    spec = dataset(options.dataset)
    if not spec.options:
        return spec, {}, {}
    found = read_options(options, spec.option_class())
    values = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(found).items()}
    kept = {field.name for field in fields(found) if field.metadata.get("kept", True)}
    return spec, values, {name: value for name, value in values.items() if name in kept}


def _prepare(options: argparse.Namespace) -> None:
    """Pack what a reader gives into a clip store, with progress and a table."""
    from tqdm import tqdm

    from parlante.data.prepare import write_store

    spec, values, kept = chosen(options)
    corpus = spec.read(options.source, options=values)
    with tqdm(unit=" clips", desc=spec.name, disable=True if options.quiet else None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = write_store(corpus, options.target, jobs=_jobs(options), options=kept, progress=progress)
    if options.quiet:
        return
    for line in report.table():
        print(line)
    print(f"{len(report.clips)} clips in {options.target}", file=sys.stderr)


def _jobs(options: argparse.Namespace) -> int:
    from parlante.batch.runner import cores

    return int(options.jobs or cores())
