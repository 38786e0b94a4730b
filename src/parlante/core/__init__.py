"""The nouns that pass between rooms, and the two habits every room shares: clear errors and safe files."""

from parlante.core.animation import Animation
from parlante.core.arrays import read_npz
from parlante.core.clip import Clip
from parlante.core.errors import InputError, MissingExtra
from parlante.core.files import atomic_folder, atomic_path, claim_folder, new_run_dir
from parlante.core.identity import Identity
from parlante.core.style import Style
from parlante.core.topology import Topology

__all__ = [
    "Animation",
    "Clip",
    "Identity",
    "InputError",
    "MissingExtra",
    "Style",
    "Topology",
    "atomic_folder",
    "atomic_path",
    "claim_folder",
    "new_run_dir",
    "read_npz",
]
