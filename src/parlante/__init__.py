"""Parlante: speech in, a personalized, textured 3D talking head out."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public names and where they live; loaded on first use, so that `import parlante` stays instant.
_PUBLIC = {
    "Animation": "parlante.core",
    "Clip": "parlante.core",
    "Identity": "parlante.core",
    "InputError": "parlante.core",
    "Style": "parlante.core",
    "Topology": "parlante.core",
    "Talker": "parlante.animation",
    "animate": "parlante.animation",
    "animate_to": "parlante.animation",
    "load": "parlante.export",
    "load_head": "parlante.head",
    "save": "parlante.export",
}
__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'parlante' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
