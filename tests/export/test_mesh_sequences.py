"""OBJ and PLY sequences read back by trimesh, and the OBJ also line by line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh

from parlante.core import Animation
from parlante.export import AnimationInfo, frame_blocks
from parlante.export.outputs import write_all


def test_obj_frames_keep_order_and_texture_corners(info: AnimationInfo, animation: Animation, tmp_path: Path) -> None:
    still = replace(animation, head_pose=None)
    write_all(info, frame_blocks(still, 7), [f"{tmp_path}/talk.obj/"])
    names = sorted(path.name for path in (tmp_path / "talk.obj").iterdir())
    assert names == [*(f"{frame:06d}.obj" for frame in range(20)), "albedo.png", "face.mtl"]
    lines = [line.split() for line in (tmp_path / "talk.obj" / "000013.obj").read_text().splitlines()]
    vertices = np.array([words[1:] for words in lines if words[0] == "v"], float)
    np.testing.assert_allclose(vertices, still.vertices[13], atol=6e-9)
    corners = np.array([[word.split("/") for word in words[1:]] for words in lines if words[0] == "f"], int) - 1
    np.testing.assert_array_equal(corners[..., 0], info.topology.triangles)
    np.testing.assert_array_equal(corners[..., 1], info.topology.uv_triangles)
    loaded = trimesh.load(tmp_path / "talk.obj" / "000013.obj", process=False, maintain_order=True)
    assert loaded.visual.material.image.size == (32, 32)


def test_the_neutral_obj_is_the_face_at_rest(info: AnimationInfo, animation: Animation, tmp_path: Path) -> None:
    write_all(info, frame_blocks(animation), [tmp_path / "talk.neutral.obj"])
    lines = (tmp_path / "talk.neutral.obj").read_text().splitlines()
    vertices = np.array([line.split()[1:] for line in lines if line.startswith("v ")], float)
    np.testing.assert_allclose(vertices, info.neutral, atol=6e-9)


def test_ply_frames_hold_positions_colours_and_triangles(
    info: AnimationInfo, animation: Animation, tmp_path: Path
) -> None:
    still = replace(animation, head_pose=None)
    write_all(info, frame_blocks(still, 7), [f"{tmp_path}/talk.ply/"])
    assert len(list((tmp_path / "talk.ply").iterdir())) == 20
    for frame in (0, 19):
        mesh = trimesh.load(tmp_path / "talk.ply" / f"{frame:06d}.ply", process=False)
        np.testing.assert_array_equal(mesh.vertices.astype(np.float32), still.vertices[frame])
        np.testing.assert_array_equal(mesh.faces, info.topology.triangles)
    plain = replace(still, wrinkle=np.full((20, 16, 16, 3), 118, np.uint8))
    write_all(info, frame_blocks(plain), [f"{tmp_path}/plain.ply/"])
    colours = trimesh.load(tmp_path / "plain.ply" / "000000.ply", process=False).visual.vertex_colors[:, :3]
    u, v = info.topology.uv[50]
    np.testing.assert_array_equal(colours[50], animation.albedo[int((1 - v) * 32), int(u * 32)])
    moved = mesh.visual.vertex_colors[:, :3]
    assert (moved != colours).any(), "wrinkles change the colours"
