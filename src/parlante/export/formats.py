"""Formats by suffix: ours, and those of installed plug-ins (entry points `parlante.exporters`).

Naming a format imports nothing of it; its sink is loaded when a file is written. A plug-in declares

    [project.entry-points."parlante.exporters"]
    my-format = "my_package:FORMAT"

where `FORMAT` is a `Format`, and `Format.sink` names a class like those beside this file (see `sink.FileSink`).
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from parlante.core import InputError
from parlante.core.frames import AnimationInfo
from parlante.core.plugins import with_plugins

OPTIONS = ("picture", "fidelity", "outputs")
"""What a sink may ask for: a `Picture` and a `Fidelity` of `core.options`, the paths of all outputs of the same run."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One kind of output: which files it writes, with which class, and what it needs of an animation."""

    name: str
    """What lists call it."""
    suffixes: tuple[str, ...]
    """Endings of file names, lower case: `.glb`. `.obj/` names a folder that ends so, `/` any other folder."""
    sink: str
    """Class as "module:Class", made of (path, AnimationInfo, *options); a context manager with `write(block)`."""
    description: str
    """One line for `parlante export --formats`."""
    loader: str = ""
    """Function (path) -> Animation as "module:function" that reads it back; empty: it cannot be read back."""
    options: tuple[str, ...] = ()
    """What the class takes besides, some of `OPTIONS`, in its order."""
    needs_weights: bool = False
    """Whether it cannot be written without blendshape weights."""
    needs_triangles: bool = True
    """Whether it cannot be written for bare points."""
    shows_skin: bool = True
    """Whether it shows the skin; where no output does, the albedo is not painted."""
    reduces_keys: bool = False
    """Whether it leaves out keys within `Fidelity.reduce`."""
    companions: tuple[str, ...] = ()
    """Endings of files written beside the output, in place of its suffix: `.xml` beside `talk.mc` is `talk.xml`."""
    shared: bool = False
    """Whether outputs of the same name and format share their companions, which are the same; the first writes them."""
    bytes_per_frame: Callable[[AnimationInfo], float] | None = None
    """About how large it grows, for formats that fill disks; none: it is not checked."""

    def __post_init__(self) -> None:
        wrong = [text for text in self.suffixes if text != "/" and (text[:1] != "." or text != text.lower())]
        if wrong or not self.suffixes:
            raise InputError(f"format {self.name!r}: suffixes must look like .glb or .obj/, got {self.suffixes}")
        if unknown := set(self.options) - set(OPTIONS):
            raise InputError(
                f"format {self.name!r}: unknown options {sorted(unknown)}; choose some of {', '.join(OPTIONS)}"
            )
        for place in (self.sink, self.loader or ":"):
            if ":" not in place:
                raise InputError(f"format {self.name!r}: a place must look like module:attribute, got {place!r}")


def _points(info: AnimationInfo) -> float:
    return 12.0 * info.topology.num_vertices


def _points_and_wrinkles(info: AnimationInfo) -> float:
    """Wrinkle maps are packed to about half."""
    return _points(info) + 1.5 * float(np.prod(info.wrinkle_size or (0, 0)))


def _weights(name: str, *suffixes: str, sink: str, description: str, **more: Any) -> Format:
    """A format of blendshape weights alone."""
    return Format(
        name=name, suffixes=suffixes, sink=f"parlante.export.{sink}", description=description,
        needs_weights=True, needs_triangles=False, shows_skin=False, **more,
    )  # fmt: skip


def _cache(name: str, sink: str, description: str, companions: tuple[str, ...] = ()) -> Format:
    """A format of vertices alone."""
    return Format(
        name=name, suffixes=(f".{name}",), sink=f"parlante.export.{sink}", description=description,
        needs_triangles=False, shows_skin=False, companions=companions, bytes_per_frame=_points,
    )  # fmt: skip


_OURS = (
    Format(
        name="video",
        suffixes=(".mp4", ".webm"),
        sink="parlante.export.mp4:Mp4Sink",
        description="video with audio (.webm: VP9 and Opus)",
        options=("picture",),
    ),
    Format(
        name="glb",
        suffixes=(".glb",),
        sink="parlante.export.glb:GlbSink",
        description="glTF: morph targets, their animation, skin",
        options=("fidelity", "outputs"),
        reduces_keys=True,
    ),
    Format(
        name="skin-video",
        suffixes=(".skin.mp4", ".skin.webm"),
        sink="parlante.export.skin_video:SkinVideoSink",
        description="the skin, wrinkles included, as video with audio",
    ),
    _weights("livelink", ".csv", sink="livelink_csv:LiveLinkCsv", description="Live Link Face CSV, 61 columns"),
    Format(
        name="npz",
        suffixes=(".npz",),
        sink="parlante.export.npz:NpzSink",
        description="all numbers: vertices, wrinkle maps, weights, head pose, audio",
        loader="parlante.export.npz:load",
        needs_triangles=False,
        bytes_per_frame=_points_and_wrinkles,
    ),
    Format(
        name="vrm",
        suffixes=(".vrm",),
        sink="parlante.export.vrm:VrmSink",
        description="VRM 1.0 avatar: expressions, animation",
        options=("fidelity",),
        needs_weights=True,
        reduces_keys=True,
    ),
    _weights(
        "vrma",
        ".vrma",
        sink="vrm:VrmaSink",
        description="VRM animation: vowels, blinks, head",
        options=("fidelity",),
        reduces_keys=True,
    ),
    _weights(
        "vrma-arkit",
        ".arkit.vrma",
        sink="vrm:VrmaSink",
        description="VRM animation: the 52 ARKit weights, head",
        options=("fidelity",),
        reduces_keys=True,
    ),
    Format(
        name="usdz",
        suffixes=(".usdz",),
        sink="parlante.export.usd:UsdSink",
        description="USD: blend shapes or points, skin of every frame and audio in one file",
        options=("fidelity", "outputs"),
        reduces_keys=True,
    ),
    Format(
        name="usd",
        suffixes=(".usdc", ".usd", ".usda"),
        sink="parlante.export.usd:UsdSink",
        description="USD, binary or (.usda) text: the same, skin at rest and audio beside it",
        options=("fidelity", "outputs"),
        reduces_keys=True,
        companions=(".albedo.png", ".sound.wav"),
        shared=True,
    ),
    _weights(
        "a2f-csv", ".a2f.csv", sink="a2f:A2fCsv", description="weights as Audio2Face-3D's sample clients write them"
    ),
    _weights(
        "a2f-json", ".a2f.json", sink="a2f:A2fJson", description="weights as the Audio2Face application exports them"
    ),
    _weights(
        "keys",
        ".keys.json",
        sink="keys:KeysSink",
        description="each weight as few keys, within --reduce",
        options=("fidelity",),
        reduces_keys=True,
    ),
    _weights(
        "rhubarb-tsv", ".tsv", sink="visemes:VisemeTsv", description="mouth shapes A to H and X, as Rhubarb's TSV"
    ),
    _weights("rhubarb-json", ".visemes.json", sink="visemes:VisemeJson", description="the same as Rhubarb's JSON"),
    Format(
        name="flame",
        suffixes=(".flame.npz",),
        sink="parlante.export.flame:FlameSink",
        description="FLAME's expression and jaw, for its mesh and with your model",
        options=("fidelity",),
        needs_triangles=False,
        shows_skin=False,
    ),
    _cache("npy", "npy:NpySink", "vertices (T, 3 V), as the published methods keep them"),
    _cache("pc2", "pc2:Pc2Sink", "vertex cache (Blender, 3ds Max)"),
    _cache("mdd", "mdd:MddSink", "vertex cache (Blender, LightWave, Houdini)"),
    _cache("mc", "maya_cache:MayaCacheSink", "Maya vertex cache, with its .xml beside it", (".xml",)),
    Format(
        name="obj-neutral",
        suffixes=(".neutral.obj",),
        sink="parlante.export.obj:NeutralObjSink",
        description="the face at rest, the mesh for a vertex cache",
    ),
    Format(
        name="obj",
        suffixes=(".obj/",),
        sink="parlante.export.obj:ObjSink",
        description="a folder of one OBJ per frame",
    ),
    Format(
        name="ply",
        suffixes=(".ply/",),
        sink="parlante.export.ply:PlySink",
        description="a folder of one PLY per frame, coloured vertices",
    ),
    Format(
        name="pictures",
        suffixes=("/",),
        sink="parlante.export.folder:FolderSink",
        description="a folder of numbered PNG pictures and the audio as .wav",
        options=("picture",),
    ),
)


@lru_cache(maxsize=1)
def formats() -> dict[str, Format]:
    """All formats by suffix. Raises InputError for a plug-in that is broken or takes a suffix that is taken."""
    table: dict[str, Format] = {}
    for each in with_plugins("parlante.exporters", _OURS, Format).values():
        for suffix in each.suffixes:
            other = table.setdefault(suffix, each)
            if other is not each:
                raise InputError(
                    f"the format {each.name!r} takes the suffix {suffix}, which {other.name!r} has; remove one of the "
                    "packages that bring them"
                )
    return table


def suffix_of(output: Path | str) -> str:
    """The key of `formats()` that an output's name chooses: the longest suffix that fits, or one that is unknown.

    A name that ends in / or has no suffix, and a folder that exists, is a folder of pictures.
    """
    path = Path(output)
    name = path.name.lower()
    for suffix in sorted(formats(), key=len, reverse=True):
        bare = suffix.removesuffix("/")
        if bare and name.endswith(bare) and len(name) > len(bare):
            return suffix
    if str(output).endswith(("/", os.sep)) or not path.suffix or path.is_dir():
        return "/"
    return path.suffix.lower()


def format_of(output: Path | str) -> Format:
    """The format that an output's name chooses. Raises InputError for an unknown suffix."""
    suffix = suffix_of(output)
    if suffix not in formats():
        raise InputError(f"cannot write {output}: unknown format {suffix}; choose {_choice(formats())}")
    return formats()[suffix]


def shows_skin(outputs: Sequence[Path | str]) -> bool:
    """Whether any of the outputs shows the skin of a face."""
    return any(format_of(output).shows_skin for output in outputs)


def check_fit(outputs: Sequence[Path | str], info: AnimationInfo) -> None:
    """Raises InputError where an animation does not have what an output needs."""
    for output in outputs:
        lacks = _lacks(format_of(output), info)
        if lacks:
            fitting = [suffix for suffix, each in formats().items() if not _lacks(each, info)]
            raise InputError(
                f"cannot write {output}: the animation ({info.provenance.get('model', 'no model')}, mesh "
                f"{info.topology.name}) {lacks}; choose one of {_choice(fitting)}"
            )


def _choice(suffixes: Iterable[str]) -> str:
    """Suffixes as a list for people."""
    known = list(suffixes)
    folder = ", or a folder of pictures as NAME/" if "/" in known else ""
    return ", ".join(key for key in known if key != "/") + folder


def _lacks(needs: Format, info: AnimationInfo) -> str:
    """What an animation lacks for a format, or nothing."""
    if needs.needs_weights and not info.weight_names:
        return "has no blendshape weights"
    if needs.needs_triangles and not len(info.topology.triangles):
        return (
            f"has {info.topology.num_vertices} vertices and no triangles (give --identity FACE.ply, or convert the "
            "checkpoint again with --topology FACE.ply)"
        )
    return ""
