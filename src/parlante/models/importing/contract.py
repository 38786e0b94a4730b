"""What an importer of released files takes and gives; `FamilySpec.importer` names one for each family."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from parlante.core import InputError


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What released files do not tell. Each is none where the user says nothing."""

    rate: str | None = None
    """How speech steps belong to frames: aligned or pairs."""
    fps: float | None = None
    """Frames per second of the motion."""
    subjects: Sequence[str] | None = None
    """Training speakers in the order of the style weights."""
    topology: Sequence[Path] = ()
    """Files of template meshes."""
    controls: Sequence[str] | None = None
    """Names of the controls of a rig model."""
    stats: Path | None = None
    """File of motion statistics."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Sizes that no file tells, such as `heads`."""

    def allow(self, family: str, *names: str) -> None:
        """Raises InputError where an option is given that a family has no use for."""
        for each in fields(self):
            if each.name not in names and getattr(self, each.name):
                raise InputError(f"a {family} takes no --{each.name}; it takes {', '.join(f'--{n}' for n in names)}")


class Imported(Protocol):
    """A model read from released files."""

    def save(self, folder: Path | str, *, half: bool = False) -> Path:
        """Write a checkpoint folder."""
        ...

    def describe(self) -> list[str]:
        """A few lines about it, for people."""
        ...


class Importer(Protocol):
    """Reads released files of one family."""

    def __call__(self, files: Sequence[Path | str], options: ImportOptions) -> Imported:
        """Raises InputError for files or options that cannot be used."""
        ...
