"""Painted skin: everyone differs, the same person stays the same, and features sit where the face has them."""

import time
from dataclasses import replace

import numpy as np
import pytest

from parlante.head.model import Head, load_head
from parlante.head.skin import look_of, paint_albedo, paint_look
from parlante.head.skin_map import PARTS, SkinMap, skin_map

SIZE = 512


@pytest.fixture(scope="module")
def head() -> Head:
    return load_head()


@pytest.fixture(scope="module")
def skin(head: Head) -> SkinMap:
    return skin_map(head, SIZE)


def colour_at(head: Head, skin: SkinMap, picture: np.ndarray, s: float, y: float, radius: float = 4.0) -> np.ndarray:
    """Mean sRGB around a chart place, mm."""
    near = np.hypot(skin.chart[:, 0] * 1e3 - s, skin.chart[:, 1] * 1e3 - y) < radius
    return picture.reshape(-1, 3)[near & (skin.part == 0)].mean(0)


def test_the_same_person_is_painted_the_same_and_others_differ(head: Head, skin: SkinMap) -> None:
    look = look_of(head.traits("elif"))
    first, again, other = paint_look(skin, look), paint_look(skin, look), paint_look(skin, look_of(head.traits("kofi")))
    assert (first == again).all()
    assert np.abs(first.astype(int) - other).mean() > 25
    assert first.shape == (SIZE, SIZE, 3) and first.dtype == np.uint8


def test_albedo_is_kept_and_cannot_be_spoilt(head: Head) -> None:
    albedo = paint_albedo(head, "elif", 128)
    assert paint_albedo(head, "elif", 128) is albedo and not albedo.flags.writeable


def test_tone_runs_from_light_to_dark(head: Head, skin: SkinMap) -> None:
    people = ("saoirse", "elif", "ines", "priya", "emeka")
    light = [colour_at(head, skin, paint_look(skin, look_of(head.traits(n))), 0, 65, 12).mean() for n in people]
    assert (np.diff(light) < -8).all(), light
    assert light[0] > 190 and light[-1] < 80


def test_features_sit_where_the_face_has_them(head: Head, skin: SkinMap) -> None:
    look = replace(look_of(head.traits("hugo")), scalp=0.95, recede=0.0, stubble=0.0, freckles=0.0)
    picture = paint_look(skin, look).astype(float)
    cheek, forehead = (colour_at(head, skin, picture, s, y) for s, y in ((60, -25), (0, 68)))
    lips = picture.reshape(-1, 3)[skin.skin[skin.lips > 0.95]].mean(0)
    assert lips[0] / lips[1] > cheek[0] / cheek[1] + 0.2
    assert colour_at(head, skin, picture, 43, 4)[1] / forehead[1] < 0.97  # cheeks hold blood
    assert colour_at(head, skin, picture, 35, 50.7, 1.5).mean() < 0.85 * forehead.mean()  # brow
    assert colour_at(head, skin, picture, 0, 125, 8).mean() < 0.75 * forehead.mean()  # hair
    bald = paint_look(skin, replace(look, scalp=0.0)).astype(float)
    assert colour_at(head, skin, bald, 0, 125, 8).mean() > 0.9 * forehead.mean()
    bearded = paint_look(skin, replace(look, stubble=0.9, stubble_length=2.0)).astype(float)
    assert colour_at(head, skin, bearded, 0, -63).mean() < colour_at(head, skin, picture, 0, -63).mean() - 12
    assert np.abs(colour_at(head, skin, bearded, 0, 68) - forehead).max() < 1


def test_a_beard_grows_around_the_lips_not_on_them(head: Head, skin: SkinMap) -> None:
    look = replace(look_of(head.traits("keanu")), stubble_length=2.6)
    bearded, shaven = (paint_look(skin, replace(look, stubble=amount)).astype(int) for amount in (1.0, 0.0))
    change = np.abs(bearded - shaven).max(-1).reshape(-1)[skin.skin]
    assert change[skin.lips == 1].max() == 0
    assert change[(skin.lips == 0) & (skin.beard > 0.01)].mean() > 10


def test_eyes_and_teeth(head: Head, skin: SkinMap) -> None:
    picture = paint_look(skin, look_of(head.traits("freya"))).reshape(-1, 3).astype(float)
    eyes, teeth, tongue = (picture[skin.part == PARTS.index(part)] for part in ("eyeball", "teeth", "tongue"))
    assert eyes.mean(1).min() < 25 and eyes.mean(1).max() > 200  # pupil and sclera
    assert (eyes[:, 2] > eyes[:, 0] + 15).any()  # blue iris
    assert np.quantile(teeth.mean(1), 0.9) > 185
    assert (tongue[:, 0] > tongue[:, 1]).all()


def test_the_cheeks_inside_stay_red(head: Head, skin: SkinMap) -> None:
    """Darker towards the throat, but never black: the renderers take the light away once more."""
    inside = skin.part == PARTS.index("inner_mouth")
    colour = paint_look(skin, look_of(head.traits("carmen"))).reshape(-1, 3)[inside].astype(float)
    depth = skin.position[inside, 2]
    front, cheeks, throat = (
        colour[(depth > low) & (depth <= high)].mean(0) for low, high in ((0.115, 0.2), (0.08, 0.1), (0, 0.06))
    )
    assert front[0] > cheeks[0] > throat[0] > 50 and (colour[:, 0] > 1.5 * colour[:, 1]).all()


def test_painting_is_quick(head: Head) -> None:
    skin, look = skin_map(head, 1024), look_of(head.traits("marek"))
    paint_look(skin_map(head, 64), look)  # compiles
    start = time.process_time()
    paint_look(skin, look)
    assert time.process_time() - start < 3.0  # 1.3 s on an idle core
