"""Layouts of rigged files as other programs write them: what is played, what is left, what is told."""

import base64
import copy
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig_files import arkit_weights, changed, rigged, spoken

from parlante.animation.character import animate_character
from parlante.core import InputError
from parlante.head.arkit import ARKIT_NAMES, INDEX
from parlante.retarget.rig.gltf import read_gltf
from parlante.retarget.rig.rigged import read_rig
from parlante.retarget.rig.targets import canonical, mouth_shared, named, plan, played

SPEECH = (0.1 * np.random.default_rng(0).standard_normal(4800).astype(np.float32), 16000)
VROID = ("A", "I", "U", "E", "O")


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
    weights = arkit_weights(jawOpen=0.5, eyeBlinkLeft=1, eyeBlinkRight=1, mouthSmileLeft=0.5, eyeLookUpLeft=1)
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
    _, said = spoken(path, arkit_weights(jawOpen=0.3, eyeBlinkLeft=1, eyeBlinkRight=1))
    np.testing.assert_allclose(said[0, "weights"][-1], [0.48, 0, 0, 0, 0, 0, 1], atol=1e-6)
    assert any("left at rest" in line and "vrm:aa" in line for line in read_rig(path).describe())


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
    weights = arkit_weights(jawOpen=0.4, mouthPucker=0.2, eyeBlinkLeft=1)
    np.testing.assert_allclose(spoken(path, weights)[1][0, "weights"], weights, atol=1e-6)


def test_binds_to_what_is_gone_are_passed_over_and_binary_means_on_or_off(tmp_path: Path) -> None:
    groups = [group("a", 0), group("blink", 1, isBinary=True), {"name": "x", "presetName": "unknown", "binds": None}]
    groups.append({"name": "MouthSmile", "presetName": "unknown", "binds": [{"mesh": 0, "index": 1, "weight": 100}]})
    groups[0]["binds"] += [{"mesh": 7, "index": 0, "weight": 100}, {"mesh": 0, "index": 99}, {"mesh": -1, "index": 0}]
    path = vrm0(tmp_path / "a.vrm", ["one", "two"], groups)
    _, said = spoken(path, arkit_weights(jawOpen=0.5, eyeBlinkLeft=1, eyeBlinkRight=1))
    np.testing.assert_allclose(said[0, "weights"][:, 1], [0, 0, 0, 1, 1])
    assert "mouthSmileLeft" in read_rig(path).missing, "an expression called a smile may be any mood"
    np.testing.assert_allclose(said[0, "weights"][-1, 0], 0.8, atol=1e-6)
    binds = [{"node": 0, "index": 0}, {"node": 9, "index": 0}, {"node": 1, "index": 0}]
    new = {"VRMC_vrm": {"expressions": {"preset": {"aa": {"morphTargetBinds": binds}}, "custom": None}}}
    assert read_rig(rigged(tmp_path / "b.vrm", ["one"], bones=("Head",), extensions=new)).useful


def test_without_mouth_close_the_jaw_closes_the_lips() -> None:
    recipes, replaced, _ = plan(["jawOpen", "mouthSmileLeft"])
    shut = arkit_weights(jawOpen=0.2, mouthClose=0.2)
    assert not played(recipes["jawOpen"], shut).any() and replaced["mouthClose"] == "less jawOpen"
    low = plan(["mouthopen", "mouthsmile"])[0]
    assert not played(low["mouthopen"], shut).any() and played(low["mouthopen"], arkit_weights(jawOpen=0.4))[-1] > 0.5
    assert "mouthClose" not in plan(ARKIT_NAMES)[0]["jawOpen"]


def test_lips_that_meet_leave_no_vowel_and_press() -> None:
    """A rounded vowel that is near would else open the mouth of a rig that has vowels only."""
    recipes = plan(["vrm:aa", "vrm:ou", "vrm:oh", "vrm:ih", "vrm:ee"])[0]
    weights = arkit_weights(jawOpen=0.12, mouthClose=0.12, mouthPucker=0.5, mouthSmileLeft=0.5, mouthSmileRight=0.5)
    values = {name: played(recipe, weights) for name, recipe in recipes.items()}
    assert values["vrm:ou"][-1] > 0.4
    mouth_shared(values, weights)
    assert max(value.max() for value in values.values()) < 1e-6
    weights = arkit_weights(jawOpen=0.6, mouthFunnel=0.4, mouthPucker=0.5, mouthStretchLeft=0.9, mouthSmileLeft=0.9)
    values = {name: played(recipe, weights) for name, recipe in recipes.items()}
    assert sum(value[-1] for value in values.values()) > 1.2
    mouth_shared(values, weights)
    assert sum(value[-1] for value in values.values()) == pytest.approx(1)
    pressed = plan(["viseme:aa", "viseme:pp", "viseme:ff"])[0]["viseme:pp"]
    assert played(pressed, arkit_weights(jawOpen=0.12, mouthClose=0.12))[-1] > 0.6
    assert not played(pressed, arkit_weights(jawOpen=0.3)).any() and not played(pressed, arkit_weights()).any()


def test_sliders_of_the_body_keep_what_they_are_set_to(tmp_path: Path) -> None:
    """Weights of a mesh, and of a node that wears it otherwise; beyond 0..1 too; of speech targets none are left on."""

    def change(root: dict[str, Any]) -> None:
        root["meshes"][0]["weights"] = [-0.5, 0.3, 1.5, 0.25]
        root["nodes"] += [{"name": "twin", "mesh": 0, "weights": [0.1, 0.0, 0.2, 0.0]}, {"name": "third", "mesh": 0}]

    path = changed(rigged(tmp_path / "a.glb", ["Nose_Size", "jawOpen", "Fat", "cheekSuck"]), change)
    _, said = spoken(path, arkit_weights(jawOpen=0.5))
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
        assert any("2 targets of 'mesh 0' have no names" in line for line in rig.describe())


def test_several_meshes_and_primitives_move_together(tmp_path: Path) -> None:
    def change(root: dict[str, Any]) -> None:
        face = root["meshes"][0]
        face["primitives"].append(copy.deepcopy(face["primitives"][0]))
        root["meshes"] += [copy.deepcopy(face), {"primitives": [{"attributes": face["primitives"][0]["attributes"]}]}]
        root["meshes"][1]["extras"]["targetNames"] = ["eyeBlinkLeft", "jawOpen"]
        root["nodes"] += [{"name": "Wolf3D_Teeth", "mesh": 1}, {"name": "hair", "mesh": 2}]

    path = changed(rigged(tmp_path / "a.glb", ["jawOpen", "eyeBlinkLeft"]), change)
    _, said = spoken(path, arkit_weights(jawOpen=0.5))
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
    file, said = spoken(path, arkit_weights(jawOpen=0.5), np.zeros((5, 6)))
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
    said = spoken(tmp_path / "a.glb", arkit_weights(jawOpen=0.5))[1]
    assert said[0, "weights"][-1, 0] == pytest.approx(0.5)


def test_padding_marks_and_broken_letters_are_borne(tmp_path: Path) -> None:
    """A byte order mark, zeros behind the JSON, half of a pair of surrogates in a name, a block nobody knows."""
    file = read_gltf(rigged(tmp_path / "a.glb", ["jawOpen", "目を閉じる"]))
    text = json.dumps({**file.root, "scenes": [{"name": "\ud83d cut"}]}).encode()
    text = b"\xef\xbb\xbf" + text + bytes(8 - (len(text) + 3) % 4)
    odd = struct.pack("<I4s", 4, b"ODD!") + b"keep"
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(file.data), b"BIN\0") + file.data
    (tmp_path / "a.glb").write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body + odd)) + body + odd)
    said = spoken(tmp_path / "a.glb", arkit_weights(jawOpen=0.5))[0]
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
    said = spoken(path, arkit_weights(jawOpen=0.5, mouthClose=0.5, eyeBlinkLeft=1))[1]
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
    path.write_bytes(read_rig(path).animated(arkit_weights(jawOpen=0.5), 30.0, None))
    path.write_bytes(read_rig(path).animated(arkit_weights(jawOpen=0.2), 30.0, None))
    assert [one["name"] for one in read_gltf(path).root["animations"]] == ["idle", "speech", "speech 2"]
