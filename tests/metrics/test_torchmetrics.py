"""What torchmetrics measures, too, we measure alike; ours add masks, bytes and several sequences of unequal lengths."""

import numpy as np
import pytest
import torch

from parlante.metrics.images import psnr, ssim, ssim_map
from parlante.metrics.vertices import lip_vertex_error_m2

functional = pytest.importorskip("torchmetrics.functional")


def pictures() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (40, 52, 3)).astype(np.uint8)
    noisy = np.clip(image + draw.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    return image, noisy


def batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).double().permute(2, 0, 1)[None]


def test_lip_vertex_error() -> None:
    draw = np.random.default_rng(1)
    true, made = draw.normal(size=(2, 9, 30, 3))
    lips = [3, 4, 11, 29]
    theirs = functional.multimodal.lip_vertex_error(torch.from_numpy(made), torch.from_numpy(true), lips)
    assert lip_vertex_error_m2([made], [true], lips) == pytest.approx(float(theirs), rel=1e-12)


def test_peak_signal_to_noise_ratio() -> None:
    image, noisy = pictures()
    theirs = functional.image.peak_signal_noise_ratio(batch(noisy), batch(image), data_range=255.0)
    assert psnr(noisy, image) == pytest.approx(float(theirs), rel=1e-6)  # theirs takes a logarithm in float32


def test_structural_similarity() -> None:
    """Their mean counts the border, where the window is reflected; the published one, and ours, does not."""
    image, noisy = pictures()
    _, theirs = functional.image.structural_similarity_index_measure(
        batch(noisy), batch(image), sigma=1.5, data_range=255.0, return_full_image=True
    )
    inside = theirs[0].permute(1, 2, 0).numpy()[5:-5, 5:-5]
    np.testing.assert_allclose(ssim_map(noisy, image), inside, rtol=1e-10)
    assert ssim(noisy, image) == pytest.approx(inside.mean(), rel=1e-12)
