"""Parlante: speech in, a personalized, textured 3D talking head out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # so that editors and type checkers see what __getattr__ finds
    from parlante.animation.animate import animate
    from parlante.animation.talker import Talker, TalkerSession
    from parlante.core import Animation, Clip, Identity, InputError, Style, Topology
    from parlante.core.frames import AnimationInfo, FrameBlock
    from parlante.core.options import Liveliness, Picture
    from parlante.export import load, save
    from parlante.head import load_head

__version__ = "0.1.0"

# Public names and where they live; loaded on first use, so that `import parlante` stays instant.
_PUBLIC = {
    "Animation": "parlante.core",
    "AnimationInfo": "parlante.core.frames",
    "Clip": "parlante.core",
    "FrameBlock": "parlante.core.frames",
    "Identity": "parlante.core",
    "InputError": "parlante.core",
    "Liveliness": "parlante.core.options",
    "Picture": "parlante.core.options",
    "Style": "parlante.core",
    "Talker": "parlante.animation",
    "TalkerSession": "parlante.animation",
    "Topology": "parlante.core",
    "animate": "parlante.animation",
    "load": "parlante.export",
    "load_head": "parlante.head",
    "save": "parlante.export",
}
__all__ = [
    "Animation",
    "AnimationInfo",
    "Clip",
    "FrameBlock",
    "Identity",
    "InputError",
    "Liveliness",
    "Picture",
    "Style",
    "Talker",
    "TalkerSession",
    "Topology",
    "__version__",
    "animate",
    "load",
    "load_head",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'parlante' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
