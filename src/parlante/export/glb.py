"""glTF 2.0 binary: the head with its morph targets, its skin, and one animation of weights and pose.

Targets are the ARKit shapes of the weights, or a basis of whatever the vertices do (`basis`), or both: weights first,
then `beyond_00`, ... for the rest. They are sparse where that is smaller. The head turns through a two-joint skin, so
the base of the neck stays where it is.

glTF has no animated texture. Where a `.skin.mp4` or `.skin.webm` of the same name is written too, the skin's material
says so in `extras.parlante_skin_video`: uri, fps, frames; the picture in `baseColorTexture` stays as the fallback.
`asset.extras.parlante` tells fps, duration, provenance, and of a basis the number of targets and its error in metres.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, Topology
from parlante.core.notes import note
from parlante.core.options import Fidelity
from parlante.export.basis import Basis, Frames, fit_basis
from parlante.export.frames import AnimationInfo, FrameBlock
from parlante.export.gltf import STILL, Document, Track, normals, quaternions, split_seams
from parlante.export.keys import POSE_SHARE, reduce_keys
from parlante.export.row_buffer import RowBuffer
from parlante.export.sink import FileSink
from parlante.geometry.pose import neck_joint, neck_weights

_MATERIALS: dict[str, tuple[tuple[str, ...], float]] = {
    "eyes": (("eyeball_left", "eyeball_right"), 0.12),
    "mouth": (("teeth_upper", "teeth_lower", "gum_upper", "gum_lower", "tongue"), 0.3),
    "lashes": (("lashes",), 0.9),
}
"""material: (regions, roughness); whatever is left is skin."""
SKIN_VIDEOS = (".skin.mp4", ".skin.webm")


class GlbSink(FileSink):
    """Sink for `.glb`. Raises InputError if the animation has no shapes for its weights where weights are asked for."""

    def __init__(self, path: Path, info: AnimationInfo, fidelity: Fidelity, outputs: Sequence[Path] = ()) -> None:
        has_rig = info.shapes is not None and bool(info.weight_names)
        if fidelity.motion == "weights" and not has_rig:
            raise InputError(
                f"cannot write {path}: a .glb by weights needs blendshape weights and the head's shapes; animate one "
                "of the embedded identities (parlante info lists them), or leave out --motion weights"
            )
        if has_rig:
            assert info.shapes is not None
            if info.shapes.shape != (len(info.weight_names), info.topology.num_vertices, 3):
                raise ValueError(
                    f"shapes {info.shapes.shape} do not fit {len(info.weight_names)} names and the topology"
                )
        super().__init__(path, info)
        self._fidelity = fidelity
        self._has_rig = has_rig
        self._by_vertices = fidelity.motion == "vertices" or not has_rig
        self._video = skin_video(self.path, outputs)
        self._weights = RowBuffer()
        self._poses = RowBuffer()

    def begin(self, stack: ExitStack) -> None:
        super().begin(stack)
        self._frames = Frames(self.path.parent, self.info.topology.num_vertices)
        stack.callback(self._frames.close)

    def write(self, block: FrameBlock) -> None:
        """Keep the weights (52 numbers a frame), and on disk what vertices do where that is wanted."""
        if block.head_pose is not None:
            self._poses.append(block.head_pose)
        if self._has_rig:
            assert block.weights is not None
            weights = np.clip(block.weights, 0, 1)
            self._weights.append(weights)
        if self._by_vertices:
            offsets = block.vertices - self.info.neutral
            if self._has_rig:
                assert self.info.shapes is not None
                moved = weights @ self.info.shapes.reshape(len(self.info.shapes), -1)
                offsets = offsets - moved.reshape(offsets.shape)
            self._frames.append(offsets)

    def finish(self) -> None:
        basis = fit_basis(self._frames, self._fidelity.error / 1000) if self._by_vertices else None
        weights = self._weights.array() if self._has_rig else None
        pose = self._poses.array() if self._poses else None
        document = build(self.info, weights, pose, basis, reduce=self._fidelity.reduce, video=self._video)
        self.partial.write_bytes(document.container())


def skin_video(path: Path, outputs: Sequence[Path]) -> str | None:
    """The name of the skin video that is written beside `path`, if any."""
    stem = path.name.removesuffix(path.suffix)
    wanted = {path.with_name(stem + suffix) for suffix in SKIN_VIDEOS}
    return next((Path(output).name for output in outputs if Path(output) in wanted), None)


def build(
    info: AnimationInfo,
    weights: NDArray[np.float32] | None,
    head_pose: NDArray[np.float32] | None = None,
    basis: Basis | None = None,
    *,
    reduce: float = 0.0,
    video: str | None = None,
) -> Document:
    """The whole file. weights: (T, K) of the animation's shapes, head_pose: (T, 6), basis: of what vertices do besides.

    reduce: largest error of a weight where keys are left out. Nodes: 0 `Face`, then `Neck` and `Head`.
    """
    names, shapes, target_weights = _targets(info, weights, basis)
    corners, triangles = split_seams(info.topology)
    vertex = corners[:, 0]
    document = Document()
    uv = info.topology.uv[corners[:, 1]]
    attributes = {
        "POSITION": document.vectors(info.neutral[vertex], bounds=True),
        "NORMAL": document.vectors(normals(info.neutral, info.topology.triangles)[vertex]),
        "TEXCOORD_0": document.vectors(np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1)),
    }
    targets = [{"POSITION": document.displacements(shape[vertex])} for shape in shapes]

    nodes: list[dict[str, Any]] = [{"name": "Face", "mesh": 0}]
    roots = [0]
    if head_pose is not None:
        pivot = np.asarray(info.pivot if any(info.pivot) else neck_joint(info.neutral, info.topology), np.float32)
        attributes |= document.skin_attributes(neck_weights(info.neutral, pivot, info.topology)[vertex])
        nodes[0]["skin"] = 0
        nodes += [{"name": "Neck", "translation": pivot.tolist(), "children": [2]}, {"name": "Head"}]
        roots.append(1)
        bind = np.eye(4, dtype=np.float32)
        bind[3, :3] = -pivot  # column-major, as glTF wants
        document.root["skins"] = [
            {"joints": [1, 2], "inverseBindMatrices": document.matrices(np.stack([bind, bind])), "skeleton": 1}
        ]

    materials, groups = _materials(info.topology, triangles, corners)
    texture = None if info.albedo is None else document.texture(info.albedo)
    for material in materials:
        if texture is not None:
            material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": texture}
        else:
            material["pbrMetallicRoughness"]["baseColorFactor"] = [0.8, 0.62, 0.53, 1.0]
        if video is not None:
            facts = {"uri": video, "fps": info.fps, "frames": info.num_frames, "fallback": "baseColorTexture"}
            material["extras"] = {"parlante_skin_video": facts}
    document.root["materials"] = materials
    primitives: list[dict[str, Any]] = [
        {"attributes": attributes, "indices": document.indices(group), "material": number}
        for number, group in enumerate(groups)
    ]
    mesh: dict[str, Any] = {"name": "Face", "primitives": primitives}
    if targets:
        for primitive in primitives:
            primitive["targets"] = targets
        mesh |= {"weights": [0.0] * len(names), "extras": {"targetNames": names}}
    document.root["meshes"] = [mesh]
    document.root["nodes"] = nodes
    document.root["scenes"] = [{"nodes": roots}]
    document.root["scene"] = 0
    document.root["asset"]["extras"] = {"parlante": _facts(info, basis, reduce)}
    animate(document, info, target_weights, head_pose, reduce)
    return document


def animate(
    document: Document,
    info: AnimationInfo,
    target_weights: NDArray[np.float32],
    head_pose: NDArray[np.float32] | None,
    reduce: float,
    *,
    face: int = 0,
    head: int = 2,
) -> None:
    """Weights of node `face` and, with a head pose, rotation and translation of node `head`.

    glTF keys all weights of a mesh together, the head on its own.
    """
    tracks = []
    if target_weights.shape[1]:
        tracks.append(Track(face, "weights", *keyed(target_weights, info.fps, reduce)))
    if head_pose is not None:
        times, turns = keyed(head_pose[:, :3], info.fps, reduce * POSE_SHARE[:3])
        tracks.append(Track(head, "rotation", times, quaternions(turns)))
        tracks.append(Track(head, "translation", *keyed(head_pose[:, 3:], info.fps, reduce * POSE_SHARE[3:])))
    if tracks:
        document.animate(tracks)


def keyed(
    values: NDArray[np.floating], fps: float, error: float | NDArray[np.floating]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Times (n,) in seconds and rows (n, K) of the keys of (T, K); all of them for an error of 0."""
    kept = reduce_keys(values, error) if np.any(np.asarray(error) > 0) else np.arange(len(values))
    return kept / fps, values[kept]


def _targets(
    info: AnimationInfo, weights: NDArray[np.float32] | None, basis: Basis | None
) -> tuple[list[str], list[NDArray[np.float32]], NDArray[np.float32]]:
    """Names, shapes and weights (T, K) of everything that becomes a morph target."""
    names: list[str] = []
    shapes: list[NDArray[np.float32]] = []
    target_weights = [np.zeros((info.num_frames, 0), np.float32)]
    if weights is not None:
        assert info.shapes is not None
        moved = np.abs(info.shapes).max(axis=(1, 2))
        still = [name for name, size in zip(info.weight_names, moved) if size <= STILL]
        if still:
            note(f"{len(still)} shapes move nothing: {', '.join(still)}")
        names += info.weight_names
        shapes += list(np.asarray(info.shapes, np.float32))
        target_weights.append(weights)
    if basis is not None:
        word = "beyond" if names else "motion"
        names += [f"{word}_{k:02d}" for k in range(len(basis.shapes))]
        shapes += list(basis.shapes)
        target_weights.append(basis.weights)
    return names, shapes, np.concatenate(target_weights, axis=1)


def _facts(info: AnimationInfo, basis: Basis | None, reduce: float) -> dict[str, Any]:
    facts: dict[str, Any] = {"fps": info.fps, "duration": info.duration, "provenance": info.provenance}
    if basis is not None:
        facts["basis"] = {"targets": len(basis.shapes), "worst_m": basis.worst, "mean_m": basis.mean}
    if reduce:
        facts["keys_error"] = reduce
    return facts


def _materials(
    topology: Topology, triangles: NDArray[np.int64], corners: NDArray[np.int64]
) -> tuple[list[dict[str, Any]], list[NDArray[np.int64]]]:
    """Materials and the triangles that have them, skin first."""
    owner = np.zeros(topology.num_vertices, np.int64)
    names = ["skin", *_MATERIALS]
    for number, (regions, _) in enumerate(_MATERIALS.values(), 1):
        for region in regions:
            owner[np.asarray(topology.regions.get(region, ()), np.int64)] = number
    used = owner[corners[triangles, 0]].min(axis=1)
    materials, groups = [], []
    for number, name in enumerate(names):
        group = triangles[used == number]
        if not len(group):
            continue
        roughness = _MATERIALS[name][1] if number else 0.55
        materials.append(
            {
                "name": name,
                "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": roughness},
                "doubleSided": name in ("lashes", "mouth"),
            }
        )
        groups.append(group)
    return materials, groups
