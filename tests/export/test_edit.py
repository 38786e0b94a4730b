"""Edits keep what they do not change, hold their bounds, and do not depend on where blocks were cut."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from parlante.core import Animation, InputError
from parlante.core.notes import gathered
from parlante.export import AnimationInfo, edit, frame_blocks
from parlante.export.calibration import Calibration
from parlante.geometry.blendshape_solver import opposed_pairs


def collect(stream: edit.Stream) -> tuple[AnimationInfo, dict[str, np.ndarray]]:
    """All frames, and proof that they are numbered without gaps and as many as announced."""
    info, blocks = stream
    rows: dict[str, list[np.ndarray]] = {name: [] for name in ("vertices", "wrinkle", "weights", "head_pose")}
    at = 0
    for block in blocks:
        assert block.start == at
        at += len(block)
        for name, parts in rows.items():
            if getattr(block, name) is not None:
                parts.append(getattr(block, name))
    assert at == info.num_frames
    return info, {name: np.concatenate(parts) for name, parts in rows.items() if parts}


@pytest.mark.parametrize("fps", [25.0, 60.0, 24.0, 120.0])
def test_another_rate_is_the_same_motion(fps: float, info: AnimationInfo, animation: Animation) -> None:
    facts, whole = collect(edit.resampled(info, frame_blocks(animation, 100), fps))
    assert facts.fps == fps and abs(facts.duration - info.duration) <= 1 / fps
    _, pieces = collect(edit.resampled(info, frame_blocks(animation, 3), fps))
    for name in whole:
        np.testing.assert_allclose(pieces[name], whole[name], atol=1e-6)
    seconds = np.minimum(np.arange(facts.num_frames) / fps, 19 / 30)
    inner = (seconds > 2 / 30) & (seconds < 17 / 30)
    wanted = PchipInterpolator(np.arange(20) / 30, animation.weights)(seconds)
    near = np.abs(whole["weights"] - wanted)[inner].max()
    assert near < 1e-5 and whole["weights"].min() >= 0 and whole["weights"].max() <= 1
    posed = animation.neutral + np.tensordot(whole["weights"], info.shapes, 1)
    np.testing.assert_allclose(whole["vertices"], posed, atol=1e-6)


def test_a_rate_back_and_forth_returns(info: AnimationInfo, animation: Animation) -> None:
    there = edit.resampled(info, frame_blocks(animation, 4), 60.0)
    _, back = collect(edit.resampled(*there, 30.0))
    np.testing.assert_allclose(back["weights"], animation.weights, atol=1e-6)
    np.testing.assert_allclose(back["vertices"], animation.vertices, atol=1e-6)
    np.testing.assert_array_equal(back["wrinkle"], animation.wrinkle)


def test_gains_reach_weights_vertices_pose_and_wrinkles(info: AnimationInfo, animation: Animation) -> None:
    _, rows = collect(edit.scaled(info, frame_blocks(animation, 6), {"jaw": 0.5, "head": 2.0, "wrinkles": 0.0}))
    names = np.array(info.weight_names)
    jaw = np.char.startswith(names, "jaw")
    np.testing.assert_allclose(rows["weights"][:, jaw], animation.weights[:, jaw] * 0.5)
    np.testing.assert_array_equal(rows["weights"][:, ~jaw], animation.weights[:, ~jaw])
    posed = animation.neutral + np.tensordot(rows["weights"], info.shapes, 1)
    np.testing.assert_allclose(rows["vertices"], posed, atol=1e-6)
    np.testing.assert_allclose(rows["head_pose"], animation.head_pose * 2)
    assert (rows["wrinkle"] == 118).all()


def test_a_region_is_scaled_softly_where_there_are_no_weights(info: AnimationInfo, animation: Animation) -> None:
    bare = replace(info, weight_names=(), shapes=None)
    plain = replace(animation, weights=None, weight_names=())
    _, rows = collect(edit.scaled(bare, frame_blocks(plain), {"eyeball_left": 0.0}))
    before = np.linalg.norm(animation.vertices - animation.neutral, axis=-1).mean(0)
    after = np.linalg.norm(rows["vertices"] - animation.neutral, axis=-1).mean(0)
    assert after[info.topology.regions["eyeball_left"]].max() < 1e-7
    around = np.arange(108, 120)
    assert (after[around] < 0.9 * before[around]).all() and (after[around] > 0.1 * before[around]).all()
    np.testing.assert_allclose(after[:36], before[:36], rtol=1e-4)  # rows of the sheet that are far away


def test_a_gain_that_fits_nothing_names_what_there_is(info: AnimationInfo, animation: Animation) -> None:
    with pytest.raises(InputError, match=r"'chin'.*jawOpen"):
        edit.scaled(info, frame_blocks(animation), {"chin": 2.0})
    with pytest.raises(InputError, match=r"0\.\.10"):
        edit.scaled(info, frame_blocks(animation), {"jaw": -1.0})


def test_calibration_moves_the_vertices_too(info: AnimationInfo, animation: Animation) -> None:
    limits = Calibration({"jawOpen": {"max": 0.2}})
    _, rows = collect(edit.calibrated(info, frame_blocks(animation, 6), limits))
    assert rows["weights"][:, info.weight_names.index("jawOpen")].max() <= np.float32(0.2)
    posed = animation.neutral + np.tensordot(rows["weights"], info.shapes, 1)
    np.testing.assert_allclose(rows["vertices"], posed, atol=1e-6)


def test_solved_weights_pose_the_same_vertices(info: AnimationInfo, animation: Animation) -> None:
    bare = replace(info, weight_names=(), shapes=None)
    weights = animation.weights.copy()
    weights[:, [other for _, other in opposed_pairs(info.weight_names)]] = 0  # what no solution has on together
    vertices = (animation.neutral + np.tensordot(weights, info.shapes, 1)).astype(np.float32)
    plain = replace(animation, vertices=vertices, weights=None, weight_names=())
    facts, rows = collect(edit.with_weights(bare, frame_blocks(plain, 7), info.shapes, info.weight_names))
    posed = animation.neutral + np.tensordot(rows["weights"], facts.shapes, 1)
    assert np.linalg.norm(posed - vertices, axis=-1).mean() < 1e-3
    with pytest.raises(InputError, match=r"\(K, 144, 3\)"):
        edit.with_weights(bare, frame_blocks(plain), info.shapes[:, :100], info.weight_names)


def test_shapes_of_a_character_return_to_the_unit_and_axes_of_its_file(info: AnimationInfo, tmp_path: Path) -> None:
    turn, scale = Rotation.from_euler("xyz", [90, 20, -30], degrees=True).as_matrix(), 0.013
    stored = (1000 * scale * info.shapes @ turn.T).astype(np.float32)
    np.savez(tmp_path / "shapes.npz", millimetres=stored, names=np.array(info.weight_names))
    (tmp_path / "config.json").write_text(json.dumps({"rotation": turn.tolist(), "scale": scale}))
    shapes, names = edit.read_shapes(tmp_path)
    assert names == info.weight_names
    np.testing.assert_allclose(shapes, info.shapes, atol=1e-7)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="character build"):
        edit.read_shapes(tmp_path)


def test_trimming_cuts_frames_and_sound_together(info: AnimationInfo, animation: Animation) -> None:
    facts, rows = collect(edit.trimmed(info, frame_blocks(animation, 6), 0.2, 0.5))
    np.testing.assert_array_equal(rows["vertices"], animation.vertices[6:15])
    np.testing.assert_array_equal(facts.audio, animation.audio[3200:8000])
    with pytest.raises(InputError, match="nothing"):
        edit.trimmed(info, frame_blocks(animation), 3.0)
    for wrong in (-1.0, float("nan")):
        with pytest.raises(InputError, match="must not be negative"):
            edit.trimmed(info, frame_blocks(animation), wrong)
        with pytest.raises(InputError, match="must not be negative"):
            edit.trimmed(info, frame_blocks(animation), 0.0, wrong)
        with pytest.raises(InputError, match="must not be negative"):
            edit.faded(info, frame_blocks(animation), wrong)
        with pytest.raises(InputError, match="must not be negative"):
            edit.concatenated([(info, frame_blocks(animation))], wrong)


def test_fades_begin_and_end_at_rest(info: AnimationInfo, animation: Animation) -> None:
    _, rows = collect(edit.faded(info, frame_blocks(animation, 6), 0.1, 0.2))
    for frame in (0, -1):
        np.testing.assert_allclose(rows["vertices"][frame], animation.neutral, atol=1e-6)
        assert (rows["weights"][frame] == 0).all() and (rows["head_pose"][frame] == 0).all()
        assert (rows["wrinkle"][frame] == 118).all()
    np.testing.assert_array_equal(rows["vertices"][5:12], animation.vertices[5:12])


def test_joined_takes_cross_over_without_a_jump(info: AnimationInfo, animation: Animation) -> None:
    overlap = 6
    streams = [(info, frame_blocks(animation, size)) for size in (7, 3)]
    facts, rows = collect(edit.concatenated(streams, overlap / 30))
    assert facts.num_frames == 40 - overlap
    assert len(facts.audio) == round(facts.duration * 16000)
    np.testing.assert_array_equal(rows["vertices"][:14], animation.vertices[:14])
    np.testing.assert_array_equal(rows["vertices"][20:], animation.vertices[6:])
    middle = rows["weights"][14:20]
    low = np.minimum(animation.weights[14:20], animation.weights[:6]) - 1e-6
    high = np.maximum(animation.weights[14:20], animation.weights[:6]) + 1e-6
    assert ((middle >= low) & (middle <= high)).all()
    plain, rows = collect(edit.concatenated([(info, frame_blocks(animation)) for _ in range(3)]))
    assert plain.num_frames == 60
    np.testing.assert_array_equal(rows["vertices"], np.tile(animation.vertices, (3, 1, 1)))


def test_only_one_face_can_be_joined(info: AnimationInfo, animation: Animation) -> None:
    other = replace(info, neutral=info.neutral * 1.1)
    with pytest.raises(InputError, match="face at rest"):
        edit.concatenated([(info, frame_blocks(animation)), (other, frame_blocks(animation))])
    with pytest.raises(InputError, match="too short"):
        edit.concatenated([(info, frame_blocks(animation)), (info, frame_blocks(animation))], 0.5)


def test_without_pose(info: AnimationInfo, animation: Animation) -> None:
    facts, rows = collect(edit.without_pose(info, frame_blocks(animation)))
    assert not facts.has_pose and "head_pose" not in rows


def test_a_mirrored_performance(info: AnimationInfo, animation: Animation) -> None:
    """Left becomes right; twice is as before; the head turns to the other side."""
    assert animation.weights is not None and animation.head_pose is not None
    with gathered(log=False) as notes:
        once = edit.mirrored(info, frame_blocks(animation, 7))
        _, rows = collect(once)
    names = list(info.weight_names)
    for one, other in (("jawLeft", "jawRight"), ("eyeLookInLeft", "eyeLookInRight"), ("jawOpen", "jawOpen")):
        np.testing.assert_array_equal(rows["weights"][:, names.index(one)], animation.weights[:, names.index(other)])
    np.testing.assert_allclose(rows["head_pose"], animation.head_pose * [1, -1, -1, -1, 1, 1])
    posed = animation.neutral + np.tensordot(rows["weights"], info.shapes, 1)
    np.testing.assert_allclose(rows["vertices"], posed, atol=1e-5)
    assert len(notes) == 1 and "stay as they are" in notes[0]
    with pytest.raises(InputError, match="only weights can be mirrored"):
        edit.mirrored(replace(info, weight_names=(), shapes=None), frame_blocks(animation))
