"""The file is read back byte by byte here, and by the Khronos validator where node has it."""

import json
import os
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parlante.core import Animation, InputError
from parlante.core.pose import rotation_matrices
from parlante.export import Chunk, Take, chunks_of, save
from parlante.export.glb import quaternions, split_seams
from parlante.export.outputs import write_all
from parlante.head import load_head
from parlante.head.arkit import ARKIT_NAMES

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
    """The Khronos validator's report; skips aloud where node or the validator is missing."""
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


@pytest.fixture
def written(animation: Animation, take: Take, tmp_path: Path) -> Path:
    write_all(take, chunks_of(animation, 7), [tmp_path / "a.glb"])
    return tmp_path / "a.glb"


def assert_clean(path: Path) -> None:
    issues = validate(path)["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), json.dumps(issues["messages"][:10], indent=1)


def test_the_khronos_validator_finds_nothing(written: Path) -> None:
    assert_clean(written)


def test_bare_variants_are_valid_too(animation: Animation, take: Take, tmp_path: Path) -> None:
    first = {"vertices": animation.vertices[:1], "weights": animation.weights[:1]}
    bare = replace(animation, head_pose=None, albedo=None, wrinkle=None, **first)
    write_all(replace(take, albedo=None, has_pose=False, num_frames=1), chunks_of(bare), [tmp_path / "a.glb"])
    assert_clean(tmp_path / "a.glb")


def test_a_shape_that_moves_nothing_is_valid_and_reported(
    animation: Animation, take: Take, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = take.shapes.copy()
    shapes[3] = 0
    write_all(replace(take, shapes=shapes), chunks_of(animation), [tmp_path / "a.glb"])
    assert ARKIT_NAMES[3] in caplog.text
    assert_clean(tmp_path / "a.glb")


def test_weights_times_targets_give_the_vertices(written: Path, animation: Animation, take: Take) -> None:
    glb = Glb(written)
    mesh = glb.root["meshes"][0]
    assert tuple(mesh["extras"]["targetNames"]) == ARKIT_NAMES
    corners, _ = split_seams(take.topology)
    first = mesh["primitives"][0]
    neutral = glb.array(first["attributes"]["POSITION"])
    targets = np.stack([glb.array(target["POSITION"]) for target in first["targets"]])
    assert (np.abs(targets).max(axis=(1, 2)) > 1e-4).all(), "every target moves something"
    animated = glb.root["animations"][0]
    samplers = {channel["target"]["path"]: animated["samplers"][channel["sampler"]] for channel in animated["channels"]}
    weights = glb.array(samplers["weights"]["output"]).reshape(-1, 52)
    np.testing.assert_allclose(glb.array(samplers["weights"]["input"])[:, 0], np.arange(20) / 30, atol=1e-6)
    played = neutral + np.tensordot(weights, targets, 1)
    np.testing.assert_allclose(played, animation.vertices[:, corners[:, 0]], atol=3e-5)


def test_every_triangle_is_worn_once_and_texture_is_upside_down(written: Path, take: Take) -> None:
    glb = Glb(written)
    primitives = glb.root["meshes"][0]["primitives"]
    corners, _ = split_seams(take.topology)
    count = sum(glb.root["accessors"][primitive["indices"]]["count"] for primitive in primitives)
    assert count == take.topology.triangles.size
    assert {material["name"] for material in glb.root["materials"]} == {"skin", "eyes"}
    uv = glb.array(primitives[0]["attributes"]["TEXCOORD_0"])
    wanted = take.topology.uv[corners[:, 1]]
    np.testing.assert_allclose(uv, np.stack([wanted[:, 0], 1 - wanted[:, 1]], 1), atol=1e-6)
    assert glb.view(glb.root["images"][0]["bufferView"])[:3] == b"\xff\xd8\xff"


def test_the_head_turns_as_the_pose_says(written: Path, animation: Animation) -> None:
    glb = Glb(written)
    animated = glb.root["animations"][0]
    tracks = {channel["target"]["path"]: channel for channel in animated["channels"]}
    rotation = glb.array(animated["samplers"][tracks["rotation"]["sampler"]]["output"])
    x, y, z, w = rotation.T.astype(float)
    matrix = np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1),
            np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1),
            np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1),
        ],
        -2,
    )
    np.testing.assert_allclose(matrix, rotation_matrices(animation.head_pose[:, :3]), atol=1e-6)
    assert glb.root["nodes"][tracks["rotation"]["target"]["node"]]["name"] == "Head"
    np.testing.assert_allclose(quaternions(np.zeros((1, 3))), [[0, 0, 0, 1]])


def test_a_take_without_shapes_is_refused(animation: Animation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="blendshape weights"):
        save(animation, tmp_path / "a.glb")
    assert not list(tmp_path.iterdir())


def test_the_embedded_head_moves_with_every_target(tmp_path: Path) -> None:
    head = load_head()
    name = head.identity_names[0]
    weights = np.eye(52, dtype=np.float32)
    take = Take(
        topology=head.topology,
        fps=30.0,
        num_frames=52,
        neutral=head.neutral(name),
        audio=np.zeros(16000, np.float32),
        sample_rate=16000,
        weight_names=ARKIT_NAMES,
        shapes=head.shapes(name),
        pivot=tuple(map(float, head.neck_pivot(name))),  # type: ignore[arg-type]
        has_pose=True,
    )
    pose = np.zeros((52, 6), np.float32)
    write_all(take, [Chunk(0, head.deform(name, weights), None, weights, pose)], [tmp_path / "a.glb"])
    glb = Glb(tmp_path / "a.glb")
    primitives = glb.root["meshes"][0]["primitives"]
    reach = [np.abs(glb.array(target["POSITION"])).max() for target in primitives[0]["targets"]]
    assert min(reach) > 5e-4, f"{ARKIT_NAMES[int(np.argmin(reach))]} moves half a millimetre at most"
    assert len(glb.root["materials"]) == 4
    assert (tmp_path / "a.glb").stat().st_size < 3e6
    assert_clean(tmp_path / "a.glb")
