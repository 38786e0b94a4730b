"""`parlante style extract|mix|info`."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from parlante.cli._options import add_device

if TYPE_CHECKING:
    from parlante.models.talker import SpeechModel

EPILOG = """examples:
  parlante style extract clip1.npz clip2.npz -o me.style                 a person's speaking style, from animated clips
  parlante animate line.wav --model talkingstyle --style me.style -o line.mp4
  parlante style extract clip*.npz -o me.style --model textalker         for another model: its own extraction
  parlante style mix a.style b.style --amount 0.5 -o half.style          beyond 1 exaggerates the difference
  parlante style mix a.style b.style --amount 0 --wrinkle-amount 1 -o both.style   moves like a, wrinkles like b
  parlante style mix mean a.style --amount 1.5 --model textalker -o strong.style   a, half as strong again
  parlante style mix me.style F2 --model vocaset/ -o near.style          a speaker of a folder: say which folder
  parlante style predict face.obj face.png --from latents/textalk4d -o new.style   from a face at rest, no recording
  parlante style info me.style

A clip is a .npz with sound and vertices of the model's own mesh, as parlante animate writes it. Ten seconds are good.
A style belongs to the model it was extracted with.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    extract = actions.add_parser("extract", help="learn a person's style from clips")
    extract.add_argument("clips", nargs="+", metavar="CLIP", help="animation (.npz) with sound")
    extract.add_argument("-o", "--output", required=True, metavar="PATH", help="file to write, such as me.style")
    extract.add_argument(
        "--model",
        default="talkingstyle",
        metavar="NAME",
        help="whose style: talkingstyle (default), ptalker, faceformer, facediffuser, textalker, a folder that "
        "parlante train wrote, or a talkingstyle, ptalker, faceformer or codetalker that parlante convert wrote",
    )
    add_device(extract)
    extract.add_argument("--name", help="what to call the style (default: the output's name)")
    mix = actions.add_parser("mix", help="a style between two, or beyond one")
    mix.add_argument("styles", nargs=2, metavar="STYLE", help="style file, a known style's name, or mean")
    mix.add_argument(
        "--amount", type=float, default=0.5, metavar="X", help="0: the first, 1: the second (default 0.5); any number"
    )
    mix.add_argument(
        "--wrinkle-amount", type=float, metavar="X", help="the same for wrinkles alone (default: --amount)"
    )
    mix.add_argument(
        "--model",
        metavar="NAME",
        help="whose known styles the names are: a shipped model or a folder (default: the file's, if it is shipped)",
    )
    mix.add_argument("-o", "--output", required=True, metavar="PATH", help="file to write")
    predict = actions.add_parser("predict", help="guess a TexTalker style from a face at rest")
    predict.add_argument("face", metavar="FACE", help="neutral mesh (.obj, .ply), or an identity of the embedded head")
    predict.add_argument("albedo", nargs="?", metavar="PICTURE", help="its skin, in the known persons' uv layout")
    predict.add_argument(
        "--from", dest="known", metavar="DIR", help="latents of known persons, from parlante encode (default: shipped)"
    )
    predict.add_argument("-o", "--output", required=True, metavar="PATH", help="file to write, such as new.style")
    info = actions.add_parser("info", help="what a style file holds")
    info.add_argument("styles", nargs="+", metavar="STYLE", help="style file")


def run(options: argparse.Namespace) -> int:
    """Do it. Raises InputError for files that cannot be used."""
    return {"extract": _extract, "mix": _mix, "predict": _predict, "info": _info}[options.action](options)


def _extract(options: argparse.Namespace) -> int:
    import sys
    import time

    from parlante.animation.style_extraction import extract_style
    from parlante.core.interruption import interruptible
    from parlante.core.style import save_style
    from parlante.models.registry import load_model

    output = _writable(options.output, options.clips)
    with interruptible():
        started = time.perf_counter()
        found = extract_style(options.clips, load_model(options.model, options.device), options.name or output.stem)
        save_style(found.style, output)
    print(f"{found.seconds:.1f} s of motion in {time.perf_counter() - started:.1f} s: {output}", file=sys.stderr)
    for name, value in found.facts.items():
        print(f"  {name}: {value if isinstance(value, str) else f'{value:.3f}'}", file=sys.stderr)
    return 0


def _mix(options: argparse.Namespace) -> int:
    import math
    from dataclasses import replace

    from parlante.core import InputError, Style
    from parlante.core.style import load_style, save_style

    for amount in (options.amount, options.wrinkle_amount or 0.0):
        if not math.isfinite(amount):
            raise InputError(
                f"an amount must be a finite number, got {amount:g}; 0.5 is half way, 1.5 beyond the second"
            )
    output = _writable(options.output, [])
    model = _model_of_names(options)

    def read(text: str) -> Style:
        if model is None:
            return load_style(text)
        return model.style(None if text == "mean" else text)

    first, second = (read(text) for text in options.styles)
    save_style(replace(first.mix(second, options.amount, options.wrinkle_amount), name=output.stem), output)
    return 0


def _model_of_names(options: argparse.Namespace) -> "SpeechModel | None":
    """The talker that knows the names to be mixed; none where both styles are files.

    Raises InputError with the command to run where only a folder that nobody named could know them.
    """
    import shlex

    from parlante.core import InputError
    from parlante.core.style import load_style

    files = [text for text in options.styles if text.endswith(".style")]
    names = [text for text in options.styles if text not in files]
    if not names:
        return None
    from parlante.models.registry import load_model
    from parlante.models.styles import shipped_model

    if options.model:
        return load_model(options.model)
    words = ["parlante", "style", "mix", *options.styles, "--amount", f"{options.amount:g}"]
    if options.wrinkle_amount is not None:
        words += ["--wrinkle-amount", f"{options.wrinkle_amount:g}"]
    command = shlex.join([*words, "--model", "DIR", "-o", options.output])
    if files:
        style = load_style(files[0])
        if model := shipped_model(style):
            return load_model(model)
        raise InputError(
            f"{files[0]} belongs to a {style.model or 'model'} that is not shipped, and only its folder knows "
            f"{names[0]!r}; say which folder: {command}"
        )
    known = load_model("talkingstyle")
    for name in names:
        if name not in ("mean", *known.abilities.styles) and ":" not in name:
            raise InputError(f"{name!r} is no style of talkingstyle; say whose it is: {command}")
    return known


def _predict(options: argparse.Namespace) -> int:
    from dataclasses import replace
    from typing import Any

    import numpy as np

    from parlante.core.pictures import read_picture
    from parlante.core.style import save_style
    from parlante.geometry.mesh import read_mesh
    from parlante.head import load_head
    from parlante.models.textalker.pivots import PivotPredictor

    output = _writable(options.output, [])
    albedo: Any = None
    if Path(options.face).suffix.lower() in (".obj", ".ply"):
        neutral: Any = read_mesh(options.face).vertices
    else:
        identity = load_head().identity(options.face)
        neutral, albedo = identity.neutral, identity.albedo
    if options.albedo is not None:
        albedo = read_picture(options.albedo)
    if options.known is not None:
        predictor = PivotPredictor.open(options.known)
    else:
        from parlante.models.registry import load_model

        model = load_model("textalker")
        known = [load_head().identity(name) for name in model.abilities.styles]
        skins = [person.albedo for person in known] if albedo is not None else None
        styles = [model.style(name) for name in model.abilities.styles]
        predictor = PivotPredictor(np.stack([person.neutral for person in known]), skins, styles)
    found = predictor.predict(neutral, albedo, output.stem)
    save_style(replace(found.style, name=output.stem), output)
    print(f"{output}: most alike are {', '.join(found.nearest)}")
    for part, left in (("motion", found.motion_error), ("wrinkle", found.wrinkle_error)):
        worth = "no better than" if left > 0.99 else f"{100 * (1 - left):.0f} % closer than"
        print(f"  {part} pivots of known persons left out are guessed {worth} by the mean pivot")
    return 0


def _info(options: argparse.Namespace) -> int:
    from parlante.core.style import load_style

    for text in options.styles:
        style = load_style(text)
        print(text)
        print(f"  name: {style.name}\n  model: {style.model}\n  checkpoint: {style.checkpoint}")
        for key in ("motion", "wrinkle"):
            values = getattr(style, key)
            if values.size:
                print(f"  {key}: {tuple(values.shape)}, length {float((values**2).sum() ** 0.5):.3f}")
    return 0


def _writable(output: str, inputs: list[str]) -> Path:
    """The output's path. Raises InputError if it has another suffix or is one of the inputs."""

    from parlante.core import InputError

    path = Path(output)
    if path.suffix != ".style":
        raise InputError(f"{output} must end in .style, so that --style tells it from a name")
    if path.is_dir():
        raise InputError(f"{output} is a folder; give a file name")
    if any(path.exists() and Path(other).exists() and path.samefile(other) for other in inputs):
        raise InputError(f"{output} is one of the clips; name another output with -o")
    return path
