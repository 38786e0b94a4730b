"""Rigged files for tests: made on the spot, changed, and read back with what was said."""

from pathlib import Path
from typing import Any

import numpy as np

from parlante.head.arkit import INDEX
from parlante.retarget.rig.gltf import Gltf, read_gltf
from parlante.retarget.rig.rigged import read_rig


def rigged(
    path: Path,
    names: list[str],
    *,
    bones: tuple[str, ...] = (),
    extensions: dict[str, Any] | None = None,
    empty: tuple[str, ...] = (),
) -> Path:
    """One triangle with a morph target per name, a skin with these bones, a material, an extension nobody knows."""
    data = bytearray()
    views: list[Any] = []
    accessors: list[Any] = []

    def put(array: np.ndarray, kind: str, code: int, **more: Any) -> int:
        data.extend(bytes(-len(data) % 4))
        views.append({"buffer": 0, "byteOffset": len(data), "byteLength": array.nbytes})
        data.extend(array.tobytes())
        accessors.append(
            {"bufferView": len(views) - 1, "componentType": code, "count": len(array), "type": kind, **more}
        )
        return len(accessors) - 1

    place = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    position = put(place, "VEC3", 5126, min=[0, 0, 0], max=[1, 1, 0])
    targets = [{"POSITION": put(place * (0.0 if names[n] in empty else 0.1), "VEC3", 5126)} for n in range(len(names))]
    nodes: list[Any] = [{"name": "Face", "mesh": 0}]
    root: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "somebody"},
        "nodes": nodes,
        "meshes": [
            {
                "primitives": [{"attributes": {"POSITION": position}, "targets": targets, "material": 0}],
                "extras": {"targetNames": names, "kept": True},
            }
        ],
        "materials": [{"name": "skin", "extensions": {"X_mtoon": {"shade": [0.1, 0.2, 0.3]}}}],
        "animations": [{"name": "idle", "samplers": [], "channels": []}],
        "extensionsUsed": ["X_mtoon"],
    }
    if bones:
        nodes[0]["skin"] = 0
        nodes += [{"name": name, "rotation": [0.0, 0.6, 0.0, 0.8], "scale": [2, 2, 2]} for name in bones]
        root["skins"] = [{"joints": list(range(1, 1 + len(bones)))}]
    if extensions:
        root["extensions"] = extensions
    root |= {"bufferViews": views, "accessors": accessors, "buffers": [{"byteLength": len(data)}]}
    path.write_bytes(Gltf(root, bytes(data)).container())
    return path


def arkit_weights(**values: float) -> np.ndarray:
    """(5, 52) weights that rise to these."""
    weights = np.zeros((5, 52), np.float32)
    for name, value in values.items():
        weights[:, INDEX[name]] = value * np.linspace(0, 1, 5)
    return weights


def spoken(path: Path, weights: np.ndarray, pose: np.ndarray | None = None) -> tuple[Gltf, dict[tuple[int, str], Any]]:
    """The written file, and the values of each channel: (node, path) -> (T, ...)."""
    out = path.with_name(f"said{path.suffix}")
    out.write_bytes(read_rig(path).animated(weights, 30.0, pose))
    file = read_gltf(out)
    animation = file.root["animations"][-1]
    channels = {}
    for channel in animation["channels"]:
        values = file.accessor(animation["samplers"][channel["sampler"]]["output"])
        target = channel["target"]
        channels[target["node"], target["path"]] = values.reshape(len(weights), -1)
    return file, channels


def changed(path: Path, change: Any) -> Path:
    """The same file after `change` has edited its JSON."""
    file = read_gltf(path)
    change(file.root)
    path.write_bytes(file.container())
    return path
