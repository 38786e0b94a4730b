"""A character with parts of ours added, in every kind of file: read back by other people's readers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from glb_reader import Glb, assert_clean

from parlante.core import Animation
from parlante.core.options import Picture
from parlante.export import AnimationInfo, FrameBlock, animation_info, frame_blocks, npz
from parlante.export.outputs import write_all
from parlante.head import ARKIT_NAMES, load_head
from parlante.head.arkit import INDEX
from parlante.retarget.mesh import Character
from parlante.retarget.mesh.play import retarget
from parlante.retarget.mesh.pose import Similarity
from parlante.retarget.mesh.surface import Surface
from parlante.retarget.mesh.transfer import Carrier

WHO, FRAMES = "wei", 9
TEXELS = np.array([[[250, 20, 20]], [[20, 250, 20]]], np.uint8).repeat(64, 0).repeat(256, 1)


@pytest.fixture(scope="module")
def played() -> tuple[AnimationInfo, list[FrameBlock], Character]:
    """A person of ours as if eyeballs, teeth, tongue and lashes had been added to the skin: own picture and strip."""
    head = load_head()
    neutral = head.neutral(WHO)
    every = np.arange(len(neutral))
    own = int(head.topology.regions["eyeball_left"].min())
    carrier = Carrier(
        every, np.repeat(every[:, None], 3, 1), np.full((len(every), 3), 1 / 3), every[:0],
        Surface(neutral, head.topology.triangles),
    )  # fmt: skip
    x, y, z = (float(value) for value in head.neck_pivot(WHO))
    character = Character(
        head.topology, neutral, head.shapes(WHO), Similarity(1.0, np.eye(3), np.zeros(3)), (x, y, z),
        np.ones(len(every), np.float32), every[:own], carrier, report={"like": WHO},
        albedo=np.full((512, 512, 3), (20, 20, 250), np.uint8), added=len(every) - own, parts_texture=TEXELS,
        wrinkle_table=np.full((64, 64, 2), 0.5, np.float32),
    )  # fmt: skip
    weights = np.zeros((FRAMES, 52), np.float32)
    weights[:, INDEX["jawOpen"]] = np.linspace(0, 0.8, FRAMES)
    weights[:, INDEX["eyeLookUpLeft"]] = 0.5
    pose = np.zeros((FRAMES, 6), np.float32)
    pose[:, 1] = 0.1
    said = Animation(
        topology=head.topology, fps=30.0, neutral=neutral, vertices=head.deform(WHO, weights),
        audio=np.zeros(4800, np.float32), sample_rate=16000, weights=weights, weight_names=ARKIT_NAMES,
        head_pose=pose, wrinkle=np.full((FRAMES, 16, 16, 3), 118, np.uint8), provenance={"identity": WHO},
    )  # fmt: skip
    info, blocks = retarget(animation_info(said), frame_blocks(said, 5), character)
    return info, list(blocks), character


def test_glb(played: tuple[AnimationInfo, list[FrameBlock], Character], tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    info, blocks, character = played
    write_all(info, blocks, [tmp_path / "a.glb"])
    scene = trimesh.load(tmp_path / "a.glb")
    assert sum(len(mesh.faces) for mesh in scene.geometry.values()) == len(info.topology.triangles)
    looks = {mesh.visual.material.name: mesh for mesh in scene.geometry.values()}
    assert {"skin", "eyes"} <= set(looks)
    for name, blue in (("skin", True), ("eyes", False)):
        picture = np.asarray(looks[name].visual.material.baseColorTexture).astype(int)
        uv = looks[name].visual.uv[np.unique(looks[name].faces)]
        rows = np.clip(((1 - uv[:, 1]) * len(picture)).astype(int), 0, len(picture) - 1)
        texels = picture[rows, np.clip((uv[:, 0] * picture.shape[1]).astype(int), 0, picture.shape[1] - 1)]
        share = (texels[:, 2] > 150).mean()  # of corners whose texel is the blue of the user's own picture
        assert share > 0.95 if blue else share < 0.05, f"{name} shows the wrong half of the picture"
    targets = Glb(tmp_path / "a.glb").root["meshes"][0]["extras"]["targetNames"]
    assert tuple(targets) == ARKIT_NAMES and character.added > 1900
    assert_clean(tmp_path / "a.glb")


def test_vrm(played: tuple[AnimationInfo, list[FrameBlock], Character], tmp_path: Path) -> None:
    info, blocks, _ = played
    write_all(info, blocks, [tmp_path / "a.vrm"])
    avatar = Glb(tmp_path / "a.vrm").root["extensions"]["VRMC_vrm"]
    assert len(avatar["expressions"]["custom"]) == 52 and avatar["meta"]["name"] == info.provenance["identity"]
    assert_clean(tmp_path / "a.vrm")


def test_usd(played: tuple[AnimationInfo, list[FrameBlock], Character], tmp_path: Path) -> None:
    pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom, UsdSkel
    from test_usd import findings

    info, blocks, _ = played
    write_all(info, blocks, [tmp_path / "a.usdz"])
    assert not findings(tmp_path / "a.usdz")
    stage = Usd.Stage.Open(str(tmp_path / "a.usdz"))
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/Face/Mesh"))
    np.testing.assert_allclose(np.array(mesh.GetPointsAttr().Get()), info.neutral, atol=1e-6)
    assert len(mesh.GetFaceVertexCountsAttr().Get()) == len(info.topology.triangles)
    speech = UsdSkel.Animation(stage.GetPrimAtPath("/Face/Speech"))
    assert speech.GetBlendShapeWeightsAttr().Get(8)[INDEX["jawOpen"]] == pytest.approx(0.8, abs=1e-6)


def test_npz_and_video(played: tuple[AnimationInfo, list[FrameBlock], Character], tmp_path: Path) -> None:
    import av

    info, blocks, _ = played
    write_all(info, blocks, [tmp_path / "a.npz", tmp_path / "a.mp4"], Picture(size=128))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as saved:
        np.testing.assert_array_equal(saved["vertices"], np.concatenate([block.vertices for block in blocks]))
    wrinkle = npz.load(tmp_path / "a.npz").wrinkle
    assert wrinkle is not None and wrinkle.shape == (FRAMES, *info.wrinkle_size, 3) and info.wrinkle_size != (64, 64)
    with av.open(str(tmp_path / "a.mp4")) as file:
        pictures = [frame.to_ndarray(format="rgb24").astype(int) for frame in file.decode(video=0)]
    assert len(pictures) == FRAMES
    r, g, b = np.moveaxis(pictures[-1], -1, 0)
    skin, parts = (b > r + 60) & (b > g + 60), (np.maximum(r, g) > b + 40)
    assert skin.sum() > 2000 and parts.sum() > 40, "the blue skin, and eyes and teeth in the strip's colours"


def test_without_parts_the_picture_is_the_users_alone(
    played: tuple[AnimationInfo, list[FrameBlock], Character], tmp_path: Path
) -> None:
    info, _, character = played
    alone = replace(character, parts_texture=None).baked()
    assert alone.albedo is not None and info.albedo is not None
    np.testing.assert_array_equal(alone.albedo, info.albedo[:512])
