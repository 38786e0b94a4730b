"""`parlante convert faceformer vocaset.pth -o vocaset`: a published checkpoint as one of ours."""

import argparse
from pathlib import Path
from typing import Any

EPILOG = """examples:
  parlante convert faceformer vocaset.pth -o vocaset --topology FLAME_sample.ply --topology templates.pkl
  parlante convert talkingstyle mead.pth -o mead --rate aligned --fps 30 --subjects M003,M005,W009
  parlante convert facediffuser pretrained_BIWI.pth -o biwi-diffusion --topology BIWI.ply
  parlante convert codetalker biwi_stage1.pth.tar biwi_stage2.pth.tar -o biwi --topology BIWI.ply
  parlante convert textalker textalker.pth motion_vae.pth tex_vae.pth -o textalker --stats stat_seq_diff_global.json

Files are read with weights only: nothing in them is executed. Frame rate and subjects are filled in for the meshes of
VOCASET and BIWI. What no file tells can be set: --set heads=4, --set speech.heads=12, --set autoencoder.heads=8."""
MODELS = ("faceformer", "talkingstyle", "ptalker", "codetalker", "facediffuser", "textalker")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    parser.add_argument("model", choices=MODELS, help="whose checkpoint it is")
    parser.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help=".pth, .pth.tar or .safetensors; codetalker: both stages; textalker: all three files",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="new checkpoint folder")
    parser.add_argument(
        "--topology", type=Path, action="append", default=[], metavar="FILE",
        help="your template: .ply, .obj, .npz or templates.pkl; may be given more than once",
    )  # fmt: skip
    parser.add_argument("--subjects", metavar="A,B,...", help="training speakers in the order of the style weights")
    parser.add_argument("--rate", choices=("aligned", "pairs"), help="how speech meets frames, for other meshes")
    parser.add_argument("--stats", type=Path, metavar="FILE", help="textalker: json of its motion statistics")
    parser.add_argument("--controls", metavar="A,B,...", help="facediffuser's rig models: names of the controls")
    parser.add_argument("--fps", type=float, help="frames per second, for other meshes")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a size that the file does not tell"
    )
    parser.add_argument("--half", action="store_true", help="store large tensors in half precision (half the size)")


def run(options: argparse.Namespace) -> int:
    """Convert. Raises InputError for files that cannot be used; then nothing is written."""
    from parlante.core import InputError, atomic_folder
    from parlante.core.files import check_new_folder
    from parlante.models.importing.importer import import_released
    from parlante.models.importing.templates import read_templates

    check_new_folder(options.output)
    settings = dict(_setting(text) for text in options.set)
    if options.model == "textalker":
        return _textalker(options, settings)
    if options.stats is not None:
        raise InputError(f"--stats is for textalker; a {options.model} has no motion statistics")
    subjects = None if options.subjects is None else [name.strip() for name in options.subjects.split(",")]
    templates = read_templates(options.topology)
    talker = import_released(
        options.model,
        options.files,
        rate=options.rate,
        fps=options.fps,
        subjects=subjects,
        settings=settings,
        templates=templates,
        controls=options.controls.split(",") if options.controls else None,
    )
    for name, face in templates.neutrals.items():
        if len(face) != talker.num_vertices:
            raise InputError(
                f"the face {name!r} of --topology has {len(face)} vertices, the checkpoint moves "
                f"{talker.num_vertices}; give the template that it was trained with"
            )
    if len(templates.triangles) and templates.triangles.max() >= talker.num_vertices:
        raise InputError(f"--topology names vertices beyond the {talker.num_vertices} of the checkpoint")
    with atomic_folder(options.output) as folder:
        talker.save(folder, half=options.half)
    _tell(talker, options.output)
    return 0


def _textalker(options: argparse.Namespace, settings: dict[str, Any]) -> int:
    from parlante.core import InputError, atomic_folder
    from parlante.models.textalker.import_ import import_textalker, read_stats

    given = [name for name in ("topology", "subjects", "rate", "controls", "fps") if getattr(options, name)]
    if given:
        raise InputError(f"textalker takes no --{given[0]}; faces are given to parlante animate as --identity FOLDER")
    own = {} if options.stats is None else {"stats": read_stats(options.stats)}
    talker = import_textalker(options.files, settings=settings, **own)
    with atomic_folder(options.output) as folder:
        talker.save(folder, half=options.half)
    sizes, maps = talker.diffusion.config, talker.motion.config
    count = sum(value.numel() for value in talker.state_dict().values())
    print(f"{options.output}: textalker, {count / 1e6:.1f} M numbers, maps of {maps.img_size} px at 30 fps")
    print(
        f"  denoiser: width {sizes.width}, {sizes.layers} layers, {sizes.steps} steps, {sizes.frames} frames a window"
    )
    print(
        f"  codebooks: {maps.codebook_size} and {talker.wrinkle.config.codebook_size} codes of {maps.emb_dim} numbers"
    )
    return 0


def _setting(text: str) -> tuple[str, Any]:
    from parlante.core import InputError

    name, equals, value = text.partition("=")
    try:
        if not equals:
            raise ValueError
        return name, {"true": True, "false": False}[value] if value in ("true", "false") else int(value)
    except ValueError as error:
        raise InputError(f"--set wants a name and a whole number, true or false, got {text!r}") from error


def _tell(talker: Any, output: Path) -> None:
    config = talker.config
    count = sum(value.numel() for value in talker.tensors().values())
    rate = talker.config.rate or config.speech["rate"]
    network = config.speech["network"]
    moves = f"{len(config.controls)} rig controls" if config.controls else f"{talker.num_vertices} vertices"
    print(f"{output}: {config.model}, {count / 1e6:.1f} M numbers, {moves} at {config.fps:g} fps")
    family = config.family
    clock = f"{family.steps} diffusion steps" if config.model == "facediffuser" else f"period {family.period}"
    print(f"  width {family.width}, {family.layers} decoder layers, {clock}")
    print(
        f"  speech: {network['num_hidden_layers']} layers of {network['hidden_size']}, rate rule {rate['kind']}, "
        f"{rate['steps_per_frame']} step(s) a frame"
    )
    print(f"  speakers: {', '.join(config.subjects) or 'none'}")
    faces = list(talker.templates.neutrals)
    if not config.controls:
        print(f"  faces at rest: {', '.join(faces)}" if faces else "  no face at rest: give one with --topology")
