"""Picture metrics on bytes (H, W, 3), 0..255, as in the TexTalker code base; float64 inside."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d


def without_border(image: ArrayLike, border: int) -> NDArray:
    """The picture (H, W, ...) less `border` pixels on every side; the published option files ask for 4."""
    picture = np.asarray(image)
    return picture[border : picture.shape[0] - border, border : picture.shape[1] - border]


def luma(image: ArrayLike) -> NDArray[np.float32]:
    """(H, W, 1) luma 16..235 of an sRGB byte picture (H, W, 3), ITU-R BT.601, not rounded."""
    unit = np.asarray(image, np.float32) / np.float32(255)
    weighted = unit @ np.array([65.481, 128.553, 24.966], np.float32) + np.float32(16)
    return weighted[..., None]


def psnr(image: ArrayLike, other: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Peak signal-to-noise ratio in dB over all pixels, or those where `mask` (H, W) is true. Equal pictures: inf."""
    difference = np.asarray(image, np.float64) - np.asarray(other, np.float64)
    if mask is not None:
        difference = difference[np.asarray(mask, bool)]
    error = np.mean(np.square(difference))
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def ssim_map(image: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """(H - 10, W - 10, C) structural similarity where the 11 x 11 Gaussian window (sigma 1.5) fits entirely."""
    a, b = np.asarray(image, np.float64), np.asarray(other, np.float64)
    if min(a.shape[:2]) < 11:
        raise ValueError(f"SSIM needs pictures of at least 11 x 11 pixels, got {a.shape[:2]}")
    kernel = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    kernel /= kernel.sum()

    def blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return correlate1d(correlate1d(x, kernel, 0), kernel, 1)[5:-5, 5:-5]

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ma, mb = blur(a), blur(b)
    va, vb, cov = blur(a * a) - ma**2, blur(b * b) - mb**2, blur(a * b) - ma * mb
    return ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))


def ssim(image: ArrayLike, other: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean structural similarity over positions and channels, or over positions whose centre lies in `mask` (H, W)."""
    similarity = ssim_map(image, other)
    if mask is not None:
        similarity = similarity[np.asarray(mask, bool)[5:-5, 5:-5]]
    return float(similarity.mean())
