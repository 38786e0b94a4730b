"""A rigged `.glb` or `.vrm`: its own morph targets and bones, played in a copy that is otherwise the same file.

Only the JSON chunk is edited and bytes are appended to the binary chunk: nothing that is there moves. Targets are found
by name (`character.targets`), VRM expressions by their binds; where there are no targets for jaw or eyes, bones do it.
"""

import copy
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from parlante.character.gltf import Gltf, read_gltf, world_matrices
from parlante.character.targets import VRM_NAMES, canonical, plan, played
from parlante.core import InputError
from parlante.core.files import first_line
from parlante.core.pose import rotation_matrices
from parlante.head.arkit import INDEX

JAW_DEGREES, EYE_DEGREES = 16.0, 26.0
LEAST = 1e-7
"""A target that moves no vertex farther, in the unit of the file, is empty."""
_BONES = {
    "head": re.compile(r"(?i)(^|[^a-z])head$"),
    "jaw": re.compile(r"(?i)(^|[^a-z])jaw(root|bone|[_.]?(0?1|joint|jnt))?$"),
    "leftEye": re.compile(r"(?i)(left_?eye|eye[_.]?l(eft)?|l_?eye)(_?(bone|joint|jnt))?$"),
    "rightEye": re.compile(r"(?i)(right_?eye|eye[_.]?r(ight)?|r_?eye)(_?(bone|joint|jnt))?$"),
}


@dataclass(eq=False)
class Rig:
    """What a file offers, found by `read_rig`."""

    path: Path
    file: Gltf
    targets: dict[str, list[tuple[int, int, float]]]
    """canonical name -> (mesh, number of the target, factor)"""
    bones: dict[str, int]
    """head, jaw, leftEye, rightEye -> node"""
    kind: str
    """in words"""
    recipes: dict[str, Any] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    rigid: frozenset[str] = frozenset()
    """Of leftEye and rightEye those that are eyeballs of their own: they turn, whatever the targets of the lids do."""
    empty: list[str] = field(default_factory=list)
    """Targets that have a name and move nothing, which is as if they were not there."""

    def __post_init__(self) -> None:
        self.recipes, self.replaced, self.missing = plan(self.targets)
        if "jawOpen" in self.missing and "jaw" in self.bones:
            self._by_bone("jawOpen", "bone jaw")
        for side in ("Left", "Right"):
            for way in ("Up", "Down", "In", "Out"):
                curve, bone = f"eyeLook{way}{side}", f"{side.lower()}Eye"
                if bone in self.bones and curve in self.missing:
                    self._by_bone(curve, f"bone {bone}")

    def _by_bone(self, curve: str, bone: str) -> None:
        self.missing.remove(curve)
        self.replaced[curve] = bone

    @property
    def useful(self) -> bool:
        """Whether the mouth can be moved at all."""
        return "jawOpen" not in self.missing

    def tell(self) -> list[str]:
        """Lines that say what is there, what is replaced, and what is missing."""
        own = sorted(name for name in self.targets if name in INDEX)
        lines = [f"{self.path.name}: {self.kind}; {len(own)} of the 52 ARKit targets"]
        others = sorted(name for name in self.targets if name not in INDEX)
        if others:
            lines.append(f"  also: {', '.join(others)}")
        if self.bones:
            lines.append(f"  bones: {', '.join(sorted(self.bones))}")
        if self.empty:
            lines.append(f"  named but empty: {', '.join(self.empty)}")
        if self.replaced:
            lines.append("  replaced: " + ", ".join(f"{curve} by {by}" for curve, by in self.replaced.items()))
        if self.missing:
            lines.append(f"  missing, left out: {', '.join(self.missing)}")
        if not self.useful:
            lines.append("  nothing moves its mouth: make a character of its mesh with parlante character build")
        return lines

    def animated(
        self, weights: NDArray[np.floating], fps: float, head_pose: NDArray[np.floating] | None, name: str = "speech"
    ) -> bytes:
        """The file with one more animation: weights (T, 52) and head pose (T, 6), frame t at t / fps seconds.

        Raises InputError if nothing of the file can be moved.
        """
        if not self.useful:
            raise InputError(" ".join(self.tell()))
        file = _Appended(self.file)
        clock = file.numbers((np.arange(len(weights)) / fps).astype(np.float32), "SCALAR", bounds=True)
        tracks: list[tuple[int, str, int]] = []
        for mesh, values in self._mesh_weights(np.asarray(weights, np.float32)).items():
            track = file.numbers(values, "SCALAR")
            tracks += [(node, "weights", track) for node, n in enumerate(file.root["nodes"]) if n.get("mesh") == mesh]
        for node, turns in self._bone_turns(np.asarray(weights, np.float64), head_pose).items():
            tracks.append((node, "rotation", file.numbers(self._local(node, turns), "VEC4")))
        animation = {
            "name": name,
            "samplers": [{"input": clock, "output": track, "interpolation": "LINEAR"} for _, _, track in tracks],
            "channels": [
                {"sampler": number, "target": {"node": node, "path": path}}
                for number, (node, path, _) in enumerate(tracks)
            ],
        }
        file.root.setdefault("animations", []).append(animation)
        return file.container()

    def _mesh_weights(self, weights: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
        """mesh -> (T, its targets), the file's own default weights where nothing is played."""
        out: dict[int, NDArray[np.float32]] = {}
        for target, recipe in self.recipes.items():
            values = played(recipe, weights)
            for mesh, number, factor in self.targets[target]:
                if mesh not in out:
                    shape = self.file.root["meshes"][mesh]
                    count = len(shape["primitives"][0]["targets"])
                    rest = np.asarray(shape.get("weights", np.zeros(count)), np.float32)
                    out[mesh] = np.tile(rest, (len(weights), 1))
                    for n in {n for spots in self.targets.values() for m, n, _ in spots if m == mesh}:
                        out[mesh][:, n] = 0.0
                out[mesh][:, number] += factor * values
        return {mesh: np.clip(values, 0.0, 1.0) for mesh, values in out.items()}

    def _bone_turns(
        self, weights: NDArray[np.float64], head_pose: NDArray[np.floating] | None
    ) -> dict[int, NDArray[np.float64]]:
        """node -> (T, 3, 3) turns in the axes of the face: x to its left, y up, z forward."""
        turns: dict[int, NDArray[np.float64]] = {}
        if head_pose is not None and "head" in self.bones:
            turns[self.bones["head"]] = rotation_matrices(np.asarray(head_pose)[:, :3])
        if self.replaced.get("jawOpen") == "bone jaw":
            angles = np.zeros((len(weights), 3))
            angles[:, 0] = np.radians(JAW_DEGREES) * np.clip(
                weights[:, INDEX["jawOpen"]] - 0.7 * weights[:, INDEX["mouthClose"]], 0, 1
            )
            turns[self.bones["jaw"]] = rotation_matrices(angles)
        for side, outwards in (("Left", 1.0), ("Right", -1.0)):
            bone = f"{side.lower()}Eye"
            if bone not in self.rigid and self.replaced.get(f"eyeLookUp{side}") != f"bone {bone}":
                continue
            look = {way: weights[:, INDEX[f"eyeLook{way}{side}"]] for way in ("Up", "Down", "In", "Out")}
            angles = np.zeros((len(weights), 3))
            angles[:, 0] = look["Down"] - look["Up"]
            angles[:, 1] = outwards * (look["Out"] - look["In"])
            turns[self.bones[bone]] = rotation_matrices(np.radians(EYE_DEGREES) * angles)
        return turns

    def _local(self, node: int, turns: NDArray[np.float64]) -> NDArray[np.float32]:
        """(T, 4) rotations of the node: its own at rest, turned by `turns` in the axes of the face."""
        world = world_matrices(self.file.root)[node][:3, :3]
        world = world / np.maximum(np.linalg.norm(world, axis=0), 1e-12)
        axes = self._face_axes()
        turns = axes @ turns @ axes.T
        rest = Rotation.from_quat(self.file.root["nodes"][node].get("rotation", (0, 0, 0, 1))).as_matrix()
        quaternions = Rotation.from_matrix(rest @ world.T @ turns @ world).as_quat()
        signs = np.ones(len(quaternions))
        signs[1:] = np.cumprod(np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1.0, 1.0))
        return np.asarray(quaternions * signs[:, None], np.float32)

    def _face_axes(self) -> NDArray[np.float64]:
        """Files of VRM 0 look along -z."""
        return np.diag([-1.0, 1.0, -1.0]) if self.kind == "VRM 0" else np.eye(3)


def read_rig(path: Path | str) -> Rig:
    """Targets and bones of a `.glb` or `.vrm`. Raises InputError if the file cannot be read."""
    path = Path(path)
    file = read_gltf(path)
    extensions = file.root.get("extensions", {})
    kind = "VRM 1" if "VRMC_vrm" in extensions else "VRM 0" if "VRM" in extensions else "glTF"
    try:
        targets, empty = _without_empty(file, _named_targets(file))
        expressions, _ = _without_empty(file, _expressions(file))
        # a curve by its own name before an expression that plays it, an expression before VRoid's name for the same
        targets |= {name: spots for name, spots in expressions.items() if name not in targets or ":" in name}
        bones = _bones(file)
        balls = {eye: node for eye, node in _eyeballs(file).items() if eye not in bones}
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        why = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"cannot read the rig of {path} ({why}); export it again") from error
    return Rig(path, file, targets, {**bones, **balls}, kind, empty=empty, rigid=frozenset(balls))


def _without_empty(
    file: Gltf, found: dict[str, list[tuple[int, int, float]]]
) -> tuple[dict[str, list[tuple[int, int, float]]], list[str]]:
    """The same without spots that move nothing, and the names of which none is left."""
    moving = {name: [spot for spot in spots if _moves(file, *spot[:2])] for name, spots in found.items()}
    empty = sorted(name for name, spots in moving.items() if not spots)
    return {name: spots for name, spots in moving.items() if spots}, empty


def _moves(file: Gltf, mesh: int, number: int) -> bool:
    for primitive in file.root["meshes"][mesh]["primitives"]:
        targets = primitive.get("targets", ())
        if number >= len(targets) or "POSITION" not in targets[number]:
            continue
        accessor = file.root["accessors"][targets[number]["POSITION"]]
        try:
            reach = np.abs([accessor["min"], accessor["max"]])
        except KeyError:
            try:
                reach = np.abs(file.accessor(targets[number]["POSITION"]))
            except InputError:  # compressed: not to be seen from here
                return True
        if reach.max(initial=0.0) > LEAST:
            return True
    return False


def _named_targets(file: Gltf) -> dict[str, list[tuple[int, int, float]]]:
    found: dict[str, list[tuple[int, int, float]]] = {}
    for mesh, shape in enumerate(file.root.get("meshes", ())):
        primitive = shape["primitives"][0]
        count = len(primitive.get("targets", ()))
        names = shape.get("extras", {}).get("targetNames") or primitive.get("extras", {}).get("targetNames") or []
        for number, name in enumerate(names[:count]):
            meant = canonical(str(name))
            if meant is not None:
                found.setdefault(meant, []).append((mesh, number, 1.0))
    return found


def _expressions(file: Gltf) -> dict[str, list[tuple[int, int, float]]]:
    """VRM expressions by their binds, as `vrm:aa`, or as a curve where one of that name is meant."""
    extensions, found = file.root.get("extensions", {}), {}
    groups: list[tuple[str, str, list[tuple[int, int, float]]]] = []
    nodes = file.root.get("nodes", [])
    expressions = extensions.get("VRMC_vrm", {}).get("expressions", {})
    for name, one in {**expressions.get("custom", {}), **expressions.get("preset", {})}.items():
        binds = one.get("morphTargetBinds", ())
        spots = [(nodes[b["node"]]["mesh"], int(b["index"]), float(b.get("weight", 1))) for b in binds]
        groups.append((name, name, spots))
    for one in extensions.get("VRM", {}).get("blendShapeMaster", {}).get("blendShapeGroups", ()):
        spots = [(int(b["mesh"]), int(b["index"]), float(b.get("weight", 100)) / 100) for b in one.get("binds", ())]
        groups.append((str(one.get("presetName", "")), str(one.get("name", "")), spots))
    for preset, name, spots in groups:
        if not spots:
            continue
        meant = VRM_NAMES.get(preset.lower())
        curve = canonical(name)
        if meant is not None:
            found[f"vrm:{meant}"] = spots
        elif curve is not None:
            found[curve] = spots
    return found


def _bones(file: Gltf) -> dict[str, int]:
    """Bones that a VRM names, else those of a skin with a telling name."""
    extensions = file.root.get("extensions", {})
    human = extensions.get("VRMC_vrm", {}).get("humanoid", {}).get("humanBones", {})
    bones = {name: int(human[name]["node"]) for name in _BONES if name in human}
    for one in extensions.get("VRM", {}).get("humanoid", {}).get("humanBones", ()):
        if one.get("bone") in _BONES:
            bones[one["bone"]] = int(one["node"])
    joints = {joint for skin in file.root.get("skins", ()) for joint in skin.get("joints", ())}
    for name, pattern in _BONES.items():
        if name in bones:
            continue
        for joint in sorted(joints):
            node = file.root["nodes"][joint]
            if pattern.search(str(node.get("name", ""))) and "matrix" not in node:
                bones[name] = joint
                break
    return {name: node for name, node in bones.items() if "matrix" not in file.root["nodes"][node]}


def _eyeballs(file: Gltf) -> dict[str, int]:
    """leftEye, rightEye -> a node of that name about whose origin a mesh of its own, without skin or targets, lies."""
    nodes, found = file.root.get("nodes", []), {}
    world = world_matrices(file.root)
    for eye in ("leftEye", "rightEye"):
        for number, node in enumerate(nodes):
            if not _BONES[eye].search(str(node.get("name", ""))) or "matrix" in node:
                continue
            below = [number]
            for one in below:
                below += [child for child in nodes[one].get("children", ()) if child not in below]
            worn = [one for one in below if "mesh" in nodes[one]]
            if worn and all(_centred(file, one, world[one], world[number][:3, 3]) for one in worn):
                found[eye] = number
                break
    return found


def _centred(file: Gltf, node: int, world: NDArray[np.float64], origin: NDArray[np.float64]) -> bool:
    """Whether the node's mesh is rigid and has `origin` near its middle."""
    mesh = file.root["meshes"][file.root["nodes"][node]["mesh"]]
    if "skin" in file.root["nodes"][node] or any(primitive.get("targets") for primitive in mesh["primitives"]):
        return False
    places = [file.root["accessors"][primitive["attributes"]["POSITION"]] for primitive in mesh["primitives"]]
    if not all("min" in place and "max" in place for place in places):
        return False
    low = np.min([place["min"] for place in places], axis=0).astype(float)
    high = np.max([place["max"] for place in places], axis=0).astype(float)
    scale = np.abs(np.linalg.det(world[:3, :3])) ** (1 / 3)
    middle = world[:3, :3] @ ((low + high) / 2) + world[:3, 3]
    return bool(np.linalg.norm(middle - origin) < 0.3 * scale * np.linalg.norm(high - low) / np.sqrt(3))


class _Appended:
    """A file that grows at the end; what is there keeps its place and its bytes."""

    def __init__(self, file: Gltf) -> None:
        self._file = file
        self.root: dict[str, Any] = copy.deepcopy(file.root)
        self._data = bytearray(file.data)
        buffers = self.root.setdefault("buffers", [])
        if buffers and "uri" not in buffers[0]:
            self._data = self._data[: buffers[0]["byteLength"]]
        elif buffers:
            raise InputError(f"{file.name} keeps its data outside the binary chunk; export it as one .glb file")
        else:
            buffers.append({"byteLength": 0})

    def numbers(self, array: NDArray[np.float32], kind: str, bounds: bool = False) -> int:
        """An accessor of float32 numbers; returns its place."""
        array = np.ascontiguousarray(array, np.float32)
        self._data += bytes(-len(self._data) % 4)
        views, accessors = self.root.setdefault("bufferViews", []), self.root.setdefault("accessors", [])
        views.append({"buffer": 0, "byteOffset": len(self._data), "byteLength": array.nbytes})
        self._data += array.tobytes()
        count = array.size if kind == "SCALAR" else len(array)
        accessor = {"bufferView": len(views) - 1, "componentType": 5126, "count": count, "type": kind}
        if bounds:
            accessor |= {"min": [float(array.min())], "max": [float(array.max())]}
        accessors.append(accessor)
        return len(accessors) - 1

    def container(self) -> bytes:
        """The file."""
        self.root["buffers"][0]["byteLength"] = len(self._data)
        return Gltf(self.root, bytes(self._data), self._file.others, self._file.name).container()
