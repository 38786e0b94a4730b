"""`parlante export talk.npz -o talk.glb`."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from parlante.cli._live import declare_live, live
from parlante.cli._notes import add_strict, shown_notes
from parlante.cli._options import add_options, read_options

if TYPE_CHECKING:
    from parlante.export.edit import Stream

EPILOG = """examples:
  parlante export talk.npz -o talk.glb
  parlante export talk.npz -o talk.usdz -o talk.pc2 -o talk.neutral.obj
  parlante export talk.npz -o talk.csv --fps 60 --gain jaw=1.2 --gain brow=0.5
  parlante export talk.npz -o talk.glb --reduce 0.01           few keys that an animator can edit
  parlante export hello.npz bye.npz -o both.glb --crossfade 0.3 --fade-in 0.2 --fade-out 0.2
  parlante export talk.npz --live 127.0.0.1                     Unreal and others listen on this machine
  parlante export talk.npz -o talk.csv --shapes me.shapes.npz --calibration me.json

edits are made in this order: join, trim, rate, weights (--shapes), mirror, gains, calibration, fades
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from parlante.core.options import Fidelity, Picture

    parser.epilog = EPILOG
    parser.add_argument("animation", nargs="+", help=".npz written by parlante animate; several are joined in order")
    parser.add_argument(
        "-o", "--output", action="append", default=[], metavar="PATH",
        help="file or folder/ to write, by its suffix (list: --formats); may be given several times",
    )  # fmt: skip
    declare_live(parser)
    parser.add_argument("--formats", action=_ListFormats, help="list the formats and leave")
    parser.add_argument("--fps", type=float, help="frames per second (default: the animation's own)")
    parser.add_argument("--from", dest="start", type=float, default=0.0, metavar="S", help="begin at S seconds")
    parser.add_argument("--to", dest="end", type=float, metavar="S", help="end at S seconds")
    parser.add_argument("--crossfade", type=float, default=0.0, metavar="S", help="seconds over which animations blend")
    parser.add_argument("--fade-in", type=float, default=0.0, metavar="S", help="out of the face at rest")
    parser.add_argument("--fade-out", type=float, default=0.0, metavar="S", help="back to the face at rest")
    parser.add_argument("--mirror", action="store_true", help="swap left and right")
    parser.add_argument(
        "--gain", action="append", default=[], metavar="NAME=X",
        help="multiply weights (jaw, mouth, brow, eyeBlink, *Left, ...), head, wrinkles or a region of the mesh",
    )  # fmt: skip
    parser.add_argument("--calibration", metavar="JSON", help="gain, offset and limits per weight of a character")
    parser.add_argument(
        "--shapes", metavar="PATH",
        help="solve weights on these: an .npz of shapes (K, V, 3) and names (K,), or a folder of parlante character",
    )  # fmt: skip
    parser.add_argument("--no-head-pose", action="store_true", help="hold the head still")
    add_options(parser, Fidelity)
    add_options(parser, Picture)
    parser.add_argument("--no-texture", action="store_true", help="leave out skin and wrinkles")
    add_strict(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")


def run(options: argparse.Namespace) -> int:
    """Export. Raises InputError for arguments that cannot be used."""
    with shown_notes("export", strict=options.strict):
        return _export(options)


def _export(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from parlante.animation.talker import also
    from parlante.core import InputError
    from parlante.core.interruption import interruptible
    from parlante.core.options import Fidelity, Picture
    from parlante.export.outputs import check_outputs, open_sinks

    if not options.output and not options.live:
        raise InputError("nothing to write: name a file with -o, such as -o talk.glb, or a receiver with --live")
    fidelity = read_options(options, Fidelity)
    _check_reduce(options)
    picture = read_options(options, Picture, texture=not options.no_texture)
    outputs = check_outputs(options.output)
    named = [f"{path}/" if text.endswith("/") else path for text, path in zip(options.output, outputs)]
    _check_own_inputs(options)
    info, blocks = _edited(options)
    sender = live(options)
    with (
        interruptible(),
        tqdm(total=info.num_frames, unit=" frames", disable=options.quiet or None) as bar,
        also(sender, info) as extra,
        open_sinks(named, info, picture, fidelity) as sinks,
    ):
        for block in blocks:
            for sink in (*extra, *sinks):
                sink.write(block)
            bar.update(len(block))
    if sender and not options.quiet:
        print(sender.summary(), file=sys.stderr)
    return 0


def _edited(options: argparse.Namespace) -> "Stream":
    """The animations read, joined and edited."""
    from dataclasses import replace

    from parlante.export import edit
    from parlante.export.calibration import Calibration
    from parlante.export.frames import with_rig
    from parlante.export.npz import open_stream

    streams = []
    for path in options.animation:
        info, blocks = open_stream(path)
        streams.append((with_rig(info), blocks))
    info, blocks = edit.concatenated(streams, options.crossfade) if len(streams) > 1 else streams[0]
    if options.start or options.end is not None:
        info, blocks = edit.trimmed(info, blocks, options.start, options.end)
    if options.fps is not None:
        info, blocks = edit.resampled(info, blocks, options.fps)
    if options.shapes is not None:
        info, blocks = edit.with_weights(info, blocks, *edit.read_shapes(options.shapes))
    elif not info.weight_names and info.shapes is not None:
        from parlante.head.arkit import ARKIT_NAMES

        info, blocks = edit.with_weights(info, blocks, info.shapes, ARKIT_NAMES)
    if options.mirror:
        info, blocks = edit.mirrored(info, blocks)
    if options.gain:
        info, blocks = edit.scaled(info, blocks, edit.read_gains(options.gain))
    if options.calibration is not None:
        info, blocks = edit.calibrated(info, blocks, Calibration.read(options.calibration))
    if options.fade_in or options.fade_out:
        info, blocks = edit.faded(info, blocks, options.fade_in, options.fade_out)
    if options.no_head_pose:
        info, blocks = edit.without_pose(info, blocks)
    if options.no_texture:
        info = replace(info, albedo=None, wrinkle_size=None)
        blocks = (replace(block, wrinkle=None) for block in blocks)
    return info, blocks


def _check_own_inputs(options: argparse.Namespace) -> None:
    from pathlib import Path

    from parlante.core import InputError

    for output in options.output:
        for source in options.animation:
            if Path(output).exists() and Path(source).exists() and Path(output).samefile(source):
                raise InputError(f"{output} is the animation itself; name another output with -o")


def _check_reduce(options: argparse.Namespace) -> None:
    from parlante.core import InputError
    from parlante.export.formats import format_of, formats

    if options.reduce and not any(format_of(output).reduces_keys for output in options.output):
        keyed = ", ".join(suffix for suffix, each in formats().items() if each.reduces_keys)
        raise InputError(f"--reduce leaves out keys, and no output has any; add one of {keyed}")


class _ListFormats(argparse.Action):
    """`--formats`: print the table and leave."""

    def __init__(self, option_strings: Any, dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=kwargs.get("help"))

    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        from parlante.core import InputError
        from parlante.export.formats import formats

        try:
            known = formats()
        except InputError as error:
            parser.exit(2, f"parlante export: {error}\n")
        for each in dict.fromkeys(known.values()):
            print(f"{' '.join(each.suffixes):24}{each.description}")
        parser.exit()
