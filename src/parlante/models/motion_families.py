"""A checkpoint of a family on motion coordinates as a talker: on the embedded head, or on a mesh of its own."""

from pathlib import Path

import torch

from parlante.core.assets import ASSETS
from parlante.models.base_talker import BaseTalker
from parlante.models.checkpoint import read_head
from parlante.models.registry import shipped


def load(folder: Path | str, device: torch.device | str = "cpu") -> BaseTalker:
    """The talker in a checkpoint folder, or a shipped one by its name. Raises InputError if it cannot be used."""
    folder = ASSETS / str(folder) if str(folder) in shipped() else Path(folder)
    if on_embedded_head(folder):
        from parlante.models.head_network import HeadNetwork
        from parlante.models.head_talker import HeadTalker

        return HeadTalker.around(HeadNetwork.from_pretrained(folder).to(device), device=device)
    from parlante.models.mesh_talker import MeshTalker

    return MeshTalker.load(folder, device)


def on_embedded_head(folder: Path) -> bool:
    """Whether a checkpoint folder is of the embedded head, not of a mesh of its own. Raises InputError."""
    return "embedded" in read_head(folder).config
