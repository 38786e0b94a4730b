"""One's own mesh made to speak: registration of the embedded head, transfer of its shapes, motion and wrinkles."""

from parlante.retarget.mesh.build import build_character
from parlante.retarget.mesh.character import Character

__all__ = ["Character", "build_character"]
