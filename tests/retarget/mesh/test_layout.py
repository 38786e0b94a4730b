"""Meshes as other programs write them: layouts, colours of vertices, lines that go on, bodies."""

import struct
from pathlib import Path

import numpy as np
import pytest

from parlante.core import InputError, Topology
from parlante.core.notes import gathered
from parlante.geometry.mesh import read_mesh
from parlante.head import load_head
from parlante.render.camera import frame_head, head_of
from parlante.retarget.mesh.body import heads, used_box
from parlante.retarget.mesh.layout import laid_out, painted
from parlante.retarget.mesh.mesh import UserMesh, read_character_mesh
from parlante.retarget.mesh.surface import Surface
from parlante.retarget.rig.gltf import Gltf

PLACES = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
TWO = np.array([[0, 1, 2], [0, 2, 3]])


def square(uv: np.ndarray, **more: object) -> UserMesh:
    """A square of two triangles."""
    return UserMesh("square", PLACES, TWO, uv.astype(np.float32), TWO, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shift", "told"),
    [((0, 0), None), ((1, 0), "tile 1002"), ((2, 3), "tile 1033"), ((-1, 0), r"(-1, 0)")],
)
def test_a_face_in_another_tile_is_taken_as_the_first(shift: tuple[int, int], told: str | None) -> None:
    uv = 0.1 + 0.8 * PLACES[:, :2]
    with gathered(log=False) as lines:
        mesh, textured = laid_out(square(uv + shift), np.ones(2, bool))
    assert textured and bool(lines) == (told is not None) and (told is None or told in lines[0])
    np.testing.assert_allclose(mesh.uv, uv, atol=1e-6)


@pytest.mark.parametrize("uv", [np.full((4, 2), 0.5), PLACES[:, [0, 0]], np.zeros((4, 2))])
def test_coordinates_without_area_are_none(uv: np.ndarray) -> None:
    with gathered(log=False) as lines:
        assert not laid_out(square(uv), np.ones(2, bool))[1]
    assert "cover no area" in lines[0]


@pytest.mark.parametrize("textured", [True, False])
def test_colours_of_vertices_are_painted_or_told(textured: bool) -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
    mesh = square(PLACES[:, :2], colours=colours)
    with gathered(log=False) as lines:
        shown = painted(mesh, textured, 16).albedo
    if not textured:
        assert shown is None and "left out" in lines[0]
        return
    assert shown is not None and "painted" in lines[0]
    np.testing.assert_allclose(shown[-1, 0], colours[0], atol=30)  # the first row is the highest v
    np.testing.assert_allclose(shown[0, -1], colours[2], atol=30)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_an_obj_may_go_on_and_bear_colours(tmp_path: Path, end: str) -> None:
    lines = ["v 0 0 0 1 0 0", "v 1 0 0 0 1 0", "v 0 1 \\", " 0 0 0 1", "f 1 \\", "2 3"]
    (tmp_path / "a.obj").write_bytes(end.join([*lines, ""]).encode())
    mesh = read_character_mesh(tmp_path / "a.obj")
    assert mesh.triangles.tolist() == [[0, 1, 2]] and mesh.vertices[2].tolist() == [0, 1, 0]
    assert mesh.colours is not None and (mesh.colours == 255 * np.eye(3)).all()


def test_colours_of_a_ply(tmp_path: Path) -> None:
    kinds = ["float x", "float y", "float z", "uchar red", "uchar green", "uchar blue"]
    head = ["ply", "format binary_little_endian 1.0", "element vertex 3", *(f"property {kind}" for kind in kinds)]
    head += ["element face 1", "property list uchar int vertex_indices", "end_header", ""]
    rows = b"".join(
        struct.pack("<3f3B", *place, *colour)
        for place, colour in zip(PLACES[:3], 200 * TWO.clip(0, 1)[[0, 1, 0]], strict=True)
    )
    (tmp_path / "a.ply").write_bytes("\n".join(head).encode() + rows + struct.pack("<B3i", 3, 0, 1, 2))
    assert read_mesh(tmp_path / "a.ply").colours.tolist() == [[0, 200, 200]] * 3  # type: ignore[union-attr]


@pytest.mark.parametrize("where", ["face", "vertex"])
@pytest.mark.parametrize("form", ["ascii", "binary_big_endian"])
def test_texture_coordinates_of_a_ply(tmp_path: Path, where: str, form: str) -> None:
    kinds = ["float x", "float y", "float z", *(["float s", "float t"] if where == "vertex" else [])]
    head = ["ply", f"format {form} 1.0", "element vertex 4", *(f"property {kind}" for kind in kinds), "element face 1"]
    head += ["property list uchar int vertex_indices", *["property list uchar float texcoord"] * (where == "face")]
    uv = 0.25 + 0.5 * PLACES[:, :2]
    rows = np.hstack([PLACES, uv]) if where == "vertex" else PLACES
    corners = uv.ravel().tolist() if where == "face" else []
    if form == "ascii":
        lines = [" ".join(map(str, row)) for row in rows]
        lines.append(" ".join(map(str, [4, 0, 1, 2, 3, *([8, *corners] if corners else [])])))
        body = ("\n".join(lines) + "\n").encode()
    else:
        body = rows.astype(">f4").tobytes() + struct.pack(">B4i", 4, 0, 1, 2, 3)
        body += struct.pack(">B8f", 8, *corners) if corners else b""
    (tmp_path / "a.ply").write_bytes("\n".join([*head, "end_header", ""]).encode() + body)
    mesh = read_mesh(tmp_path / "a.ply")
    np.testing.assert_allclose(mesh.uv[mesh.uv_triangles], uv[TWO], atol=1e-6)


@pytest.mark.parametrize("coordinates", [True, False])
def test_a_glb_without_texture_coordinates_is_untextured(tmp_path: Path, coordinates: bool) -> None:
    data = PLACES[:3].astype(np.float32).tobytes() + PLACES[:3, :2].astype(np.float32).tobytes()
    attributes = {"POSITION": 0, "COLOR_0": 0} | ({"TEXCOORD_0": 1} if coordinates else {})
    root = {
        "asset": {"version": "2.0"},
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5126, "count": 3, "type": "VEC2"},
        ],
        "bufferViews": [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 24}],
        "buffers": [{"byteLength": 60}],
    }
    (tmp_path / "a.glb").write_bytes(Gltf(root, data).container())
    mesh = read_character_mesh(tmp_path / "a.glb")
    assert mesh.textured == coordinates and mesh.uv_triangles.shape == (1, 3)
    assert mesh.colours is not None and mesh.colours.tolist() == [[0, 0, 0], [255, 0, 0], [255, 255, 0]]
    root["accessors"][0]["count"] = 99  # type: ignore[index]
    (tmp_path / "b.glb").write_bytes(Gltf(root, data).container())
    with pytest.raises(InputError):
        read_character_mesh(tmp_path / "b.glb")


def test_the_head_of_a_body_is_looked_for_and_framed() -> None:
    """A head of ours on a long box, with a vertex far off that no triangle uses."""
    head = load_head()
    face, skin = head.neutral(head.identity_names[0]).astype(float), head.topology.triangles
    box = np.array([[x, y, z] for x in (-0.2, 0.2) for y in (-1.5, -0.13) for z in (-0.1, 0.1)])
    sides = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6]])
    points = np.concatenate([face, box, [[0, 50, 0]]])
    triangles = np.concatenate([skin, sides + len(face)])
    found = next(heads(Surface(points, triangles)))
    assert used_box(found)[0][1] > -0.3 and len(found.triangles) > 0.9 * len(skin)
    assert not list(heads(Surface(face, skin)))
    topology = Topology(
        "body", len(points), triangles, np.zeros((1, 2), np.float32), 0 * triangles, {}, head.topology.landmarks
    )
    camera = frame_head(head_of(points, topology))
    plain = frame_head(head_of(face, head.topology))
    assert abs(camera.target[1] - plain.target[1]) < 0.03 and camera.distance < 1.3 * plain.distance
    np.testing.assert_array_equal(head_of(face, head.topology), face[np.unique(skin)])
