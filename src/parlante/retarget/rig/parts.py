"""What a rigged file offers: targets by name, VRM expressions by their binds, bones, eyeballs, and the way it faces."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError
from parlante.retarget.rig.gltf import Gltf, unlocked, world_matrices
from parlante.retarget.rig.jaw import OPENERS, find_jaw, holds, skinned, waits_for_bone
from parlante.retarget.rig.targets import EXTRAS, VRM_NAMES, canonical, named

LEAST = 1e-7
"""A target that moves no vertex farther, in the unit of the file, is empty."""
_VOWELS = ("a", "i", "u", "e", "o", "aa", "ih", "ou", "ee", "oh")
WAYS = ("In", "Out", "Up", "Down")
_END = r"(_?(bone|joint|jnt)|[_.](m|x|\d+))*$"
_BONES = {
    "head": re.compile(rf"(?i:(^|[^a-z])head{_END})|(?<=[a-z])Head{_END}|^頭$"),
    "jaw": re.compile(rf"(?i:(^|[^a-z])m?jaw(root)?{_END})|(?<=[a-z])Jaw{_END}|^あご$"),
    "leftEye": re.compile(rf"(?i:(left_?eye|(^|[^a-z])eye[_.]?l(eft)?|(^|[^a-z])l_?(face)?eye){_END})|^左目$"),
    "rightEye": re.compile(rf"(?i:(right_?eye|(^|[^a-z])eye[_.]?r(ight)?|(^|[^a-z])r_?(face)?eye){_END})|^右目$"),
}

Spots = dict[str, list[tuple[int, int, float]]]
"""canonical name -> (mesh, number of the target, factor)"""


class Parts(NamedTuple):
    """See the module."""

    kind: str
    targets: Spots
    empty: list[str]
    """Targets that have a name and move nothing."""
    nameless: dict[str, int]
    """Mesh -> how many targets it has, of meshes none of whose targets has a name or an expression that plays it."""
    still_face: bool
    """The mouth's own targets lie on smaller meshes than those of `nameless`: teeth would speak in a still face."""
    drawn: list[str]
    """VRM expressions of the mouth that change materials or shift textures, and move nothing."""
    bones: dict[str, int]
    turned: frozenset[str]
    """Of leftEye and rightEye those that turn in any case: the eyeLook targets do not move these eyeballs."""
    limits: dict[str, float]
    """Way -> degrees that an eye turns at most, where a VRM says so."""
    binary: frozenset[str]
    """Expressions that are either on or off."""
    helped: bool
    """The jaw's target only mends what its bone does: both are played."""
    facing: NDArray[np.float64]
    """(3, 3) columns: the left of the face, up, and forward."""
    bust: tuple[int, NDArray[np.float64]] | None
    """Of a head without bones: the node that holds all of it, and the place (3,) in the world about which it nods."""
    guessed: bool = False
    """The jaw's bone was found by what it moves, not by its name."""


def find_parts(file: Gltf) -> Parts:
    """Look through a file. Raises KeyError, IndexError, TypeError, AttributeError or ValueError where it is damaged."""
    extensions = file.root.get("extensions") or {}
    kind = "VRM 1" if "VRMC_vrm" in extensions else "VRM 0" if "VRM" in extensions else "glTF"
    targets, empty = _without_empty(file, _named_targets(file))
    found, binary = _expressions(file)
    expressions, _ = _without_empty(file, found)
    # a weight by its own name before an expression that plays it, an expression before VRoid's name for the same
    targets |= {name: spots for name, spots in expressions.items() if name not in targets or ":" in name}
    if targets.get("vrm:blinkleft", 0) == targets.get("vrm:blinkright", 1):  # both winks close both eyes
        targets["vrm:blink"] = targets.pop("vrm:blinkleft")
        del targets["vrm:blinkright"]
    bones, (by_bone, limits) = _bones(file), _look_at(file)
    if by_bone and {"leftEye", "rightEye"} <= bones.keys():
        targets = {name: spots for name, spots in targets.items() if not name.startswith("vrm:look")}
    balls = {eye: node for eye, node in _eyeballs(file).items() if eye not in bones}
    bones |= balls
    turned = set(balls) | {eye for eye in ("leftEye", "rightEye") if _left_alone(file, eye, bones.get(eye), targets)}
    bust, forward = (None, None) if "head" in bones else _bust(file, targets)
    facing = _facing(file, kind, bones, forward)
    guessed = _jaw_by_place(file, bones, targets, facing)
    if guessed is not None:
        bones["jaw"] = guessed
    nameless = _nameless(file, targets)
    return Parts(
        kind, targets, empty, {_called(file, mesh): count for mesh, count in nameless.items()},
        _still_face(file, targets, nameless), _drawn(file), bones, frozenset(turned), limits, binary,
        _helped(file, bones.get("jaw"), targets), facing, bust, guessed is not None,
    )  # fmt: skip


def count_of(shape: dict[str, Any]) -> int:
    """How many targets a mesh has."""
    return max((len(primitive.get("targets") or ()) for primitive in shape["primitives"]), default=0)


def _without_empty(file: Gltf, found: Spots) -> tuple[Spots, list[str]]:
    """The same without spots that move nothing, and the names of which none is left."""
    moving = {name: [spot for spot in spots if _moves(file, *spot[:2])] for name, spots in found.items()}
    empty = sorted(name for name, spots in moving.items() if not spots)
    return {name: spots for name, spots in moving.items() if spots}, empty


def _moves(file: Gltf, mesh: int, number: int) -> bool:
    return any(reach is None or reach > LEAST for reach in _reaches(file, mesh, number))


def _reaches(file: Gltf, mesh: int, number: int) -> Iterator[float | None]:
    """How far a target moves any vertex along an axis, for each primitive; none where the data is compressed."""
    for primitive in file.root["meshes"][mesh]["primitives"]:
        targets = primitive.get("targets") or ()
        if number >= len(targets) or "POSITION" not in targets[number]:
            continue
        accessor = file.root["accessors"][targets[number]["POSITION"]]
        bounds = None
        if "min" in accessor and "max" in accessor:
            bounds = float(np.abs([accessor["min"], accessor["max"]]).max())
        if bounds and bounds > LEAST and not accessor.get("normalized"):
            yield bounds
            continue
        try:
            yield float(np.abs(file.accessor(targets[number]["POSITION"])).max(initial=0.0))
        except InputError:  # compressed: only the bounds are to be seen from here
            yield bounds


def _names(shape: dict[str, Any], accessors: list[dict[str, Any]]) -> list[str]:
    """Names of a mesh's targets, "" where there is none: exporters keep them in four places."""
    count = count_of(shape)
    for owner in (shape, *shape["primitives"]):
        names = (owner.get("extras") or {}).get("targetNames")
        if names:
            return [str(name) for name in names[:count]] + [""] * (count - len(names))
    out = [""] * count
    for primitive in shape["primitives"]:
        for number, target in enumerate(primitive.get("targets") or ()):
            extras = target.get("extras")
            name = extras.get("name") if isinstance(extras, dict) else None
            if not name and "POSITION" in target:
                name = accessors[target["POSITION"]].get("name")
            out[number] = out[number] or str(name or "")
    return out


def _named_targets(file: Gltf) -> Spots:
    found: Spots = {}
    for mesh, shape in enumerate(file.root.get("meshes") or ()):
        for number, meant in enumerate(named(_names(shape, file.root.get("accessors") or []))):
            if meant is not None:
                found.setdefault(meant, []).append((mesh, number, 1.0))
    return found


def _nameless(file: Gltf, targets: Spots) -> dict[int, int]:
    """Mesh -> number of its targets, where none of them has a name or is played by an expression."""
    accessors, used = file.root.get("accessors") or [], {spot[0] for spots in targets.values() for spot in spots}
    return {
        mesh: count_of(shape)
        for mesh, shape in enumerate(file.root.get("meshes") or ())
        if mesh not in used and count_of(shape) and not any(_names(shape, accessors))
    }


def _still_face(file: Gltf, targets: Spots, nameless: dict[int, int]) -> bool:
    """Whether a mesh of nameless targets is larger than all whose targets open the mouth."""
    opening = {spot[0] for name in OPENERS for spot in targets.get(name, ())}
    if not opening or not nameless:
        return False
    return max(_vertices(file, mesh) for mesh in nameless) > max(_vertices(file, mesh) for mesh in opening)


def _vertices(file: Gltf, mesh: int) -> int:
    places = {primitive["attributes"]["POSITION"] for primitive in file.root["meshes"][mesh]["primitives"]}
    return sum(int(file.root["accessors"][place]["count"]) for place in places)


def _called(file: Gltf, mesh: int) -> str:
    return str(file.root["meshes"][mesh].get("name") or f"mesh {mesh}")


def _drawn(file: Gltf) -> list[str]:
    """Names of vowels that only change materials or shift textures, as where a mouth is drawn."""
    extensions, out = file.root.get("extensions") or {}, []
    preset = (extensions.get("VRMC_vrm", {}).get("expressions") or {}).get("preset") or {}
    for name, one in preset.items():
        if name.lower() in _VOWELS and not one.get("morphTargetBinds"):
            out += [name] * bool(one.get("materialColorBinds") or one.get("textureTransformBinds"))
    for one in (extensions.get("VRM", {}).get("blendShapeMaster") or {}).get("blendShapeGroups") or ():
        if str(one.get("presetName", "")).lower() in _VOWELS and not one.get("binds"):
            out += [str(one.get("name") or one["presetName"])] * bool(one.get("materialValues"))
    return out


def _jaw_by_place(file: Gltf, bones: dict[str, int], targets: Spots, facing: NDArray[np.float64]) -> int | None:
    """The jaw's bone by what it moves, where no bone of that name holds anything."""
    parts = skinned(file)
    if "jaw" in bones and holds(file, parts, bones["jaw"]):
        return None
    return find_jaw(file, parts, {name: bone for name, bone in bones.items() if name != "jaw"}, targets, facing)


def _expressions(file: Gltf) -> tuple[Spots, frozenset[str]]:
    """VRM expressions by their binds, as `vrm:aa`, or as a weight where one of that name is meant; which are binary."""
    extensions, found, binary = file.root.get("extensions") or {}, {}, set()
    meshes, nodes = file.root.get("meshes") or [], file.root.get("nodes") or []
    groups: list[tuple[str, str, dict[str, Any], list[tuple[Any, Any, float]]]] = []
    expressions = extensions.get("VRMC_vrm", {}).get("expressions") or {}
    for name, one in {**(expressions.get("custom") or {}), **(expressions.get("preset") or {})}.items():
        binds = one.get("morphTargetBinds") or ()
        spots = [
            (nodes[b["node"]].get("mesh"), b.get("index"), float(b.get("weight", 1)))
            for b in binds
            if 0 <= b.get("node", -1) < len(nodes)
        ]
        groups.append((name, name, one, spots))
    for one in (extensions.get("VRM", {}).get("blendShapeMaster") or {}).get("blendShapeGroups") or ():
        binds = one.get("binds") or ()
        spots = [(b.get("mesh"), b.get("index"), float(b.get("weight", 100)) / 100) for b in binds]
        groups.append((str(one.get("presetName", "")), str(one.get("name", "")), one, spots))
    for preset, name, one, loose in groups:
        spots = [  # programs that thin out a file leave binds to what is gone
            (mesh, number, factor)
            for mesh, number, factor in loose
            if isinstance(mesh, int) and isinstance(number, int)
            and 0 <= mesh < len(meshes) and 0 <= number < count_of(meshes[mesh])
        ]  # fmt: skip
        known = VRM_NAMES.get(preset.lower()) or VRM_NAMES.get(name.lower())
        meant = f"vrm:{known}" if known else canonical(name)
        if meant in EXTRAS and meant not in ("eyesclosed", "mouthopen"):  # a mood of the whole face
            meant = None
        if not spots or meant is None or (meant in found and preset.lower() not in VRM_NAMES):
            continue
        found[meant] = spots
        if one.get("isBinary"):
            binary.add(meant)
    return found, frozenset(binary)


def _look_at(file: Gltf) -> tuple[bool, dict[str, float]]:
    """Whether a VRM's eyes look by bones, and how many degrees they turn each way at most."""
    extensions = file.root.get("extensions") or {}
    new = extensions.get("VRMC_vrm", {}).get("lookAt") or {}
    old = extensions.get("VRM", {}).get("firstPerson") or {}
    ranges = {
        "In": (new.get("rangeMapHorizontalInner"), old.get("lookAtHorizontalInner")),
        "Out": (new.get("rangeMapHorizontalOuter"), old.get("lookAtHorizontalOuter")),
        "Up": (new.get("rangeMapVerticalUp"), old.get("lookAtVerticalUp")),
        "Down": (new.get("rangeMapVerticalDown"), old.get("lookAtVerticalDown")),
    }
    by_bone = new.get("type") == "bone" or old.get("lookAtTypeName") == "Bone"
    limits = {}
    for way, (one, other) in ranges.items():
        degrees = float((one or {}).get("outputScale", 0) or (other or {}).get("yRange", 0))
        if by_bone and degrees > 0:
            limits[way] = degrees
    return by_bone, limits


def _bones(file: Gltf) -> dict[str, int]:
    """Bones that a VRM names, else those of a skin with a telling name."""
    extensions, nodes = file.root.get("extensions") or {}, file.root.get("nodes") or []
    human = (extensions.get("VRMC_vrm", {}).get("humanoid") or {}).get("humanBones") or {}
    bones = {name: int(human[name]["node"]) for name in _BONES if name in human}
    for one in (extensions.get("VRM", {}).get("humanoid") or {}).get("humanBones") or ():
        if one.get("bone") in _BONES:
            bones[one["bone"]] = int(one.get("node", -1))
    bones = {name: node for name, node in bones.items() if 0 <= node < len(nodes)}
    joints = {joint for skin in file.root.get("skins") or () for joint in skin.get("joints", ())}
    for name, pattern in _BONES.items():
        for joint in sorted(joints):
            node = nodes[joint]
            if name not in bones and pattern.search(str(node.get("name", ""))) and unlocked(node) is not None:
                bones[name] = joint
    return {name: node for name, node in bones.items() if unlocked(nodes[node]) is not None}


def _eyeballs(file: Gltf) -> dict[str, int]:
    """leftEye, rightEye -> a node of that name about whose origin a mesh of its own, without skin or targets, lies."""
    nodes, found = file.root.get("nodes") or [], {}
    world = world_matrices(file.root)
    for eye in ("leftEye", "rightEye"):
        for number, node in enumerate(nodes):
            if not _BONES[eye].search(str(node.get("name", ""))) or unlocked(node) is None:
                continue
            below = [number]
            for one in below:
                below += [child for child in nodes[one].get("children", ()) if child not in below]
            carried = [one for one in below if "mesh" in nodes[one]]
            if carried and all(_centred(file, one, world[one], world[number][:3, 3]) for one in carried):
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


def _left_alone(file: Gltf, eye: str, bone: int | None, targets: Spots) -> bool:
    """Whether an eye's bone holds an eyeball that none of the eyeLook targets moves: they move lids only."""
    side = "Left" if eye == "leftEye" else "Right"
    looks = [spot for way in WAYS for spot in targets.get(f"eyeLook{way}{side}", ())]
    if bone is None or not looks:
        return False
    held = False
    for node in file.root.get("nodes") or ():
        joints = file.root["skins"][node["skin"]]["joints"] if "skin" in node and "mesh" in node else []
        if bone not in joints:
            continue
        for primitive in file.root["meshes"][node["mesh"]]["primitives"]:
            try:
                ball = _held(file, primitive, joints.index(bone))
                if not ball.any():
                    continue
                held = True
                for mesh, number, _ in looks:
                    if mesh == node["mesh"] and number < len(primitive.get("targets") or ()):
                        moved = file.accessor(primitive["targets"][number]["POSITION"])[ball]
                        if np.abs(moved).max() > LEAST:
                            return False
            except (InputError, KeyError):  # compressed, or without weights
                return False
    return held


def _held(file: Gltf, primitive: dict[str, Any], joint: int) -> NDArray[np.bool_]:
    """(N,) vertices that follow a joint by more than half."""
    attributes = primitive["attributes"]
    joints, weights = file.accessor(attributes["JOINTS_0"]), file.accessor(attributes["WEIGHTS_0"])
    return np.asarray((weights * (joints == joint)).sum(1) > 0.5)


def _helped(file: Gltf, jaw: int | None, targets: Spots) -> bool:
    """Whether the jaw's target waits for its bone: it does much less, or, of Character Creator's, less than a blink."""
    if jaw is None:
        return False
    if waits_for_bone(file, skinned(file), jaw, targets):
        return True
    if "CC_Base_JawRoot" not in str(file.root["nodes"][jaw].get("name", "")):
        return False

    def reach(*names: str) -> float:
        found = [far for name in names for spot in targets.get(name, ())[:1] for far in _reaches(file, *spot[:2])]
        return max((far for far in found if far is not None), default=0.0)

    opens = reach("jawOpen") or reach("viseme:aa") or reach("mouthopen")
    return 0 < opens < 1.2 * reach("eyeBlinkLeft", "eyesclosed")


def _facing(file: Gltf, kind: str, bones: dict[str, int], forward: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Files of VRM 0 look along -z and of VRM 1 along +z; of others eyes before the head tell, or names of bones."""
    if kind != "glTF":
        return np.diag([-1.0, 1.0, -1.0]) if kind == "VRM 0" else np.eye(3)
    nodes, world = file.root.get("nodes") or [], world_matrices(file.root)
    if {"head", "leftEye", "rightEye"} <= bones.keys():
        eyes = (world[bones["leftEye"]] + world[bones["rightEye"]])[:3, 3] / 2
        forward = eyes - world[bones["head"]][:3, 3]
    if forward is not None and np.hypot(forward[0], forward[2]) > 0.1 * np.linalg.norm(forward):
        return _quarter(float(np.arctan2(forward[0], forward[2])))
    joints = {joint for skin in file.root.get("skins") or () for joint in skin.get("joints", ())}
    places = {str(nodes[joint].get("name", "")).lower(): world[joint][:3, 3] for joint in joints}
    left = np.zeros(3)
    for name, place in places.items():
        for word, other in (("left", "right"), (r"(?<![a-z])l(?![a-z])", "r")):
            twin = re.sub(word, other, name)
            if twin != name and twin in places:
                left += place - places[twin]
    return _quarter(float(np.arctan2(-left[2], left[0]))) if np.hypot(left[0], left[2]) > 1e-6 else np.eye(3)


def _quarter(angle: float) -> NDArray[np.float64]:
    """The turn about y by the nearest multiple of 90 degrees."""
    quarters = round(angle / (np.pi / 2))
    cos, sin = round(np.cos(quarters * np.pi / 2)), round(np.sin(quarters * np.pi / 2))
    return np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]], float)


def _bust(file: Gltf, targets: Spots) -> tuple[tuple[int, NDArray[np.float64]] | None, NDArray[np.float64] | None]:
    """What turns of a head without a skin, about where, and the way it looks; none of a file with more than a head.

    A head it is where the vertices that open the mouth take up a fifth of the file's height or more.
    """
    nodes, world = file.root.get("nodes") or [], world_matrices(file.root)
    opens = next((targets[name] for name in ("jawOpen", "mouthopen", "viseme:aa", "vrm:aa") if name in targets), [])
    wearing = [number for number, node in enumerate(nodes) if "mesh" in node]
    if not opens or any("skin" in nodes[number] for number in wearing):
        return None, None
    above: dict[int, int] = {child: number for number, node in enumerate(nodes) for child in node.get("children", ())}
    ways = [_ancestors(number, above) for number in wearing]
    common = [number for number in ways[0] if all(number in way for way in ways)]
    if not common or unlocked(nodes[common[0]]) is None:
        return None, None
    every, jaw = [], []
    for number in wearing:
        for primitive in file.root["meshes"][nodes[number]["mesh"]]["primitives"]:
            try:
                places = np.asarray(file.accessor(primitive["attributes"]["POSITION"]), float)
                every.append(places @ world[number][:3, :3].T + world[number][:3, 3])
                for mesh, target, _ in opens:
                    if mesh == nodes[number]["mesh"]:
                        far = np.linalg.norm(file.accessor(primitive["targets"][target]["POSITION"]), axis=1)
                        jaw.append(every[-1][far > 0.05 * far.max(initial=0.0)])
            except (InputError, KeyError):  # compressed
                return None, None
    whole, moved = np.concatenate(every), np.concatenate([*jaw, np.zeros((0, 3))])
    low, high = whole.min(0), whole.max(0)
    if not len(moved) or np.ptp(moved[:, 1]) < 0.2 * (high - low)[1]:
        return None, None
    middle = (low + high) / 2
    return (common[0], np.array([middle[0], moved[:, 1].min(), middle[2]])), moved.mean(0) - middle


def _ancestors(node: int, above: dict[int, int]) -> list[int]:
    """The node, its parent, and so on to the root."""
    way = [node]
    while way[-1] in above and above[way[-1]] not in way:
        way.append(above[way[-1]])
    return way
