"""Datasets by name: ours, and those of installed plug-ins (entry points `parlante.datasets`).

Naming a dataset imports nothing of it.

A plug-in declares

    [project.entry-points."parlante.datasets"]
    my-dataset = "my_package:DATASET"

where `DATASET` is a `DatasetSpec` and `DatasetSpec.open` names a `Corpus` (see `contract`), or what gives one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from parlante.core.plugins import pick, resolve, with_plugins
from parlante.data.contract import Corpus


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A dataset: what opens it, how its folder is known, what may be chosen. Places are "module:attribute"."""

    name: str
    """What `parlante prepare` calls it."""
    title: str
    """One line for people: what is read, and its source."""
    open: str
    """(root, split, **options) -> Corpus; a class of corpora will do."""
    signs: tuple[str, ...] = ()
    """A folder is this dataset if it holds one of these: patterns below it, folders with a slash at the end."""
    options: str = ""
    """Frozen dataclass of the keyword arguments of `open`. Fields made with `core.options.option` become options of
    `parlante prepare`. Empty: there are none."""
    prepares: bool = True
    """Whether `parlante prepare` packs it."""
    rate: str = ""
    """Frames a second, for lists."""
    unit: str = ""
    """Unit of the meshes, for lists."""

    def recognises(self, root: Path) -> bool:
        """Whether a folder looks like this dataset."""
        return any(_there(root, sign) for sign in self.signs)

    def option_class(self) -> Any:
        """The dataclass of the options, or none. Raises InputError if the package that it belongs to is broken."""
        return resolve(self.options) if self.options else None

    def read(self, root: Path | str, split: str | None = None, options: Mapping[str, Any] | None = None) -> Corpus:
        """The corpus at `root`, nothing counted yet. Raises InputError as the reader does."""
        corpus: Corpus = resolve(self.open)(root, split, **(options or {}))
        return corpus

    def fitting(self, wishes: Mapping[str, Any]) -> dict[str, Any]:
        """Those of `wishes` that are options of this dataset and not none."""
        names = {field.name for field in fields(self.option_class())} if self.options else set()
        return {name: value for name, value in wishes.items() if name in names and value is not None}


def _there(root: Path, sign: str) -> bool:
    found = root.glob(sign.rstrip("/"))
    return any(path.is_dir() if sign.endswith("/") else path.is_file() for path in found)


_OURS = (
    DatasetSpec(
        name="synthtalk",
        title="synthetic speakers, written by parlante synth",
        open="parlante.data.datasets.synthtalk:SynthTalk",
        options="parlante.data.datasets.synthtalk:SynthTalkOptions",
        signs=("index.json", "corpus.json"),
        prepares=False,
        rate="30",
        unit="metres",
    ),
    DatasetSpec(
        name="vocaset",
        title="FLAME meshes, official files (VOCA, CVPR 2019)",
        open="parlante.data.datasets.vocaset:Vocaset",
        options="parlante.data.datasets.vocaset:VocasetOptions",
        signs=("data_verts.npy",),
        rate="60, every second one is taken",
        unit="metres",
    ),
    DatasetSpec(
        name="folder",
        title="any folder with vertices_npy/, wav/ and templates",
        open="parlante.data.datasets.folder:FolderDataset",
        options="parlante.data.datasets.folder:FolderOptions",
        signs=("vertices_npy/",),
        rate="yours",
        unit="yours, or metres",
    ),
    DatasetSpec(
        name="biwi",
        title="the corpus as archived: faces, rigid_scans, audio or videos",
        open="parlante.data.datasets.biwi:Biwi",
        options="parlante.data.datasets.biwi:BiwiOptions",
        signs=("faces/",),
        rate="25",
        unit="published",
    ),
    DatasetSpec(
        name="multiface",
        title="tracked heads with pictures of the skin (2022)",
        open="parlante.data.datasets.multiface:Multiface",
        options="parlante.data.datasets.multiface:MultifaceOptions",
        signs=("tracked_mesh/", "*/tracked_mesh/"),
        rate="30",
        unit="metres, or FaceDiffuser's",
    ),
    DatasetSpec(
        name="textalk4d",
        title="4D scans with textures (TexTalker, CVPR 2025)",
        open="parlante.data.datasets.textalk4d:TexTalk4D",
        options="parlante.data.datasets.textalk4d:TexTalk4DOptions",
        signs=("*/Models/",),
        rate="30",
        unit="metres",
    ),
    DatasetSpec(
        name="mead",
        title="FLAME meshes of MEAD (Speech4Mesh, ICCV 2023)",
        open="parlante.data.datasets.mead:Mead",
        options="parlante.data.datasets.mead:MeadOptions",
        signs=("*/video/",),
        rate="30",
        unit="metres",
    ),
)
"""In the order in which they are asked whose folder it is."""


@lru_cache(maxsize=1)
def datasets() -> dict[str, DatasetSpec]:
    """All datasets by name, ours first. Raises InputError for a plug-in that is broken."""
    return with_plugins("parlante.datasets", _OURS, DatasetSpec)


def dataset(name: str) -> DatasetSpec:
    """A dataset by name. Raises InputError with the nearest known name."""
    return pick(datasets(), name, "dataset")


def recognise(root: Path) -> DatasetSpec | None:
    """The dataset that a folder looks like, or none. Plug-ins are asked first, for they know their own layout."""
    plugins = list(datasets().values())[len(_OURS) :]
    return next((spec for spec in (*plugins, *_OURS) if spec.recognises(root)), None)
