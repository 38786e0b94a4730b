"""A rigged `.glb`, `.vrm` or `.gltf`: its own morph targets and bones, played in a copy of it.

Only the JSON is edited and bytes are appended to the binary chunk: nothing that is there moves. What the file offers is
found by `character.rig_parts`; where there are no targets for jaw or eyes, bones do it.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from parlante.core import InputError
from parlante.core.files import first_line
from parlante.geometry.pose import rotation_matrices
from parlante.head.arkit import INDEX
from parlante.retarget.rig.gltf import Appended, Gltf, read_gltf, unlocked, world_matrices
from parlante.retarget.rig.jaw import left_behind
from parlante.retarget.rig.parts import WAYS, Parts, Spots, count_of, find_parts
from parlante.retarget.rig.targets import mouth_shared, plan, played

JAW_DEGREES, EYE_DEGREES = 16.0, 26.0


@dataclass(eq=False)
class Rig:
    """What a file offers, found by `read_rig`, and how it is played."""

    path: Path
    file: Gltf
    parts: Parts
    recipes: dict[str, Any] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recipes, self.replaced, self.missing = plan(self.targets)
        if "jawOpen" in self.missing and "jaw" in self.bones:
            self._by_bone("jawOpen", "bone jaw")
            if "mouthClose" in self.missing:
                self._by_bone("mouthClose", "less bone jaw")
        for side in ("Left", "Right"):
            for way in WAYS:
                arkit, bone = f"eyeLook{way}{side}", f"{side.lower()}Eye"
                if bone in self.bones and arkit in self.missing:
                    self._by_bone(arkit, f"bone {bone}")

    def _by_bone(self, arkit: str, bone: str) -> None:
        self.missing.remove(arkit)
        self.replaced[arkit] = bone

    @property
    def targets(self) -> Spots:
        """canonical name -> (mesh, number of the target, factor)"""
        return self.parts.targets

    @property
    def bones(self) -> dict[str, int]:
        """head, jaw, leftEye, rightEye -> node"""
        return self.parts.bones

    @property
    def kind(self) -> str:
        """In words."""
        return self.parts.kind

    @property
    def empty(self) -> list[str]:
        """Targets that have a name and move nothing, which is as if they were not there."""
        return self.parts.empty

    @property
    def useful(self) -> bool:
        """Whether the mouth can be moved at all."""
        return "jawOpen" not in self.missing

    @property
    def refusal(self) -> str | None:
        """Why it must not be played, nor a new head be made in its place without being asked; none if it may."""
        build = f"for a new head made of its mesh: parlante character build {self.path.name} -o DIR"
        if self.parts.still_face:
            faces = ", ".join(f"{mesh!r}" for mesh in self.parts.nameless)
            return (
                f"{self.path.name}: the targets of {faces} have no names (extras.targetNames), and only smaller meshes "
                f"would speak in a still face; export it with the names of its targets; {build}"
            )
        if not self.useful and self.parts.drawn:
            return (
                f"{self.path.name}: its mouth is drawn in its texture (expressions {', '.join(self.parts.drawn)} "
                f"change materials), which no animation of glTF plays; give an avatar with morph targets; {build}"
            )
        return None

    @cached_property
    def facts(self) -> list[str]:
        """What was assumed, is missing, or stays still: one line each, told by `info` and with every animation."""
        lines = []
        if self.parts.guessed and (self.by_jaw or self.parts.helped):
            name = self.file.root["nodes"][self.bones["jaw"]].get("name", self.bones["jaw"])
            lines.append(f"bone {name!r} is taken for the jaw, by what it holds")
        if self.parts.helped:
            lines.append("jawOpen is played by its target and by the bone jaw together")
        if self.empty:
            lines.append(f"named but empty: {', '.join(self.empty)}")
        lines += [
            f"{count} targets of {mesh!r} have no names (extras.targetNames): they are left alone"
            for mesh, count in self.parts.nameless.items()
        ]
        if self.useful:
            bones = [self.bones["jaw"]] if "jaw" in self.bones and (self.by_jaw or self.parts.helped) else []
            still = left_behind(self.file, self.targets, self.recipes, bones)
            lines += [f"{name!r} lies in the mouth, no target or bone moves it: it stands still" for name in still]
        if self.replaced:
            by: dict[str, list[str]] = {}
            for arkit, other in self.replaced.items():
                by.setdefault(other, []).append(arkit)
            lines.append("replaced: " + "; ".join(f"{', '.join(names)} by {other}" for other, names in by.items()))
        if self.missing:
            lines.append(f"missing, left out: {', '.join(self.missing)}")
        return lines

    @property
    def by_jaw(self) -> bool:
        """Whether the jaw's bone opens the mouth alone."""
        return self.replaced.get("jawOpen") == "bone jaw"

    def describe(self) -> list[str]:
        """Lines that say what is there, what is replaced, and what is missing."""
        own = sorted(name for name in self.targets if name in INDEX)
        lines = [f"{self.path.name}: {self.kind}; {len(own)} of the 52 ARKit targets"]
        others = sorted(name for name in self.targets if name not in INDEX)
        if others:
            lines.append(f"  also: {', '.join(others)}")
        idle = sorted(name for name in others if name not in self.recipes)
        if idle and self.useful:
            lines.append(f"  of these left at rest, others move the same: {', '.join(idle)}")
        if self.bones:
            lines.append(f"  bones: {', '.join(sorted(self.bones))}")
        if self.parts.bust is not None:
            lines.append("  a head without bones: it nods as a whole, about its chin's height")
        elif "head" not in self.bones:
            lines.append("  no bone of the head was found: it will not nod")
        if self.parts.turned:
            lines.append(f"  eyeballs that no target moves: bones {', '.join(sorted(self.parts.turned))} turn them")
        lines += [f"  {line}" for line in self.facts]
        if self.refusal is not None:
            lines.append(f"  it is refused: {self.refusal.partition(': ')[2]}")
        elif not self.useful:
            lines.append("  nothing moves its mouth: make a character of its mesh with parlante character build")
        return lines

    def animated(
        self, weights: NDArray[np.floating], fps: float, head_pose: NDArray[np.floating] | None, name: str = "speech"
    ) -> bytes:
        """The file with one more animation: weights (T, 52) and head pose (T, 6), frame t at t / fps seconds.

        An animation of that name that is there already stays: the new one gets a number behind its name. Raises
        InputError if nothing of the file can be moved.
        """
        if self.refusal is not None:
            raise InputError(self.refusal)
        if not self.useful:
            raise InputError(" ".join(self.describe()))
        file = Appended(self.file)
        clock = file.numbers((np.arange(len(weights)) / fps).astype(np.float32), "SCALAR", bounds=True)
        tracks: list[tuple[int, str, int]] = []
        written: dict[bytes, int] = {}
        for node, values in self._node_weights(np.asarray(weights, np.float32)).items():
            key = values.tobytes()
            if key not in written:
                written[key] = file.numbers(values, "SCALAR")
            tracks.append((node, "weights", written[key]))
        for node, turns in self._bone_turns(np.asarray(weights, np.float64), head_pose).items():
            moved = unlocked(file.root["nodes"][node])
            assert moved is not None
            file.root["nodes"][node] = moved
            tracks.append((node, "rotation", file.numbers(self._local(node, turns), "VEC4")))
            if self.parts.bust is not None and node == self.parts.bust[0]:
                tracks.append((node, "translation", file.numbers(self._about(*self.parts.bust, turns), "VEC3")))
        animations = file.root.setdefault("animations", [])
        taken = {one.get("name") for one in animations}
        names = (name, *(f"{name} {number}" for number in range(2, len(taken) + 3)))
        animation = {
            "name": next(one for one in names if one not in taken),
            "samplers": [{"input": clock, "output": track, "interpolation": "LINEAR"} for _, _, track in tracks],
            "channels": [
                {"sampler": number, "target": {"node": node, "path": path}}
                for number, (node, path, _) in enumerate(tracks)
            ],
        }
        animations.append(animation)
        return file.container()

    def _node_weights(self, weights: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
        """node -> (T, targets of its mesh), the file's own default weights where nothing is played."""
        values = {target: played(recipe, weights) for target, recipe in self.recipes.items()}
        mouth_shared(values, weights)
        sums: dict[int, dict[int, NDArray[np.float32]]] = {}
        for target, value in values.items():
            level = (value > 0.5).astype(np.float32) if target in self.parts.binary else value
            for mesh, number, factor in self.targets[target]:
                spots = sums.setdefault(mesh, {})
                spots[number] = spots.get(number, np.float32(0)) + factor * level
        out: dict[int, NDArray[np.float32]] = {}
        for node, one in enumerate(self.file.root["nodes"]):
            mesh = one.get("mesh")
            if mesh not in sums:
                continue
            shape = self.file.root["meshes"][mesh]
            rest = np.zeros(count_of(shape), np.float32)
            own = np.asarray(one.get("weights") or shape.get("weights") or (), np.float32)[: len(rest)]
            rest[: len(own)] = own
            out[node] = np.tile(rest, (len(weights), 1))
            for number, value in sums[mesh].items():
                out[node][:, number] = np.clip(value, 0.0, 1.0)
        return out

    def _bone_turns(
        self, weights: NDArray[np.float64], head_pose: NDArray[np.floating] | None
    ) -> dict[int, NDArray[np.float64]]:
        """node -> (T, 3, 3) turns in the axes of the face: x to its left, y up, z forward."""
        turns: dict[int, NDArray[np.float64]] = {}
        if head_pose is not None and "head" in self.bones:
            turns[self.bones["head"]] = rotation_matrices(np.asarray(head_pose)[:, :3])
        elif head_pose is not None and self.parts.bust is not None:
            turns[self.parts.bust[0]] = rotation_matrices(np.asarray(head_pose)[:, :3])
        if self.by_jaw or self.parts.helped:
            closed = 0.0 if "mouthClose" in self.targets else 1.0
            angles = np.zeros((len(weights), 3))
            angles[:, 0] = np.radians(JAW_DEGREES) * np.clip(
                weights[:, INDEX["jawOpen"]] - closed * weights[:, INDEX["mouthClose"]], 0, 1
            )
            turns[self.bones["jaw"]] = rotation_matrices(angles)
        for side, outwards in (("Left", 1.0), ("Right", -1.0)):
            bone = f"{side.lower()}Eye"
            if bone not in self.parts.turned and self.replaced.get(f"eyeLookUp{side}") != f"bone {bone}":
                continue
            most = {way: min(self.parts.limits.get(way, EYE_DEGREES), EYE_DEGREES) for way in WAYS}
            look = {way: degrees * weights[:, INDEX[f"eyeLook{way}{side}"]] for way, degrees in most.items()}
            angles = np.zeros((len(weights), 3))
            angles[:, 0] = look["Down"] - look["Up"]
            angles[:, 1] = outwards * (look["Out"] - look["In"])
            turns[self.bones[bone]] = rotation_matrices(np.radians(angles))
        return turns

    def _local(self, node: int, turns: NDArray[np.float64]) -> NDArray[np.float32]:
        """(T, 4) rotations of the node: its own at rest, turned by `turns` in the axes of the face."""
        world = world_matrices(self.file.root)[node][:3, :3]
        world = world / np.maximum(np.linalg.norm(world, axis=0), 1e-12)
        axes = self.parts.facing
        turns = axes @ turns @ axes.T
        bare = unlocked(self.file.root["nodes"][node]) or {}
        rest = Rotation.from_quat(bare.get("rotation", (0, 0, 0, 1))).as_matrix()
        quaternions = Rotation.from_matrix(rest @ np.linalg.inv(world) @ turns @ world).as_quat()
        signs = np.ones(len(quaternions))
        signs[1:] = np.cumprod(np.where((quaternions[1:] * quaternions[:-1]).sum(1) < 0, -1.0, 1.0))
        return np.asarray(quaternions * signs[:, None], np.float32)

    def _about(self, node: int, pivot: NDArray[np.float64], turns: NDArray[np.float64]) -> NDArray[np.float32]:
        """(T, 3) translations of a node that turns about `pivot` instead of its own origin."""
        world = world_matrices(self.file.root)[node]
        bare = world_matrices({"nodes": [self.file.root["nodes"][node] | {"children": []}]})[0]
        axes = self.parts.facing
        origin = pivot + (axes @ turns @ axes.T) @ (world[:3, 3] - pivot)
        parent = world @ np.linalg.inv(bare)
        return np.asarray((origin - parent[:3, 3]) @ np.linalg.inv(parent[:3, :3]).T, np.float32)


def read_rig(path: Path | str) -> Rig:
    """Targets and bones of a `.glb`, `.vrm` or `.gltf`. Raises InputError if the file cannot be read."""
    path = Path(path)
    file = read_gltf(path)
    try:
        parts = find_parts(file)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        why = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"cannot read the rig of {path} ({why}); export it again") from error
    return Rig(path, file, parts)
