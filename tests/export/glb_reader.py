"""What the tests of glTF files share: a reader of their own, and the Khronos validator."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TYPES = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class Glb:
    """A reader of our own, strict about the container."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        magic, version, total = struct.unpack_from("<4sII", data)
        assert (magic, version, total) == (b"glTF", 2, len(data))
        length, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON" and length % 4 == 0
        self.root = json.loads(data[20 : 20 + length])
        size, kind = struct.unpack_from("<I4s", data, 20 + length)
        assert kind == b"BIN\0" and 28 + length + size == len(data)
        self.data = data[28 + length :]

    def view(self, number: int) -> bytes:
        view = self.root["bufferViews"][number]
        return self.data[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]

    def array(self, number: int) -> np.ndarray:
        accessor = self.root["accessors"][number]
        kind, width = TYPES[accessor["componentType"]], WIDTH[accessor["type"]]
        if "bufferView" in accessor:
            array = np.frombuffer(self.view(accessor["bufferView"]), kind)[: accessor["count"] * width].copy()
        else:
            array = np.zeros(accessor["count"] * width, kind)
        array = array.reshape(accessor["count"], width)
        if "sparse" in accessor:
            sparse = accessor["sparse"]
            where = np.frombuffer(self.view(sparse["indices"]["bufferView"]), TYPES[sparse["indices"]["componentType"]])
            array[where] = np.frombuffer(self.view(sparse["values"]["bufferView"]), kind).reshape(-1, width)
        return array


def validate(path: Path) -> dict[str, Any]:
    """The Khronos validator's report; skips with a message where node or the validator is missing."""
    modules = os.environ.get("PARLANTE_NODE_MODULES", str(Path(sys.prefix) / "node_modules"))
    node = shutil.which("node")
    if node is None or not (Path(modules) / "gltf-validator").is_dir():
        pytest.skip(f"no Khronos validator: npm install --prefix {sys.prefix} --no-save gltf-validator")
    script = Path(__file__).with_name("validate_glb.cjs")
    done = subprocess.run(
        [node, str(script), str(path)],
        env={**os.environ, "NODE_PATH": modules},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_clean(path: Path) -> None:
    issues = validate(path)["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), json.dumps(issues["messages"][:10], indent=1)
