"""`parlante animate SPEECH -o talk.mp4`."""

import argparse
from typing import TYPE_CHECKING, Any

from parlante.cli._live import declare_live, live

if TYPE_CHECKING:
    from parlante.export.outputs import Picture

EPILOG = """examples:
  parlante animate line.wav -o line.mp4
  parlante animate line.mp3 --identity NAME --style NAME -o line.glb -o line.csv -o line.npz
  parlante animate line.wav --model talkingstyle --style me.style -o line.mp4
  parlante animate line.wav --model vocaset/ --style FaceTalk_170725_00137_TA -o line.npz -o line.obj/ -o line.mp4
  parlante animate line.wav --character me.character -o me.mp4
  parlante animate line.wav --life blinks,gaze,head:0.5 --seed 7 -o line.mp4
  parlante animate line.wav --live 127.0.0.1                Unreal and others listen on this machine
  parlante animate line.flac --size 1024 --view three-quarter -o frames/

outputs:
  .mp4  video with sound (or .webm)  .glb  glTF with 52 ARKit morph targets and their animation
  NAME.obj/, NAME.ply/  a folder of one mesh per frame
  .csv  Live Link Face, 61 columns   .npz  all numbers (vertices, wrinkle maps, weights, head pose, sound)
  NAME/ a folder of numbered PNG pictures, the sound and the curves
  and USD, VRM, Audio2Face, point caches, ...: parlante export --formats lists all

A checkpoint that parlante convert wrote speaks on its own mesh and at its own frame rate: no curves, no head pose.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("speech", help="a recording: wav, flac, mp3, ogg, m4a, ... of any rate, channels and length")
    parser.add_argument(
        "-o", "--output", action="append", metavar="PATH", help="file or folder/ to write; may be given several times"
    )
    declare_live(parser)
    declare_performance(parser)


def declare_performance(parser: argparse.ArgumentParser) -> None:
    """Declare who speaks, how, and how it is shown."""
    parser.add_argument(
        "--model",
        default="textalker",
        metavar="NAME",
        help="textalker (default), talkingstyle, ptalker, faceformer, facediffuser, or a checkpoint folder",
    )
    parser.add_argument(
        "--identity",
        metavar="NAME",
        help="who speaks; parlante info lists them. Converted checkpoints: a name of theirs, a face file (.ply, .obj), "
        "or for textalker a folder with face.obj and face.png",
    )
    parser.add_argument(
        "--character",
        metavar="PATH",
        help="your own: a folder of parlante character build, a mesh (.obj, .ply), or a rigged .glb, .vrm or .gltf, "
        "of which a copy with the animation is written",
    )
    parser.add_argument(
        "--parts",
        choices=("auto", "none", "eyes", "mouth", "all"),
        default="auto",
        help="with --character mesh: which eyeballs, teeth and tongue of ours it gets (default: those it has not)",
    )
    parser.add_argument(
        "--style",
        metavar="NAME",
        help="in whose manner: NAME, a mixture NAME:0.7,NAME:0.3, or a file (me.style); amounts are any numbers, "
        "a single one counts from the average (NAME:0), so that NAME:1.5 exaggerates; default: the identity's own",
    )
    parser.add_argument("--motion-style", metavar="NAME", help="in whose manner the face moves")
    parser.add_argument("--wrinkle-style", metavar="NAME", help="in whose manner the skin wrinkles")
    parser.add_argument("--motion-strength", type=float, default=1.0, metavar="X", help="0..3, default 1")
    parser.add_argument("--wrinkle-strength", type=float, default=1.0, metavar="X", help="0..3, default 1")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same animation (default 0)")
    parser.add_argument("--fps", type=float, help="frames per second of the outputs (default: the model's own, 30)")
    parser.add_argument("--steps", type=int, metavar="N", help="solver steps (default: the model's own)")
    parser.add_argument("--no-texture", action="store_true", help="leave out skin and wrinkles")
    parser.add_argument(
        "--life",
        metavar="PARTS",
        help="what the face does besides speaking: all (default), none, or some of blinks, gaze, head, breath, each "
        "with a factor if wanted: --life blinks,gaze,head:0.5",
    )
    parser.add_argument("--no-liveliness", action="store_true", help="the same as --life none")
    parser.add_argument("--size", type=int, default=512, help="picture edge in pixels (default 512)")
    parser.add_argument(
        "--view", default="front", help="front, three-quarter, profile, or degrees to the side (default front)"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")


def run(options: argparse.Namespace) -> int:
    """Animate. Raises InputError for arguments that cannot be used."""
    import sys
    import time
    from pathlib import Path

    from parlante.cli._interrupt import interruptible
    from parlante.core import InputError
    from parlante.export import check_outputs

    outputs = options.output or ([] if options.live else [f"{Path(options.speech).stem}.mp4"])
    if not options.character:
        check_outputs(outputs)
    speech = Path(options.speech)
    if not speech.exists():
        raise InputError(f"no such file: {speech}")
    for output in outputs:
        if Path(output).exists() and Path(output).samefile(speech):
            raise InputError(f"{output} is the recording itself; name another output with -o")
    how, picture = performance(options)
    sender = live(options)

    with interruptible():
        from tqdm import tqdm

        from parlante.animation import animate_to

        started = time.perf_counter()
        with tqdm(unit=" frames", desc=speech.name, disable=True if options.quiet else None) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            perform = animate_to
            if options.character:
                from functools import partial

                from parlante.animation.character import animate_character

                perform = partial(animate_character, character=options.character, parts=options.parts)
            take = perform(
                speech,
                outputs,
                picture=picture,
                progress=progress,
                live=sender,
                **how,
            )
    if not options.quiet:
        seconds = time.perf_counter() - started
        names = ", ".join([*map(str, outputs), *([sender.told()] if sender else [])])
        print(
            f"{take.duration:.1f} s of speech, {take.num_frames} frames of {take.provenance['identity']} "
            f"in {seconds:.1f} s: {names}",
            file=sys.stderr,
        )
    return 0


def performance(options: argparse.Namespace) -> tuple[dict[str, Any], "Picture"]:
    """The keywords of `pipeline.stream`, and how pictures are made. Raises InputError for values that clash."""
    from parlante.core import InputError
    from parlante.export.outputs import Picture

    if not 64 <= options.size <= 4096 or options.size % 2:
        raise InputError(f"--size must be an even number in 64..4096, got {options.size}; try 512 or 1024")
    if options.life is not None and options.no_liveliness:
        raise InputError("--life and --no-liveliness exclude each other; give one of them")
    how = {
        "source": options.model,
        "identity": options.identity,
        "style": options.style,
        "motion_style": options.motion_style,
        "wrinkle_style": options.wrinkle_style,
        "motion_strength": options.motion_strength,
        "wrinkle_strength": options.wrinkle_strength,
        "seed": options.seed,
        "fps": options.fps,
        "texture": not options.no_texture,
        "liveliness": not options.no_liveliness if options.life is None else options.life,
        "steps": options.steps,
    }
    return how, Picture(size=options.size, view=_view(options.view), texture=not options.no_texture)


def _view(text: str) -> str | float:
    """A view's name or an angle in degrees. Raises InputError for anything else."""
    import math

    from parlante.core import InputError
    from parlante.render.camera import VIEWS

    if text in VIEWS:
        return text
    try:
        angle = float(text)
    except ValueError:
        angle = math.nan
    if not math.isfinite(angle):
        raise InputError(f"unknown view {text!r}; choose {', '.join(VIEWS)} or degrees to the side, such as 20")
    return angle
