"""Families of models by name: ours, and those of installed plug-ins. Naming a family imports nothing of it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parlante.core import InputError
from parlante.core.files import model_folder
from parlante.core.plugins import pick, with_plugins
from parlante.core.plugins import resolve as load

if TYPE_CHECKING:
    import torch

    from parlante.models.talker import SpeechModel

MOTION_LOADER = "parlante.models.motion_families:load"
MOTION_SCHEME = "parlante.training.schemes.autoregressive:stage"


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
    """An `importing.contract.Importer`, which reads the authors' released files; empty: there are none."""
    scheme: str = MOTION_SCHEME
    """Function (spec) -> `training.engine.stage.Stage`: the training of recipes whose `stage` is this name; empty:
    there is none of the whole model."""
    shipped: bool = False
    """Whether weights come with the package, in `assets/NAME`."""

    def make(self, sizes: dict[str, Any] | None = None) -> Any:
        """An untrained network. Raises TypeError, ValueError for sizes that do not exist, InputError as `of_config`."""
        return self.of_config(load(self.config)(**(sizes or {})))

    def of_config(self, config: Any) -> Any:
        """An untrained network of these sizes. Raises InputError where a family on motion coordinates lacks a part of
        `models.components.motion_family.MotionFamily`."""
        network = load(self.network)(config)
        if self.on_coordinates:
            from parlante.models.components.motion_family import missing_parts

            if missing := missing_parts(network):
                raise InputError(
                    f"the network of family {self.name!r}, {self.network}, has no {', '.join(missing)}; derive it from "
                    "parlante.models.components.motion_family.MotionFamily and add what is missing"
                )
        return network


_OURS = (
    FamilySpec(
        name="textalker",
        network="parlante.models.textalker.model:TexTalker",
        config="parlante.models.textalker.model:TexTalkerConfig",
        title="TexTalker (CVPR 2025)",
        on_coordinates=False,
        loader="parlante.models.textalker.load:load",
        importer="parlante.models.textalker.import_:IMPORTER",
        scheme="",
        shipped=True,
    ),
    FamilySpec(
        name="textalker-released",
        network="parlante.models.textalker.import_:ConvertedTexTalker",
        config="",
        title="TexTalker as its authors released it",
        on_coordinates=False,
        loader="parlante.models.textalker.converted_talker:load",
        scheme="",
    ),
    FamilySpec(
        name="talkingstyle",
        network="parlante.models.talkingstyle.model:TalkingStyle",
        config="parlante.models.talkingstyle.model:TalkingStyleConfig",
        title="TalkingStyle (TVCG 2024)",
        importer="parlante.models.talkingstyle.import_:IMPORTER",
        shipped=True,
    ),
    FamilySpec(
        name="ptalker",
        network="parlante.models.ptalker.model:PTalker",
        config="parlante.models.ptalker.model:PTalkerConfig",
        title="PTalker (ACM MM 2025)",
        importer="parlante.models.ptalker.import_:IMPORTER",
        scheme="parlante.training.schemes.ptalker:stage",
        shipped=True,
    ),
    FamilySpec(
        name="faceformer",
        network="parlante.models.faceformer.model:FaceFormer",
        config="parlante.models.faceformer.model:FaceFormerConfig",
        title="FaceFormer (CVPR 2022)",
        importer="parlante.models.faceformer.import_:IMPORTER",
        shipped=True,
    ),
    FamilySpec(
        name="facediffuser",
        network="parlante.models.facediffuser.model:FaceDiffuser",
        config="parlante.models.facediffuser.model:FaceDiffuserConfig",
        title="FaceDiffuser (MIG 2023)",
        importer="parlante.models.facediffuser.import_:IMPORTER",
        scheme="parlante.training.schemes.facediffuser:stage",
        shipped=True,
    ),
    FamilySpec(
        name="codetalker",
        network="parlante.models.codetalker.model:CodeTalker",
        config="parlante.models.codetalker.model:CodeTalkerConfig",
        title="CodeTalker (CVPR 2023)",
        importer="parlante.models.codetalker.import_:IMPORTER",
        scheme="parlante.training.schemes.codetalker:stage",
    ),
)
DEVICES = ("cpu", "cuda", "mps", "xpu")
"""Kinds of device that models run on."""
DEFAULT = "textalker"
"""The talker where none is named."""


@lru_cache(maxsize=1)
def families() -> dict[str, FamilySpec]:
    """All families by name, the default first. Raises InputError for a plug-in that is broken."""
    return with_plugins("parlante.families", _OURS, FamilySpec)


def family(name: str) -> FamilySpec:
    """A family by name. Raises InputError with the nearest known name."""
    return pick(families(), name, "model family")


def build(name: str, sizes: dict[str, Any]) -> Any:
    """An untrained network of a family. Raises InputError for a family or sizes that do not exist."""
    spec = family(name)
    try:
        return spec.make(sizes)
    except InputError:
        raise
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(f"no such {name} model: {error}") from error


def motion_families() -> tuple[str, ...]:
    """Names of the families on motion coordinates."""
    return tuple(spec.name for spec in families().values() if spec.on_coordinates)


def shipped() -> tuple[str, ...]:
    """Names of the talkers that come with the package, the default first."""
    return tuple(spec.name for spec in families().values() if spec.shipped)


def load_model(wish: "str | Path | SpeechModel | None" = None, device: "torch.device | str" = "cpu") -> "SpeechModel":
    """A talker: a shipped one by its name (none: the default), a checkpoint or run folder, or as given.

    Folders are those of `parlante train` and `parlante convert`. Shipped talkers are loaded once per device. Raises
    InputError for anything else, and for a device that is not there.
    """
    if wish is not None and not isinstance(wish, str | Path):
        if isinstance(wish, bool | int | float | list | tuple | dict):
            raise InputError(f"a model is a name, a folder or a SpeechModel, got {wish!r}")
        return wish
    place = checked_device(device)
    if wish is None or str(wish) in shipped():
        return _load_shipped(DEFAULT if wish is None else str(wish), place)
    from parlante.models.checkpoint import model_name
    from parlante.models.talker import unknown_name

    folder = Path(wish)
    if not folder.exists() and isinstance(wish, str) and "/" not in wish:
        if wish in families():
            raise InputError(f"{wish} has no weights in this package; name the folder of a trained or converted {wish}")
        raise unknown_name("model", wish, shipped())
    folder = model_folder(folder)
    model: SpeechModel = load(family(model_name(folder)).loader)(folder, place)
    return model


def checked_device(device: "torch.device | str") -> "torch.device":
    """The device. Raises InputError where torch does not know it or the machine has none."""
    import torch

    kind = str(device).partition(":")[0]
    if kind not in DEVICES:
        raise InputError(f"no device {str(device)!r}; choose one of {', '.join(DEVICES)}, or one of several: cuda:1")
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"cannot use the device {str(device)!r}: this machine, or this build of torch, has none; choose cpu"
        ) from error
    return place


@lru_cache(maxsize=6)
def _load_shipped(name: str, device: "torch.device") -> "SpeechModel":
    from parlante.core.assets import ASSETS

    model: SpeechModel = load(family(name).loader)(ASSETS / name, device)
    return model
