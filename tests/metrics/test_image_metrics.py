"""PSNR and SSIM against their formulas, written out here: tiles leave no seams, masks choose, doubles stay doubles."""

import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.ndimage import correlate1d

from parlante.metrics import psnr, ssim, ssim_map


def pictures(height: int = 40, width: int = 52, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(height + width)
    image = draw.integers(0, 256, (height, width, channels)).astype(np.uint8)
    noisy = np.clip(image + draw.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    return image, noisy


def published(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """SSIM where the window fits, as the paper's formula has it."""
    kernel = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    kernel /= kernel.sum()

    def mean(x: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(x, kernel, 0), kernel, 1)[5:-5, 5:-5]

    a, b = a.astype(float), b.astype(float)
    ma, mb = mean(a), mean(b)
    va, vb, both = mean(a * a) - ma**2, mean(b * b) - mb**2, mean(a * b) - ma * mb
    c1, c2 = 2.55**2, 7.65**2
    return (2 * ma * mb + c1) * (2 * both + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))


@pytest.mark.parametrize("size", [(11, 11, 3), (12, 40, 1), (48, 48, 3), (49, 87, 3), (124, 50, 2)])
def test_structural_similarity(size: tuple[int, int, int]) -> None:
    image, noisy = pictures(*size)
    wanted = published(image, noisy)
    np.testing.assert_allclose(ssim_map(image, noisy), wanted, rtol=1e-10, atol=1e-12)
    assert ssim(image, noisy) == pytest.approx(wanted.mean(), rel=1e-12)


@pytest.mark.parametrize("place", [(0, 0), (5, 5), (37, 38), (42, 43), (38, 80), (89, 89)])
def test_one_changed_pixel_is_seen_by_every_window_over_it(place: tuple[int, int]) -> None:
    image, _ = pictures(90, 90)
    other = image.copy()
    other[place] ^= 128
    np.testing.assert_allclose(ssim_map(image, other), published(image, other), rtol=1e-10, atol=1e-12)


def test_similarity_of_part_of_a_picture() -> None:
    image, noisy = pictures()
    mask = np.zeros(image.shape[:2], bool)
    mask[3:20, 30:] = True  # part of it lies where no window fits
    assert ssim(image, noisy, mask) == pytest.approx(published(image, noisy)[:15, 25:].mean(), rel=1e-12)


def test_noise_in_decibel_is_computed_in_doubles() -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    for difference in (1, 7, 155):
        assert psnr(image, image + np.uint8(difference)) == pytest.approx(20 * np.log10(255 / difference), rel=1e-14)


def test_noise_of_part_of_a_picture() -> None:
    image, noisy = pictures()
    mask = np.random.default_rng(0).random(image.shape[:2]) < 0.2
    error = np.mean((image[mask].astype(float) - noisy[mask]) ** 2)
    assert psnr(image, noisy, mask) == pytest.approx(10 * np.log10(255**2 / error), rel=1e-14)
    noisy[mask] = image[mask]
    assert psnr(image, noisy, mask) == float("inf") and psnr(image, noisy) < 40


def test_equal_pictures() -> None:
    image, _ = pictures()
    assert psnr(image, image) == float("inf") and ssim(image, image) == 1


@pytest.mark.parametrize(("one", "two"), [((10, 40, 3), (10, 40, 3)), ((40, 40, 3), (40, 41, 3))])
def test_pictures_without_a_similarity(one: tuple[int, ...], two: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one size, at least 11 x 11"):
        ssim_map(np.zeros(one, np.uint8), np.ones(two, np.uint8))


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("crop", [0, 4])
def test_picture_metrics_equal_the_published_script(shared, name: str, crop: int) -> None:
    data = load_file(shared / "parity" / "metrics" / "images.safetensors")
    inner = slice(crop, -crop or None)
    image, other = (data[f"in/{name}/{k}_bgr"][inner, inner] for k in ("image", "other"))
    assert psnr(image, other) == pytest.approx(float(data[f"out/{name}/psnr_crop{crop}_bgr"]), rel=1e-12)
    assert ssim(image, other) == pytest.approx(float(data[f"out/{name}/ssim_crop{crop}_bgr"]), rel=1e-9)


def test_masks_choose_the_pixels() -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    other = image.copy()
    other[:16] = 255
    mask = np.zeros((32, 32), bool)
    mask[16:] = True
    assert psnr(image, other, mask) == float("inf")
    assert psnr(image, other, ~mask) == pytest.approx(0)
    assert ssim(image, other, ~mask) < 0.1
