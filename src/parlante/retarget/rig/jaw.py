"""The jaw's bone by what it moves, whatever its name; and parts of the mouth that nothing moves."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError
from parlante.retarget.rig.gltf import Gltf, unlocked, world_matrices

Floats = NDArray[np.float64]
Spots = Mapping[str, list[tuple[int, int, float]]]
OPENERS = ("jawOpen", "mouthopen", "viseme:aa", "vrm:aa")
_LOOSE = re.compile(r"(?i)beard|hair|brow|moustache|mustache|tongue|teeth|lip|neck|cloth|collar|bang|ribbon|string")
"""Names of bones that hold something low on the face and are no jaw."""
_ANGLE = np.sin(np.radians(16.0))
_WEAK = 0.35
"""Of the way that the bone itself would move the chin: a target that does less waits for the bone."""


class Skinned(NamedTuple):
    """A primitive as its bones hold it at rest."""

    mesh: int
    primitive: dict[str, Any]
    points: Floats
    """(N, 3) in the world"""
    bones: NDArray[np.int64]
    """(N, K) nodes"""
    weights: Floats
    """(N, K)"""
    size: float
    """What a length of 1 in the mesh is in the world."""

    def held_by(self, nodes: Iterable[int]) -> Floats:
        """(N,) share 0..1 of these bones in each vertex."""
        return np.asarray((self.weights * np.isin(self.bones, list(nodes))).sum(1))


def skinned(file: Gltf) -> list[Skinned]:
    """All primitives that bones hold and whose data can be read."""
    found = []
    nodes, world = file.root.get("nodes") or [], world_matrices(file.root)
    for node in nodes:
        if "mesh" not in node or "skin" not in node:
            continue
        skin = file.root["skins"][node["skin"]]
        joints = np.asarray(skin.get("joints") or [0], np.int64)
        for primitive in file.root["meshes"][node["mesh"]]["primitives"]:
            try:
                inverse = np.tile(np.eye(4), (len(joints), 1, 1))
                if "inverseBindMatrices" in skin:
                    inverse = file.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
                number, weights = _weights(file, primitive["attributes"])
                places = file.accessor(primitive["attributes"]["POSITION"]).astype(np.float64)
                moves = np.stack([world[joint] for joint in joints]) @ inverse[: len(joints)]
                each = np.einsum("nkij,nj->nki", moves[number], np.pad(places, ((0, 0), (0, 1)), constant_values=1.0))
            except (InputError, KeyError, IndexError, ValueError):  # compressed, or without weights
                continue
            points = (weights[:, :, None] * each[..., :3]).sum(1)
            size = float(np.abs(np.linalg.det(moves[0, :3, :3])) ** (1 / 3)) or 1.0
            found.append(Skinned(node["mesh"], primitive, points, joints[number], weights, size))
    return found


def _weights(file: Gltf, attributes: Mapping[str, int]) -> tuple[NDArray[np.int64], Floats]:
    """(N, K) numbers of joints and their weights, which add up to 1."""
    sets = [n for n in range(4) if f"JOINTS_{n}" in attributes and f"WEIGHTS_{n}" in attributes]
    number = np.concatenate([file.accessor(attributes[f"JOINTS_{n}"]) for n in sets], 1).astype(np.int64)
    weights = np.concatenate([file.accessor(attributes[f"WEIGHTS_{n}"]) for n in sets], 1).astype(np.float64)
    return number, weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)


def below(file: Gltf, node: int) -> list[int]:
    """The node and all that hangs on it."""
    nodes, out = file.root.get("nodes") or [], [node]
    for one in out:
        out += [child for child in nodes[one].get("children", ()) if child not in out]
    return out


def find_jaw(
    file: Gltf, parts: list[Skinned], bones: Mapping[str, int], targets: Spots, facing: Floats
) -> int | None:  # fmt: skip
    """The bone that holds what a target for the open mouth moves; without such a target, the chin.

    bones: head, leftEye, rightEye, as far as they are known. facing (3, 3): columns left, up and forward of the face.
    """
    nodes = file.root.get("nodes") or []
    taken = set(bones.values())
    joints = sorted({int(bone) for part in parts for bone in np.unique(part.bones)})
    free = [
        joint for joint in joints
        if joint not in taken
        and unlocked(nodes[joint]) is not None
        and not _LOOSE.search(str(nodes[joint].get("name")))
    ]  # fmt: skip
    found = _by_target(file, parts, free, targets)
    if found is None and not any(name in targets for name in OPENERS) and "head" in bones:
        found = _by_place(file, parts, free, bones, facing)
    return found


def _by_target(file: Gltf, parts: list[Skinned], joints: list[int], targets: Spots) -> int | None:
    best, most = None, 0.5
    for part, far in _opened(file, parts, targets):
        strong = far > 0.5 * far.max()
        for joint in joints:
            share = part.held_by([joint])
            held = share > 0.5
            if held.any() and (far[held] > 0.1 * far.max()).mean() > 0.6 and share[strong].mean() > most:
                best, most = joint, float(share[strong].mean())
    return best


def _opened(file: Gltf, parts: list[Skinned], targets: Spots) -> Iterator[tuple[Skinned, Floats]]:
    """Primitives with (N,) how far the target for the open mouth moves each vertex, in the unit of the mesh."""
    spots = next((targets[name] for name in OPENERS if name in targets), [])
    for part in parts:
        far = np.zeros(len(part.points))
        for mesh, number, factor in spots:
            if mesh == part.mesh and number < len(part.primitive.get("targets") or ()):
                try:
                    delta = file.accessor(part.primitive["targets"][number]["POSITION"])
                except (InputError, KeyError):
                    continue
                far += abs(factor) * np.linalg.norm(delta, axis=1)
        if far.max(initial=0.0) > 0:
            yield part, far


def _by_place(
    file: Gltf, parts: list[Skinned], joints: list[int], bones: Mapping[str, int], facing: Floats
) -> int | None:
    """The bone below the head's that holds most of the chin: low, in front, as much left as right."""
    above = below(file, bones["head"])
    head = np.concatenate([part.points[part.held_by(above) > 0.5] for part in parts] or [np.zeros((0, 3))]) @ facing
    if len(head) < 20:
        return None
    low, high = head.min(0), head.max(0)
    middle, size = (low + high) / 2, high - low
    eyes = [world_matrices(file.root)[bones[eye]][:3, 3] @ facing for eye in ("leftEye", "rightEye") if eye in bones]
    ceiling = min((float(eye[1]) for eye in eyes), default=float(middle[1]))
    best, most = None, 0
    for joint in set(joints) & set(above):
        under = below(file, joint)
        held = np.concatenate([part.points[part.held_by(under) > 0.5] for part in parts]) @ facing
        if len(held) < max(5, 0.01 * len(head)) or len(held) > 0.7 * len(head):
            continue
        centre = held.mean(0)
        if (
            abs(centre[0] - middle[0]) < 0.1 * size[0]
            and np.ptp(held[:, 0]) > 0.2 * size[0]
            and centre[1] < ceiling
            and held[:, 1].min() < low[1] + 0.35 * size[1]
            and held[:, 2].max() > middle[2]
            and len(held) > most
        ):
            best, most = joint, len(held)
    return best


def holds(file: Gltf, parts: list[Skinned], bone: int) -> bool:
    """Whether a bone, or one that hangs on it, moves any vertex; also where no weights can be read."""
    under = below(file, bone)
    return not parts or any((part.held_by(under) > 0.2).any() for part in parts)


def waits_for_bone(file: Gltf, parts: list[Skinned], bone: int, targets: Spots) -> bool:
    """Whether the target for the open mouth moves what the jaw's bone holds much less than the bone does."""
    origin, under = world_matrices(file.root)[bone][:3, 3], below(file, bone)
    moved, reach = 0.0, 0.0
    for part, far in _opened(file, parts, targets):
        held = part.held_by(under) > 0.5
        if held.any():
            reach = max(reach, float(np.linalg.norm(part.points[held] - origin, axis=1).max()))
        moved = max(moved, part.size * float(far.max()))
    return 0 < moved < _WEAK * _ANGLE * reach


def left_behind(file: Gltf, targets: Spots, played: Iterable[str], driven: Iterable[int]) -> list[str]:
    """Names of meshes that lie in the moving part of the face and that nothing moves: teeth, a tongue, a beard.

    played: names of the targets that are played. driven: the bones that are.
    """
    try:
        return _left_behind(file, targets, played, driven)
    except (InputError, KeyError, IndexError, TypeError, AttributeError, ValueError):  # compressed or damaged
        return []


def _left_behind(file: Gltf, targets: Spots, played: Iterable[str], driven: Iterable[int]) -> list[str]:
    nodes, world = file.root.get("nodes") or [], world_matrices(file.root)
    moving = {spot[0] for name in played for spot in targets.get(name, ())}
    carried = {one for bone in driven for one in below(file, bone)}
    parts = skinned(file)
    open_, still = [], []
    for number, node in enumerate(nodes):
        if "mesh" not in node:
            continue
        shape = file.root["meshes"][node["mesh"]]
        held = [part for part in parts if part.mesh == node["mesh"]] if "skin" in node else []
        for at, primitive in enumerate(shape["primitives"]):
            place = np.asarray(file.accessor(primitive["attributes"]["POSITION"]), np.float64)
            if held and len(held) == len(shape["primitives"]):
                place = held[at].points
            elif "skin" not in node:
                place = place @ world[number][:3, :3].T + world[number][:3, 3]
            if node["mesh"] in moving and primitive.get("targets"):
                open_ += list(_strong(file, primitive, node["mesh"], targets, place))
            elif number not in carried and not any((part.held_by(carried) > 0.2).any() for part in held):
                still.append((str(node.get("name") or shape.get("name") or f"mesh {node['mesh']}"), place))
    if not open_:
        return []
    region = np.concatenate(open_)
    low, high = region.min(0), region.max(0)
    out = [
        name for name, place in still
        if len(place) and ((place.mean(0) > low) & (place.mean(0) < high)).all()
        and np.ptp(place, axis=0).max() < 0.8 * (high - low).max()
    ]  # fmt: skip
    return list(dict.fromkeys(out))


def _strong(
    file: Gltf, primitive: dict[str, Any], mesh: int, targets: Spots, place: Floats
) -> Iterator[Floats]:  # fmt: skip
    """What the open mouth moves by a tenth of its way or more."""
    spots = next((targets[name] for name in OPENERS if name in targets), [])
    for other, number, _ in spots:
        if other == mesh and number < len(primitive.get("targets") or ()):
            far = np.linalg.norm(file.accessor(primitive["targets"][number]["POSITION"]), axis=1)
            yield place[far > 0.1 * far.max(initial=0.0)]
