"""Rigged files made on the spot: targets found by name, missing ones replaced, everything else left as it was."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rig_files import arkit_weights, rigged

from parlante.core import InputError
from parlante.head.arkit import ARKIT_NAMES, INDEX
from parlante.retarget.rig.gltf import read_gltf
from parlante.retarget.rig.rigged import read_rig
from parlante.retarget.rig.targets import canonical, plan


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("jawOpen", "jawOpen"),
        ("JawOpen", "jawOpen"),
        ("Face.M_F00_jaw_open", "jawOpen"),
        ("blendShape1.eyeBlink_L", "eyeBlinkLeft"),
        ("eyeBlinkRight", "eyeBlinkRight"),
        ("Mouth_Smile.R", "mouthSmileRight"),
        ("browInnerUp_L", "browInnerUp"),
        ("viseme_aa", "viseme:aa"),
        ("vrc.v_ou", "viseme:u"),
        ("viseme_PP", "viseme:pp"),
        ("mouthOpen", "mouthopen"),
        ("Basis", None),
        ("Fcl_HA_Fung1", None),
        ("Fcl_MTH_A", "vrm:aa"),
        ("Face.M_F00_000_00_Fcl_EYE_Close_L", "vrm:blinkleft"),
    ],
)
def test_names_in_the_wild(name: str, meant: str | None) -> None:
    assert canonical(name) == meant


def test_arkit_names_are_played_as_they_are_and_nothing_else_changes(tmp_path: Path) -> None:
    source = rigged(tmp_path / "me.glb", [*ARKIT_NAMES[::-1], "hairLength"], bones=("Hips", "Head"))
    rig = read_rig(source)
    assert not rig.missing and not rig.replaced and len(rig.targets) == 52
    weights = arkit_weights(jawOpen=0.7, mouthPucker=0.3)
    pose = np.zeros((5, 6))
    pose[:, 1] = np.linspace(0, 0.3, 5)
    (tmp_path / "out.glb").write_bytes(rig.animated(weights, 30.0, pose))
    before, after = read_gltf(source), read_gltf(tmp_path / "out.glb")
    assert after.data[: len(before.data)] == before.data
    stripped = copy.deepcopy(after.root)
    for key in ("accessors", "bufferViews", "animations"):
        stripped[key] = stripped[key][: len(before.root[key])]
    stripped["buffers"] = before.root["buffers"]
    assert stripped == before.root
    animation = after.root["animations"][-1]
    sampler = {c["target"]["path"]: animation["samplers"][c["sampler"]] for c in animation["channels"]}
    played = after.accessor(sampler["weights"]["output"]).reshape(5, 53)
    np.testing.assert_allclose(played[:, :52], weights[:, ::-1], atol=1e-7)
    assert not played[:, 52].any()
    np.testing.assert_allclose(after.accessor(sampler["weights"]["input"]), np.arange(5) / 30, atol=1e-6)


def test_targets_that_move_nothing_are_as_if_they_were_not_there(tmp_path: Path) -> None:
    """VRoid's exporter writes all 52 names, the jaw's and others empty, beside vowels that do move."""
    names = [*ARKIT_NAMES, "Fcl_MTH_A", "Fcl_MTH_U"]
    source = rigged(tmp_path / "me.glb", names, empty=("jawOpen", "tongueOut", "mouthPucker"))
    rig = read_rig(source)
    assert rig.useful and rig.empty == ["jawOpen", "mouthPucker", "tongueOut"]
    assert rig.replaced["jawOpen"] == "vrm:aa" and rig.replaced["mouthPucker"] == "vrm:ou"
    assert rig.missing == ["tongueOut"] and any("named but empty: jawOpen" in line for line in rig.describe())
    (tmp_path / "out.glb").write_bytes(rig.animated(arkit_weights(jawOpen=0.5), 30.0, None))
    file = read_gltf(tmp_path / "out.glb")
    animation = file.root["animations"][-1]
    played = file.accessor(animation["samplers"][animation["channels"][0]["sampler"]]["output"]).reshape(5, 54)
    assert played[-1, 52] == pytest.approx(0.8) and not played[:, INDEX["jawOpen"]].any()
    only = read_rig(rigged(tmp_path / "shut.glb", ["jawOpen"], empty=("jawOpen",)))
    assert not only.useful


@pytest.mark.parametrize("aside", [0.0, 3.0])
def test_eyeballs_of_their_own_turn_about_their_middle(aside: float, tmp_path: Path) -> None:
    """As in files whose eyeLook targets move lids only; a mesh far from the node's origin would fly about."""
    source = read_gltf(rigged(tmp_path / "me.glb", list(ARKIT_NAMES)))
    root = source.root
    root["meshes"].append({"primitives": [{"attributes": dict(root["meshes"][0]["primitives"][0]["attributes"])}]})
    root["nodes"] += [
        {"name": "eyeLeft", "translation": [4.0, 5.0, 6.0], "children": [2]},
        {"mesh": 1, "translation": [aside - 0.5, -0.5, 0.0]},
    ]
    (tmp_path / "eyes.glb").write_bytes(source.container())
    rig = read_rig(tmp_path / "eyes.glb")
    assert rig.parts.turned == ({"leftEye"} if not aside else set()) and not rig.missing
    (tmp_path / "out.glb").write_bytes(rig.animated(arkit_weights(eyeLookUpLeft=1.0), 30.0, None))
    file = read_gltf(tmp_path / "out.glb")
    animation = file.root["animations"][-1]
    turned = [c for c in animation["channels"] if c["target"]["path"] == "rotation"]
    assert [c["target"]["node"] for c in turned] == ([1] if not aside else [])
    if not aside:
        x, y, z, w = file.accessor(animation["samplers"][turned[0]["sampler"]]["output"])[-1]
        assert np.degrees(2 * np.arcsin(x)) == pytest.approx(-26, abs=0.1) and abs(y) + abs(z) < 1e-6 and w > 0


def test_head_bone_turns_in_the_axes_of_the_face(tmp_path: Path) -> None:
    """A yaw of the head commutes with a bone that is itself turned about y: only the angle grows."""
    rig = read_rig(rigged(tmp_path / "me.glb", ["jawOpen"], bones=("mixamorig:Head",)))
    pose = np.zeros((5, 6))
    pose[:, 1] = np.linspace(0, 0.3, 5)
    (tmp_path / "out.glb").write_bytes(rig.animated(arkit_weights(), 30.0, pose))
    file = read_gltf(tmp_path / "out.glb")
    animation = file.root["animations"][-1]
    channel = next(c for c in animation["channels"] if c["target"]["path"] == "rotation")
    turned = file.accessor(animation["samplers"][channel["sampler"]]["output"])
    angle = 2 * np.arctan2(turned[:, 1], turned[:, 3])
    np.testing.assert_allclose(angle - angle[0], pose[:, 1], atol=1e-6)
    np.testing.assert_allclose(turned[0], [0, 0.6, 0, 0.8], atol=1e-6)


def test_a_jaw_bone_opens_where_no_target_does(tmp_path: Path) -> None:
    rig = read_rig(rigged(tmp_path / "me.glb", ["eyeBlinkLeft", "eyeBlinkRight"], bones=("Head", "Jaw", "LeftEye")))
    assert rig.replaced["jawOpen"] == "bone jaw" and rig.replaced["eyeLookUpLeft"] == "bone leftEye"
    assert "eyeLookUpRight" in rig.missing and rig.useful
    (tmp_path / "out.glb").write_bytes(rig.animated(arkit_weights(jawOpen=1.0), 30.0, None))
    file = read_gltf(tmp_path / "out.glb")
    animation = file.root["animations"][-1]
    nodes = {c["target"]["node"]: animation["samplers"][c["sampler"]]["output"] for c in animation["channels"]}
    jaw = file.accessor(nodes[2])
    assert np.abs(jaw[-1] - jaw[0]).max() > 0.05 and np.abs(np.linalg.norm(jaw, axis=1) - 1).max() < 1e-5


def test_oculus_visemes_speak(tmp_path: Path) -> None:
    names = [f"viseme_{v}" for v in ("sil", "PP", "FF", "aa", "E", "I", "O", "U")] + ["eyesClosed"]
    rig = read_rig(rigged(tmp_path / "me.glb", names))
    assert rig.useful and rig.replaced["eyeBlinkLeft"] == "eyesclosed"
    (tmp_path / "out.glb").write_bytes(
        rig.animated(arkit_weights(jawOpen=0.5, eyeBlinkLeft=1, eyeBlinkRight=1), 30.0, None)
    )
    file = read_gltf(tmp_path / "out.glb")
    played = file.accessor(file.root["animations"][-1]["samplers"][0]["output"]).reshape(5, len(names))
    assert played[-1, 3] == pytest.approx(0.8, abs=0.01)
    assert played[-1, 8] == pytest.approx(1.0)
    assert played[-1, [1, 2, 6, 7]].max() < 0.01


@pytest.mark.parametrize("version", [0, 1])
def test_vrm_expressions_speak(tmp_path: Path, version: int) -> None:
    names = ["Fcl_MTH_A", "Fcl_MTH_O", "Fcl_EYE_Close"]
    if version:
        binds = {
            name: {"morphTargetBinds": [{"node": 0, "index": k, "weight": 0.5}]} for k, name in enumerate(("aa", "oh"))
        }
        binds["blink"] = {"morphTargetBinds": [{"node": 0, "index": 2, "weight": 1.0}]}
        extensions: dict[str, Any] = {"VRMC_vrm": {"expressions": {"preset": binds}}}
    else:
        groups = [
            {"presetName": preset, "name": preset.upper(), "binds": [{"mesh": 0, "index": k, "weight": weight}]}
            for k, (preset, weight) in enumerate((("a", 50), ("o", 50), ("blink", 100)))
        ]
        extensions = {"VRM": {"blendShapeMaster": {"blendShapeGroups": groups}}}
    rig = read_rig(rigged(tmp_path / "me.vrm", names, extensions=extensions))
    assert rig.kind == f"VRM {version}" and rig.useful
    weights = arkit_weights(jawOpen=0.5, eyeBlinkLeft=0.8, eyeBlinkRight=0.8)
    (tmp_path / "out.vrm").write_bytes(rig.animated(weights, 25.0, None))
    file = read_gltf(tmp_path / "out.vrm")
    played = file.accessor(file.root["animations"][-1]["samplers"][0]["output"]).reshape(5, 3)
    np.testing.assert_allclose(played[-1], [0.4, 0, 0.8], atol=0.01)
    assert file.root["extensions"] == extensions


def test_what_cannot_speak_is_told(tmp_path: Path) -> None:
    rig = read_rig(rigged(tmp_path / "me.glb", ["hair", "Basis"]))
    assert not rig.useful
    with pytest.raises(InputError, match="character build"):
        rig.animated(arkit_weights(), 30.0, None)
    (tmp_path / "bad.glb").write_bytes(b"glTF but not really")
    with pytest.raises(InputError, match=r"bad\.glb"):
        read_rig(tmp_path / "bad.glb")


def test_perfect_sync_wins_over_vowels() -> None:
    recipes, replaced, missing = plan([*ARKIT_NAMES, "vrm:aa", "viseme:aa"])
    assert not replaced and not missing and "vrm:aa" not in recipes and "viseme:aa" not in recipes
