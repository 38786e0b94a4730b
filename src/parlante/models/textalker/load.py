"""The talker of a trained TexTalker: scanned people if it has a speech network of its own, else the embedded head."""

from pathlib import Path

import torch

from parlante.models.base_talker import BaseTalker
from parlante.models.textalker import head_generator
from parlante.models.textalker.model import ASSET, TexTalker


def load(folder: Path | str = ASSET, device: torch.device | str = "cpu") -> BaseTalker:
    """The talker in a checkpoint folder, the shipped one by default. Raises InputError if it is missing or damaged."""
    network = TexTalker.from_pretrained(folder).to(device)
    if network.config.speech is not None:
        from parlante.models.textalker.trained_talker import TrainedTalker  # heavier than the shipped talker needs

        return TrainedTalker.around(network, Path(folder))
    return head_generator.around(network, folder, device)
