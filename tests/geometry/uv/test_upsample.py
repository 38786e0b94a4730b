"""Wrinkle maps on large albedos: exact at rest, true to edges and islands, no texel grid, any size."""

import numpy as np
import pytest
from PIL import Image

from parlante.core import Topology
from parlante.geometry.uv import Upsampler, apply_ratio, ratio
from parlante.geometry.uv.upsample import island_of_triangles, normal_rows, relief


def two_islands() -> Topology:
    """Two triangles that fill the left and the right half of the texture, and share no corner."""
    uv = np.array([[0, 0], [0.5, 0], [0.5, 1], [0, 1], [0.5, 0], [1, 0], [1, 1], [0.5, 1]], np.float32)
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    return Topology("two", 8, triangles, uv, triangles)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)


def small(picture: np.ndarray, side: int) -> np.ndarray:
    """Area mean of (S, S, 3) float at a smaller size."""
    step = len(picture) // side
    return picture.reshape(side, step, side, step, 3).mean((1, 3))


def decibel(picture: np.ndarray, truth: np.ndarray) -> float:
    return 10 * np.log10(255**2 / np.square(picture.astype(float) - truth).mean())


@pytest.mark.parametrize("shape", [(16, 16), (33, 50), (200, 131), (128, 128), (7, 300)])
@pytest.mark.parametrize("stored", [True, False])
def test_an_unmoved_face_returns_the_albedo_bit_for_bit(shape: tuple[int, int], stored: bool) -> None:
    rest = np.full((16, 16, 3), ratio.UNCHANGED_BYTE, np.uint8) if stored else np.full((16, 16, 3), ratio.UNCHANGED)
    albedo = noise(*shape)
    assert (Upsampler(albedo, (16, 16), two_islands()).apply(rest) == albedo).all()


def test_skin_away_from_what_moves_is_untouched() -> None:
    albedo, wrinkle = noise(256, 256), np.full((32, 32, 3), 118, np.uint8)
    wrinkle[4:9, 4:9] = 90
    out = Upsampler(albedo, (32, 32)).apply(wrinkle)
    changed = (out != albedo).any(-1)
    assert changed[40:64, 40:64].all()
    assert not changed[8 * 12 :].any() and not changed[:, 8 * 12 :].any()


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.1, 1.5])
def test_a_uniform_ratio_scales(factor: float) -> None:
    albedo = np.full((90, 130, 3), 120, np.uint8)
    out = Upsampler(albedo, (16, 16)).apply(ratio.encode(np.full((16, 16, 3), factor)))
    assert np.abs(out.astype(int) - 120 * factor).max() <= 1


def test_stripes_threads_and_whole_pictures_agree() -> None:
    albedo, wrinkle = noise(300, 210), np.random.default_rng(1).integers(90, 140, (24, 24, 3), np.uint8)
    up = Upsampler(albedo, (24, 24), two_islands(), workers=3)
    whole, frame = up.apply(wrinkle), up.frame(wrinkle)
    pieces = np.concatenate([frame.colours(start, min(start + 41, 300)) for start in range(0, 300, 41)])
    assert (pieces == whole).all() and (up.apply(wrinkle, workers=3) == whole).all()


def test_islands_do_not_bleed() -> None:
    albedo = np.full((256, 256, 3), 150, np.uint8)
    wrinkle = np.full((16, 16, 3), 118, np.uint8)
    wrinkle[:, :8] = ratio.to_bytes(ratio.encode(np.full((16, 8, 3), 0.6)))
    bled = Upsampler(albedo, (16, 16)).apply(wrinkle)[:, :, 0]
    kept = Upsampler(albedo, (16, 16), two_islands()).apply(wrinkle)[:, :, 0]
    assert (bled[:, 129] < 145).all()
    assert (np.abs(kept[:, 130:].astype(int) - 150) <= 6).all()  # the sharpening's ripple, nothing of the other side
    assert (np.abs(kept[:, :126].astype(int) - 90) <= 6).all()
    assert island_of_triangles(two_islands()).tolist() == [0, 0, 1, 1]


def test_edges_of_the_albedo_are_followed() -> None:
    """A lip that darkens beside skin that does not: nearer to the truth than plain enlargement, by decibels."""
    y, x = np.mgrid[:512, :512]
    lip = (np.hypot((x - 256) / 200, (y - 256 - 20 * np.sin(x / 30)) / 90) < 1)[..., None]
    grain = np.random.default_rng(0).normal(0, 3, (512, 512, 1))
    albedo = np.clip(np.where(lip, [150, 70, 70], [200, 150, 130]) + grain, 0, 255).astype(np.uint8)
    truth = albedo * np.where(lip, [0.8, 0.7, 0.75], 1)
    wrinkle = ratio.encode(small(truth, 32) / small(albedo.astype(float), 32))
    plain, aware = apply_ratio(albedo, wrinkle), Upsampler(albedo, (32, 32)).apply(wrinkle)
    assert decibel(aware, truth) > decibel(plain, truth) + 3


def test_a_crease_keeps_its_depth() -> None:
    """Nearer to the truth than bilinear enlargement, which flattens what is a few texels wide."""
    y = (np.arange(512)[:, None, None] + 0.5) / 16
    truth = np.broadcast_to(np.exp(-0.5 * np.exp(-np.square((y - 16.2) / 1.2))), (512, 512, 3))
    albedo = np.full((512, 512, 3), 200, np.uint8)
    wrinkle = ratio.encode(np.exp(small(np.log(truth), 32)))
    bilinear = apply_ratio(albedo, wrinkle)
    ours = Upsampler(albedo, (32, 32)).apply(wrinkle)
    assert decibel(ours, 200 * truth) > decibel(bilinear, 200 * truth) + 3


def test_relief_and_normals() -> None:
    height = np.zeros((10, 12), np.float32) + 0.5 * np.arange(12, dtype=np.float32)
    normals = normal_rows(height[1:8], 2, 7, (1.0, 1.0))
    up_left = np.array([-0.5, 0, 1]) / np.sqrt(1.25)
    assert np.abs(normals - np.rint(127.5 + 127.5 * up_left)).max() <= 1
    rows = normal_rows(np.arange(10, dtype=np.float32)[:, None].repeat(5, 1), 0, 10, (1.0, 2.0))
    assert (rows[..., 1] > 127).all() and (rows[..., 0] == 128).all()  # lower rows higher: slope leans up the picture
    assert (normal_rows(np.zeros((4, 6), np.float32), 0, 4, (1.0, 1.0)) == (128, 128, 255)).all()
    dark = relief(np.array([[[0.5, 0.5, 0.5], [1, 1, 1], [1.2, 1.3, 1.4]]], np.float32))
    np.testing.assert_allclose(dark, [[np.log(0.5), 0, np.log(1.3)]], atol=1e-6)


@pytest.mark.parametrize(
    "albedo, wrinkle, message",
    [
        (np.zeros((8, 8), np.uint8), np.zeros((4, 4, 3), np.uint8), "albedo"),
        (np.zeros((8, 8, 3)), np.zeros((4, 4, 3), np.uint8), "albedo"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((5, 4, 3), np.uint8), r"\(4, 4, 3\)"),
    ],
)
def test_wrong_shapes_are_named(albedo: np.ndarray, wrinkle: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Upsampler(albedo, (4, 4)).apply(wrinkle)


def test_maps_larger_than_the_albedo() -> None:
    wrinkle = ratio.encode(np.full((64, 64, 3), 0.8))
    out = Upsampler(np.full((20, 30, 3), 100, np.uint8), (64, 64)).apply(wrinkle)
    assert np.abs(out.astype(int) - 80).max() <= 1
    assert Image.fromarray(out).size == (30, 20)
