"""VRM 1.0: `.vrm`, the head as an avatar, and `.vrma`, the performance for any avatar.

`.vrm` is the `.glb` with `VRMC_vrm`: the preset expressions bound to the ARKit targets, the 52 weights as custom
expressions ("perfect sync"), gaze by expressions, and a humanoid skeleton of bare bones below the neck, because the
format wants one. `.vrma` (`VRMC_vrm_animation`) holds no mesh: each expression's weight is the x of a node's
translation, and the head bone turns. By default these are the five vowels and the blinks, which every avatar has;
`.arkit.vrma` has the 52 weights instead, for avatars with perfect sync.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError
from parlante.core.options import Fidelity
from parlante.export.frames import AnimationInfo, FrameBlock
from parlante.export.glb import build, keyed
from parlante.export.gltf import Document, Track, quaternions
from parlante.export.keys import POSE_SHARE
from parlante.export.row_buffer import RowBuffer
from parlante.export.sink import FileSink
from parlante.geometry.blendshape_solver import BlendshapeSolver
from parlante.head.rig import LOOK

LICENSE = "https://vrm.dev/licenses/1.0/"


def _both(name: str, weight: float) -> dict[str, float]:
    return {f"{name}Left": weight, f"{name}Right": weight}


PRESETS: dict[str, dict[str, float]] = {
    "aa": {"jawOpen": 0.6, **_both("mouthLowerDown", 0.15), **_both("mouthUpperUp", 0.1)},
    "ih": {"jawOpen": 0.2, **_both("mouthStretch", 0.15), **_both("mouthSmile", 0.2), **_both("mouthLowerDown", 0.1)},
    "ou": {"jawOpen": 0.08, "mouthPucker": 0.8, "mouthFunnel": 0.1},
    "ee": {"jawOpen": 0.12, **_both("mouthStretch", 0.25), **_both("mouthSmile", 0.45), **_both("mouthLowerDown", 0.1)},
    "oh": {"jawOpen": 0.4, "mouthPucker": 0.45, "mouthFunnel": 0.3},
    "blink": _both("eyeBlink", 1.0),
    "blinkLeft": {"eyeBlinkLeft": 1.0},
    "blinkRight": {"eyeBlinkRight": 1.0},
    "lookUp": _both("eyeLookUp", 1.0),
    "lookDown": _both("eyeLookDown", 1.0),
    "lookLeft": {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0},
    "lookRight": {"eyeLookInLeft": 1.0, "eyeLookOutRight": 1.0},
    "happy": {**_both("mouthSmile", 0.8), **_both("cheekSquint", 0.5)},
    "angry": {**_both("browDown", 0.9), **_both("noseSneer", 0.4), **_both("mouthPress", 0.4)},
    "sad": {"browInnerUp": 0.8, **_both("mouthFrown", 0.7)},
    "relaxed": {**_both("mouthSmile", 0.3), **_both("eyeBlink", 0.2)},
    "surprised": {"browInnerUp": 0.8, **_both("browOuterUp", 0.8), **_both("eyeWide", 0.7), "jawOpen": 0.3},
    "neutral": {},
}
"""VRM's preset expressions in ARKit weights."""
VOWELS = ("aa", "ih", "ou", "ee", "oh")

_BODY: dict[str, tuple[str | None, tuple[float, float, float]]] = {
    "hips": (None, (0.0, 0.95, 0.0)),
    "spine": ("hips", (0.0, 0.12, 0.0)),
    "neck": ("spine", (0.0, 0.4, 0.0)),
    "head": ("neck", (0.0, 0.0, 0.0)),
    **{
        f"{side}{bone}": (f"{side}{parent}" if parent[0].isupper() else parent, (sign * x, y, 0.0))
        for side, sign in (("left", 1.0), ("right", -1.0))
        for bone, parent, x, y in (
            ("UpperLeg", "hips", 0.09, -0.05),
            ("LowerLeg", "UpperLeg", 0.0, -0.42),
            ("Foot", "LowerLeg", 0.0, -0.4),
            ("UpperArm", "spine", 0.17, 0.33),
            ("LowerArm", "UpperArm", 0.26, 0.0),
            ("Hand", "LowerArm", 0.24, 0.0),
        )
    },
}
"""bone: (parent, place from it in metres): the least that VRM asks for, in its T-pose."""


class _WeightKeeper(FileSink):
    """Weights and poses of all frames, then one file."""

    def __init__(self, path: Path, info: AnimationInfo, fidelity: Fidelity) -> None:
        super().__init__(path, info)
        self._fidelity = fidelity
        self._weights = RowBuffer()
        self._poses = RowBuffer()

    def finish(self) -> None:
        weights = self._weights.array()
        pose = self._poses.array() if self._poses else np.zeros((len(weights), 6), np.float32)
        self.partial.write_bytes(self._document(weights, pose).container())

    def write(self, block: FrameBlock) -> None:
        """Keep the weights."""
        assert block.weights is not None
        self._weights.append(np.clip(block.weights, 0, 1))
        if block.head_pose is not None:
            self._poses.append(block.head_pose)

    def _document(self, weights: NDArray[np.float32], pose: NDArray[np.float32]) -> Document:
        raise NotImplementedError


class VrmSink(_WeightKeeper):
    """Sink for `.vrm`. Raises InputError if the animation has no ARKit weights or no shapes for them."""

    def __init__(self, path: Path, info: AnimationInfo, fidelity: Fidelity) -> None:
        _check_arkit(path, info)
        if info.shapes is None:
            raise InputError(
                f"cannot write {path}: an avatar needs the shapes of the weights; animate one of the embedded "
                "identities, or write .vrma for an avatar of your own"
            )
        super().__init__(path, info, fidelity)

    def _document(self, weights: NDArray[np.float32], pose: NDArray[np.float32]) -> Document:
        info = self.info
        document = build(info, weights, pose, reduce=self._fidelity.reduce)
        nodes = document.root["nodes"]
        bones = _skeleton(nodes, neck=1, head=2)
        document.root["scenes"][0]["nodes"] = [0, bones["hips"]]
        names = info.weight_names
        custom = {name: {name: 1.0} for name in names}
        extension: dict[str, Any] = {
            "specVersion": "1.0",
            "meta": _meta(info),
            "humanoid": {"humanBones": {bone: {"node": node} for bone, node in bones.items()}},
            "expressions": {
                kind: {name: {"morphTargetBinds": _binds(parts, names)} for name, parts in table.items()}
                for kind, table in (("preset", PRESETS), ("custom", custom))
            },
            "lookAt": _look_at(info),
        }
        document.root["extensionsUsed"] = ["VRMC_vrm"]
        document.root["extensions"] = {"VRMC_vrm": extension}
        return document


class VrmaSink(_WeightKeeper):
    """Sink for `.vrma` and `.arkit.vrma`. Raises InputError if the animation has no ARKit weights."""

    def __init__(self, path: Path, info: AnimationInfo, fidelity: Fidelity) -> None:
        _check_arkit(path, info)
        super().__init__(path, info, fidelity)

    def _document(self, weights: NDArray[np.float32], pose: NDArray[np.float32]) -> Document:
        info, names = self.info, self.info.weight_names
        if self.path.name.lower().endswith(".arkit.vrma"):
            kind, tracks = "custom", dict(zip(names, weights.T))
        else:
            kind, tracks = "preset", preset_weights(weights, names)
        document = Document()
        nodes: list[dict[str, Any]] = []
        bones = _skeleton(nodes)
        first = len(nodes)
        nodes += [{"name": name} for name in tracks]
        document.root["nodes"] = nodes
        document.root["scenes"] = [{"nodes": [bones["hips"], *range(first, len(nodes))]}]
        document.root["scene"] = 0
        reduce, moves = self._fidelity.reduce, []
        for node, values in enumerate(tracks.values(), first):
            times, rows = keyed(values[:, None], info.fps, reduce)
            moves.append(Track(node, "translation", times, np.pad(rows, ((0, 0), (0, 2)))))
        times, turns = keyed(pose[:, :3], info.fps, reduce * POSE_SHARE[:3])
        moves.append(Track(bones["head"], "rotation", times, quaternions(turns)))
        document.animate(moves)
        document.root["extensionsUsed"] = ["VRMC_vrm_animation"]
        document.root["extensions"] = {
            "VRMC_vrm_animation": {
                "specVersion": "1.0",
                "humanoid": {"humanBones": {bone: {"node": node} for bone, node in bones.items()}},
                "expressions": {kind: {name: {"node": node} for node, name in enumerate(tracks, first)}},
            }
        }
        return document


def preset_weights(weights: NDArray[np.floating], names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Weights (T,) of the vowels and blinks whose blend comes nearest to ARKit weights (T, K), each 0..1."""
    index = {name: number for number, name in enumerate(names)}
    mouth = [name for name in names if name.startswith(("jaw", "mouth"))]
    wanted = np.asarray(weights, np.float32)[:, [index[name] for name in mouth]].copy()
    # lips that are held together by mouthClose are shut, however far the jaw is down
    jaw, close = mouth.index("jawOpen"), mouth.index("mouthClose")
    wanted[:, jaw] = np.maximum(wanted[:, jaw] - wanted[:, close], 0)
    wanted[:, close] = 0
    table = np.array([[PRESETS[vowel].get(name, 0.0) for name in mouth] for vowel in VOWELS], np.float32)
    spare = -len(mouth) % 3
    as_vertices = [np.pad(rows, ((0, 0), (0, spare))).reshape(len(rows), -1, 3) for rows in (table, wanted)]
    solved = BlendshapeSolver(as_vertices[0], ridge=1e-4, inertia=0.0).solve(as_vertices[1])
    found = dict(zip(VOWELS, solved.T))
    for side in ("Left", "Right"):
        found[f"blink{side}"] = np.asarray(weights[:, index[f"eyeBlink{side}"]], np.float32)
    return found


def _check_arkit(path: Path, info: AnimationInfo) -> None:
    needed = {name for parts in PRESETS.values() for name in parts} | {"mouthClose"}
    missing = sorted(needed - set(info.weight_names))
    if missing:
        raise InputError(f"cannot write {path}: the animation has no ARKit weights ({missing[0]} is missing)")


def _skeleton(nodes: list[dict[str, Any]], **present: int) -> dict[str, int]:
    """Add the bones to `nodes`, those that are `present` already left where they are; bone: node."""
    bones: dict[str, int] = dict(present)
    for bone in _BODY:
        if bone not in bones:
            bones[bone] = len(nodes)
            nodes.append({"name": bone})
    for bone, (parent, place) in _BODY.items():
        node = nodes[bones[bone]]
        if any(place):
            node["translation"] = list(place)
        if parent is not None:
            children = nodes[bones[parent]].setdefault("children", [])
            if bones[bone] not in children:
                children.append(bones[bone])
    return bones


def _binds(parts: Mapping[str, float], names: Sequence[str]) -> list[dict[str, Any]]:
    return [{"node": 0, "index": names.index(name), "weight": weight} for name, weight in parts.items()]


def _meta(info: AnimationInfo) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "name": str(info.provenance.get("identity", info.topology.name)),
        "authors": ["Parlante"],
        "licenseUrl": LICENSE,
    }
    if info.topology.name == "parlante":  # the embedded head, whose makers ask for nothing
        meta |= {
            "avatarPermission": "everyone",
            "commercialUsage": "corporation",
            "creditNotation": "unnecessary",
            "modification": "allowModificationRedistribution",
            "allowRedistribution": True,
        }
    return meta


def _look_at(info: AnimationInfo) -> dict[str, Any]:
    """Gaze by expressions, from the point between the eyes."""
    eyes = [info.topology.regions[name] for name in ("eyeball_left", "eyeball_right") if name in info.topology.regions]
    between = [0.0, 0.1, 0.08]
    if eyes:
        middle = np.mean([info.neutral[np.asarray(index, np.int64)].mean(axis=0) for index in eyes], axis=0)
        between = (middle - np.asarray(info.pivot)).astype(float).tolist()
    ways = {"HorizontalInner": "In", "HorizontalOuter": "Out", "VerticalDown": "Down", "VerticalUp": "Up"}
    ranges = {f"rangeMap{way}": {"inputMaxValue": float(LOOK[name]), "outputScale": 1.0} for way, name in ways.items()}
    return {"type": "expression", "offsetFromHeadBone": between, **ranges}
