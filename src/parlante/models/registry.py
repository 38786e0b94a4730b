"""The published methods, one file or folder each. The table is lazy: naming a model imports only that model."""

import difflib
import importlib
from typing import Any

MODELS = {
    "faceformer": "parlante.models.faceformer.model:FaceFormer",
    "talkingstyle": "parlante.models.talkingstyle.model:TalkingStyle",
    "ptalker": "parlante.models.ptalker.model:PTalker",
    "codetalker": "parlante.models.codetalker.model:CodeTalker",
    "codetalker-autoencoder": "parlante.models.codetalker.autoencoder:MotionAutoencoder",
    "facediffuser": "parlante.models.facediffuser.model:FaceDiffuser",
    "textalker": "parlante.models.textalker.model:TexTalker",
    "textalker-vqgan": "parlante.models.textalker.vqgan:VQAutoEncoder",
    "textalker-diffusion": "parlante.models.textalker.diffusion:LatentDiffusion",
}


def resolve(name: str, table: dict[str, str] | None = None) -> Any:
    """The class that `table` (default: `MODELS`) keeps under `name`. Raises LookupError with the nearest known name."""
    table = MODELS if table is None else table
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise LookupError(f"no model named {name!r}; {hint}known: {', '.join(sorted(table))}")
    module, attribute = table[name].split(":")
    return getattr(importlib.import_module(module), attribute)
