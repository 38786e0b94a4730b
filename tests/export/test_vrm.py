"""VRM files, read back from their JSON and buffers; valid glTF underneath."""

from pathlib import Path

import numpy as np
import pytest
from glb_reader import Glb, assert_clean

from parlante.audio.phones import Phone
from parlante.core import Animation, InputError
from parlante.core.options import Fidelity
from parlante.export import AnimationInfo, frame_blocks, save
from parlante.export.outputs import write_all
from parlante.export.vrm import PRESETS, VOWELS, preset_weights
from parlante.head.arkit import ARKIT_NAMES, INDEX
from parlante.synth.articulation import articulate

REQUIRED = {"hips", "spine", "head"} | {
    f"{side}{bone}"
    for side in ("left", "right")
    for bone in ("UpperLeg", "LowerLeg", "Foot", "UpperArm", "LowerArm", "Hand")
}
PRESET_NAMES = {
    *("happy", "angry", "sad", "relaxed", "surprised", "aa", "ih", "ou", "ee", "oh", "blink", "blinkLeft"),
    *("blinkRight", "lookUp", "lookDown", "lookLeft", "lookRight", "neutral"),
}


def worlds(nodes: list[dict]) -> dict[int, np.ndarray]:
    """Place of every node, by adding translations down the tree; fails on a node with two parents."""
    parents: dict[int, int] = {}
    for number, node in enumerate(nodes):
        for child in node.get("children", ()):
            assert child not in parents
            parents[child] = number

    def place(number: int) -> np.ndarray:
        here = np.array(nodes[number].get("translation", (0, 0, 0)), float)
        return here + place(parents[number]) if number in parents else here

    return {number: place(number) for number in range(len(nodes))}


def test_an_avatar_has_expressions_on_its_targets_and_a_whole_skeleton(
    info: AnimationInfo, animation: Animation, tmp_path: Path
) -> None:
    write_all(info, frame_blocks(animation, 7), [tmp_path / "a.vrm"])
    glb = Glb(tmp_path / "a.vrm")
    assert glb.root["extensionsUsed"] == ["VRMC_vrm"]
    vrm = glb.root["extensions"]["VRMC_vrm"]
    assert vrm["specVersion"] == "1.0"
    assert {"name", "authors", "licenseUrl"} <= vrm["meta"].keys() and "commercialUsage" not in vrm["meta"]
    assert set(vrm["expressions"]["preset"]) == PRESET_NAMES == set(PRESETS)
    assert tuple(vrm["expressions"]["custom"]) == ARKIT_NAMES
    names = glb.root["meshes"][0]["extras"]["targetNames"]
    for table in vrm["expressions"].values():
        for name, expression in table.items():
            for bind in expression["morphTargetBinds"]:
                assert glb.root["nodes"][bind["node"]]["name"] == "Face" and 0 < bind["weight"] <= 1
                wanted = PRESETS[name][names[bind["index"]]] if name in PRESETS else 1.0
                assert bind["weight"] == wanted
    bones = {bone: entry["node"] for bone, entry in vrm["humanoid"]["humanBones"].items()}
    assert bones.keys() >= REQUIRED and len(set(bones.values())) == len(bones)
    at = worlds(glb.root["nodes"])
    assert at[bones["head"]][1] > at[bones["hips"]][1] > at[bones["leftFoot"]][1] >= 0
    assert at[bones["leftHand"]][0] > 0 > at[bones["rightHand"]][0]
    assert glb.root["nodes"][bones["head"]]["name"] == "Head", "the joint that the mesh follows"
    assert_clean(tmp_path / "a.vrm")


def animated(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """Expression weights by name, from the translations of their nodes."""
    glb = Glb(path)
    extension = glb.root["extensions"]["VRMC_vrm_animation"]
    animation = glb.root["animations"][0]
    outputs = {
        (channel["target"]["node"], channel["target"]["path"]): glb.array(
            animation["samplers"][channel["sampler"]]["output"]
        )
        for channel in animation["channels"]
    }
    found = {}
    for table in extension["expressions"].values():
        for name, entry in table.items():
            shifts = outputs[entry["node"], "translation"]
            assert (shifts[:, 1:] == 0).all()
            found[name] = shifts[:, 0]
    assert (extension["humanoid"]["humanBones"]["head"]["node"], "rotation") in outputs
    assert extension["humanoid"]["humanBones"].keys() >= REQUIRED
    return found, extension


def test_an_animation_for_perfect_sync_holds_the_weights(
    info: AnimationInfo, animation: Animation, tmp_path: Path
) -> None:
    write_all(info, frame_blocks(animation, 7), [tmp_path / "a.arkit.vrma"])
    found, extension = animated(tmp_path / "a.arkit.vrma")
    assert set(extension["expressions"]) == {"custom"}
    for column, name in enumerate(ARKIT_NAMES):
        np.testing.assert_array_equal(found[name], animation.weights[:, column])
    assert_clean(tmp_path / "a.arkit.vrma")


def test_an_animation_for_any_avatar_holds_vowels_and_blinks(
    info: AnimationInfo, animation: Animation, tmp_path: Path
) -> None:
    write_all(info, frame_blocks(animation, 7), [tmp_path / "a.vrma"], fidelity=Fidelity(reduce=0.05))
    found, extension = animated(tmp_path / "a.vrma")
    assert set(extension["expressions"]) == {"preset"}
    assert set(found) == {*VOWELS, "blinkLeft", "blinkRight"}
    assert all((values >= 0).all() and (values <= 1).all() for values in found.values())
    assert_clean(tmp_path / "a.vrma")


def test_vowels_come_back_and_closed_lips_are_no_vowel() -> None:
    pure = np.zeros((5, 52), np.float32)
    for row, vowel in enumerate(VOWELS):
        for name, weight in PRESETS[vowel].items():
            pure[row, INDEX[name]] = weight
    found = preset_weights(pure, ARKIT_NAMES)
    np.testing.assert_allclose(np.stack([found[vowel] for vowel in VOWELS], 1), np.eye(5), atol=0.03)
    phones = [Phone(symbol, 0.2 * n, 0.2 * (n + 1)) for n, symbol in enumerate(("aa", "p", "uw", "iy"))]
    spoken = preset_weights(articulate(phones, [0.1, 0.292, 0.5, 0.7]), ARKIT_NAMES)
    loudest = [max(VOWELS, key=lambda vowel: spoken[vowel][row]) for row in range(4)]
    assert (loudest[0], loudest[2], loudest[3]) == ("aa", "ou", "ee")
    assert spoken["aa"][1] < 0.1 and spoken["oh"][1] < 0.15


def test_what_cannot_be_an_avatar_is_refused(animation: Animation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"shapes of the weights.*\.vrma"):
        save(animation, tmp_path / "a.vrm")
    save(animation, tmp_path / "a.vrma")  # an animation needs no shapes
