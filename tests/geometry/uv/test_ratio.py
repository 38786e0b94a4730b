"""Wrinkle maps: the published formula, its bytes, and applying it at any size."""

import numpy as np
import pytest
import torch

from parlante.geometry.uv import apply_ratio, ratio


def test_unchanged_is_exact() -> None:
    stored = np.full((8, 8, 3), ratio.UNCHANGED_BYTE, np.uint8)
    assert (ratio.ratio_from_bytes(stored) == 1).all()
    assert (ratio.to_bytes(ratio.from_bytes(stored)) == 118).all()
    albedo = np.random.default_rng(0).integers(0, 256, (100, 60, 3), np.uint8)
    assert (apply_ratio(albedo, stored) == albedo).all()
    assert (apply_ratio(albedo, np.full((8, 8, 3), ratio.UNCHANGED)) == albedo).all()


def test_bytes_survive_storage() -> None:
    every = np.arange(256, dtype=np.uint8)
    assert (ratio.to_bytes(ratio.from_bytes(every)) == every).all()


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.1, 1.5])
def test_a_uniform_ratio_scales_at_any_size(factor: float) -> None:
    albedo = np.full((90, 130, 3), 120, np.uint8)
    wrinkle = ratio.encode(np.full((16, 16, 3), factor))
    for size in ((90, 130), (16, 16), (257, 31)):
        painted = apply_ratio(np.resize(albedo, (*size, 3)), wrinkle)
        assert np.abs(painted.astype(int) - 120 * factor).max() <= 1
    stored = apply_ratio(albedo, ratio.to_bytes(wrinkle))
    assert np.abs(stored.astype(int) - 120 * factor).max() <= 2


def test_tensors_and_arrays_agree() -> None:
    values = np.linspace(0.2, 3, 20)
    encoded = ratio.encode(torch.tensor(values))
    np.testing.assert_allclose(encoded.numpy(), ratio.encode(values))
    np.testing.assert_allclose(ratio.decode(encoded).numpy(), values, rtol=1e-5)
