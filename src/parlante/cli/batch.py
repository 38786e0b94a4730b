"""`parlante batch animate|encode|prepare ...`: many files, over processes of this machine or a Ray cluster."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from parlante.cli import animate, encode, prepare

if TYPE_CHECKING:
    from parlante.batch.runner import Job

EPILOG = """examples:
  parlante batch animate lines/ -o talks/ --workers 4
  parlante batch animate lines/ extra.mp3 -o talks/ --format mp4 --format csv --identity NAME --liveliness blinks,gaze
  parlante batch animate lines/ -o talks/ --workers 64 --address auto       on the Ray cluster that this machine is in
  parlante batch encode prepared/textalk4d -o latents/textalk4d --workers 8
  parlante batch prepare textalk4d TexTalkData prepared/textalk4d --workers 8
  parlante batch prepare mead MEAD-3D corpora/mead --audio MEAD --workers 8

What is finished is kept: an interrupted run goes on where it stopped. A file that fails does not stop the others; all
failures are listed at the end, and the exit code is 1. A lost worker is replaced and its file begun anew. On a cluster
(pip install 'parlante[ray]') all machines must see the same files under the same names.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare one sub-command per kind of work."""
    parser.epilog = EPILOG
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)

    def add(name: str, help_line: str) -> argparse.ArgumentParser:
        return kinds.add_parser(
            name, help=help_line, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    sub = add("animate", "every recording of a folder")
    sub.add_argument("source", nargs="+", metavar="IN", help="folders of recordings, searched to the bottom, and files")
    sub.add_argument("-o", "--output", required=True, metavar="DIR", help="new folder, or one to go on with")
    sub.add_argument(
        "--format",
        action="append",
        metavar="NAME",
        help="mp4 (default), csv, glb, npz, obj, frames, ...; several times",
    )
    sub.add_argument("--again", action="store_true", help="make finished files anew")
    animate.declare_performance(sub)
    _declare_workers(sub)
    sub = add("encode", "every clip of a corpus, as parlante encode does")
    encode.configure(sub)
    sub.epilog = EPILOG
    _declare_workers(sub)
    prepare_parser = add("prepare", "every clip of a dataset, as parlante prepare does")
    datasets = prepare_parser.add_subparsers(dest="dataset", metavar="NAME", required=True)
    for sub in prepare.declare_datasets(datasets, EPILOG):
        _declare_workers(sub)


def _declare_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, metavar="N", help="processes at a time (default: one per core)")
    parser.add_argument(
        "--address",
        metavar="ADDRESS",
        help="a Ray cluster: auto, HOST:PORT, ray://HOST:10001, or local to start one here (default: no Ray)",
    )


def run(options: argparse.Namespace) -> int:
    """Do it all; 1 if anything failed. Raises InputError for a source, target or option that cannot be used."""
    from parlante.batch.runner import cores
    from parlante.core import InputError
    from parlante.core.interruption import interruptible

    if options.workers is not None and options.workers < 1:
        raise InputError(f"--workers must be 1 or more, got {options.workers}")
    options.workers = options.workers or cores()
    with interruptible():
        return {"animate": _animate, "encode": _encode, "prepare": _prepare}[options.kind](options)


def _animate(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from parlante.batch.jobs import animate_jobs, check_performance, claim, find_recordings, output_suffix
    from parlante.core import InputError
    from parlante.export import check_outputs

    how, picture = animate.performance(options)
    how |= {"model": options.model, "device": options.device}
    suffixes = [output_suffix(text) for text in options.format or ["mp4"]]
    target = Path(options.output)
    recordings = find_recordings(options.source, target)
    character = None if options.character is None else str(Path(options.character).resolve())
    if character is not None and not Path(character).exists():
        raise InputError(f"no such character: {character}")
    check_outputs([f"{target / 'any'}{suffix}" for suffix in suffixes])
    for key in ("model", "style", "motion_style", "wrinkle_style", "identity"):
        how[key] = _absolute(how[key])
    check_performance(suffixes, how, character)
    common = {"how": how, "picture": asdict(picture), "character": character, "parts": options.parts}
    claim(target, "animate", {"formats": suffixes, **common}, again=options.again)
    jobs, kept = animate_jobs(recordings, suffixes, common, again=options.again)
    return _work(jobs, kept, target, options)


def _encode(options: argparse.Namespace) -> int:
    from parlante.batch.jobs import encode_jobs
    from parlante.models.textalker.model import ASSET

    wanted = encode.checked(options)
    target = Path(options.output)
    jobs, kept = encode_jobs(
        options.data, options.model or ASSET, target, wanted, batch=options.batch, device=options.device
    )
    return _work(jobs, kept, target, options, lambda: encode.run(options))


def _prepare(options: argparse.Namespace) -> int:
    from parlante.batch.jobs import clip_jobs

    options.jobs, target = 1, Path(options.target)
    options.source = str(Path(options.source).absolute())  # workers may stand elsewhere
    for name, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, name, value.absolute())
    spec, values, made = prepare.chosen(options)
    place = options.target if "://" in options.target else str(target.absolute())
    jobs, kept = clip_jobs(spec.name, options.source, place, values, made)
    return _work(jobs, kept, target, options, lambda: prepare.run(options))


def _absolute(wish: str | None) -> str | None:
    """A path that exists, as a name that means the same to every worker; names are left alone."""
    return str(Path(wish).resolve()) if wish and "/" in wish and Path(wish).exists() else wish


def _work(
    jobs: "Sequence[Job]",
    kept: int,
    target: Path,
    options: argparse.Namespace,
    finish: Callable[[], int] | None = None,
) -> int:
    """Do the jobs, show how far they are, list what failed; `finish` puts the parts together if nothing did."""
    import time

    from tqdm import tqdm

    from parlante.batch.jobs import sweep
    from parlante.batch.runner import run_jobs

    started = time.perf_counter()
    failed = []
    bar = tqdm(total=len(jobs), unit=" files", desc=options.kind, disable=True if options.quiet else None)
    with bar:
        for outcome in run_jobs(jobs, options.workers, options.address):
            bar.update()
            if outcome.error:
                failed.append(outcome)
                bar.set_postfix_str(f"{len(failed)} failed")
    sweep(target)
    if not options.quiet:
        parts = [f"{len(jobs) - len(failed)} done"]
        parts += [f"{kept} kept from before"] * bool(kept) + [f"{len(failed)} failed"] * bool(failed)
        print(f"{', '.join(parts)} in {time.perf_counter() - started:.1f} s", file=sys.stderr)
    for outcome in sorted(failed, key=lambda outcome: outcome.name):
        print(f"{outcome.name}: {outcome.error}", file=sys.stderr)
    if failed:
        return 1
    return 0 if finish is None else finish()
