"""Rigged files for tests: changed, and read back with what was said."""

from pathlib import Path
from typing import Any

import numpy as np

from parlante.retarget.rig.gltf import Gltf, read_gltf
from parlante.retarget.rig.rigged import read_rig


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
