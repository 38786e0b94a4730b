"""The 61 columns in the app's own order, written by name."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parlante.core import Animation, InputError
from parlante.core.notes import gathered
from parlante.export import AnimationInfo, FrameBlock, save
from parlante.export.livelink_csv import COLUMNS, timecode
from parlante.export.outputs import write_all

HEADER = (
    "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,EyeLookUpLeft,EyeSquintLeft,"
    "EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,EyeLookOutRight,EyeLookUpRight,EyeSquintRight,"
    "EyeWideRight,JawForward,JawRight,JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,"
    "MouthSmileLeft,MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,MouthStretchLeft,"
    "MouthStretchRight,MouthRollLower,MouthRollUpper,MouthShrugLower,MouthShrugUpper,MouthPressLeft,MouthPressRight,"
    "MouthLowerDownLeft,MouthLowerDownRight,MouthUpperUpLeft,MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,"
    "BrowOuterUpLeft,BrowOuterUpRight,CheekPuff,CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,TongueOut,"
    "HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
)


def test_header_and_rows(animation: Animation, tmp_path: Path) -> None:
    save(replace(animation, provenance={"asked_fps": animation.fps}), tmp_path / "a.csv")
    text = (tmp_path / "a.csv").read_text()
    assert text.splitlines()[0] == HEADER
    rows = list(csv.DictReader(text.splitlines()))
    assert len(rows) == 20
    for frame, row in enumerate(rows):
        assert row["BlendShapeCount"] == "61"
        assert row["Timecode"] == f"00:00:00:{frame:02d}.000"
        for column, name in enumerate(animation.weight_names):
            value = row[name[0].upper() + name[1:]]
            assert abs(float(value) - animation.weights[frame, column]) < 1e-7, name
            assert len(value.split(".")[1]) == 10


def test_readers_that_count_sixtieths_place_every_row(animation: Animation, tmp_path: Path) -> None:
    """Whatever the animation's own rate, the file has 60 rows a second that pass through its frames."""
    assert animation.fps == 30
    save(animation, tmp_path / "a.csv")
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert len(rows) == 40 and animation.weights is not None
    for number, row in enumerate(rows):
        hours, minutes, seconds, frames = row["Timecode"].split(":")
        assert ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 60 + int(float(frames)) == number
    jaw = np.array([float(row["JawOpen"]) for row in rows])
    own = animation.weights[:, animation.weight_names.index("jawOpen")]
    np.testing.assert_allclose(jaw[::2], own, atol=1e-6)
    between = jaw[1:-1:2]
    assert (between <= np.maximum(own[:-1], own[1:]) + 1e-6).all(), "it never overshoots"


def test_between_frames_opposed_curves_are_not_on_together(info: AnimationInfo, tmp_path: Path) -> None:
    weights = np.zeros((4, 52), np.float32)
    weights[:2, info.weight_names.index("jawLeft")] = 0.4
    weights[2:, info.weight_names.index("jawRight")] = 0.3
    blocks = [FrameBlock(0, np.repeat(info.neutral[None], 4, 0), None, weights)]
    write_all(replace(info, num_frames=4, fps=30.0), blocks, [tmp_path / "a.csv"])
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    both = [(float(row["JawLeft"]), float(row["JawRight"])) for row in rows]
    assert len(both) == 8 and all(min(pair) == 0 for pair in both) and max(map(max, both)) == pytest.approx(0.4)


def test_another_rate_is_told(animation: Animation, tmp_path: Path) -> None:
    take = replace(animation, fps=24.0, provenance={"asked_fps": 24.0})
    with gathered(log=False) as notes:
        save(take, tmp_path / "a.csv")
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 21
    assert notes == ["a.csv: 24 rows a second, as asked; readers of Live Link takes expect 60"]


def test_left_and_right_do_not_trade_places(info: AnimationInfo, tmp_path: Path) -> None:
    weights = np.zeros((1, 52), np.float32)
    weights[0, info.weight_names.index("jawLeft")] = 1
    weights[0, info.weight_names.index("mouthRight")] = 0.5
    write_all(replace(info, num_frames=1), [FrameBlock(0, info.neutral[None], None, weights)], [tmp_path / "a.csv"])
    cells = (tmp_path / "a.csv").read_text().splitlines()[1].split(",")
    assert [float(cells[COLUMNS.index(name)]) for name in ("JawRight", "JawLeft", "MouthRight", "MouthLeft")] == [
        0, 1, 0.5, 0
    ]  # fmt: skip


def test_angles_have_the_apps_signs(info: AnimationInfo, tmp_path: Path) -> None:
    """In the app's takes looking up is negative pitch and looking to the character's left is negative yaw."""
    weights = np.zeros((1, 52), np.float32)
    for name in ("eyeLookUpLeft", "eyeLookOutLeft", "eyeLookInRight"):
        weights[0, info.weight_names.index(name)] = 1
    pose = np.array([[0.1, 0.2, 0.3, 0, 0, 0]], np.float32)  # nods down, turns left, tips right
    write_all(
        replace(info, num_frames=1), [FrameBlock(0, info.neutral[None], None, weights, pose)], [tmp_path / "a.csv"]
    )
    row = next(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert float(row["LeftEyePitch"]) < 0 and float(row["LeftEyeYaw"]) < 0 and float(row["RightEyeYaw"]) < 0
    assert float(row["HeadPitch"]) == pytest.approx(0.1) and float(row["HeadYaw"]) == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("frame", "fps", "wanted"),
    [
        (0, 30, "00:00:00:00.000"),
        (95, 30, "00:00:03:05.000"),
        (108000, 30, "01:00:00:00.000"),
        (1, 23.976, "00:00:00:01.001"),
    ],
)
def test_timecodes(frame: int, fps: float, wanted: str) -> None:
    assert timecode(frame, fps) == wanted


def test_an_animation_without_weights_is_refused(animation: Animation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no blendshape weights"):
        save(replace(animation, weights=None, weight_names=()), tmp_path / "a.csv")
    assert not list(tmp_path.iterdir())
