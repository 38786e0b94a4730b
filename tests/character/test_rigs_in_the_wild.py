"""Layouts of rigged files as other programs write them: what is played, what is left, what is told."""

import base64
import copy
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_rigged import curves, rigged

from parlante.character.gltf import Gltf, read_gltf, world_matrices
from parlante.character.rigged import read_rig
from parlante.character.targets import canonical, mouth_shared, named, plan, played
from parlante.core import InputError
from parlante.head.arkit import ARKIT_NAMES, INDEX
from parlante.pipeline.character import animate_character

SPEECH = (0.1 * np.random.default_rng(0).standard_normal(4800).astype(np.float32), 16000)
VROID = ("A", "I", "U", "E", "O")


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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("A25_Jaw_Open", "jawOpen"),
        ("AK_09_EyeBlinkLeft", "eyeBlinkLeft"),
        ("AA_VI_10_aa", "viseme:aa"),
        ("vrc.v_oh", "viseme:o"),
        ("V_Explosive", "viseme:pp"),
        ("V_Dental_Lip", "viseme:ff"),
        ("Eye_L_Look_L", "eyeLookOutLeft"),
        ("Eye_R_Look_L", "eyeLookInRight"),
        ("Mouth_Roll_In_Upper_L", "mouthRollUpper"),
        ("Brow_Drop_R", "browDownRight"),
        ("Jaw_L", "jawLeft"),
        ("Smile_Left", "mouthSmileLeft"),
        ("Blink_Right", "eyeBlinkRight"),
        ("JawForeward", "jawForward"),
        ("UpperLipUp_Left", "mouthUpperUpLeft"),
        ("Face.M_F00_000_00_Fcl_MTH_A", "vrm:aa"),
        ("Face_Blendshape.Fcl_MTH_O", "vrm:oh"),
        ("head_jawOpen", "jawOpen"),
        ("eyeBlink_L.001", "eyeBlinkLeft"),
        ("L_eyeBlink", "eyeBlinkLeft"),
        ("Eye_Left_Blink", "eyeBlinkLeft"),
        ("EyeClosedRight", "eyeBlinkRight"),
        ("LipPuckerUpperLeft", "mouthPucker"),
        ("BrowsU_C", "browInnerUp"),
        ("CTRL_expressions_mouthCornerPullL", "mouthSmileLeft"),
        ("mouthLipsTogetherUL", "mouthClose"),
        ("eyeLookLeftR", "eyeLookInRight"),
        ("Genesis8Female__eCTRLvM", "viseme:pp"),
        ("facs_bs_MouthSmileLeft_div2", "mouthSmileLeft"),
        ("lip_a", "vrm:aa"),
        ("あ", "vrm:aa"),
        ("まばたき", "vrm:blink"),
        ("eyeSquint", "eyesquint"),
        ("jawOpen_mouthSmileLeft", None),
        ("Smile", None),
        ("V_Neck", None),
        ("Vest", None),
        ("skirt_open", None),
        ("Fcl_ALL_Joy", None),
        ("mouthWidth_L", None),
        ("髪", None),
        ("", None),
    ],
)
def test_names_of_many_rigs(name: str, meant: str | None) -> None:
    assert canonical(name) == meant


def test_a_curve_under_several_names_is_played_once() -> None:
    names = ["jawOpen", "A25_Jaw_Open", "jawOpen", "Mouth_Pucker_Up_L", "Mouth_Pucker_Up_R", "browInnerUp_L"]
    assert named(names) == ["jawOpen", None, None, "mouthPucker", "mouthPucker", "browInnerUp"]
    assert named(["Mouth_Smile_L", "A38_Mouth_Smile_Left"]) == ["mouthSmileLeft", None]


def test_single_letters_are_vowels_only_together() -> None:
    assert named(["A", "I", "U", "E", "O", "Blink"]) == ["vrm:aa", "vrm:ih", "vrm:ou", "vrm:ee", "vrm:oh", "eyesclosed"]
    assert named(["A", "E", "hat"]) == [None, None, None]
    assert named(["sil", "PP", "FF", "aa", "E", "ih"])[1:] == [f"viseme:{v}" for v in ("pp", "ff", "aa", "e", "i")]
    assert named(["Open", "Explosive", "Affricate"]) == ["viseme:aa", "viseme:pp", "viseme:ch"]


def vrm0(path: Path, names: list[str], groups: list[dict[str, Any]], **more: Any) -> Path:
    extension = {"blendShapeMaster": {"blendShapeGroups": groups}, "secondaryAnimation": {"boneGroups": []}, **more}
    return rigged(path, names, bones=("J_Bip_C_Head", "L_Eye", "R_Eye"), extensions={"VRM": extension})


def group(preset: str, *indices: int, weight: float = 100.0, **more: Any) -> dict[str, Any]:
    binds = [{"mesh": 0, "index": index, "weight": weight} for index in indices]
    return {"name": preset.title(), "presetName": preset, "binds": binds, "materialValues": [], **more}


def test_a_vroid_avatar_blinks_once_and_looks_no_farther_than_it_may(tmp_path: Path) -> None:
    """It has a blink for each eye and one for both, and an emotion that closes the eyes; it faces -z."""
    names = [f"Face.M_F00_000_00_Fcl_MTH_{v}" for v in VROID]
    names += ["Face.M_F00_000_00_Fcl_EYE_Close", "Fcl_EYE_Close_L", "Fcl_EYE_Close_R", "Fcl_ALL_Joy"]
    groups = [group(v.lower(), n) for n, v in enumerate(VROID)]
    groups += [group("blink", 5), group("blink_l", 6), group("blink_r", 7), group("joy", 8), group("lookup", 8)]
    look = {f"lookAt{way}": {"xRange": 90, "yRange": 8} for way in ("HorizontalInner", "HorizontalOuter", "VerticalUp")}
    bones = [{"bone": name, "node": n} for n, name in enumerate(("head", "leftEye", "rightEye"), 1)]
    path = vrm0(
        tmp_path / "a.vrm", names, groups,
        firstPerson={"lookAtTypeName": "Bone", **look}, humanoid={"humanBones": [*bones, {"bone": "jaw", "node": -1}]},
    )  # fmt: skip
    pose = np.zeros((5, 6))
    pose[:, 0] = np.linspace(0, 0.2, 5)
    weights = curves(jawOpen=0.5, eyeBlinkLeft=1, eyeBlinkRight=1, mouthSmileLeft=0.5, eyeLookUpLeft=1)
    _, said = spoken(path, weights, pose)
    last = said[0, "weights"][-1]
    np.testing.assert_allclose(last[5:], [0, 1, 1, 0], atol=1e-6)
    assert last[0] > 0.5 and last[:5].sum() <= 1 + 1e-6

    def turn_of(node: int) -> np.ndarray:
        """Of the last frame against the first, about the axes of the file: bones here are turned about y."""
        x, y, z, w = said[node, "rotation"][-1]
        return np.degrees(2 * np.array([x, y, z])) * np.sign(w)

    assert np.linalg.norm(said[2, "rotation"][-1] - said[2, "rotation"][0]) == pytest.approx(np.radians(4), rel=0.01)
    assert np.linalg.norm(said[3, "rotation"][-1] - said[3, "rotation"][0]) < 1e-6
    plain = changed(rigged(tmp_path / "b.glb", names, bones=("Head",)), lambda root: None)
    forward = spoken(plain, weights, pose)[1][1, "rotation"][-1]
    backward = said[1, "rotation"][-1]
    np.testing.assert_allclose(backward[[1, 3]], forward[[1, 3]], atol=1e-6)
    np.testing.assert_allclose(backward[[0, 2]], -forward[[0, 2]], atol=1e-6)
    assert np.abs(turn_of(1)[[0, 2]]).max() > 1


def test_visemes_and_vowels_bound_to_the_same_targets_open_the_mouth_once(tmp_path: Path) -> None:
    """As in avatars of VRChat that were exported as VRM."""
    names = ["vrc.v_aa", "vrc.v_ih", "vrc.v_ou", "vrc.v_e", "vrc.v_oh", "vrc.v_pp", "blink"]
    path = vrm0(tmp_path / "a.vrm", names, [group(v.lower(), n) for n, v in enumerate(VROID)] + [group("blink", 6)])
    _, said = spoken(path, curves(jawOpen=0.3, eyeBlinkLeft=1, eyeBlinkRight=1))
    np.testing.assert_allclose(said[0, "weights"][-1], [0.48, 0, 0, 0, 0, 0, 1], atol=1e-6)
    assert any("left at rest" in line and "vrm:aa" in line for line in read_rig(path).tell())


def test_perfect_sync_by_custom_expressions_of_any_case(tmp_path: Path) -> None:
    names = [f"shape_{n}" for n in range(52)]
    custom = {
        name if n % 2 else name[0].upper() + name[1:]: {
            "morphTargetBinds": [{"node": 0, "index": n, "weight": 1.0}], "overrideMouth": "none",
        } for n, name in enumerate(ARKIT_NAMES)
    }  # fmt: skip
    preset = {"aa": {"morphTargetBinds": [{"node": 0, "index": INDEX["jawOpen"], "weight": 0.7}]}, "happy": {}}
    extensions = {"VRMC_vrm": {"specVersion": "1.0", "expressions": {"preset": preset, "custom": custom}}}
    path = rigged(tmp_path / "a.vrm", names, extensions=extensions)
    assert not read_rig(path).missing
    weights = curves(jawOpen=0.4, mouthPucker=0.2, eyeBlinkLeft=1)
    np.testing.assert_allclose(spoken(path, weights)[1][0, "weights"], weights, atol=1e-6)


def test_binds_to_what_is_gone_are_passed_over_and_binary_means_on_or_off(tmp_path: Path) -> None:
    groups = [group("a", 0), group("blink", 1, isBinary=True), {"name": "x", "presetName": "unknown", "binds": None}]
    groups.append({"name": "MouthSmile", "presetName": "unknown", "binds": [{"mesh": 0, "index": 1, "weight": 100}]})
    groups[0]["binds"] += [{"mesh": 7, "index": 0, "weight": 100}, {"mesh": 0, "index": 99}, {"mesh": -1, "index": 0}]
    path = vrm0(tmp_path / "a.vrm", ["one", "two"], groups)
    _, said = spoken(path, curves(jawOpen=0.5, eyeBlinkLeft=1, eyeBlinkRight=1))
    np.testing.assert_allclose(said[0, "weights"][:, 1], [0, 0, 0, 1, 1])
    assert "mouthSmileLeft" in read_rig(path).missing, "an expression called a smile may be any mood"
    np.testing.assert_allclose(said[0, "weights"][-1, 0], 0.8, atol=1e-6)
    binds = [{"node": 0, "index": 0}, {"node": 9, "index": 0}, {"node": 1, "index": 0}]
    new = {"VRMC_vrm": {"expressions": {"preset": {"aa": {"morphTargetBinds": binds}}, "custom": None}}}
    assert read_rig(rigged(tmp_path / "b.vrm", ["one"], bones=("Head",), extensions=new)).useful


def test_without_mouth_close_the_jaw_closes_the_lips() -> None:
    recipes, replaced, _ = plan(["jawOpen", "mouthSmileLeft"])
    shut = curves(jawOpen=0.2, mouthClose=0.2)
    assert not played(recipes["jawOpen"], shut).any() and replaced["mouthClose"] == "less jawOpen"
    low = plan(["mouthopen", "mouthsmile"])[0]
    assert not played(low["mouthopen"], shut).any() and played(low["mouthopen"], curves(jawOpen=0.4))[-1] > 0.5
    assert "mouthClose" not in plan(ARKIT_NAMES)[0]["jawOpen"]


def test_lips_that_meet_leave_no_vowel_and_press() -> None:
    """A rounded vowel that is near would else open the mouth of a rig that has vowels only."""
    recipes = plan(["vrm:aa", "vrm:ou", "vrm:oh", "vrm:ih", "vrm:ee"])[0]
    weights = curves(jawOpen=0.12, mouthClose=0.12, mouthPucker=0.5, mouthSmileLeft=0.5, mouthSmileRight=0.5)
    values = {name: played(recipe, weights) for name, recipe in recipes.items()}
    assert values["vrm:ou"][-1] > 0.4
    mouth_shared(values, weights)
    assert max(value.max() for value in values.values()) < 1e-6
    weights = curves(jawOpen=0.6, mouthFunnel=0.4, mouthPucker=0.5, mouthStretchLeft=0.9, mouthSmileLeft=0.9)
    values = {name: played(recipe, weights) for name, recipe in recipes.items()}
    assert sum(value[-1] for value in values.values()) > 1.2
    mouth_shared(values, weights)
    assert sum(value[-1] for value in values.values()) == pytest.approx(1)
    pressed = plan(["viseme:aa", "viseme:pp", "viseme:ff"])[0]["viseme:pp"]
    assert played(pressed, curves(jawOpen=0.12, mouthClose=0.12))[-1] > 0.6
    assert not played(pressed, curves(jawOpen=0.3)).any() and not played(pressed, curves()).any()


def test_sliders_of_the_body_keep_what_they_are_set_to(tmp_path: Path) -> None:
    """Weights of a mesh, and of a node that wears it otherwise; beyond 0..1 too; of speech targets none are left on."""

    def change(root: dict[str, Any]) -> None:
        root["meshes"][0]["weights"] = [-0.5, 0.3, 1.5, 0.25]
        root["nodes"] += [{"name": "twin", "mesh": 0, "weights": [0.1, 0.0, 0.2, 0.0]}, {"name": "third", "mesh": 0}]

    path = changed(rigged(tmp_path / "a.glb", ["Nose_Size", "jawOpen", "Fat", "cheekSuck"]), change)
    _, said = spoken(path, curves(jawOpen=0.5))
    np.testing.assert_allclose(said[0, "weights"][:, [0, 2, 3]], np.tile([-0.5, 1.5, 0.25], (5, 1)))
    np.testing.assert_allclose(said[1, "weights"][:, [0, 2, 3]], np.tile([0.1, 0.2, 0], (5, 1)), atol=1e-7)
    for node in (0, 1, 2):
        np.testing.assert_allclose(said[node, "weights"][:, 1], np.linspace(0, 0.5, 5), atol=1e-6)


@pytest.mark.parametrize("where", ["primitive", "target", "accessor", "nowhere"])
def test_names_are_found_wherever_exporters_put_them(tmp_path: Path, where: str) -> None:
    def change(root: dict[str, Any]) -> None:
        names = root["meshes"][0].pop("extras")["targetNames"]
        primitive = root["meshes"][0]["primitives"][0]
        if where == "primitive":
            root["meshes"][0]["extras"] = None
            primitive["extras"] = {"targetNames": names}
        for name, target in zip(names, primitive["targets"], strict=True):
            if where == "target":
                target["extras"] = {"name": name}
            elif where == "accessor":
                root["accessors"][target["POSITION"]]["name"] = name

    rig = read_rig(changed(rigged(tmp_path / "a.glb", ["jawOpen", "eyeBlinkLeft"]), change))
    assert rig.useful == (where != "nowhere")
    if where == "nowhere":
        assert any("2 targets have no names" in line for line in rig.tell())


def test_several_meshes_and_primitives_move_together(tmp_path: Path) -> None:
    def change(root: dict[str, Any]) -> None:
        face = root["meshes"][0]
        face["primitives"].append(copy.deepcopy(face["primitives"][0]))
        root["meshes"] += [copy.deepcopy(face), {"primitives": [{"attributes": face["primitives"][0]["attributes"]}]}]
        root["meshes"][1]["extras"]["targetNames"] = ["eyeBlinkLeft", "jawOpen"]
        root["nodes"] += [{"name": "Wolf3D_Teeth", "mesh": 1}, {"name": "hair", "mesh": 2}]

    path = changed(rigged(tmp_path / "a.glb", ["jawOpen", "eyeBlinkLeft"]), change)
    _, said = spoken(path, curves(jawOpen=0.5))
    assert said.keys() == {(0, "weights"), (1, "weights")}
    np.testing.assert_allclose(said[0, "weights"][:, ::-1], said[1, "weights"])


def test_a_text_file_with_its_data_beside_it(tmp_path: Path) -> None:
    source = read_gltf(rigged(tmp_path / "a.glb", list(ARKIT_NAMES), bones=("Head",)))
    root = copy.deepcopy(source.root)
    root["buffers"][0]["uri"] = "my%20data.bin"
    root["images"] = [{"uri": "skin.png"}]
    (tmp_path / "my data.bin").write_bytes(source.data)
    path = tmp_path / "a.gltf"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(root, indent=2).encode() + b"\n  \n")
    file, said = spoken(path, curves(jawOpen=0.5), np.zeros((5, 6)))
    assert said[0, "weights"][-1, INDEX["jawOpen"]] == pytest.approx(0.5) and (1, "rotation") in said
    assert file.root["buffers"][0] == root["buffers"][0] and len(file.root["buffers"]) == 2
    animate_character(SPEECH, [tmp_path / "talk.gltf"], path)
    for wrong, why in ((tmp_path / "sub" / "talk.gltf", "beside"), (tmp_path / "talk.glb", r"written as \.gltf")):
        with pytest.raises(InputError, match=why):
            animate_character(SPEECH, [wrong], path)
    (tmp_path / "my data.bin").unlink()
    bounds = {"min": [0, 0, 0], "max": [1, 1, 0]}
    for accessor in root["accessors"]:
        accessor.update(bounds)
    path.write_text(json.dumps(root))
    assert read_rig(path).useful, "what is not needed is not read"


def test_a_binary_file_whose_data_is_in_a_uri(tmp_path: Path) -> None:
    file = read_gltf(rigged(tmp_path / "a.glb", ["jawOpen"]))
    file.root["buffers"][0]["uri"] = "data:application/gltf-buffer;base64," + base64.b64encode(file.data).decode()
    file.data = b""
    (tmp_path / "a.glb").write_bytes(file.container())
    said = spoken(tmp_path / "a.glb", curves(jawOpen=0.5))[1]
    assert said[0, "weights"][-1, 0] == pytest.approx(0.5)


def test_padding_marks_and_broken_letters_are_borne(tmp_path: Path) -> None:
    """A byte order mark, zeros behind the JSON, half of a pair of surrogates in a name, a chunk nobody knows."""
    file = read_gltf(rigged(tmp_path / "a.glb", ["jawOpen", "目を閉じる"]))
    text = json.dumps({**file.root, "scenes": [{"name": "\ud83d cut"}]}).encode()
    text = b"\xef\xbb\xbf" + text + bytes(8 - (len(text) + 3) % 4)
    odd = struct.pack("<I4s", 4, b"ODD!") + b"keep"
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(file.data), b"BIN\0") + file.data
    (tmp_path / "a.glb").write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body + odd)) + body + odd)
    said = spoken(tmp_path / "a.glb", curves(jawOpen=0.5))[0]
    assert said.others == odd and said.root["scenes"] == [{"name": "\ud83d cut"}]
    assert said.root["meshes"][0]["extras"]["targetNames"][1] == "目を閉じる"


def test_compressed_targets_are_judged_by_their_bounds_and_pass_through(tmp_path: Path) -> None:
    def change(root: dict[str, Any]) -> None:
        targets = root["meshes"][0]["primitives"][0]["targets"]
        for target, far in zip(targets, (200, 0, 300), strict=True):
            accessor = root["accessors"][target["POSITION"]]
            view = root["bufferViews"][accessor["bufferView"]]
            view["extensions"] = {
                "EXT_meshopt_compression": {"buffer": 0, "byteOffset": 0, "byteLength": 8, "count": 3}
            }
            accessor.update({"componentType": 5122, "min": [-far, 0, 0], "max": [far, 0, 0]})

    path = changed(rigged(tmp_path / "a.glb", ["jawOpen", "mouthClose", "eyeBlinkLeft"]), change)
    rig = read_rig(path)
    assert rig.empty == ["mouthClose"] and rig.replaced["mouthClose"] == "less jawOpen"
    said = spoken(path, curves(jawOpen=0.5, mouthClose=0.5, eyeBlinkLeft=1))[1]
    np.testing.assert_allclose(said[0, "weights"][-1], [0, 0, 1])


def test_sparse_targets_are_read(tmp_path: Path) -> None:
    """A sparse accessor without a buffer view: all zeros but for what it lists."""

    def change(root: dict[str, Any]) -> None:
        for target, listed in zip(root["meshes"][0]["primitives"][0]["targets"], (1, 0), strict=True):
            accessor = root["accessors"][target["POSITION"]]
            view = accessor.pop("bufferView")
            if listed:
                indices = {"bufferView": view, "byteOffset": 0, "componentType": 5121}
                values = {"bufferView": view, "byteOffset": 12}
                accessor["sparse"] = {"count": 1, "indices": indices, "values": values}

    assert read_rig(changed(rigged(tmp_path / "a.glb", ["jawOpen", "mouthClose"]), change)).empty == ["mouthClose"]


def test_a_second_take_does_not_take_the_place_of_the_first(tmp_path: Path) -> None:
    path = rigged(tmp_path / "a.glb", ["jawOpen"])
    path.write_bytes(read_rig(path).animated(curves(jawOpen=0.5), 30.0, None))
    path.write_bytes(read_rig(path).animated(curves(jawOpen=0.2), 30.0, None))
    assert [one["name"] for one in read_gltf(path).root["animations"]] == ["idle", "speech", "speech 2"]


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
    turned = spoken(path, curves(), pose)[1][1, "rotation"][-1]
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
    file, said = spoken(changed(path, change), curves(), pose)
    node = file.root["nodes"][1]
    assert "matrix" not in node and node["translation"] == [1, 2, 3] and node["name"] == "Head_06"
    np.testing.assert_allclose(node["scale"], [2, 2, 2], atol=1e-12)
    angle = 2 * np.arctan2(said[1, "rotation"][:, 1], said[1, "rotation"][:, 3])
    np.testing.assert_allclose(angle - np.pi / 2, pose[:, 1], atol=1e-6)
    sheared = changed(
        path, lambda root: root["nodes"][1].update(matrix=[1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
    )
    rig = read_rig(sheared)
    assert not rig.bones and any("will not nod" in line for line in rig.tell())


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
    assert ((2, "rotation") in spoken(path, curves(eyeLookOutLeft=1))[1]) == turns


def test_character_creators_jaw_bone_helps_a_target_that_does_little(tmp_path: Path) -> None:
    """Its jaw target only mends what the bone does; a target that opens as far as any is played alone."""
    names = ["Jaw_Open", "Mouth_Close", "Eye_Blink_L", "Eye_Blink_R", "V_Open"]
    path = rigged(tmp_path / "a.glb", names, bones=("CC_Base_Head", "CC_Base_JawRoot"))

    def change(root: dict[str, Any]) -> None:
        targets = root["meshes"][0]["primitives"][0]["targets"]
        for target, far in zip(targets, (0.1, 1, 1, 1, 1), strict=True):
            root["accessors"][target["POSITION"]].update({"min": [0, 0, 0], "max": [far, far, 0]})

    rig = read_rig(changed(path, change))
    assert rig.parts.helped and any("together" in line for line in rig.tell())
    said = spoken(path, curves(jawOpen=0.5))[1]
    assert said[0, "weights"][-1, 0] == pytest.approx(0.5) and np.ptp(said[2, "rotation"], axis=0).max() > 0.02
    wide = changed(path, lambda root: root["accessors"][1].update({"max": [2, 2, 0]}))
    assert not read_rig(wide).parts.helped


def test_a_jaw_bone_alone_shuts_for_closed_lips(tmp_path: Path) -> None:
    path = rigged(tmp_path / "a.glb", ["eyeBlinkLeft"], bones=("Bip01 Head", "Bip01 MJaw"))
    assert read_rig(path).replaced["mouthClose"] == "less bone jaw"
    turned = spoken(path, curves(jawOpen=0.3, mouthClose=0.3))[1][2, "rotation"]
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
    assert any(("will not nod" if body else "as a whole") in line for line in rig.tell())
    if rig.parts.bust is None:
        assert body
        return
    pose = np.zeros((5, 6))
    pose[:, 0] = np.linspace(0, 0.3, 5)
    file, said = spoken(path, curves(), pose)
    assert {key for key in said if key[1] != "weights"} == {(1, "rotation"), (1, "translation")}
    before, node = world_matrices(file.root)[1], file.root["nodes"][1]
    node["rotation"], node["translation"] = said[1, "rotation"][-1].tolist(), said[1, "translation"][-1].tolist()
    after = world_matrices(file.root)[1]
    still = np.linalg.inv(before) @ np.array([*rig.parts.bust[1], 1.0])
    np.testing.assert_allclose((after @ still)[:3], rig.parts.bust[1], atol=1e-5)
    nod = Rotation.from_rotvec([0.3, 0, 0]).as_matrix()
    np.testing.assert_allclose((after @ np.linalg.inv(before))[:3, :3], nod, atol=1e-5)
