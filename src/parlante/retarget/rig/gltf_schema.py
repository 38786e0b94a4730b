"""The fields of a glTF 2.0 that are read here, with their types, ranges and whom they number.

Checked once where a file is opened; whoever reads on may trust them. What is not listed stays as it came.
"""
# ruff: noqa: N815  names as the specification has them

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from parlante.core.ranges import Whole
from parlante.core.typed import Mistyped, typed


@dataclass(frozen=True)
class Asset:
    version: str


@dataclass(frozen=True)
class Buffer:
    byteLength: Whole
    uri: str | None = None


@dataclass(frozen=True)
class BufferView:
    buffer: Whole
    byteLength: Whole
    byteOffset: Whole = 0
    byteStride: Whole | None = None
    extensions: dict[str, Any] | None = None


@dataclass(frozen=True)
class SparseIndices:
    bufferView: Whole
    componentType: Literal["5121", "5123", "5125"]
    byteOffset: Whole = 0


@dataclass(frozen=True)
class SparseValues:
    bufferView: Whole
    byteOffset: Whole = 0


@dataclass(frozen=True)
class Sparse:
    count: Whole
    indices: SparseIndices
    values: SparseValues


@dataclass(frozen=True)
class Accessor:
    componentType: Literal["5120", "5121", "5122", "5123", "5125", "5126"]
    count: Whole
    type: Literal["SCALAR", "VEC2", "VEC3", "VEC4", "MAT2", "MAT3", "MAT4"]
    bufferView: Whole | None = None
    byteOffset: Whole = 0
    normalized: bool = False
    name: str | None = None
    min: list[float] | None = None
    max: list[float] | None = None
    sparse: Sparse | None = None


@dataclass(frozen=True)
class Image:
    uri: str | None = None
    bufferView: Whole | None = None
    name: str | None = None


@dataclass(frozen=True)
class Texture:
    source: Whole | None = None


@dataclass(frozen=True)
class TextureUse:
    index: Whole


@dataclass(frozen=True)
class Shading:
    baseColorTexture: TextureUse | None = None
    baseColorFactor: list[float] | None = None


@dataclass(frozen=True)
class Material:
    name: str | None = None
    pbrMetallicRoughness: Shading | None = None
    extensions: dict[str, Any] | None = None


@dataclass(frozen=True)
class Primitive:
    attributes: dict[str, Whole]
    indices: Whole | None = None
    material: Whole | None = None
    mode: Whole = 4
    targets: list[dict[str, Any]] | None = None
    extensions: dict[str, Any] | None = None


@dataclass(frozen=True)
class Mesh:
    primitives: list[Primitive]
    weights: list[float] | None = None
    name: str | None = None


@dataclass(frozen=True)
class Node:
    children: list[Whole] | None = None
    mesh: Whole | None = None
    skin: Whole | None = None
    name: str | None = None
    matrix: list[float] | None = None
    rotation: tuple[float, float, float, float] | None = None
    scale: tuple[float, float, float] | None = None
    translation: tuple[float, float, float] | None = None
    weights: list[float] | None = None
    extensions: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.matrix is not None and len(self.matrix) != 16:
            raise ValueError(f"a matrix of {len(self.matrix)} numbers, wanted 16")


@dataclass(frozen=True)
class Skin:
    joints: list[Whole]
    inverseBindMatrices: Whole | None = None
    skeleton: Whole | None = None


@dataclass(frozen=True)
class Sampler:
    input: Whole
    output: Whole


@dataclass(frozen=True)
class Target:
    path: str
    node: Whole | None = None


@dataclass(frozen=True)
class Channel:
    sampler: Whole
    target: Target


@dataclass(frozen=True)
class AnimationClip:
    channels: list[Channel]
    samplers: list[Sampler]
    name: str | None = None


@dataclass(frozen=True)
class Scene:
    nodes: list[Whole] | None = None


@dataclass(frozen=True)
class Bind:
    """Whom an expression moves; what is gone is passed over later, so any number will do."""

    index: int | None = None
    node: int = -1
    mesh: int | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Expression:
    morphTargetBinds: list[Bind] | None = None
    isBinary: bool | None = None


@dataclass(frozen=True)
class Expressions:
    preset: dict[str, Expression] | None = None
    custom: dict[str, Expression] | None = None


@dataclass(frozen=True)
class RangeMap:
    outputScale: float | None = None
    yRange: float | None = None


@dataclass(frozen=True)
class LookAt:
    rangeMapHorizontalInner: RangeMap | None = None
    rangeMapHorizontalOuter: RangeMap | None = None
    rangeMapVerticalUp: RangeMap | None = None
    rangeMapVerticalDown: RangeMap | None = None
    type: str | None = None


@dataclass(frozen=True)
class Bone:
    node: int = -1
    bone: str | None = None


@dataclass(frozen=True)
class Humanoid:
    humanBones: dict[str, Bone] | None = None


@dataclass(frozen=True)
class Vrm1:
    expressions: Expressions | None = None
    lookAt: LookAt | None = None
    humanoid: Humanoid | None = None


@dataclass(frozen=True)
class Group:
    binds: list[Bind] | None = None
    presetName: str | None = None
    name: str | None = None
    isBinary: bool | None = None


@dataclass(frozen=True)
class Groups:
    blendShapeGroups: list[Group] | None = None


@dataclass(frozen=True)
class FirstPerson:
    lookAtHorizontalInner: RangeMap | None = None
    lookAtHorizontalOuter: RangeMap | None = None
    lookAtVerticalUp: RangeMap | None = None
    lookAtVerticalDown: RangeMap | None = None
    lookAtTypeName: str | None = None


@dataclass(frozen=True)
class OldHumanoid:
    humanBones: list[Bone] | None = None


@dataclass(frozen=True)
class Vrm0:
    blendShapeMaster: Groups | None = None
    firstPerson: FirstPerson | None = None
    humanoid: OldHumanoid | None = None


@dataclass(frozen=True)
class Extensions:
    VRM: Vrm0 | None = None
    VRMC_vrm: Vrm1 | None = None


@dataclass(frozen=True)
class Root:
    asset: Asset | None = None
    buffers: list[Buffer] | None = None
    bufferViews: list[BufferView] | None = None
    accessors: list[Accessor] | None = None
    images: list[Image] | None = None
    textures: list[Texture] | None = None
    materials: list[Material] | None = None
    meshes: list[Mesh] | None = None
    nodes: list[Node] | None = None
    skins: list[Skin] | None = None
    animations: list[AnimationClip] | None = None
    scenes: list[Scene] | None = None
    scene: Whole | None = None
    extensions: Extensions | None = None


def check(root: Any) -> None:
    """Raises Mistyped where the fields of a glTF are of other types, or number what is not there."""
    file: Root = typed(Root, root)
    sizes = {each: len(getattr(file, each) or ()) for each in _LISTS}
    for place, number, whose in _numbers(file):
        if number is not None and number >= sizes[whose]:
            raise Mistyped(f"{place} is {number}, but there are {sizes[whose]} {whose}")
    for at, mesh in enumerate(file.meshes or ()):
        for part in mesh.primitives:
            for target in part.targets or ():
                for name, number in target.items():
                    if name.isupper() and not (type(number) is int and 0 <= number < sizes["accessors"]):
                        raise Mistyped(f"a target of meshes[{at}] has {name} {str(number)[:40]}, wanted an accessor")
    _check_tree(file.nodes or [])


_LISTS = (
    "buffers",
    "bufferViews",
    "accessors",
    "images",
    "textures",
    "materials",
    "meshes",
    "nodes",
    "skins",
    "scenes",
)


def _numbers(file: Root) -> Iterator[tuple[str, int | None, str]]:
    """Every number that stands for something else: where it is, and in which list."""
    for at, view in enumerate(file.bufferViews or ()):
        yield f"bufferViews[{at}].buffer", view.buffer, "buffers"
    for at, accessor in enumerate(file.accessors or ()):
        yield f"accessors[{at}].bufferView", accessor.bufferView, "bufferViews"
        if accessor.sparse is not None:
            yield f"accessors[{at}].sparse.indices", accessor.sparse.indices.bufferView, "bufferViews"
            yield f"accessors[{at}].sparse.values", accessor.sparse.values.bufferView, "bufferViews"
    for at, image in enumerate(file.images or ()):
        yield f"images[{at}].bufferView", image.bufferView, "bufferViews"
    for at, texture in enumerate(file.textures or ()):
        yield f"textures[{at}].source", texture.source, "images"
    for at, mesh in enumerate(file.meshes or ()):
        for part in mesh.primitives:
            yield f"indices of meshes[{at}]", part.indices, "accessors"
            yield f"material of meshes[{at}]", part.material, "materials"
            for name, number in part.attributes.items():
                yield f"{name} of meshes[{at}]", number, "accessors"
    for at, node in enumerate(file.nodes or ()):
        yield f"nodes[{at}].mesh", node.mesh, "meshes"
        yield f"nodes[{at}].skin", node.skin, "skins"
        for child in node.children or ():
            yield f"a child of nodes[{at}]", child, "nodes"
    for at, skin in enumerate(file.skins or ()):
        yield f"skins[{at}].inverseBindMatrices", skin.inverseBindMatrices, "accessors"
        for joint in skin.joints:
            yield f"a joint of skins[{at}]", joint, "nodes"
    for at, motion in enumerate(file.animations or ()):
        for sampler in motion.samplers:
            yield f"input of animations[{at}]", sampler.input, "accessors"
            yield f"output of animations[{at}]", sampler.output, "accessors"
        for channel in motion.channels:
            yield f"a node of animations[{at}]", channel.target.node, "nodes"
            if channel.sampler >= len(motion.samplers):
                raise Mistyped(f"animations[{at}] has no sampler {channel.sampler}")
    for at, scene in enumerate(file.scenes or ()):
        for number in scene.nodes or ():
            yield f"a node of scenes[{at}]", number, "nodes"
    yield "scene", file.scene, "scenes"


def _check_tree(nodes: list[Node]) -> None:
    """Raises Mistyped for a node that is above itself."""
    above: Mapping[int, int] = {child: at for at, node in enumerate(nodes) for child in node.children or ()}
    settled: set[int] = set()
    for start in range(len(nodes)):
        path: set[int] = set()
        at: int | None = start
        while at is not None and at not in settled:
            if at in path:
                raise Mistyped(f"nodes[{at}] is among its own children")
            path.add(at)
            at = above.get(at)
        settled |= path
