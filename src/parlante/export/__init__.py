"""One file per exchange format. `open_sinks` streams frames into any number of them; `save` writes an Animation."""

from parlante.export.frames import AnimationInfo, FrameBlock, Sink, animation_info, frame_blocks
from parlante.export.outputs import FORMATS, check_fit, check_outputs, open_sinks, save, shows_skin

__all__ = [
    "FORMATS",
    "AnimationInfo",
    "FrameBlock",
    "Sink",
    "animation_info",
    "check_fit",
    "check_outputs",
    "frame_blocks",
    "open_sinks",
    "save",
    "shows_skin",
]
