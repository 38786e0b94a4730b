"""What both diffusion trainings share: the sections of their recipes, and an untrained TexTalker around its parts."""

from typing import Any

from torch import Tensor

from parlante.core import InputError
from parlante.models.checkpoint import load_strict
from parlante.models.textalker.denoiser import DenoiserConfig
from parlante.models.textalker.latent_basis import LinearBasis
from parlante.models.textalker.model import TexTalker, TexTalkerConfig
from parlante.models.textalker.vqgan import VQAutoEncoder
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.schema import Section

KINDS = ("motion", "wrinkle")
FROM_DATA = ("motion_dim", "wrinkle_dim", "style_dim")
"""Sizes of the denoiser that the data decides."""
INFERENCE = ("steps", "solver", "spacing", "guidance", "overlap", "quantise", "same_noise")
"""Defaults of the exported talker that a recipe may set."""


def diffusion_sections(data: type, scheme: type) -> dict[str, Section]:
    """The sections of a diffusion recipe."""
    return {
        "data": Section(data),
        "model": Section(DenoiserConfig, without=FROM_DATA),
        "scheme": Section(scheme),
        "inference": Section(TexTalkerConfig, only=INFERENCE),
        "loop": Section(LoopConfig),
    }


def talker_around(
    models: dict[str, VQAutoEncoder],
    pivots: dict[str, Tensor],
    bases: dict[str, LinearBasis],
    denoiser: dict[str, Any],
    config: dict[str, Any],
) -> TexTalker:
    """An untrained talker around trained autoencoders.

    pivots: (N, C, h, w) of each kind; bases: fitted ones by the talker's name for them, of which those that it has are
    used; denoiser, config: fields of its configs. Raises InputError for fields that do not fit.
    """
    maps = {kind: models[kind].config for kind in KINDS}
    try:
        talker = TexTalker(
            TexTalkerConfig(
                motion=maps["motion"], wrinkle=maps["wrinkle"], denoiser=DenoiserConfig(**denoiser), **config
            )
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"the recipe's model or inference cannot be used: {error}") from error
    parts = dict(talker.named_children())
    for kind in KINDS:
        load_strict(parts[kind], models[kind].state_dict())
        getattr(talker, f"{kind}_pivots").copy_(pivots[kind])
    for name, basis in bases.items():
        if name in parts:
            load_strict(parts[name], basis.state_dict())
    return talker
