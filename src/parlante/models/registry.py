"""Families of models by name: ours, and those of installed plug-ins. Naming a family imports nothing of it."""

import difflib
import importlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from parlante.core.plugins import pick, with_plugins
from parlante.core.plugins import resolve as load

MOTION_LOADER = "parlante.models.motion_families:load"
MOTION_IMPORTER = "parlante.models.importing.importer:import_released"
MOTION_SCHEME = "parlante.training.schemes.autoregressive:main"


@dataclass(frozen=True, kw_only=True)
class FamilySpec:
    """A published method, or a plug-in's: where its parts are. Each place is "module:attribute", loaded when needed."""

    name: str
    """What users and checkpoints call it."""
    network: str
    """Class of the network, made of its config alone."""
    config: str
    """Frozen dataclass of its sizes."""
    title: str = ""
    """Name and source, for people."""
    on_coordinates: bool = True
    """Whether it answers motion coordinates (B, T, M) to speech features, so that the shared talkers can carry it on
    the embedded head and on any mesh; see `models.motion_families`."""
    loader: str = MOTION_LOADER
    """Function (folder, device) -> SpeechModel of a checkpoint folder whose `model` is this name."""
    importer: str = ""
    """Function that reads the authors' released files; empty: there are none."""
    scheme: str = MOTION_SCHEME
    """Function main(config, run_dir) that trains it from a recipe whose `stage` is this name; empty: it has none."""
    shipped: bool = False
    """Whether weights come with the package, in `assets/NAME`."""

    def make(self, sizes: dict[str, Any] | None = None) -> Any:
        """An untrained network. Raises TypeError, ValueError for sizes that do not exist."""
        return load(self.network)(load(self.config)(**(sizes or {})))


_OURS = (
    FamilySpec(
        name="textalker",
        network="parlante.models.textalker.model:TexTalker",
        config="parlante.models.textalker.model:TexTalkerConfig",
        title="TexTalker (CVPR 2025)",
        on_coordinates=False,
        loader="parlante.models.textalker.head_generator:load",
        importer="parlante.models.textalker.import_:import_textalker",
        scheme="",
        shipped=True,
    ),
    FamilySpec(
        name="talkingstyle",
        network="parlante.models.talkingstyle.model:TalkingStyle",
        config="parlante.models.talkingstyle.model:TalkingStyleConfig",
        title="TalkingStyle (TVCG 2024)",
        importer=MOTION_IMPORTER,
        shipped=True,
    ),
    FamilySpec(
        name="ptalker",
        network="parlante.models.ptalker.model:PTalker",
        config="parlante.models.ptalker.model:PTalkerConfig",
        title="PTalker (ACM MM 2025)",
        importer=MOTION_IMPORTER,
        shipped=True,
    ),
    FamilySpec(
        name="faceformer",
        network="parlante.models.faceformer.model:FaceFormer",
        config="parlante.models.faceformer.model:FaceFormerConfig",
        title="FaceFormer (CVPR 2022)",
        importer=MOTION_IMPORTER,
        shipped=True,
    ),
    FamilySpec(
        name="facediffuser",
        network="parlante.models.facediffuser.model:FaceDiffuser",
        config="parlante.models.facediffuser.model:FaceDiffuserConfig",
        title="FaceDiffuser (MIG 2023)",
        importer=MOTION_IMPORTER,
        shipped=True,
    ),
    FamilySpec(
        name="codetalker",
        network="parlante.models.codetalker.model:CodeTalker",
        config="parlante.models.codetalker.model:CodeTalkerConfig",
        title="CodeTalker (CVPR 2023)",
        importer=MOTION_IMPORTER,
        scheme="parlante.training.schemes.codetalker:main",
    ),
)
DEFAULT = "textalker"
"""The talker where none is named."""


@lru_cache(maxsize=1)
def families() -> dict[str, FamilySpec]:
    """All families by name, the default first. Raises InputError for a plug-in that is broken."""
    return with_plugins("parlante.families", _OURS, FamilySpec)


def family(name: str) -> FamilySpec:
    """A family by name. Raises InputError with the nearest known name."""
    return pick(families(), name, "model family")


def motion_families() -> tuple[str, ...]:
    """Names of the families on motion coordinates."""
    return tuple(spec.name for spec in families().values() if spec.on_coordinates)


def shipped() -> tuple[str, ...]:
    """Names of the talkers that come with the package, the default first."""
    return tuple(spec.name for spec in families().values() if spec.shipped)


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
