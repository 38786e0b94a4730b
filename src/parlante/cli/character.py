"""`parlante character build me.obj -o me.character`, `parlante character info me.character`."""

import argparse
from pathlib import Path

from parlante.cli._notes import add_strict, shown_notes

EPILOG = """examples:
  parlante character build me.obj --texture face.png -o me.character
  parlante character build sculpt.ply -o sculpt.character --landmarks marks.json
  parlante character build mask.obj --parts none -o mask.character
  parlante character info me.character
  parlante character info rigged.glb
  parlante animate line.wav --character me.character -o line.mp4

marks.json names at least four places, as [x, y, z] or vertex numbers:
  {"nose_tip": [0, 1.2, 3.4], "chin": 1375, "mouth_left": ..., "mouth_right": ...}
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    from parlante.core.options import MESH_PARTS

    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", metavar="build|info", required=True)
    build = actions.add_parser("build", help="make a character of your own mesh")
    build.add_argument("mesh", type=Path, help=".obj, .ply, .glb or .vrm of a head; any scale, axes and pose")
    build.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="new folder, such as me.character"
    )
    build.add_argument("--texture", type=Path, metavar="PNG", help="the picture that its texture coordinates mean")
    build.add_argument(
        "--landmarks", type=Path, metavar="JSON", help="places of the face, where it is not found by itself"
    )
    build.add_argument(
        "--parts",
        choices=MESH_PARTS,
        default="auto",
        help="which eyeballs, teeth and tongue of ours the mesh gets (default auto: those it has not)",
    )
    build.add_argument(
        "--calibration", type=Path, metavar="JSON", help="gains and limits of its weights, applied whenever it speaks"
    )
    add_strict(build)
    build.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")
    info = actions.add_parser("info", help="what a character, or the rig of a .glb, .vrm or .gltf, can do")
    info.add_argument("character", type=Path, help="a folder made by build, a .glb, .vrm or .gltf")


def run(options: argparse.Namespace) -> int:
    """Build or tell. Raises InputError for what cannot be used."""
    if options.action == "info":
        return _info(options.character)
    with shown_notes("character build", strict=options.strict):
        return _build(options)


def _build(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from parlante.animation.fitted import calibration_file
    from parlante.core import atomic_folder
    from parlante.core.files import check_new_folder
    from parlante.export.calibration import Calibration
    from parlante.head.arkit import ARKIT_NAMES
    from parlante.retarget.mesh import build_character
    from parlante.retarget.mesh.picture import save_preview

    check_new_folder(options.output)
    calibration = None if options.calibration is None else Calibration.read(options.calibration)
    if calibration is not None:
        calibration.table(ARKIT_NAMES)
    refused = options.output.with_name(options.output.stem + ".refused.png")
    with tqdm(total=6, unit=" steps", disable=True if options.quiet else None) as bar:

        def step(what: str) -> None:
            bar.set_description(what)
            bar.update()

        character = build_character(
            options.mesh,
            texture=options.texture,
            landmarks=options.landmarks,
            parts=options.parts,
            refused=refused,
            step=step,
        )
        step("preview")
        with atomic_folder(options.output) as folder:
            character.write(folder)
            if calibration is not None:
                calibration.write(calibration_file(folder))
            save_preview(character, folder / "preview.png")
    if not options.quiet:
        _tell(options.output, notes=False)  # they are shown when the command ends
    return 0


def _info(path: Path) -> int:
    from parlante.animation.character import is_rigged
    from parlante.animation.fitted import describe_calibration

    if is_rigged(path):
        from parlante.retarget.rig.rigged import read_rig

        for line in [*read_rig(path).describe(), *(f"  {line}" for line in describe_calibration(path))]:
            print(line)
        return 0
    _tell(path)
    return 0


def _tell(path: Path, *, notes: bool = True) -> None:
    from parlante.animation.fitted import describe_calibration
    from parlante.retarget.mesh import Character

    character = Character.load(path)
    report = character.report or {}
    wrinkles = "in its own texture layout" if character.wrinkle_table is not None else "none, it has no texture layout"
    size = character.similarity.scale
    print(
        f"{path}: {character.topology.num_vertices} vertices, {len(character.topology.triangles)} triangles, 52 shapes"
    )
    print(f"  one unit of the file is {size:.4g} m at the size of our head")
    print(
        f"  our face lies {report.get('fit_mm', 0):.2f} mm from it on average; {report.get('followed', 0):.0%} followed"
    )
    apart = report.get("lips_apart_mm", {})
    left = [value for name, value in apart.items() if not name.endswith("before")]
    lips = f"{report.get('mouth', '?')}, {max(left):.2f} mm apart at most where ours meet" if left else "?"
    if report.get("cut_apart"):
        lips += f", cut apart along {report['cut_apart']} triangles"
    print(f"  lips: {lips}; eyes: {', '.join(report.get('eyes', []))}; wrinkles: {wrinkles}")
    eyes = [side for side, count in zip(("left", "right"), report.get("own_eyeballs", ()), strict=False) if count]
    own = [*(f"eyeball_{side}" for side in eyes), *report.get("own_mouth", {})]
    print(f"  parts of its own: {', '.join(own) or 'none'}")
    print(f"  added parts of ours: {', '.join(report.get('added', [])) or 'none'}")
    for line in report.get("notes", []) if notes else []:
        print(f"  note: {line}")
    for line in describe_calibration(path):
        print(f"  {line}")
    print(f"  see {path / 'preview.png'}")
