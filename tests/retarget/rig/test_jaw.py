"""Jaws by what they move, parts that stand still, and rigs that would speak in a still face."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig_files import arkit_weights, spoken

from parlante.animation.character import animate_character
from parlante.cli import main
from parlante.core import InputError
from parlante.core.notes import gathered
from parlante.retarget.rig.gltf import Gltf, read_gltf
from parlante.retarget.rig.rigged import read_rig


class Puppet:
    """A ball of a head, 2 units tall: face towards +z, what lies low in front is its chin."""

    def __init__(self) -> None:
        along, around = np.meshgrid(np.linspace(0.1, np.pi - 0.1, 15), np.linspace(0, 2 * np.pi, 24, endpoint=False))
        y, r = np.cos(along).ravel(), np.sin(along).ravel()
        self.points = np.stack([0.7 * r * np.sin(around.ravel()), y, r * np.cos(around.ravel())], 1).astype(np.float32)
        self.chin = (self.points[:, 1] < -0.2) & (self.points[:, 2] > 0.2)
        self.data = bytearray()
        self.root: dict[str, Any] = {
            "asset": {"version": "2.0"}, "bufferViews": [], "accessors": [], "meshes": [], "nodes": [],
        }  # fmt: skip

    def put(self, array: np.ndarray, kind: str, code: int = 5126) -> int:
        """An accessor."""
        self.root["bufferViews"].append({"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes})
        self.data += array.tobytes()
        view = len(self.root["bufferViews"]) - 1
        self.root["accessors"].append({"bufferView": view, "componentType": code, "count": len(array), "type": kind})
        return len(self.root["accessors"]) - 1

    def opened(self, far: float) -> np.ndarray:
        """What a target moves that drops the chin."""
        return (self.chin[:, None] * np.array([0, -far, 0])).astype(np.float32)

    def mesh(self, name: str, points: np.ndarray, targets: dict[str, np.ndarray], named: bool = True) -> dict[str, Any]:
        """A mesh and its node; returns the primitive."""
        primitive: dict[str, Any] = {"attributes": {"POSITION": self.put(points.astype(np.float32), "VEC3")}}
        shape: dict[str, Any] = {"name": name, "primitives": [primitive]}
        if targets:
            primitive["targets"] = [{"POSITION": self.put(delta, "VEC3")} for delta in targets.values()]
            shape |= {"extras": {"targetNames": list(targets)}} if named else {}
        self.root["meshes"].append(shape)
        self.root["nodes"].append({"name": name, "mesh": len(self.root["meshes"]) - 1})
        return primitive

    def skin(self, primitive: dict[str, Any], jaw: str) -> None:
        """Hold the first mesh by a neck, a head and a bone of this name that has the chin."""
        held = np.where(self.chin, 2, 1).astype(np.uint8)
        joints = np.stack([held, *[np.zeros_like(held)] * 3], 1)
        primitive["attributes"]["JOINTS_0"] = self.put(joints, "VEC4", 5121)
        primitive["attributes"]["WEIGHTS_0"] = self.put(np.tile(np.float32([1, 0, 0, 0]), (len(held), 1)), "VEC4")
        first = len(self.root["nodes"])
        self.root["nodes"] += [
            {"name": "neck", "translation": [0, -2, 0], "children": [first + 1]},
            {"name": "Head", "translation": [0, 1.5, 0], "children": [first + 2]},
            {"name": jaw, "translation": [0, 0.5, 0]},
        ]
        inverse = np.tile(np.eye(4, dtype=np.float32), (3, 1, 1))
        inverse[:, 3, 1] = 2, 0.5, 0  # columns first
        bind = self.put(inverse.reshape(3, 16), "MAT4")
        self.root["skins"] = [{"joints": [first, first + 1, first + 2], "inverseBindMatrices": bind}]
        self.root["nodes"][0]["skin"] = 0

    def save(self, path: Path) -> Path:
        """The file."""
        path.write_bytes(Gltf(self.root | {"buffers": [{"byteLength": len(self.data)}]}, bytes(self.data)).container())
        return path


@pytest.mark.parametrize("far", [0.0, 0.05, 0.9])
@pytest.mark.parametrize("name", ["jaw", "bone.017", "Unterkiefer"])
def test_the_jaws_bone_is_found_by_what_it_moves_and_helps_a_weak_target(tmp_path: Path, name: str, far: float) -> None:
    puppet = Puppet()
    targets = {"jawOpen": puppet.opened(far)} if far else {"eyeBlinkLeft": np.ones_like(puppet.points)}
    puppet.skin(puppet.mesh("Body", puppet.points, targets), name)
    path = puppet.save(tmp_path / "a.glb")
    rig = read_rig(path)
    assert rig.bones["jaw"] == 3 and rig.useful
    assert any(f"bone {name!r} is taken for the jaw" in line for line in rig.facts) == (name != "jaw" and far < 0.5)
    assert rig.parts.helped == (far == 0.05)
    assert ((3, "rotation") in spoken(path, arkit_weights(jawOpen=1))[1]) == (far < 0.5)


def test_bones_that_hold_a_beard_are_no_jaw(tmp_path: Path) -> None:
    puppet = Puppet()
    puppet.skin(puppet.mesh("Body", puppet.points, {"eyeBlinkLeft": np.ones_like(puppet.points)}), "beard_1")
    assert "jaw" not in read_rig(puppet.save(tmp_path / "a.glb")).bones


@pytest.mark.parametrize("still", [True, False])
def test_teeth_that_nothing_moves_are_told(tmp_path: Path, still: bool) -> None:
    puppet = Puppet()
    puppet.mesh("Human", puppet.points, {"jawOpen": puppet.opened(0.5)})
    teeth = puppet.points[puppet.chin] * 0.6 + [0, -0.1, 0.2]
    puppet.mesh("Teeth", teeth, {} if still else {"jawOpen": np.full(teeth.shape, -0.5, np.float32)})
    puppet.mesh("Hair", puppet.points * 0.5 + [0, 1, 0], {})
    facts = read_rig(puppet.save(tmp_path / "a.glb")).facts
    assert any("'Teeth' lies in the mouth" in line for line in facts) == still
    assert not any("Hair" in line for line in facts)


def test_teeth_do_not_speak_in_a_face_whose_targets_lost_their_names(tmp_path: Path) -> None:
    puppet = Puppet()
    puppet.mesh("Face", puppet.points, {"": puppet.opened(0.5)}, named=False)
    puppet.mesh("Teeth", puppet.points[puppet.chin], {"jawOpen": np.full((puppet.chin.sum(), 3), -0.5, np.float32)})
    path = puppet.save(tmp_path / "a.glb")
    assert any("1 targets of 'Face' have no names" in line for line in read_rig(path).describe())
    with pytest.raises(InputError, match="the targets of 'Face' have no names"):
        animate_character((np.zeros(1600), 16000), tmp_path / "b.glb", path)


@pytest.mark.parametrize("version", [0, 1])
def test_a_mouth_drawn_in_the_texture_is_refused(
    tmp_path: Path, version: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """No new head takes the avatar's place unasked."""
    puppet = Puppet()
    puppet.mesh("Face", puppet.points, {})
    shift = [{"material": 0, "scale": [1, 1], "offset": [0.5, 0]}]
    old = {"name": "aa", "presetName": "a", "binds": [], "materialValues": [{"materialName": "face"}]}
    puppet.root["extensions"] = (
        {"VRMC_vrm": {"expressions": {"preset": {"aa": {"textureTransformBinds": shift}}}}}
        if version
        else {"VRM": {"blendShapeMaster": {"blendShapeGroups": [old]}}}
    )
    path = puppet.save(tmp_path / "a.vrm")
    with pytest.raises(InputError, match=r"drawn in its texture \(expressions aa"):
        animate_character((np.zeros(1600), 16000), tmp_path / "b.vrm", path)
    assert main(["info", str(path)]) == 0 and "it is refused: its mouth is drawn" in capsys.readouterr().out


def test_a_calibration_beside_a_rig_is_applied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For an avatar whose mouth opens too far."""
    puppet = Puppet()
    puppet.mesh("Face", puppet.points, {"jawOpen": puppet.opened(0.5)})
    path = puppet.save(tmp_path / "me.glb")
    wave = np.sin(np.arange(8000) / 20) * np.sin(np.arange(8000) / 900)
    opened = []
    for gain in (1.0, 0.5):
        text = {"parlante_calibration": 1, "curves": {"jaw*": {"gain": gain}, "mouthClose": {"max": 0}}}
        (tmp_path / "me.calibration.json").write_text(json.dumps(text))
        info = animate_character((wave, 16000), tmp_path / "said.glb", path, liveliness=False)
        assert info.provenance["calibration"].endswith("me.calibration.json")
        file = read_gltf(tmp_path / "said.glb")
        opened.append(file.accessor(file.root["animations"][0]["samplers"][0]["output"]))
    assert opened[0].max() > 0.02
    np.testing.assert_allclose(opened[1], 0.5 * opened[0], atol=1e-3)
    assert main(["character", "info", str(path)]) == 0
    assert "calibration me.calibration.json: jaw* gain 0.5" in capsys.readouterr().out


def test_what_an_animation_does_without_is_told(tmp_path: Path) -> None:
    puppet = Puppet()
    puppet.mesh("Face", puppet.points, {"jawOpen": puppet.opened(0.5)})
    path = puppet.save(tmp_path / "a.glb")
    with gathered() as lines:
        animate_character((np.zeros(1600), 16000), tmp_path / "b.glb", path)
    assert any(line.startswith("a.glb: missing, left out:") for line in lines)
