"""What is evaluated, as options; `parlante evaluate` takes its own from here."""

from dataclasses import dataclass
from pathlib import Path

from parlante.core.errors import InputError
from parlante.core.options import option
from parlante.data.subject_lists import SubjectLists


@dataclass(frozen=True, kw_only=True)
class EvalConfig(SubjectLists):
    """Which clips of a corpus are judged, and by which rules. Raises InputError for numbers out of range."""

    data: Path | str
    """Folder or URL of a corpus."""
    split: str | None = option(
        None, "test_seen, test_unseen, test, val or train; default: the clips of the protocol, else all test clips"
    )
    protocol: str | None = option(
        None, "rules of a published table: vertices, clips and styles; default: the data's own"
    )
    clips: int = option(0, "clips to judge, spread over subjects; 0: all (default: all of a protocol, else 40)", "N")
    textures: int = option(256, "side of SynthTalk's skin pictures; 0: without pictures", "TEXELS")
    lpips: Path | str | None = option(None, "VGG16 and LPIPS weights, to measure LPIPS too", "FILE")
    regions: Path | str | None = option(
        None, "json of vertex numbers, lips and upper_face, for a mesh whose regions are not known", "FILE"
    )
    references: int = 3
    """Clips of each subject that are not judged: for its style, its mean face, and whom a style points at."""
    every: int = 6
    """Pictures are compared every so many frames."""

    def __post_init__(self) -> None:
        if self.protocol is not None and self.split is None and self.given:
            raise InputError(
                f"the protocol {self.protocol} judges its published list of clips, and {', '.join(self.given)} would "
                "change it; give --split test_seen or --split test_unseen, too, or leave one of the two out"
            )
        if self.clips < 0:
            raise InputError(f"clips {self.clips} is too small; give 1 or more, or 0 for all")
        if self.textures < 0 or 0 < self.textures < 16:
            raise InputError(f"textures {self.textures} is too small; give at least 16, or 0 for none")
