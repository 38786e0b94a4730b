"""Picture metrics on bytes (H, W, 3), 0..255, as in the TexTalker code base: those of torchmetrics, in float64."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

BORDER = 5
"""Half the 11 x 11 window of SSIM: as much is missing from its map on every side."""
TILE = 48
"""Side of what SSIM sees at once: torch convolves doubles by laying out a pixel 121 times, which of a whole picture
is more than a processor's cache holds."""


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
    import torch
    from torchmetrics.functional.image import peak_signal_noise_ratio

    chosen = ... if mask is None else np.asarray(mask, bool)
    a, b = (torch.from_numpy(np.asarray(picture)[chosen].astype(np.float64)) for picture in (image, other))
    low, high, base = np.array([0.0, 255.0, 10.0])  # of Python's own floats it takes logarithms in single precision
    return float(peak_signal_noise_ratio(a, b, data_range=(low, high), base=base))


def ssim_map(image: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """(H - 10, W - 10, C) structural similarity where the 11 x 11 Gaussian window (sigma 1.5) fits entirely.

    Tiles in which the pictures are equal are 1 by definition, and are not computed. Raises ValueError for pictures of
    different sizes, or smaller than the window.
    """
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    a, b = np.asarray(image), np.asarray(other)
    if a.shape != b.shape or min(a.shape[:2]) < 2 * BORDER + 1:
        raise ValueError(f"SSIM needs two pictures of one size, at least 11 x 11 pixels, got {a.shape} and {b.shape}")
    step = TILE - 2 * BORDER
    height, width, channels = a.shape[0] - 2 * BORDER, a.shape[1] - 2 * BORDER, a.shape[2]
    rows, columns = -(-height // step), -(-width // step)

    def tiles(picture: NDArray) -> NDArray:
        """(rows * columns * C, TILE, TILE), neighbours overlapping by the window."""
        whole = np.pad(picture, ((0, rows * step - height), (0, columns * step - width), (0, 0)))
        return sliding_window_view(whole, (TILE, TILE), (0, 1))[::step, ::step].reshape(-1, TILE, TILE)

    a, b = tiles(a), tiles(b)
    similarity = np.ones((len(a), step, step))
    for place in np.flatnonzero((a != b).any((1, 2))):
        one, two = (torch.from_numpy(tile[None, None, place].astype(np.float64)) for tile in (a, b))
        _, found = structural_similarity_index_measure(one, two, sigma=1.5, data_range=255.0, return_full_image=True)
        similarity[place] = without_border(found[0, 0], BORDER)
    grid = similarity.reshape(rows, columns, channels, step, step).transpose(0, 3, 1, 4, 2)
    return grid.reshape(rows * step, columns * step, channels)[:height, :width]


def ssim(image: ArrayLike, other: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Mean structural similarity over positions and channels, or over positions whose centre lies in `mask` (H, W)."""
    similarity = ssim_map(image, other)
    if mask is not None:
        similarity = similarity[without_border(mask, BORDER).astype(bool)]
    return float(similarity.mean())
