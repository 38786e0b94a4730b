"""What an encoding depends on beside corpus and models. Nothing heavy is imported, for `parlante encode --help`."""

from dataclasses import dataclass

from parlante.core.errors import InputError
from parlante.core.options import option


@dataclass(frozen=True, kw_only=True)
class EncodingOptions:
    """Which frames are encoded, how latents are kept, and which frames pivots are measured on."""

    half: bool = option(False, "keep latents in half precision")
    stride: int = option(1, "encode every Nth frame", "N")
    seconds: float = option(0.0, "measure pivots on S seconds of each person; 0: on all (default)", "S")
    held_out_too: bool = option(False, "measure pivots of seen persons on held-out frames too, as published")

    def __post_init__(self) -> None:
        for name, least in (("stride", 1), ("seconds", 0)):
            value = getattr(self, name)
            if not value >= least:
                raise InputError(f"{name} must be {least} or more, got {value:g}")
