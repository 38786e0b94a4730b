"""The embedded head: people, their rig of 52 ARKit shapes, their skin."""

from parlante.head.arkit import ARKIT_NAMES
from parlante.head.identities import IDENTITY_NAMES, Traits
from parlante.head.model import MATERIALS, Head, load_head

__all__ = ["ARKIT_NAMES", "IDENTITY_NAMES", "MATERIALS", "Head", "Traits", "load_head"]
