"""`parlante animate SPEECH -o talk.mp4`."""

import argparse
from typing import TYPE_CHECKING, Any

from parlante.cli._live import declare_live, live
from parlante.cli._notes import add_strict, shown_notes
from parlante.cli._options import OldName, add_device, add_options, read_options

if TYPE_CHECKING:
    from parlante.core.options import Picture

EPILOG = """examples:
  parlante animate line.wav -o line.mp4
  parlante animate line.mp3 --identity NAME --style NAME -o line.glb -o line.csv -o line.npz
  parlante animate line.wav --model talkingstyle --style me.style -o line.mp4
  parlante animate line.wav --model vocaset/ --style FaceTalk_170725_00137_TA -o line.npz -o line.obj/ -o line.mp4
  parlante animate line.wav --character me.character -o me.mp4
  parlante animate line.wav --liveliness blinks,gaze,head:0.5 --seed 7 -o line.mp4
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
    from parlante.core.options import MESH_PARTS, Picture, Sampling, SpeakerOptions
    from parlante.models.registry import shipped

    parser.add_argument(
        "--model",
        metavar="NAME",
        help=f"{', '.join(shipped())}, or a checkpoint folder (default: {shipped()[0]})",
    )
    add_device(parser)
    add_options(parser, SpeakerOptions)
    parser.add_argument(
        "--character",
        metavar="PATH",
        help="your own: a folder of parlante character build, a mesh (.obj, .ply), or a rigged .glb, .vrm or .gltf, "
        "of which a copy with the animation is written",
    )
    parser.add_argument(
        "--parts",
        choices=MESH_PARTS,
        default="auto",
        help="with --character mesh: which eyeballs, teeth and tongue of ours it gets (default: those it has not)",
    )
    add_options(parser, Sampling)
    parser.add_argument(
        "--audio-track",
        type=int,
        metavar="N",
        help="which track of a file with several (default: the first with sound)",
    )
    parser.add_argument("--fps", type=float, help="frames per second of the outputs (default: the model's own, 30)")
    parser.add_argument("--no-texture", action="store_true", help="leave out skin and wrinkles")
    parser.add_argument(
        "--liveliness",
        metavar="PARTS",
        help="what the face does besides speaking: all (default), none, or some of blinks, gaze, head, breath, each "
        "with a factor if wanted: --liveliness blinks,gaze,head:0.5",
    )
    parser.add_argument("--life", action=OldName, dest="liveliness", new="--liveliness")
    parser.add_argument("--no-liveliness", action=OldName, dest="liveliness", new="--liveliness none", value="none")
    add_options(parser, Picture)
    parser.add_argument("--mirror", action="store_true", help="swap left and right")
    parser.add_argument(
        "--gain", action="append", default=[], metavar="NAME=X",
        help="multiply weights (jaw, mouth, brow, eyeBlink, *Left, ...), head, wrinkles or a region of the mesh",
    )  # fmt: skip
    add_strict(parser)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")


def run(options: argparse.Namespace) -> int:
    """Animate. Raises InputError for arguments that cannot be used."""
    import sys
    import time
    from pathlib import Path

    from parlante.core import InputError
    from parlante.core.interruption import interruptible
    from parlante.export import check_outputs, shows_skin

    outputs = options.output or ([] if options.live else [f"{Path(options.speech).stem}.mp4"])
    if not options.character:
        check_outputs(outputs)
    speech = Path(options.speech)
    if not speech.exists():
        raise InputError(f"no such file: {speech}")
    for output in outputs:
        if Path(output).exists() and Path(output).samefile(speech):
            raise InputError(f"{output} is the recording itself; name another output with -o")
    casting, picture = performance(options)
    sender = live(options)

    with interruptible(), shown_notes("animate", strict=options.strict):
        from tqdm import tqdm

        from parlante.animation import Talker

        started = time.perf_counter()
        talker = Talker.from_pretrained(options.model, device=options.device)
        with tqdm(unit=" frames", desc=speech.name, disable=True if options.quiet else None) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            if options.character:
                from parlante.animation.character import animate_character

                info = animate_character(
                    speech, outputs, options.character, parts=options.parts, picture=picture, progress=progress,
                    live=sender, talker=talker, audio_track=options.audio_track, edit=edits(options),
                    **casting,
                )  # fmt: skip
            else:
                cast = talker.cast(skin=shows_skin(outputs), **casting)
                info = talker.write(
                    speech, outputs, cast, picture=picture, progress=progress, live=sender,
                    audio_track=options.audio_track, edit=edits(options),
                )  # fmt: skip
    if not options.quiet:
        seconds = time.perf_counter() - started
        names = ", ".join([*map(str, outputs), *([sender.summary()] if sender else [])])
        print(
            f"{info.duration:.1f} s of speech, {info.num_frames} frames of {info.provenance['identity']} "
            f"in {seconds:.1f} s: {names}",
            file=sys.stderr,
        )
    return 0


def edits(options: argparse.Namespace) -> Any:
    """What `--mirror` and `--gain` change, as a function of facts and frames. Raises InputError."""
    from parlante.export import edit

    gains = edit.read_gains(options.gain)

    def change(info: Any, blocks: Any) -> Any:
        if options.mirror:
            info, blocks = edit.mirrored(info, blocks)
        return edit.scaled(info, blocks, gains) if gains else (info, blocks)

    return change if options.mirror or gains else None


def performance(options: argparse.Namespace) -> tuple[dict[str, Any], "Picture"]:
    """The keywords of `Talker.cast`, and how pictures are made. Raises InputError for values that clash."""
    from dataclasses import asdict

    from parlante.core.options import Liveliness, Picture, Sampling, SpeakerOptions

    texture, liveliness = not options.no_texture, options.liveliness
    sampling = asdict(read_options(options, Sampling, wrinkles=texture))
    casting = {
        **asdict(read_options(options, SpeakerOptions)),
        **{name: value for name, value in sampling.items() if name != "wrinkles"},
        "fps": options.fps,
        "texture": texture,
        "liveliness": True if liveliness is None else liveliness,
    }
    Liveliness.parse(casting["liveliness"])
    return casting, read_options(options, Picture, texture=texture)
