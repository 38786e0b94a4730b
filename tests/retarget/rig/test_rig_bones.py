"""Bones and eyeballs of rigged files: which they are, which way they turn, and what they do beside the targets."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig_files import arkit_weights, changed, rigged, spoken
from scipy.spatial.transform import Rotation

from parlante.head.arkit import ARKIT_NAMES
from parlante.retarget.rig.gltf import read_gltf, world_matrices
from parlante.retarget.rig.rigged import read_rig

SPEECH = (0.1 * np.random.default_rng(0).standard_normal(4800).astype(np.float32), 16000)


def skeleton(path: Path, nodes: dict[str, tuple[float, float, float]]) -> Path:
    """The same with bones at these places."""
    source = rigged(path, ["jawOpen"], bones=tuple(nodes))

    def change(root: dict[str, Any]) -> None:
        for node, place in zip(root["nodes"][1:], nodes.values(), strict=True):
            node.pop("rotation"), node.pop("scale")
            node["translation"] = list(place)

    return changed(source, change)


@pytest.mark.parametrize(("left", "axis"), [((1, 0, 0), [1, 0, 0]), ((-1, 0, 0), [-1, 0, 0]), ((0, 0, -1), [0, 0, -1])])
def test_a_nod_is_a_nod_whichever_way_the_file_faces(tmp_path: Path, left: Any, axis: list[float]) -> None:
    """The face's left is told by the names of the bones; looking down turns about it."""
    place = np.array(left, float)
    path = skeleton(
        tmp_path / "a.glb",
        {"mixamorigHead": (0, 5, 0), "mixamorigLeftArm": tuple(place), "mixamorigRightArm": tuple(-place)},
    )
    pose = np.zeros((5, 6))
    pose[:, 0] = np.linspace(0, 0.2, 5)
    turned = spoken(path, arkit_weights(), pose)[1][1, "rotation"][-1]
    np.testing.assert_allclose(turned[:3] / np.sin(0.1), axis, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["Head", "mixamorig:Head", "CC_Base_Head", "Bip01 Head", "head_06", "head.x", "Head_M"]
)
def test_heads_by_their_names(tmp_path: Path, name: str) -> None:
    bones = read_rig(rigged(tmp_path / "a.glb", ["jawOpen"], bones=("HeadTop_End", "forehead", name))).bones
    assert bones == {"head": 3}


def test_bones_with_a_matrix_are_moved_too(tmp_path: Path) -> None:
    """As Sketchfab writes them. What cannot be parted into turn and scale is left alone, and that is told."""
    path = rigged(tmp_path / "a.glb", ["jawOpen"], bones=("Head_06",))

    def change(root: dict[str, Any]) -> None:
        node = root["nodes"][1]
        del node["rotation"], node["scale"]
        node["matrix"] = [0, 0, -2, 0, 0, 2, 0, 0, 2, 0, 0, 0, 1, 2, 3, 1]

    pose = np.zeros((5, 6))
    pose[:, 1] = np.linspace(0, 0.3, 5)
    file, said = spoken(changed(path, change), arkit_weights(), pose)
    node = file.root["nodes"][1]
    assert "matrix" not in node and node["translation"] == [1, 2, 3] and node["name"] == "Head_06"
    np.testing.assert_allclose(node["scale"], [2, 2, 2], atol=1e-12)
    angle = 2 * np.arctan2(said[1, "rotation"][:, 1], said[1, "rotation"][:, 3])
    np.testing.assert_allclose(angle - np.pi / 2, pose[:, 1], atol=1e-6)
    sheared = changed(
        path, lambda root: root["nodes"][1].update(matrix=[1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
    )
    rig = read_rig(sheared)
    assert not rig.bones and any("will not nod" in line for line in rig.describe())


def test_eyes_before_the_head_say_more_than_their_names(tmp_path: Path) -> None:
    """Some rigs name the sides as the viewer sees them; along the head's height they say nothing."""
    for eyes, forward in (((0, 6, 2), 1), ((0, 6, -2), -1), ((2, 6, 0), 0)):
        places = {"Head": (0, 5, 0), "LeftEye": np.add(eyes, (-1, 0, 0)), "RightEye": np.add(eyes, (1, 0, 0))}
        path = skeleton(tmp_path / "a.glb", {name: tuple(map(float, place)) for name, place in places.items()})
        assert read_rig(path).parts.facing[2, 2] == forward


def weighted(path: Path, held: list[int]) -> Path:
    """One triangle; of its corners, of which the targets move all but the first, these follow the eye's bone."""
    file = read_gltf(rigged(path, list(ARKIT_NAMES), bones=("Head", "LeftEye")))
    root, data = file.root, bytearray(file.data)
    joints, weights = np.zeros((3, 4), np.uint8), np.zeros((3, 4), np.float32)
    joints[held, 0], weights[:, 0] = 1, 1
    attributes = root["meshes"][0]["primitives"][0]["attributes"]
    for key, array, code in (("JOINTS_0", joints, 5121), ("WEIGHTS_0", weights, 5126)):
        data.extend(bytes(-len(data) % 4))
        root["bufferViews"].append({"buffer": 0, "byteOffset": len(data), "byteLength": array.nbytes})
        data.extend(array.tobytes())
        view = len(root["bufferViews"]) - 1
        root["accessors"].append({"bufferView": view, "componentType": code, "count": 3, "type": "VEC4"})
        attributes[key] = len(root["accessors"]) - 1
    root["buffers"][0]["byteLength"] = len(data)
    file.data = bytes(data)
    path.write_bytes(file.container())
    return path


@pytest.mark.parametrize(("held", "turns"), [([0], True), ([1], False), ([0, 1], False), ([], False)])
def test_an_eyeball_that_its_targets_leave_alone_is_turned_by_its_bone(
    tmp_path: Path, held: list[int], turns: bool
) -> None:
    """As where the eyeLook targets move lids only."""
    path = weighted(tmp_path / "a.glb", held)
    rig = read_rig(path)
    assert not rig.missing and rig.parts.turned == ({"leftEye"} if turns else set())
    assert ((2, "rotation") in spoken(path, arkit_weights(eyeLookOutLeft=1))[1]) == turns


def test_character_creators_jaw_bone_helps_a_target_that_does_little(tmp_path: Path) -> None:
    """Its jaw target only mends what the bone does; a target that opens as far as any is played alone."""
    names = ["Jaw_Open", "Mouth_Close", "Eye_Blink_L", "Eye_Blink_R", "V_Open"]
    path = rigged(tmp_path / "a.glb", names, bones=("CC_Base_Head", "CC_Base_JawRoot"))

    def change(root: dict[str, Any]) -> None:
        targets = root["meshes"][0]["primitives"][0]["targets"]
        for target, far in zip(targets, (0.1, 1, 1, 1, 1), strict=True):
            root["accessors"][target["POSITION"]].update({"min": [0, 0, 0], "max": [far, far, 0]})

    rig = read_rig(changed(path, change))
    assert rig.parts.helped and any("together" in line for line in rig.describe())
    said = spoken(path, arkit_weights(jawOpen=0.5))[1]
    assert said[0, "weights"][-1, 0] == pytest.approx(0.5) and np.ptp(said[2, "rotation"], axis=0).max() > 0.02
    wide = changed(path, lambda root: root["accessors"][1].update({"max": [2, 2, 0]}))
    assert not read_rig(wide).parts.helped


def test_a_jaw_bone_alone_shuts_for_closed_lips(tmp_path: Path) -> None:
    path = rigged(tmp_path / "a.glb", ["eyeBlinkLeft"], bones=("Bip01 Head", "Bip01 MJaw"))
    assert read_rig(path).replaced["mouthClose"] == "less bone jaw"
    turned = spoken(path, arkit_weights(jawOpen=0.3, mouthClose=0.3))[1][2, "rotation"]
    assert np.ptp(turned, axis=0).max() < 1e-6


@pytest.mark.parametrize("body", [False, True])
def test_a_head_without_bones_nods_as_a_whole_and_a_statue_does_not(tmp_path: Path, body: bool) -> None:
    """The triangle, its children too, turns about the height of what opens its mouth: where that is stays."""

    def change(root: dict[str, Any]) -> None:
        root["nodes"][0]["translation"] = [1.0, 2.0, 3.0]
        root["meshes"].append({"primitives": [{"attributes": root["meshes"][0]["primitives"][0]["attributes"]}]})
        root["nodes"] += [
            {"name": "all", "children": [0, 2], "rotation": [0, 0, 0.6, 0.8], "translation": [5, 0, 0]},
            {"name": "rest", "mesh": 1, "scale": [10, 10, 1] if body else [1, 1, 1], "translation": [1, 2, 3]},
        ]

    path = changed(rigged(tmp_path / "a.glb", ["jawOpen"]), change)
    rig = read_rig(path)
    assert any(("will not nod" if body else "as a whole") in line for line in rig.describe())
    if rig.parts.bust is None:
        assert body
        return
    pose = np.zeros((5, 6))
    pose[:, 0] = np.linspace(0, 0.3, 5)
    file, said = spoken(path, arkit_weights(), pose)
    assert {key for key in said if key[1] != "weights"} == {(1, "rotation"), (1, "translation")}
    before, node = world_matrices(file.root)[1], file.root["nodes"][1]
    node["rotation"], node["translation"] = said[1, "rotation"][-1].tolist(), said[1, "translation"][-1].tolist()
    after = world_matrices(file.root)[1]
    still = np.linalg.inv(before) @ np.array([*rig.parts.bust[1], 1.0])
    np.testing.assert_allclose((after @ still)[:3], rig.parts.bust[1], atol=1e-5)
    nod = Rotation.from_rotvec([0.3, 0, 0]).as_matrix()
    np.testing.assert_allclose((after @ np.linalg.inv(before))[:3, :3], nod, atol=1e-5)
