"""One's own mesh made to speak: registration of the embedded head, transfer of its shapes, motion and wrinkles."""

from parlante.character.build import build_character
from parlante.character.character import Character

__all__ = ["Character", "build_character"]
