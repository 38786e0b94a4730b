"""`parlante prepare NAME SRC DST`: a published dataset, verified and packed."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parlante.data.datasets.textalk4d_prepare import Options

EPILOG = """example:
  parlante prepare textalk4d TexTalkData prepared/textalk4d
  parlante prepare textalk4d TexTalkTest prepared/unseen --unseen
  parlante prepare vocaset VOCASET corpora/vocaset --template FLAME_sample.ply
  parlante prepare own recordings s3://bucket/recordings --fps 30 --unit 0.001

Every file is read and checked; a table tells what is missing. An interrupted run goes on where it stopped, and
what was made from files that have not changed is kept. parlante encode and the trainings read the result.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare one sub-command per dataset."""
    parser.epilog = EPILOG
    datasets = parser.add_subparsers(dest="dataset", metavar="NAME", required=True)
    for sub in declare_datasets(datasets, EPILOG):
        sub.add_argument("--jobs", type=int, metavar="N", help="threads (default: all cores)")


def declare_datasets(datasets: Any, epilog: str) -> list[argparse.ArgumentParser]:
    """One sub-command per dataset, with the options that say what is prepared."""
    made = []
    for name, (help_line, declare) in DATASETS.items():
        sub = datasets.add_parser(
            name, help=help_line, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        sub.add_argument("source", metavar="SRC", help="the dataset's folder, as published")
        sub.add_argument("target", metavar="DST", help="new folder, or one to go on with (not textalk4d: or a URL)")
        sub.add_argument("-q", "--quiet", action="store_true", help="no progress, no table")
        declare(sub)
        made.append(sub)
    return made


def run(options: argparse.Namespace) -> int:
    """Prepare. Raises InputError for a source or target that cannot be used."""
    from parlante.cli._interrupt import interruptible
    from parlante.core import InputError

    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs must be 1 or more, got {options.jobs}")
    with interruptible():
        if options.dataset == "textalk4d":
            _textalk4d(options)
        else:
            _store(options)
    return 0


def _jobs(options: argparse.Namespace) -> int:
    import os

    if options.jobs:
        return int(options.jobs)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# -- TexTalk4D


def declare_textalk4d(parser: argparse.ArgumentParser) -> None:
    """Declare what only TexTalk4D has."""
    parser.add_argument("--no-textures", action="store_true", help="meshes and sound only")
    parser.add_argument("--unseen", action="store_true", help="all identities are test_unseen (TexTalkTest)")
    parser.add_argument(
        "--held-out", type=int, default=10, metavar="N", help="identities whose latter half is test_seen (default 10)"
    )
    parser.add_argument("--unit", type=float, default=0.1, metavar="M", help="metres in a unit (default 0.1)")
    parser.add_argument(
        "--shortest", type=int, default=30, metavar="N", help="frames without a gap that make a clip (default 30)"
    )


def textalk4d_options(options: argparse.Namespace) -> "Options":
    """What the prepared corpus depends on. Raises InputError for values out of range."""
    from parlante.data.datasets.textalk4d_prepare import Options

    return Options(
        unit=options.unit,
        textures=not options.no_textures,
        held_out=options.held_out,
        unseen=options.unseen,
        shortest=options.shortest,
    )


def _textalk4d(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from parlante.data.datasets.textalk4d_prepare import prepare

    wanted = textalk4d_options(options)
    with tqdm(unit=" frames", desc="textalk4d", disable=True if options.quiet else None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = prepare(options.source, options.target, wanted, jobs=_jobs(options), progress=progress)
    if options.quiet:
        return
    from parlante.data.datasets.textalk4d_prepare import round_trip_mm

    for line in report.table():
        print(line)
    error = round_trip_mm(Path(options.target))
    print(
        f"motion maps at 512, {error.frames} frames there and back: mean {error.mean:.4f} mm, 99 % {error.p99:.4f} mm, "
        f"worst {error.max:.3f} mm"
    )
    print(f"{len(report.clips)} clips in {options.target}", file=sys.stderr)


# -- what becomes a clip store


def _declare_template(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--template", type=Path, metavar="MESH", help=".ply or .obj with the triangles")


def _declare_vocaset(parser: argparse.ArgumentParser) -> None:
    _declare_template(parser)
    parser.add_argument(
        "--every", type=int, default=2, metavar="N", help="take every Nth of 60 frames a second (default 2: 30)"
    )


def _declare_biwi(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--neutral-too", action="store_true", help="also the neutral recordings 01 to 40")


def _declare_mead(parser: argparse.ArgumentParser) -> None:
    _declare_template(parser)
    parser.add_argument("--audio", type=Path, metavar="MEAD", help="MEAD itself, if the sound is not in SRC")
    parser.add_argument("--camera", default="front", help="whose reconstructions to use (default front; all)")


def _declare_multiface(parser: argparse.ArgumentParser) -> None:
    _declare_template(parser)
    parser.add_argument("--no-textures", action="store_true", help="meshes and sound only")
    parser.add_argument(
        "--published",
        action="store_true",
        help="MeshTalk's 6,172 vertices in FaceDiffuser's unit (default: metres)",
    )
    parser.add_argument(
        "--shortest", type=int, default=30, metavar="N", help="frames without a gap that make a clip (default 30)"
    )


def _declare_own(parser: argparse.ArgumentParser) -> None:
    _declare_template(parser)
    parser.add_argument("--fps", type=float, metavar="F", help="frames a second (default: what fits the sound)")
    parser.add_argument("--unit", type=float, metavar="M", help="metres in one unit; the store is then in metres")
    parser.add_argument("--name", metavar="NAME", help="what the dataset is called (default: its folder's name)")


def reading(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the dataset's reader is given, and what of it the store depends on. Raises InputError for values out of
    range."""
    from parlante.core import InputError

    name = options.dataset
    template = {"template": None if name == "biwi" or options.template is None else str(options.template)}
    if name == "vocaset":
        if options.every < 1:
            raise InputError(f"--every must be 1 or more, got {options.every}")
        made = {"every": options.every}
        return {**made, **template}, made
    if name == "biwi":
        made = {"neutral_too": options.neutral_too}
        return made, made
    if name == "mead":
        made = {"camera": options.camera}
        return {**made, "audio": None if options.audio is None else str(options.audio), **template}, made
    if name == "multiface":
        made = {"textures": not options.no_textures, "published": options.published, "shortest": options.shortest}
        return {**made, **template}, made
    for key in ("fps", "unit"):
        value = getattr(options, key)
        if value is not None and not 0 < value < 1e4:
            raise InputError(f"--{key} must be positive, got {value:g}")
    return {"fps": options.fps, "name": options.name, "metres": options.unit, **template}, {"unit": options.unit}


def _store(options: argparse.Namespace) -> None:
    """Pack what a reader gives into a clip store, with progress and a table."""
    from tqdm import tqdm

    from parlante.data.prepare import open_reader, write_store

    arguments, made = reading(options)
    reader = open_reader(options.dataset, options.source, arguments)
    with tqdm(unit=" clips", desc=options.dataset, disable=True if options.quiet else None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        report = write_store(reader, options.target, jobs=_jobs(options), options=made, progress=progress)
    if options.quiet:
        return
    for line in report.table():
        print(line)
    print(f"{len(report.clips)} clips in {options.target}", file=sys.stderr)


DATASETS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "textalk4d": ("4D scans with textures (TexTalker, CVPR 2025)", declare_textalk4d),
    "vocaset": ("FLAME meshes, official files (VOCA, CVPR 2019)", _declare_vocaset),
    "biwi": ("the corpus as archived: faces, rigid_scans, audio or videos", _declare_biwi),
    "mead": ("FLAME meshes of MEAD (Speech4Mesh, ICCV 2023)", _declare_mead),
    "multiface": ("tracked heads with pictures of the skin (2022)", _declare_multiface),
    "own": ("any folder with vertices_npy/, wav/ and templates", _declare_own),
}
"""name: (one line of help, what declares its own options)."""
