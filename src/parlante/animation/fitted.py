"""A character's own calibration: gains and limits of weights that lie with it, and are applied whenever it speaks."""

from collections.abc import Iterator
from pathlib import Path

from parlante.export import AnimationInfo, FrameBlock
from parlante.export.calibration import Calibration
from parlante.export.edit import calibrated


def calibration_file(character: Path) -> Path:
    """Where it lies: `calibration.json` in a character's folder, `me.calibration.json` beside `me.glb`."""
    if character.is_dir():
        return character / "calibration.json"
    return character.with_name(f"{character.stem}.calibration.json")


def fitted(
    character: Path, info: AnimationInfo, blocks: Iterator[FrameBlock]
) -> tuple[AnimationInfo, Iterator[FrameBlock]]:
    """The frames through the character's calibration, if it has one, which is in the provenance.

    Raises InputError if it cannot be read or names what is no weight.
    """
    file = calibration_file(character)
    if not file.exists():
        return info, blocks
    info, blocks = calibrated(info, blocks, Calibration.read(file))
    info.provenance["calibration"] = str(file)
    return info, blocks


def describe_calibration(character: Path) -> list[str]:
    """Lines of what it changes; none without."""
    file = calibration_file(character)
    if not file.exists():
        return []
    changes = (
        f"{name} {' '.join(f'{field} {value:g}' for field, value in fields.items())}"
        for name, fields in Calibration.read(file).weights.items()
    )
    return [f"calibration {file.name}: {', '.join(changes) or 'nothing'}"]
