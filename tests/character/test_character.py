"""Meshes whose truth is known: people of ours, turned, scaled, cut and meshed otherwise; and a cube."""

import json
from pathlib import Path

import numpy as np
import pytest

from parlante.character import Character, build_character, pose
from parlante.character.gltf import Gltf
from parlante.character.mesh import read_character_mesh
from parlante.character.surface import Nearest, Surface
from parlante.character.wrinkle import carry_wrinkles
from parlante.cli import main
from parlante.core import InputError
from parlante.head import ARKIT_NAMES, load_head
from parlante.head.arkit import INDEX

WHO = "mateo"
TURN = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # z up, looking along x
SCALE = 37.0


def outer_face(keep_neck: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices of `WHO`, triangles of his skin alone, and which vertices they use. Eyes and mouth are open holes."""
    head = load_head()
    skin = (head.topology.triangles < head.layout.ranges["skin"][1]).all(1)
    if not keep_neck:
        neck = np.isin(head.topology.triangles, head.topology.regions["neck"]).any(1)
        back = (head.neutral(WHO)[head.topology.triangles, 2] < 0.0).all(1)
        skin &= ~neck & ~back
    triangles = head.topology.triangles[skin]
    used = np.unique(triangles)
    return head.neutral(WHO), np.searchsorted(used, triangles), used


def refined(vertices: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every triangle cut at the middle of its edges: another mesh of the same surface."""
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    distinct, number = np.unique(edges, axis=0, return_inverse=True)
    ab, bc, ca = np.ravel(number).reshape(3, -1) + len(vertices)
    a, b, c = triangles.T
    cut = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    return np.concatenate([vertices, vertices[distinct].mean(1)]), cut


def write_obj(path: Path, vertices: np.ndarray, triangles: np.ndarray) -> Path:
    lines = ["v {:.7g} {:.7g} {:.7g}".format(*v) for v in vertices]
    lines += ["f {} {} {}".format(*t) for t in triangles + 1]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Character, np.ndarray]:
    """A character of `WHO` with z up, 37 times as large, each triangle cut in four; and his vertices it keeps."""
    whole, triangles, used = outer_face()
    vertices, cut = refined(whole[used], triangles)
    path = write_obj(tmp_path_factory.mktemp("character") / "him.obj", vertices @ TURN.T * SCALE + 5.0, cut)
    return build_character(path), used


def errors(character: Character, used: np.ndarray, name: str) -> tuple[np.ndarray, float]:
    """Distances (N,) in mm, in his own size, between carried and true shape, and the largest true move."""
    true = load_head().shapes(WHO)[INDEX[name]][used]
    scale = character.similarity.scale * SCALE
    turn = character.similarity.rotation @ TURN
    carried = character.shapes[INDEX[name], : len(used)] / scale @ turn
    return 1000 * np.linalg.norm(carried - true, axis=1), 1000 * float(np.linalg.norm(true, axis=1).max())


def test_the_face_is_found_whatever_its_axes_and_size(built: tuple[Character, np.ndarray]) -> None:
    character, used = built
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
def test_known_shapes_come_back(built: tuple[Character, np.ndarray], name: str, mean: float, worst: float) -> None:
    """Mean error on the face below `mean` of the largest movement, and 95 % of its vertices below `worst` of it."""
    character, used = built
    apart, size = errors(character, used, name)
    face = np.isin(used, load_head().topology.regions["face"]) & ~np.isin(
        used, load_head().topology.regions["inner_mouth"]
    )
    assert apart[face].mean() < mean * size
    assert np.quantile(apart[face], 0.95) < worst * size


def test_lips_that_meet_still_meet(built: tuple[Character, np.ndarray]) -> None:
    """The jaw opened and the lips closed again: the lips' line of the truth stays closed on the character."""
    character, used = built
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


def test_saved_and_loaded(built: tuple[Character, np.ndarray], tmp_path: Path) -> None:
    character, _ = built
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


def test_a_mask_without_neck_with_landmarks(tmp_path: Path) -> None:
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


def test_names_stay_apples() -> None:
    assert len(ARKIT_NAMES) == 52
