"""`parlante encode DATA --model DIR -o DIR`."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parlante.training.features.encoding import EncodingOptions

EPILOG = """examples:
  parlante encode prepared/textalk4d --model talker -o latents/textalk4d
  parlante encode prepared/unseen --model talker -o latents/unseen --seconds 5      pivots from short clips
  parlante animate line.wav --style latents/textalk4d/pivots/ID001.style -o line.mp4

DATA is a folder written by parlante prepare or parlante synth. Every clip's latents go to latents/, every person's
style pivots to pivots/; an interrupted run goes on where it stopped.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("data", metavar="DATA", help="prepared or SynthTalk corpus")
    parser.add_argument(
        "--model", metavar="DIR", help="a TexTalker, or a folder with two autoencoders, motion/ and wrinkle/ "
        "(default: the shipped TexTalker)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="new folder, or one to go on with")
    parser.add_argument("--half", action="store_true", help="keep latents in half precision")
    parser.add_argument("--stride", type=int, default=1, metavar="N", help="encode every Nth frame (default 1)")
    parser.add_argument("--seconds", type=float, default=0.0, metavar="S", help="measure pivots on S seconds each")
    parser.add_argument(
        "--held-out-too", action="store_true", help="measure pivots on held-out halves too, as published"
    )
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="maps at a time (default 8)")
    parser.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), cuda, ...")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")


def run(options: argparse.Namespace) -> int:
    """Encode. Raises InputError for a corpus, model or folder that cannot be used."""
    from parlante.core import InputError

    wanted = checked(options)
    from tqdm import tqdm

    from parlante.cli._interrupt import interruptible
    from parlante.models.textalker.model import ASSET
    from parlante.training.features.encoding import MapModels, encode_corpus, open_maps

    models = MapModels.load(options.model or ASSET)
    try:
        models.to(options.device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"cannot use --device {options.device}: {str(error).splitlines()[0]}") from error
    maps = open_maps(options.data, models)
    with interruptible(), tqdm(unit=" frames", desc="encoding", disable=True if options.quiet else None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = encode_corpus(maps, models, options.output, wanted, batch=options.batch, progress=progress)
    if not options.quiet:
        kept = f", {found.reused} kept from before" if found.reused else ""
        print(f"{found.clips} clips{kept} and pivots of {len(found.pivots)} persons in {found.folder}")
        print(
            f"motion maps there and back: mean {found.map_error:.4f} mm; with autoencoder: {found.motion_error:.3f} mm;"
            f" wrinkle maps with autoencoder: {found.wrinkle_error:.2f} of 255 RMS"
        )
    return 0


def checked(options: argparse.Namespace) -> "EncodingOptions":
    """What an encoding depends on. Raises InputError for values out of range."""
    from parlante.core import InputError

    for name, least in (("stride", 1), ("batch", 1), ("seconds", 0)):
        value = getattr(options, name)
        if not value >= least:
            raise InputError(f"--{name} must be {least} or more, got {value:g}")
    from parlante.training.features.encoding import EncodingOptions

    return EncodingOptions(
        half=options.half, stride=options.stride, seconds=options.seconds, held_out_too=options.held_out_too
    )
