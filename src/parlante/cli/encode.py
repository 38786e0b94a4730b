"""`parlante encode DATA --model DIR -o DIR`."""

import argparse

from parlante.cli._options import add_device, add_options, read_options
from parlante.core.errors import InputError
from parlante.training.features.encoding_options import EncodingOptions

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
    add_options(parser, EncodingOptions)
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="maps at a time (default 8)")
    add_device(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")


def run(options: argparse.Namespace) -> int:
    """Encode. Raises InputError for a corpus, model or folder that cannot be used."""
    wanted = checked(options)
    from tqdm import tqdm

    from parlante.core.interruption import interruptible
    from parlante.models.textalker.model import ASSET
    from parlante.training.features.corpus_maps import MapModels, open_maps
    from parlante.training.features.encoding import encode_corpus

    models = MapModels.load(options.model or ASSET).to(options.device)
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


def checked(options: argparse.Namespace) -> EncodingOptions:
    """What an encoding depends on. Raises InputError for values out of range."""
    if options.batch < 1:
        raise InputError(f"batch must be 1 or more, got {options.batch}")
    return read_options(options, EncodingOptions)
