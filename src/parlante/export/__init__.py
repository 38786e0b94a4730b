"""One file per exchange format. `open_sinks` streams frames into any number of them; `save` writes an Animation."""

from parlante.core.options import Fidelity
from parlante.export.formats import Format, check_fit, formats, shows_skin
from parlante.export.frames import AnimationInfo, FrameBlock, FrameSink, animation_info, frame_blocks
from parlante.export.outputs import check_outputs, load, open_sinks, save

__all__ = [
    "AnimationInfo",
    "Fidelity",
    "Format",
    "FrameBlock",
    "FrameSink",
    "animation_info",
    "check_fit",
    "check_outputs",
    "formats",
    "frame_blocks",
    "load",
    "open_sinks",
    "save",
    "shows_skin",
]
