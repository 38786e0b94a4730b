"""Eyeballs, teeth and tongue added to the skin of a person of ours, whose own parts are the truth."""

from pathlib import Path

import numpy as np
import pytest
from cut_heads import SCALE, TURN, WHO, Built, build_cut, of_truth, sphere

from parlante.core import InputError, Topology
from parlante.head import load_head
from parlante.head.arkit import INDEX
from parlante.retarget.mesh import Character
from parlante.retarget.mesh.atlas import bake_parts
from parlante.retarget.mesh.parts import EYES, MOUTH, TEXTURE_SHARE, posed
from parlante.retarget.mesh.surface import Surface


def test_what_is_missing_is_added_behind_what_was_there(built: Built) -> None:
    character, _, place = built
    assert (character.report or {})["added"] == [*EYES, *MOUTH]
    assert character.own == len(place) and character.added == len(character.neutral) - len(place)
    size = np.ptp(place, axis=0).max()
    np.testing.assert_allclose(character.similarity.undo(character.neutral[: character.own]), place, atol=1e-3 * size)
    assert character.motion(np.zeros((1, load_head().topology.num_vertices, 3))).shape[1] == len(character.neutral)


@pytest.mark.parametrize("side", [0, 1])
def test_lids_leave_no_gap_and_close(built: Built, side: int) -> None:
    """Of the opening between the lids the ball fills nearly all at rest, and shows nothing in a blink."""
    character = built.character
    topology = character.topology
    skin = topology.triangles[(topology.triangles < character.own).all(1)]
    inside = np.isin(topology.triangles, topology.regions[EYES[side]]).all(1)
    centre = character.neutral[topology.regions[EYES[side]]].mean(0)[:2].astype(float)

    def shown(pose: dict[str, float]) -> tuple[int, int]:
        points = posed(character.neutral, character.shapes, pose)
        before = Surface(points, skin).seen(160, centre - 0.02, centre + 0.02)[1]
        owner, depth = Surface(points, topology.triangles[inside]).seen(160, centre - 0.02, centre + 0.02)
        seen = (owner >= 0) & (depth > before)
        return int(seen.sum()), int((~seen & ~np.isfinite(before)).sum())

    ball, gap = shown({})
    assert ball > 400 and gap < 0.03 * ball
    word = "Left" if side == 0 else "Right"
    assert shown({f"eyeBlink{word}": 1.0})[0] < 0.02 * ball


def test_eyes_look_and_teeth_follow_the_jaw(built: Built) -> None:
    character = built.character
    regions, shapes = character.topology.regions, character.shapes
    left = regions["eyeball_left"]
    front = left[character.neutral[left, 2].argmax()]
    assert shapes[INDEX["eyeLookOutLeft"], front, 0] > 0.004 and shapes[INDEX["eyeLookUpLeft"], front, 1] > 0.003
    assert not shapes[INDEX["eyeLookOutRight"], left].any()
    lower = shapes[INDEX["jawOpen"], regions["teeth_lower"]]
    assert lower[:, 1].max() < -0.003 and not shapes[INDEX["jawOpen"], regions["teeth_upper"]].any()
    rest, opened = character.neutral[regions["teeth_lower"]], character.neutral[regions["teeth_lower"]] + lower
    before, after = (np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (rest, opened))
    assert 1000 * np.abs(after - before).max() < 0.5, "one rigid body"


EYE_WITHIN, RADIUS_WITHIN, TEETH_WITHIN = 2.3, 1.5, 3.0
"""Millimetres. Measured of six people: 0.9-1.7, 0.1-1.1 and 0.2-2.9; lids and lips tell no more."""


def apart_from_truth(character: Character, who: str, turn: np.ndarray, scale: float) -> dict[str, float]:
    """Millimetres between the added parts and those that were cut off: centres, and the radius of the eyes."""
    head, found = load_head(), of_truth(character, turn, scale)
    apart = {}
    for side, name in enumerate(EYES):
        middle, radius = sphere(found[character.topology.regions[name]])
        apart[name] = 1000 * float(np.linalg.norm(middle - head.anatomy(who).eyes[side]))
        apart[f"radius of {name}"] = 1000 * abs(radius - head.anatomy(who).eye_radius)
    for name in MOUTH:
        true = head.neutral(who)[slice(*head.layout.ranges[name])]
        apart[name] = 1000 * float(np.linalg.norm(found[character.topology.regions[name]].mean(0) - true.mean(0)))
    return apart


def check_seat(apart: dict[str, float]) -> None:
    assert all(apart[name] < EYE_WITHIN and apart[f"radius of {name}"] < RADIUS_WITHIN for name in EYES), apart
    assert all(apart[name] < TEETH_WITHIN for name in MOUTH), apart


def test_parts_sit_where_those_cut_off_were(built: Built) -> None:
    check_seat(apart_from_truth(built.character, WHO, TURN, SCALE))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "axes", "scale"), [("wei", [0, 1, 2], 0.01), ("zola", [1, 2, 0], 900.0), ("freya", [2, 0, 1], 2.54)]
)
def test_parts_of_others_sit_where_those_cut_off_were(who: str, axes: list[int], scale: float, tmp_path: Path) -> None:
    turn = np.eye(3)[axes]
    check_seat(apart_from_truth(build_cut(tmp_path, who, turn, scale).character, who, turn, scale))


def test_parts_can_be_left_out(built: Built, tmp_path: pytest.TempPathFactory) -> None:
    character, _, place = built
    plain = character.keep_parts("none")
    assert plain.added == 0 and len(plain.neutral) == len(place) and plain.parts_texture is None
    np.testing.assert_array_equal(plain.neutral, character.neutral[: len(place)])
    eyes = character.keep_parts("eyes")
    assert {"eyeball_left", "eyeball_right"} <= set(eyes.topology.regions) and "tongue" not in eyes.topology.regions
    eyes.save(tmp_path / "eyes.character")  # type: ignore[operator]
    again = Character.load(tmp_path / "eyes.character")  # type: ignore[operator]
    assert again.added == eyes.added
    np.testing.assert_array_equal(again.parts_texture, eyes.parts_texture)
    np.testing.assert_allclose(again.motion(np.ones((1, 5856, 3))), eyes.motion(np.ones((1, 5856, 3))), atol=1e-5)
    with pytest.raises(InputError, match="parts"):
        character.keep_parts("nose")


def test_one_picture_holds_the_users_texture_untouched() -> None:
    """Every uv corner reads the same colour in the joint picture as in its own."""
    rng = np.random.default_rng(0)
    albedo, strip = rng.integers(0, 256, (600, 700, 3), np.uint8), rng.integers(0, 256, (115, 700, 3), np.uint8)
    uv = rng.random((6, 2)).astype(np.float32)
    faces = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    table = rng.random((60, 60, 2)).astype(np.float32)
    joint = bake_parts(Topology("two", 6, faces, uv, faces), 3, albedo, strip, table)
    assert joint.albedo is not None and joint.wrinkle_table is not None
    np.testing.assert_array_equal(joint.albedo[:600], albedo)
    np.testing.assert_array_equal(joint.wrinkle_table[:60], table)
    assert np.isnan(joint.wrinkle_table[60:]).all()

    def texel(picture: np.ndarray, corner: np.ndarray) -> np.ndarray:
        return picture[int((1 - corner[1]) * len(picture)), int(corner[0] * picture.shape[1])]

    for number, corner in enumerate(uv):
        own = albedo if number < 3 else strip
        np.testing.assert_array_equal(texel(joint.albedo, joint.topology.uv[number]), texel(own, corner))
    assert bake_parts(Topology("two", 6, faces, uv, faces), 6, albedo, None, table).topology.uv is uv


@pytest.mark.parametrize("who", ["wei", "zola"])
def test_own_eyeballs_without_a_picture_look_at_us(who: str) -> None:
    """Our eyeballs, cut to their front halves, as a user's own: they find the iris that ours are painted with."""
    head = load_head()
    topology = head.topology
    face = head.neutral(who)
    balls = [np.arange(*head.layout.ranges[name]) for name in EYES]
    shown = np.zeros(len(face), bool)
    for side, ball in enumerate(balls):
        shown[ball[face[ball, 2] > head.anatomy(who).eyes[side, 2]]] = True
    regions = {name: ball[shown[ball]].astype(np.int32) for name, ball in zip(EYES, balls, strict=True)}
    user = Topology("bare", len(face), topology.triangles, topology.uv * 0, topology.uv_triangles * 0, regions)
    strip = np.zeros((168, 1024, 3), np.uint8)
    worn = bake_parts(user, len(face), None, strip, None, face)
    assert worn.albedo is not None and len(worn.albedo) == 512 + 84
    looking = shown[topology.triangles].all(1)
    corners = worn.topology.uv[worn.topology.uv_triangles[looking]] * [1, len(worn.albedo) / 84 * TEXTURE_SHARE]
    apart = np.linalg.norm(corners - topology.uv[topology.uv_triangles[looking]], axis=-1)
    assert apart.max() < 0.002, "of an iris that is 0.034 wide"
    skin = worn.topology.uv[worn.topology.uv_triangles[~looking], 1]
    assert (skin >= 84 / len(worn.albedo)).all(), "the rest keeps the plain skin"
