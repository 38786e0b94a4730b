"""The file is read back byte by byte here, and by the Khronos validator where node has it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from glb_reader import Glb, assert_clean

from parlante.core import Animation, InputError
from parlante.core.options import Fidelity
from parlante.export import AnimationInfo, FrameBlock, frame_blocks, save
from parlante.export.gltf import quaternions, split_seams
from parlante.export.outputs import write_all
from parlante.geometry.pose import rotation_matrices
from parlante.head import load_head
from parlante.head.arkit import ARKIT_NAMES


@pytest.fixture
def written(animation: Animation, info: AnimationInfo, tmp_path: Path) -> Path:
    write_all(info, frame_blocks(animation, 7), [tmp_path / "a.glb"])
    return tmp_path / "a.glb"


def test_the_khronos_validator_finds_nothing(written: Path) -> None:
    assert_clean(written)


def test_bare_variants_are_valid_too(animation: Animation, info: AnimationInfo, tmp_path: Path) -> None:
    first = {"vertices": animation.vertices[:1], "weights": animation.weights[:1]}
    bare = replace(animation, head_pose=None, albedo=None, wrinkle=None, **first)
    write_all(replace(info, albedo=None, has_pose=False, num_frames=1), frame_blocks(bare), [tmp_path / "a.glb"])
    assert_clean(tmp_path / "a.glb")


def test_a_shape_that_moves_nothing_is_valid_and_reported(
    animation: Animation, info: AnimationInfo, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = info.shapes.copy()
    shapes[3] = 0
    write_all(replace(info, shapes=shapes), frame_blocks(animation), [tmp_path / "a.glb"])
    assert ARKIT_NAMES[3] in caplog.text
    assert_clean(tmp_path / "a.glb")


def test_weights_times_targets_give_the_vertices(written: Path, animation: Animation, info: AnimationInfo) -> None:
    glb = Glb(written)
    mesh = glb.root["meshes"][0]
    assert tuple(mesh["extras"]["targetNames"]) == ARKIT_NAMES
    corners, _ = split_seams(info.topology)
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


def test_every_triangle_is_worn_once_and_texture_is_upside_down(written: Path, info: AnimationInfo) -> None:
    glb = Glb(written)
    primitives = glb.root["meshes"][0]["primitives"]
    corners, _ = split_seams(info.topology)
    count = sum(glb.root["accessors"][primitive["indices"]]["count"] for primitive in primitives)
    assert count == info.topology.triangles.size
    assert {material["name"] for material in glb.root["materials"]} == {"skin", "eyes"}
    uv = glb.array(primitives[0]["attributes"]["TEXCOORD_0"])
    wanted = info.topology.uv[corners[:, 1]]
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


def test_weights_without_shapes_are_refused(animation: Animation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="blendshape weights"):
        save(animation, tmp_path / "a.glb", fidelity=Fidelity(motion="weights"))
    assert not list(tmp_path.iterdir())


def played(path: Path) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Vertices at every key, target names and key times, from the file alone."""
    glb = Glb(path)
    mesh, animated = glb.root["meshes"][0], glb.root["animations"][0]
    samplers = {channel["target"]["path"]: animated["samplers"][channel["sampler"]] for channel in animated["channels"]}
    first = mesh["primitives"][0]
    targets = np.stack([glb.array(target["POSITION"]) for target in first["targets"]])
    weights = glb.array(samplers["weights"]["output"]).reshape(-1, len(targets))
    times = glb.array(samplers["weights"]["input"])[:, 0]
    vertices = glb.array(first["attributes"]["POSITION"]) + np.tensordot(weights, targets, 1)
    return vertices, mesh["extras"]["targetNames"], times


@pytest.mark.parametrize("error", [1e-3, 1e-5])
def test_any_motion_is_played_within_the_stated_error(error: float, animation: Animation, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    moves = rng.normal(size=(9, 144, 3)) * 0.004
    walk = np.cumsum(rng.normal(size=(700, 9)), axis=0) * 0.1
    walk[300:303] += 5  # too few frames to be among the sample's largest components
    vertices = (animation.neutral + np.tensordot(walk, moves, 1)).astype(np.float32)
    vertices[641, 30] += 0.05  # seen in one frame only, and that between the sampled ones
    bare = replace(animation, vertices=vertices, weights=None, weight_names=(), head_pose=None, wrinkle=None)
    save(bare, tmp_path / "a.glb", fidelity=Fidelity(error=1000 * error))
    seen, names, _ = played(tmp_path / "a.glb")
    corners, _ = split_seams(bare.topology)
    away = np.linalg.norm(seen - vertices[:, corners[:, 0]], axis=-1)
    facts = Glb(tmp_path / "a.glb").root["asset"]["extras"]["parlante"]["basis"]
    assert facts["targets"] == len(names) <= 16
    assert facts["worst_m"] <= error
    # a sparse target leaves out what moves less than a micrometre
    assert away.max() <= facts["worst_m"] + 20e-6 and abs(away.mean() - facts["mean_m"]) < 5e-6
    assert_clean(tmp_path / "a.glb")


def test_what_vertices_do_beyond_the_weights_gets_its_own_targets(
    animation: Animation, info: AnimationInfo, tmp_path: Path
) -> None:
    extra = animation.vertices.copy()
    extra[:, 40:50] += 0.01 * np.sin(np.arange(20))[:, None, None]
    beyond = replace(animation, vertices=extra.astype(np.float32))
    write_all(info, frame_blocks(beyond, 7), [tmp_path / "a.glb"], fidelity=Fidelity(motion="vertices", error=0.1))
    seen, names, _ = played(tmp_path / "a.glb")
    assert tuple(names[:52]) == ARKIT_NAMES and names[52:] == ["beyond_00"]
    corners, _ = split_seams(info.topology)
    assert np.linalg.norm(seen - extra[:, corners[:, 0]], axis=-1).max() < 1.5e-4
    assert_clean(tmp_path / "a.glb")


def test_fewer_keys_stay_within_the_error(animation: Animation, info: AnimationInfo, tmp_path: Path) -> None:
    smooth = 0.5 + 0.4 * np.sin(np.arange(20)[:, None] / 8 + np.arange(52) / 9).astype(np.float32)
    calm = replace(animation, weights=smooth, head_pose=None)
    write_all(info, frame_blocks(calm, 7), [tmp_path / "a.glb"], fidelity=Fidelity(reduce=0.01))
    glb = Glb(tmp_path / "a.glb")
    sampler = glb.root["animations"][0]["samplers"][0]
    times = glb.array(sampler["input"])[:, 0]
    weights = glb.array(sampler["output"]).reshape(-1, 52)
    assert len(times) <= 10 and glb.root["asset"]["extras"]["parlante"]["keys_error"] == 0.01
    frames = np.arange(20) / 30
    drawn = np.stack([np.interp(frames, times, column) for column in weights.T], axis=1)
    assert np.abs(drawn - smooth).max() <= 0.01 + 1e-5
    assert_clean(tmp_path / "a.glb")


def test_a_skin_video_beside_it_is_named_in_the_material(
    animation: Animation, info: AnimationInfo, tmp_path: Path
) -> None:
    write_all(info, frame_blocks(animation, 7), [tmp_path / "a.glb", tmp_path / "a.skin.mp4"])
    glb = Glb(tmp_path / "a.glb")
    skin = glb.root["materials"][0]
    assert skin["extras"]["parlante_skin_video"] == {
        "uri": "a.skin.mp4", "fps": 30.0, "frames": 20, "fallback": "baseColorTexture"
    }  # fmt: skip
    assert "baseColorTexture" in skin["pbrMetallicRoughness"]
    assert_clean(tmp_path / "a.glb")
    write_all(info, frame_blocks(animation, 7), [tmp_path / "b.glb", tmp_path / "a.skin.webm"])
    assert "extras" not in Glb(tmp_path / "b.glb").root["materials"][0]


def test_the_skin_video_shows_the_wrinkled_skin(animation: Animation, info: AnimationInfo, tmp_path: Path) -> None:
    import av

    from parlante.geometry.uv.ratio import apply_ratio

    rows, columns = np.mgrid[0:64, 0:64]
    albedo = np.stack([90 + rows, 160 - columns, 100 + 0 * rows], axis=-1).astype(np.uint8)
    wrinkle = np.full((20, 16, 16, 3), 118, np.uint8)
    wrinkle[10:] = 100
    plain = replace(animation, wrinkle=wrinkle)
    write_all(replace(info, albedo=albedo), frame_blocks(plain, 7), [tmp_path / "a.skin.mp4"])
    with av.open(str(tmp_path / "a.skin.mp4")) as file:
        assert len(file.streams.audio) == 1
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in file.decode(video=0)]
    assert len(frames) == 20
    for number in (0, 15):
        assert np.abs(frames[number] - apply_ratio(albedo, wrinkle[number]).astype(int)).mean() < 3


def test_the_embedded_head_moves_with_every_target(tmp_path: Path) -> None:
    head = load_head()
    name = head.identity_names[0]
    weights = np.eye(52, dtype=np.float32)
    info = AnimationInfo(
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
    write_all(info, [FrameBlock(0, head.deform(name, weights), None, weights, pose)], [tmp_path / "a.glb"])
    glb = Glb(tmp_path / "a.glb")
    primitives = glb.root["meshes"][0]["primitives"]
    reach = [np.abs(glb.array(target["POSITION"])).max() for target in primitives[0]["targets"]]
    assert min(reach) > 5e-4, f"{ARKIT_NAMES[int(np.argmin(reach))]} moves half a millimetre at most"
    assert len(glb.root["materials"]) == 4
    assert (tmp_path / "a.glb").stat().st_size < 3e6
    assert_clean(tmp_path / "a.glb")
