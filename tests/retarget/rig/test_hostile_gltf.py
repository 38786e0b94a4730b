"""Fields of a glTF are checked where it is opened: types, ranges, what they number, what they name."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parlante.cli import main
from parlante.core import InputError
from parlante.retarget.rig.gltf import Gltf, read_gltf
from parlante.retarget.rig.gltf_schema import check

DATA = np.arange(18, dtype="<f4").tobytes() + np.arange(3, dtype="<u2").tobytes()
TREE: dict[str, Any] = {
    "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}],
    "nodes": [{"children": [1], "rotation": [0, 0, 0, 1]}, {"mesh": 0, "skin": 0}], "skins": [{"joints": [0]}],
    "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "targets": [{"POSITION": 1, "extras": {"name": "a"}}],
                                "indices": 2, "material": 0}], "weights": [0], "extras": {"targetNames": ["a"]}}],
    "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}], "textures": [{"source": 0}],
    "images": [{"uri": "skin.png"}], "buffers": [{"byteLength": len(DATA)}],
    "bufferViews": [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 36},
                    {"buffer": 0, "byteOffset": 72, "byteLength": 6}],
    "accessors": [{"bufferView": k, "componentType": kind, "count": 3, "type": of}
                  for k, (kind, of) in enumerate(((5126, "VEC3"), (5126, "VEC3"), (5123, "SCALAR")))],
    "animations": [{"samplers": [{"input": 0, "output": 1}], "channels": [{"sampler": 0, "target": {"path": "x"}}]}],
    "extensions": {"VRM": {"blendShapeMaster": {"blendShapeGroups": [{"binds": [{"mesh": 9, "index": 9}]}]}},
                   "VRMC_vrm": {"humanoid": {"humanBones": {"head": {"node": 0}}}}, "OTHER": [1]},
}  # fmt: skip

CHANGES: list[tuple[tuple[Any, ...], Any]] = [
    (("animations",), {"a": 1}),
    (("animations", 0, "channels", 0, "sampler"), 7),
    (("animations", 0, "samplers", 0, "input"), "0"),
    (("meshes", 0, "weights"), ["a"]),
    (("meshes", 0, "weights"), [float("nan")]),
    (("meshes", 0, "primitives"), None),
    (("meshes", 0, "primitives", 0, "attributes"), []),
    (("meshes", 0, "primitives", 0, "attributes", "POSITION"), -1),
    (("meshes", 0, "primitives", 0, "targets"), {"POSITION": 1}),
    (("meshes", 0, "primitives", 0, "targets", 0, "POSITION"), [1]),
    (("meshes", 0, "primitives", 0, "targets", 0, "POSITION"), 3),
    (("meshes", 0, "primitives", 0, "indices"), 1.0),
    (("nodes",), "nodes"),
    (("nodes", 0), None),
    (("nodes", 1, "mesh"), [0]),
    (("nodes", 1, "mesh"), 1),
    (("nodes", 1, "mesh"), True),
    (("nodes", 1, "skin"), 2**70),
    (("nodes", 0, "children"), [0]),
    (("nodes", 1, "children"), [0]),
    (("nodes", 0, "children"), [2]),
    (("nodes", 0, "rotation"), [0, 0, 1]),
    (("nodes", 0, "matrix"), [1] * 15),
    (("skins", 0, "joints"), [5]),
    (("buffers", 0, "byteLength"), "x"),
    (("buffers", 0, "byteLength"), -1),
    (("buffers", 0, "uri"), 5),
    (("bufferViews", 0, "buffer"), 1),
    (("bufferViews", 0, "byteOffset"), 1e300),
    (("accessors", 0, "count"), "3"),
    (("accessors", 0, "type"), "VEC9"),
    (("accessors", 0, "componentType"), [5126]),
    (("accessors", 0, "bufferView"), 9),
    (("accessors", 0, "sparse"), {"count": 1, "indices": {"bufferView": 0, "componentType": 5126}, "values": {}}),
    (("accessors",), [[]]),
    (("materials", 0, "pbrMetallicRoughness"), 1),
    (("textures", 0, "source"), 1),
    (("images", 0, "uri"), {}),
    (("scenes", 0, "nodes"), ["0"]),
    (("scene",), 1),
    (("asset",), "2.0"),
    (("extensions",), []),
    (("extensions", "VRM"), 1),
    (("extensions", "VRM", "blendShapeMaster", "blendShapeGroups", 0, "binds"), [3]),
    (("extensions", "VRMC_vrm", "humanoid", "humanBones", "head"), "x"),
    (("extensions", "VRMC_vrm", "expressions"), {"preset": []}),
]


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    tree = copy.deepcopy(TREE)
    holder: Any = tree
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = value
    return tree


def test_a_sound_file_is_read(tmp_path: Path) -> None:
    check(TREE)
    (tmp_path / "a.glb").write_bytes(Gltf(TREE, DATA).container())
    assert read_gltf(tmp_path / "a.glb").accessor(0).shape == (3, 3)


@pytest.mark.parametrize(("path", "value"), CHANGES, ids=lambda each: str(each)[:60])
def test_other_types_and_numbers_of_nothing_take_one_line(path: tuple[Any, ...], value: Any, tmp_path: Path) -> None:
    tree = changed(path, value)
    (tmp_path / "a.glb").write_bytes(Gltf(tree, DATA).container())
    with pytest.raises(InputError, match=r"cannot read .*a\.glb: .*; give a glTF") as caught:
        read_gltf(tmp_path / "a.glb")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_deep_json_takes_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.gltf").write_text('{"asset":' + "[" * 100_000)
    assert main(["info", str(tmp_path / "a.gltf").replace(".gltf", ".glb")]) == 2
    with pytest.raises(InputError, match="nested too deeply"):
        read_gltf(tmp_path / "a.gltf")


def test_accessors_stay_within_their_data() -> None:
    for key, value, said in (("byteStride", 1, "rows overlap"), ("byteOffset", 99, "beyond its buffer")):
        tree = changed(("bufferViews", 0, key), value)
        with pytest.raises(InputError, match=said):
            Gltf(tree, DATA).accessor(0)
    tree = changed(("accessors", 0), {"componentType": 5126, "count": 1 << 40, "type": "VEC3"})
    with pytest.raises(InputError, match="too large"):
        Gltf(tree, DATA).accessor(0)


def test_the_command_names_the_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.glb").write_bytes(Gltf(json.loads(json.dumps(changed(("nodes", 1, "mesh"), [0]))), DATA).container())
    assert main(["info", str(tmp_path / "a.glb")]) == 2
    assert "nodes[1].mesh must be a whole number from 0 on or none, got [0]" in capsys.readouterr().err
