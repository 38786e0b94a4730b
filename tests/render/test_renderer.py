"""Both renderers draw the same head, smoothly, where the camera says, and react to what changes."""

import logging

import moderngl
import numpy as np
import pytest

from parlante.core import InputError
from parlante.render import Renderer, frame_head
from parlante.render.shading import background
from parlante.render.wrinkles import RATIO, UNCHANGED

SIZE = 128


@pytest.fixture(params=["gl", "soft"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "gl":
        try:
            moderngl.create_context(standalone=True, require=330, backend="egl").release()
        except Exception as error:
            pytest.skip(f"no OpenGL over EGL here: {error}")
    return request.param


def grey_levels(size: int) -> np.ndarray:
    return np.repeat(background(size)[..., None] * 255, 3, axis=2)


def silhouette(picture: np.ndarray) -> np.ndarray:
    return np.abs(picture - grey_levels(len(picture))).max(axis=-1) > 12


def crease(at: slice) -> np.ndarray:
    wrinkle = np.full((64, 64, 3), UNCHANGED, np.uint8)
    wrinkle[at] = 90
    return wrinkle


@pytest.mark.parametrize("view", ["front", "three-quarter", "profile"])
def test_both_renderers_agree(head, view: str) -> None:
    topology, neutral, albedo = head
    try:
        hard = Renderer(topology, neutral, size=SIZE, view=view, albedo=albedo, backend="gl")
    except InputError as error:
        pytest.skip(str(error))
    soft = Renderer(topology, neutral, size=SIZE, view=view, albedo=albedo, backend="soft")
    rng = np.random.default_rng(1)
    wrinkle = (UNCHANGED + rng.normal(0, 12, (64, 64, 3))).astype(np.uint8)
    for request in ({}, {"wrinkle": wrinkle}, {"head_pose": [0.1, 0.3, -0.1, 0.0, 0.01, 0.0]}):
        a, b = hard.draw(neutral, **request).astype(int), soft.draw(neutral, **request).astype(int)
        assert np.abs(a - b).mean() < 0.8, request
        assert (np.abs(a - b).max(axis=-1) > 24).mean() < 0.003, request


def test_head_fills_the_middle(head, backend: str) -> None:
    topology, neutral, albedo = head
    for view in ("front", "three-quarter", "profile"):
        inside = silhouette(
            Renderer(topology, neutral, size=SIZE, view=view, albedo=albedo, backend=backend).draw(neutral)
        )
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        assert 0.8 * SIZE < np.ptp(rows) < 0.99 * SIZE
        assert abs(rows.mean() - SIZE / 2) < 4 and abs(columns.mean() - SIZE / 2) < 6
        assert columns[0] > 0 and columns[-1] < SIZE - 1
        assert not inside[:4, :4].any() and inside[SIZE // 2, SIZE // 2]


def test_silhouette_follows_the_projection(head, backend: str) -> None:
    topology, neutral, albedo = head
    camera = frame_head(neutral)
    inside = silhouette(
        Renderer(topology, neutral, size=SIZE, view=camera, albedo=albedo, backend=backend).draw(neutral)
    )
    points = neutral @ camera.view[:3, :3].T + camera.view[:3, 3]
    pixels = (points[:, :2] * [1, -1] * camera.focal / -points[:, 2:] + 1) * SIZE / 2
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    np.testing.assert_allclose([columns[0], rows[0]], low, atol=1.5)
    np.testing.assert_allclose([columns[-1] + 1, rows[-1] + 1], high, atol=1.5)


def test_edges_are_smoothed(head, backend: str) -> None:
    topology, neutral, _ = head
    bright = np.full((8, 8, 3), 255, np.uint8)
    picture = Renderer(topology, neutral, size=SIZE, albedo=bright, backend=backend).draw(neutral).astype(float)
    backdrop = grey_levels(SIZE)
    between = 0
    for y in range(30, 98):
        inside = np.flatnonzero(np.abs(picture[y] - backdrop[y]).max(axis=-1) > 3)
        edge, full = picture[y, inside[0]].mean(), picture[y, inside[0] + 2].mean()
        share = (edge - backdrop[y, inside[0]].mean()) / (full - backdrop[y, inside[0]].mean())
        between += 0.1 < share < 0.9
    assert between > 20, "edge pixels must take values between head and backdrop"


def test_wrinkles_darken_their_place_only(head, backend: str) -> None:
    topology, neutral, albedo = head
    renderer = Renderer(topology, neutral, size=SIZE, albedo=albedo, backend=backend)
    plain = renderer.draw(neutral).astype(int)
    same = renderer.draw(neutral, wrinkle=np.full((64, 64, 3), UNCHANGED, np.uint8)).astype(int)
    assert np.abs(plain - same).max() <= 2
    creased = renderer.draw(neutral, wrinkle=crease(np.s_[16:20, 26:38])).astype(int)
    change = (creased - plain).sum(axis=-1)
    rows, columns = np.nonzero(change < -40)
    assert len(rows) > 20
    # map rows 16..20 of 64 lie at v = 0.72 of 0.9 on the sphere: above the middle of the face
    assert rows.max() < SIZE / 2 and abs(columns.mean() - SIZE / 2) < 6
    assert np.abs(change[SIZE // 2 + 10 :]).max() <= 6
    assert np.abs(renderer.draw(neutral).astype(int) - plain).max() == 0, "a wrinkle lasts one frame"


def test_wrinkle_bytes_and_ratios_are_the_same(head) -> None:
    topology, neutral, albedo = head
    renderer = Renderer(topology, neutral, size=SIZE, albedo=albedo, backend="soft")
    stored = crease(np.s_[16:20, 26:38])
    np.testing.assert_array_equal(
        renderer.draw(neutral, wrinkle=stored), renderer.draw(neutral, wrinkle=RATIO[stored].astype(np.float64))
    )
    assert RATIO[UNCHANGED] == 1
    ratio = np.linspace(0.2, 2, 50)
    np.testing.assert_allclose(RATIO[np.round(255 * np.tanh(ratio / 2)).astype(int)], ratio, rtol=0.02)


def test_motion_pose_and_texture_change_the_picture(head, backend: str) -> None:
    topology, neutral, albedo = head
    renderer = Renderer(topology, neutral, size=SIZE, albedo=albedo, backend=backend)
    plain = renderer.draw(neutral).astype(int)
    moved = renderer.draw(neutral + np.float32([0.02, 0, 0])).astype(int)
    assert np.flatnonzero(silhouette(moved).any(0))[0] > np.flatnonzero(silhouette(plain).any(0))[0] + 4
    turned = renderer.draw(neutral, head_pose=[0, 0.5, 0, 0, 0, 0]).astype(int)
    eye = plain[40:62].sum(axis=-1).argmax(axis=1).mean()
    assert np.abs(turned - plain).mean() > 1 and eye > 0
    assert np.abs(renderer.draw(neutral).astype(int) - plain).max() == 0
    green = renderer.draw(neutral, texture=np.full((16, 16, 3), (20, 200, 20), np.uint8)).astype(int)
    assert green[SIZE // 2 + 20, SIZE // 2].argmax() == 1


def test_head_without_texture_has_skin_and_white_eyes(head, backend: str) -> None:
    topology, neutral, _ = head
    picture = Renderer(topology, neutral, size=SIZE, backend=backend).draw(neutral).astype(int)
    skin = picture[SIZE * 3 // 4, SIZE // 2]
    assert skin[0] > skin[1] > skin[2]
    camera = frame_head(neutral)
    pupil = np.array([0.03, 0.015, 0.09]) @ camera.view[:3, :3].T + camera.view[:3, 3]
    x, y = ((pupil[:2] * [1, -1] * camera.focal / -pupil[2] + 1) * SIZE / 2).astype(int)
    assert picture[y, x].min() > skin.min() + 20


def test_falls_back_when_egl_is_hidden(head, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    topology, neutral, albedo = head

    def hidden(**_: object) -> None:
        raise Exception("libEGL.so.1 not loaded")

    monkeypatch.setattr(moderngl, "create_context", hidden)
    with caplog.at_level(logging.INFO, "parlante.render"):
        renderer = Renderer(topology, neutral, size=SIZE, albedo=albedo)
    assert "software" in renderer.backend
    assert len(caplog.records) == 1 and "libEGL" in caplog.text
    assert silhouette(renderer.draw(neutral)).mean() > 0.2
    with pytest.raises(InputError, match="libegl1"):
        Renderer(topology, neutral, size=SIZE, albedo=albedo, backend="gl")


def test_two_renderers_take_turns(head, backend: str) -> None:
    topology, neutral, albedo = head
    one = Renderer(topology, neutral, size=SIZE, albedo=albedo, backend=backend)
    first = one.draw(neutral)
    two = Renderer(topology, neutral, size=64, view="profile", albedo=albedo, backend=backend)
    second = two.draw(neutral)
    np.testing.assert_array_equal(one.draw(neutral), first)
    np.testing.assert_array_equal(two.draw(neutral), second)
    two.close()
    np.testing.assert_array_equal(one.draw(neutral), first)


def test_large_textures_are_reduced_to_what_shows(head) -> None:
    topology, neutral, albedo = head
    large = albedo.repeat(16, axis=0).repeat(16, axis=1)
    small = Renderer(topology, neutral, size=SIZE, albedo=albedo, backend="soft").draw(neutral)
    reduced = Renderer(topology, neutral, size=SIZE, albedo=large, backend="soft").draw(neutral)
    assert np.abs(small.astype(int) - reduced).mean() < 1.5


@pytest.mark.parametrize(
    "request_, error",
    [
        ({"size": 8}, InputError),
        ({"view": "above"}, InputError),
        ({"albedo": np.zeros((4, 4), np.uint8)}, ValueError),
        ({"albedo": np.zeros((4, 4, 3), np.float32)}, ValueError),
    ],
)
def test_bad_requests_are_named(head, request_: dict, error: type) -> None:
    topology, neutral, _ = head
    with pytest.raises(error):
        Renderer(topology, neutral, backend="soft", **request_)


def test_bad_frames_are_named(head) -> None:
    topology, neutral, albedo = head
    renderer = Renderer(topology, neutral, size=SIZE, albedo=albedo, backend="soft")
    with pytest.raises(ValueError, match="one frame at a time"):
        renderer.draw(neutral[None])
    with pytest.raises(ValueError, match="wrinkle map"):
        renderer.draw(neutral, wrinkle=np.zeros((8, 8), np.uint8))
