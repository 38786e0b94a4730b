"""`parlante convert faceformer vocaset.pth -o vocaset`: a published checkpoint as one of ours."""

import argparse
from pathlib import Path
from typing import Any

EPILOG = """examples:
  parlante convert faceformer vocaset.pth -o vocaset --topology FLAME_sample.ply --topology templates.pkl
  parlante convert talkingstyle vocaset.pth -o vocaset --subjects vocaset
  parlante convert talkingstyle mead.pth -o mead --rate aligned --fps 30 --subjects M003,M005,W009
  parlante convert facediffuser pretrained_BIWI.pth -o biwi-diffusion --topology BIWI.ply
  parlante convert codetalker biwi_stage1.pth.tar biwi_stage2.pth.tar -o biwi --topology BIWI.ply
  parlante convert textalker textalker.pth motion_vae.pth tex_vae.pth -o textalker --stats stat_seq_diff_global.json

Files are read with weights only: nothing in them is executed. Frame rate and subjects are filled in for the meshes of
VOCASET and BIWI; a TalkingStyle on VOCASET's mesh may have learnt 3D-MEAD, so say --subjects. What no file tells can be
set: --set heads=4, --set speech.heads=12, --set autoencoder.heads=8."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = EPILOG
    from parlante.models.registry import families

    models = [spec.name for spec in families().values() if spec.importer]
    parser.add_argument("model", choices=models, help="whose checkpoint it is")
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
    parser.add_argument(
        "--subjects",
        metavar="A,B,...",
        help="training speakers in the order of the style weights; vocaset: those of VOCASET",
    )
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
    from parlante.core import atomic_folder
    from parlante.core.files import check_new_folder
    from parlante.core.plugins import resolve
    from parlante.models.importing.contract import Importer, ImportOptions
    from parlante.models.registry import family

    check_new_folder(options.output)
    importer: Importer = resolve(family(options.model).importer)
    told = ImportOptions(
        rate=options.rate,
        fps=options.fps,
        subjects=None if options.subjects is None else [name.strip() for name in options.subjects.split(",")],
        topology=options.topology,
        controls=options.controls.split(",") if options.controls else None,
        stats=options.stats,
        settings=dict(_setting(text) for text in options.set),
    )
    model = importer(options.files, told)
    with atomic_folder(options.output) as folder:
        model.save(folder, half=options.half)
    first, *more = model.describe()
    print(f"{options.output}: {first}")
    for line in more:
        print(f"  {line}")
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
