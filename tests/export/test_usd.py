"""USD stages, opened by usd-core: its own validators find nothing, and its own skinning gives our vertices."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parlante.core import Animation, InputError
from parlante.core.options import Fidelity
from parlante.export import AnimationInfo, frame_blocks, save
from parlante.export.outputs import write_all
from parlante.geometry.pose import apply_head_pose, neck_weights
from parlante.head.arkit import ARKIT_NAMES

pytest.importorskip("pxr", reason="USD needs usd-core: pip install 'parlante[usd]'")
from pxr import Usd, UsdGeom, UsdMedia, UsdShade, UsdSkel, UsdValidation


def findings(path: Path) -> list[str]:
    """What USD's validators say."""
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    assert len(validators) > 10
    errors = UsdValidation.ValidationContext(validators).Validate(Usd.Stage.Open(str(path)))
    return [f"{error.GetName()}: {error.GetMessage()}" for error in errors]


def skinned(stage: Usd.Stage, frame: float) -> np.ndarray:
    """Points of the mesh as USD poses them: blend shapes first, then joints."""
    prim = stage.GetPrimAtPath("/Face/Mesh")
    root = UsdSkel.Root(stage.GetPrimAtPath("/Face"))
    cache = UsdSkel.Cache()
    cache.Populate(root, Usd.PrimDefaultPredicate)
    skeleton = cache.GetSkelQuery(UsdSkel.Skeleton(stage.GetPrimAtPath("/Face/Skeleton")))
    query, animation = cache.GetSkinningQuery(prim), skeleton.GetAnimQuery()
    weights = query.GetBlendShapeMapper().Remap(animation.ComputeBlendShapeWeights(frame))
    shapes = UsdSkel.BlendShapeQuery(UsdSkel.BindingAPI(prim))
    sub_weights, blend, sub = shapes.ComputeSubShapeWeights(weights)
    points = UsdGeom.Mesh(prim).GetPointsAttr().Get()
    assert shapes.ComputeDeformedPoints(
        sub_weights, blend, sub, shapes.ComputeBlendShapePointIndices(), shapes.ComputeSubShapePointOffsets(), points
    )
    assert query.ComputeSkinnedPoints(skeleton.ComputeSkinningTransforms(frame), points, frame)
    return np.array(points)


@pytest.mark.parametrize("suffix", [".usda", ".usdc", ".usd", ".usdz"])
@pytest.mark.parametrize("motion", ["weights", "vertices"])
def test_the_validators_find_nothing(
    suffix: str, motion: str, info: AnimationInfo, animation: Animation, tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    write_all(info, frame_blocks(animation, 7), [path], fidelity=Fidelity(motion=motion))
    assert not findings(path)
    names = {entry.name for entry in tmp_path.iterdir()}
    assert names == ({"a.usdz"} if suffix == ".usdz" else {f"a{suffix}", "a.albedo.png", "a.sound.wav"})


def test_a_recording_of_the_same_name_is_left_alone(info: AnimationInfo, animation: Animation, tmp_path: Path) -> None:
    (tmp_path / "line.wav").write_bytes(b"the only copy")
    write_all(info, frame_blocks(animation), [tmp_path / "line.usda"])
    assert (tmp_path / "line.wav").read_bytes() == b"the only copy"


def test_the_validators_would_find_something(info: AnimationInfo, animation: Animation, tmp_path: Path) -> None:
    write_all(info, frame_blocks(animation), [tmp_path / "a.usda"])
    text = (tmp_path / "a.usda").read_text().replace('defaultPrim = "Face"', "").replace("metersPerUnit = 1", "")
    (tmp_path / "b.usda").write_text(text)
    assert findings(tmp_path / "b.usda")


def test_blend_shapes_and_head_joint_give_the_vertices(
    info: AnimationInfo, animation: Animation, tmp_path: Path
) -> None:
    still = replace(animation, head_pose=None)
    write_all(info, frame_blocks(still, 7), [tmp_path / "still.usdc"])
    stage = Usd.Stage.Open(str(tmp_path / "still.usdc"))
    assert stage.GetTimeCodesPerSecond() == 30 and stage.GetEndTimeCode() == 19
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1 and UsdGeom.GetStageUpAxis(stage) == "Y"
    speech = UsdSkel.Animation(stage.GetPrimAtPath("/Face/Speech"))
    assert tuple(speech.GetBlendShapesAttr().Get()) == ARKIT_NAMES
    for frame in (0, 13, 19):
        np.testing.assert_allclose(skinned(stage, frame), animation.vertices[frame], atol=3e-5)
    write_all(info, frame_blocks(animation, 7), [tmp_path / "posed.usdc"])
    stage = Usd.Stage.Open(str(tmp_path / "posed.usdc"))
    whole = neck_weights(animation.neutral, info.pivot, info.topology) >= 1
    posed = apply_head_pose(animation.vertices, animation.head_pose, info.pivot)
    assert whole.any()
    np.testing.assert_allclose(skinned(stage, 7)[whole], posed[7][whole], atol=3e-5)


def test_points_are_the_posed_vertices(info: AnimationInfo, animation: Animation, tmp_path: Path) -> None:
    write_all(info, frame_blocks(animation, 7), [tmp_path / "a.usdc"], fidelity=Fidelity(motion="vertices"))
    stage = Usd.Stage.Open(str(tmp_path / "a.usdc"))
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/Face/Mesh"))
    share = neck_weights(animation.neutral, info.pivot, info.topology)
    posed = apply_head_pose(animation.vertices, animation.head_pose, info.pivot, share)
    assert mesh.GetPointsAttr().GetTimeSamples() == list(range(20))
    for frame in (0, 8, 19):
        np.testing.assert_array_equal(np.array(mesh.GetPointsAttr().Get(frame)), posed[frame])
    st = UsdGeom.PrimvarsAPI(mesh).GetPrimvar("st")
    np.testing.assert_array_equal(np.array(st.GetIndices()).reshape(-1, 3), info.topology.uv_triangles)


def test_a_usdz_holds_the_skin_of_every_frame_and_the_sound(
    info: AnimationInfo, animation: Animation, tmp_path: Path
) -> None:
    write_all(info, frame_blocks(animation, 7), [tmp_path / "a.usdz"])
    stage = Usd.Stage.Open(str(tmp_path / "a.usdz"))
    skin = UsdShade.Shader(stage.GetPrimAtPath("/Face/Material/Skin")).GetInput("file")
    assert skin.GetAttr().GetTimeSamples() == list(range(20))
    for frame in (0, 19):
        assert skin.Get(frame).path.endswith(f"skin/{frame:06d}.jpg") and skin.Get(frame).resolvedPath
    assert UsdMedia.SpatialAudio(stage.GetPrimAtPath("/Face/Sound")).GetFilePathAttr().Get().resolvedPath


def test_fewer_keys(info: AnimationInfo, animation: Animation, tmp_path: Path) -> None:
    smooth = 0.5 + 0.4 * np.sin(np.arange(20)[:, None] / 8 + np.arange(52) / 9).astype(np.float32)
    calm = replace(animation, weights=smooth, head_pose=None)
    write_all(info, frame_blocks(calm), [tmp_path / "a.usda"], fidelity=Fidelity(reduce=0.01))
    stage = Usd.Stage.Open(str(tmp_path / "a.usda"))
    values = UsdSkel.Animation(stage.GetPrimAtPath("/Face/Speech")).GetBlendShapeWeightsAttr()
    assert len(values.GetTimeSamples()) <= 10
    for frame in range(20):
        assert np.abs(np.array(values.Get(frame)) - smooth[frame]).max() <= 0.01 + 1e-5


def test_a_bare_take_is_points_without_skin(animation: Animation, tmp_path: Path) -> None:
    bare = replace(animation, weights=None, weight_names=(), albedo=None, wrinkle=None, head_pose=None)
    save(bare, tmp_path / "a.usdz", tmp_path / "a.usda")
    assert not findings(tmp_path / "a.usdz") and not findings(tmp_path / "a.usda")
    with pytest.raises(InputError, match="by weights"):
        save(bare, tmp_path / "b.usda", fidelity=Fidelity(motion="weights"))


def test_an_error_on_the_way_leaves_nothing(info: AnimationInfo, animation: Animation, tmp_path: Path) -> None:
    from parlante.export import open_sinks

    with pytest.raises(RuntimeError), open_sinks([tmp_path / "a.usdc", tmp_path / "b.usdz"], info) as sinks:
        for sink in sinks:
            sink.write(next(frame_blocks(animation)))
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_two_kinds_of_one_name_share_what_lies_beside_them(animation: Animation, tmp_path: Path) -> None:
    save(animation, tmp_path / "a.usda", tmp_path / "a.usdc")
    assert {path.name for path in tmp_path.iterdir()} == {"a.usda", "a.usdc", "a.albedo.png", "a.sound.wav"}
    for name in ("a.usda", "a.usdc"):
        assert Usd.Stage.Open(str(tmp_path / name)).GetEndTimeCode() == animation.vertices.shape[0] - 1
