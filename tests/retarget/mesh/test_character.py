"""Meshes whose truth is known: people of ours, turned, scaled, cut and meshed otherwise; and a cube."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cut_heads import SCALE, TURN, WHO, Built, outer_face, write_obj

from parlante.cli import main
from parlante.core import InputError
from parlante.head import load_head
from parlante.head.arkit import INDEX
from parlante.retarget.mesh import Character, build_character, fit, pose
from parlante.retarget.mesh.mesh import read_character_mesh
from parlante.retarget.mesh.prior import face_prior
from parlante.retarget.mesh.surface import Nearest, Surface
from parlante.retarget.mesh.wrinkle import carry_wrinkles
from parlante.retarget.rig.gltf import Gltf


def errors(character: Character, used: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """Distances (N,) in mm, in his own size, between carried and true shape, and the largest true move."""
    true = load_head().shapes(WHO)[INDEX[name]][used]
    scale = character.similarity.scale * SCALE
    turn = character.similarity.rotation @ TURN
    carried = character.shapes[INDEX[name], : len(used)] / scale @ turn
    return 1000 * np.linalg.norm(carried - true, axis=1), 1000 * float(np.linalg.norm(true, axis=1).max())


def test_the_face_is_found_whatever_its_axes_and_size(built: Built) -> None:
    character, used, _ = built
    turn = character.similarity.rotation @ TURN
    angle = np.degrees(np.arccos((np.trace(turn) - 1) / 2))
    assert angle < 8 and character.similarity.scale * SCALE == pytest.approx(1.0, abs=0.1)
    tip = character.topology.landmarks["nose_tip"]
    true = load_head().neutral(WHO)
    assert tip < len(used), "a vertex of the first mesh is nearest"
    assert 1000 * np.linalg.norm(true[used[tip]] - true[load_head().topology.landmarks["nose_tip"]]) < 5


@pytest.mark.parametrize(
    ("name", "mean", "worst"),
    [("jawOpen", 0.03, 0.12), ("mouthPucker", 0.03, 0.16), ("mouthSmileLeft", 0.02, 0.1), ("browInnerUp", 0.01, 0.03)],
)
def test_known_shapes_come_back(built: Built, name: str, mean: float, worst: float) -> None:
    """Mean error on the face below `mean` of the largest movement, and 95 % of its vertices below `worst` of it."""
    character, used, _ = built
    apart, size = errors(character, used, name)
    face = np.isin(used, load_head().topology.regions["face"]) & ~np.isin(
        used, load_head().topology.regions["inner_mouth"]
    )
    assert apart[face].mean() < mean * size
    assert np.quantile(apart[face], 0.95) < worst * size


def test_lips_that_meet_still_meet(built: Built) -> None:
    """The jaw opened and the lips closed again: the lips' line of the truth stays closed on the character."""
    character, used, _ = built
    head = load_head()
    line = head.layout.lips[7]
    columns = np.arange(4, 21)
    weights = np.zeros((3, 52), np.float32)
    weights[1, INDEX["jawOpen"]] = weights[2, INDEX["jawOpen"]] = 0.5
    weights[2, INDEX["mouthClose"]] = 0.5
    moved = character.vertices(weights)[:, np.searchsorted(used, line)] / (character.similarity.scale * SCALE)
    gap = 1000 * np.linalg.norm(head.layout.across @ moved - moved, axis=-1)[:, columns]
    assert gap[1].max() > 8
    assert gap[2].max() < 0.12 * gap[1].max()


def test_doubled_vertices_move_and_are_drawn_as_one(built: Built) -> None:
    character, _, place = built
    doubled = np.arange(3) + len(place) - 3
    assert not np.isin(doubled, character.topology.triangles).any(), "shading would break at them"
    drawn = character.topology.triangles[0]
    np.testing.assert_array_equal(character.neutral[drawn], character.neutral[doubled])
    np.testing.assert_array_equal(character.shapes[:, drawn], character.shapes[:, doubled])


def test_saved_and_loaded(built: Built, tmp_path: Path) -> None:
    character = built.character
    character.save(tmp_path / "him.character")
    again = Character.load(tmp_path / "him.character")
    weights = np.random.default_rng(0).random((2, 52)).astype(np.float32)
    assert 1000 * np.abs(again.vertices(weights) - character.vertices(weights)).max() < 0.05
    motion = 0.01 * load_head().shapes(WHO)[:2]
    np.testing.assert_allclose(again.motion(motion), character.motion(motion), atol=1e-5)
    assert again.topology.landmarks == dict(character.topology.landmarks)
    with pytest.raises(InputError, match="52"):
        again.vertices(weights[:, :51])
    (tmp_path / "him.character" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="character build"):
        Character.load(tmp_path / "him.character")


def test_a_mask_without_neck_with_landmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "_STIFFNESS", fit._STIFFNESS[::2])  # half of the steps: landmarks are what is tested
    whole, triangles, used = outer_face(keep_neck=False)
    path = write_obj(tmp_path / "mask.obj", 100 * whole[used], triangles)
    marks = load_head().topology.landmarks
    names = ("nose_tip", "chin", "mouth_left", "mouth_right", "eye_outer_left", "eye_outer_right")
    named = {name: (100 * whole[marks[name]]).tolist() for name in names}
    (tmp_path / "marks.json").write_text(json.dumps(named))
    character = build_character(path, landmarks=tmp_path / "marks.json", parts="none")
    true = load_head().shapes(WHO)[INDEX["jawOpen"]][used]
    carried = character.shapes[INDEX["jawOpen"]] / (100 * character.similarity.scale)
    face = np.isin(used, load_head().topology.regions["lower_face"])
    face &= ~np.isin(used, load_head().topology.regions["inner_mouth"])
    assert np.linalg.norm(carried - true, axis=1)[face].mean() < 0.1 * np.linalg.norm(true, axis=1).max()
    (tmp_path / "marks.json").write_text('{"nose_tip": [0, 0, 0], "nosetip": 3}')
    with pytest.raises(InputError, match="nosetip"):
        build_character(path, landmarks=tmp_path / "marks.json")


def test_a_cube_is_refused_with_a_picture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = pose._everywhere()
    monkeypatch.setattr(pose, "_everywhere", lambda: every[:4])  # tilted starts of a cube are alike, 60 take long
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    lines = ["v {} {} {}".format(*c) for c in corners] + ["f {} {} {} {}".format(*(i + 1 for i in f)) for f in faces]
    (tmp_path / "cube.obj").write_text("\n".join(lines))
    assert main(["character", "build", str(tmp_path / "cube.obj"), "-o", str(tmp_path / "cube.character")]) == 2
    told = capsys.readouterr().err
    assert "no face" in told and "--landmarks" in told
    assert (tmp_path / "cube.refused.png").stat().st_size > 1000
    assert not (tmp_path / "cube.character").exists()


def round_box(power: float) -> Surface:
    """Finely meshed: |x|^p + |y|^p + |z|^p = 1, a ball or a box with round edges."""
    polar, turn = np.meshgrid(np.linspace(0, np.pi, 31), np.linspace(0, 2 * np.pi, 48, endpoint=False), indexing="ij")
    places = np.stack([np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar)], -1).reshape(-1, 3)
    places /= (np.abs(places) ** power).sum(1, keepdims=True) ** (1 / power)
    number = np.arange(31 * 48).reshape(31, 48)
    beside = np.roll(number, -1, 1)
    a, b, c, d = (n.ravel() for n in (number[:-1], number[1:], beside[:-1], beside[1:]))
    return Surface(places, np.concatenate([np.stack([a, b, c], 1), np.stack([c, b, d], 1)]))


def faceless(share: float = 1.0, *, holes: bool = False) -> Surface:
    """Our head, its front brought by `share` to the smooth dome that fits it best; without holes, or with them."""
    whole, triangles, used = outer_face()
    head = load_head()
    outside = ~np.isin(used, head.topology.regions["inner_mouth"])
    for ring in (head.layout.lips[8:], head.layout.lids[0, 9:], head.layout.lids[1, 9:]):
        outside &= ~np.isin(used, ring)
    places = whole[used].astype(float)
    x, y, z = places.T
    front = (z > 0.03) & (np.abs(x) < 0.07)
    dome = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1)
    smooth = dome[front] @ np.linalg.lstsq(dome[front & outside], z[front & outside], rcond=None)[0]
    places[front, 2] += share * (smooth - places[front, 2])
    return Surface(places, triangles if holes else triangles[outside[triangles].all(1)])


@pytest.mark.parametrize(
    "shape", [lambda: round_box(2), lambda: round_box(12), faceless], ids=["ball", "rounded box", "faceless head"]
)
def test_what_has_no_face_is_told(shape: Callable[[], Surface], monkeypatch: pytest.MonkeyPatch) -> None:
    """From four turns, one of them upright; a search from all takes long."""
    turns = pose._axes()
    monkeypatch.setattr(pose, "_axes", lambda: turns[:4])
    monkeypatch.setattr(pose, "_everywhere", lambda: turns[:0])
    found = pose.PoseSearch(shape(), face_prior()).run(starts=2)
    assert max(f.likeness for f in found) < pose.LEAST_LIKENESS - 0.1


@pytest.mark.parametrize(("share", "is_face"), [(1.0, False), (0.85, False), (0.5, True), (0.0, True)])
def test_holes_for_eyes_make_no_face(share: float, is_face: bool) -> None:
    upright = pose.Similarity(1.0, np.eye(3), np.zeros(3))
    found = pose.PoseSearch(faceless(share, holes=True), face_prior()).refine(upright)
    assert found.likeness > pose.LEAST_LIKENESS, "the sockets alone agree"
    assert found.is_face == is_face
    assert abs(found.prominence - pose.LEAST_PROMINENCE) > 0.05


def test_nearest_points_are_those_of_brute_force() -> None:
    rng = np.random.default_rng(1)
    vertices, triangles = rng.random((30, 3)), rng.integers(0, 30, (40, 3))
    triangles = triangles[(triangles[:, 0] != triangles[:, 1]) & (triangles[:, 1] != triangles[:, 2])]
    points = rng.random((20, 3))
    distance, _, weights = Nearest(Surface(vertices, triangles))(points, tried=len(triangles))
    u, v = np.meshgrid(*2 * [np.linspace(0, 1, 60)])
    inside = u + v <= 1
    shares = np.stack([1 - u - v, u, v], -1)[inside]
    cloud = np.einsum("sk,fki->fsi", shares, vertices[triangles]).reshape(-1, 3)
    slow = np.linalg.norm(points[:, None] - cloud[None], axis=-1).min(1)
    assert (distance <= slow + 1e-9).all() and (slow - distance).max() < 0.02
    np.testing.assert_allclose(weights.sum(1), 1.0)


def test_wrinkles_go_where_the_table_says() -> None:
    maps = np.full((1, 4, 4, 3), 118, np.uint8)
    maps[0, 0, 3] = 30  # the top right texel: u = 7/8, v = 7/8
    table = np.full((2, 2, 2), np.nan, np.float32)
    table[0, 0] = 7 / 8, 7 / 8
    table[1, 1] = 1 / 8, 1 / 8
    carried = carry_wrinkles(maps, table)
    assert (
        carried[0, 0, 0].tolist() == [30, 30, 30] and (carried[0, 0, 1] == 118).all() and (carried[0, 1] == 118).all()
    )


def test_a_glb_is_read_in_the_place_of_its_node(tmp_path: Path) -> None:
    place = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    root = {
        "asset": {"version": "2.0"},
        "nodes": [{"children": [1], "translation": [0, 0, 3]}, {"mesh": 0, "scale": [2, 2, 2]}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "bufferViews": [{"buffer": 0, "byteLength": 36}],
        "buffers": [{"byteLength": 36}],
    }
    (tmp_path / "one.glb").write_bytes(Gltf(root, place.tobytes()).container())
    np.testing.assert_allclose(read_character_mesh(tmp_path / "one.glb").vertices, 2 * place + [0, 0, 3])
    root["accessors"][0]["count"] = 4  # type: ignore[index]
    (tmp_path / "short.glb").write_bytes(Gltf(root, place.tobytes()).container())
    with pytest.raises(InputError, match="beyond"):
        read_character_mesh(tmp_path / "short.glb")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["info", "nope"], "it does not exist; wanted a folder made with: parlante character build"),
        (["info", "{folder}"], "it has no config.json; wanted a folder made with"),
        (["info", "{mesh}"], "it is a file; wanted a folder made with"),
        (["build", "{folder}", "-o", "x"], "it is a folder; give the mesh in it, a .obj"),
        (["build", "me.fbx", "-o", "x"], "its name must end in .obj, .ply, .glb or .vrm; export"),
        (["build", "nope.obj", "-o", "x"], "no such file: nope.obj"),
        (["build", "{mesh}", "--landmarks", "nope.json", "-o", "x"], "nope.json: no such file; wanted a JSON file"),
        (["build", "{mesh}", "--landmarks", "{folder}", "-o", "x"], "it is a folder; wanted a JSON file"),
        (["build", "{mesh}", "--texture", "nope.png", "-o", "x"], "no such file: nope.png; give a picture, PNG"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mesh = write_obj(tmp_path / "one.obj", np.eye(3), np.array([[0, 1, 2]]))
    (tmp_path / "folder").mkdir()
    named = [word.format(folder=tmp_path / "folder", mesh=mesh) for word in words]
    assert main(["character", *named, *(["-q"] if words[0] == "build" else [])]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and told in lines[0] and "Errno" not in lines[0]
    assert not (tmp_path / "x").exists()
