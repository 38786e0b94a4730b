"""Every array of the wrinkle-map fixture: real pixels and all pairs of bytes, through float maps and through bytes."""

import numpy as np
import pytest

from parlante.geometry.uv import apply_ratio, ratio


@pytest.fixture(scope="module")
def case(parity):
    return {key: tensor.numpy() for key, tensor in parity("texture_ratio/ratio").tensors.items()}


@pytest.fixture(scope="module")
def stride(parity):
    """Every so many bytes are among the pairs."""
    return parity("texture_ratio/ratio").sizes["stride"]


@pytest.fixture(scope="module")
def sides(case, stride):
    """neutral and frame of each part, 0..1 RGB float32 as the authors read them, and the neutral bytes."""
    neutral, frame = (np.ascontiguousarray(case[f"in/pixels/{name}_bgr"][:, ::-1]) for name in ("neutral", "frame"))
    steps = np.arange(0, 256, stride).astype(np.uint8)
    row, column = np.meshgrid(steps, steps, indexing="ij")
    return {"pixels": (neutral, frame), "pairs": (row, column)}


def unit(values):
    return values.astype(np.float32) / np.float32(255)


def transposed(array, part):
    return array.T if part == "pixels" else array


PARTS = ("pixels", "pairs")


@pytest.mark.parametrize("part", PARTS)
def test_encoding(case, sides, part):
    neutral, frame = (unit(side) for side in sides[part])
    theirs = transposed(case[f"out/{part}/wrinkle"], part)
    np.testing.assert_allclose(ratio.wrinkle_from_frames(frame, neutral), theirs, atol=1e-6)
    if part == "pairs":
        theirs = case["out/pairs/wrinkle_eps1e-5"]
        np.testing.assert_allclose(ratio.wrinkle_from_frames(frame, neutral, 1e-5), theirs, atol=1e-6)


@pytest.mark.parametrize("part", PARTS)
def test_stored_bytes(case, part):
    """Equal but for values on a rounding edge."""
    ours = ratio.to_bytes(transposed(case[f"out/{part}/wrinkle"], part)).astype(int)
    name = "wrinkle_png_bgr" if part == "pixels" else "wrinkle_8bit"
    theirs = case[f"out/{part}/{name}"]
    difference = np.abs(ours - (theirs[:, ::-1] if part == "pixels" else theirs))
    assert difference.max() <= 1 and (difference > 0).sum() <= max(1, 1e-3 * difference.size)


@pytest.mark.parametrize("part", PARTS)
def test_decoding(case, sides, part):
    """Where the map saturates (ratios above 13) the last bit of w decides: compared below that."""
    neutral = unit(sides[part][0])
    wrinkle = transposed(case[f"out/{part}/wrinkle"], part)
    ours = ratio.decode(wrinkle.astype(np.float32)) * neutral
    theirs = transposed(case[f"out/{part}/recovered"], part)
    sound = wrinkle < np.tanh(13 / 2)
    assert sound.mean() > 0.85
    np.testing.assert_allclose(ours[sound], theirs[sound], atol=2e-4)


def test_frames_come_back_to_the_byte(case, sides):
    """A float map loses nothing below a ratio of 13.2, where neutral is not black."""
    neutral, frame = sides["pixels"]
    wrinkle = case["out/pixels/wrinkle"].T
    ours = apply_ratio(neutral[None], wrinkle[None])[0]
    assert (ours == case["out/pixels/frame_png_bgr"][:, ::-1]).mean() > 0.9999
    assert np.abs(ours.astype(int) - frame).max() == 0
    row, column = sides["pairs"]
    painted = apply_ratio(*(np.repeat(a[..., None], 3, 2) for a in (row, case["out/pairs/wrinkle"])))[..., 0]
    sound = (row > 0) & (column < 13.2 * row)
    assert (painted[sound] == column[sound]).all() and (painted[row == 0] == 0).all()
    assert np.abs(painted[sound].astype(int) - case["out/pairs/frame_8bit"][sound]).max() <= 1


@pytest.mark.parametrize("part", PARTS)
def test_through_eight_bits(case, sides, part):
    """Decoding a stored map as published: bytes over 255, without our exact value for unchanged skin."""
    neutral = unit(sides[part][0])
    stored = case["out/pixels/wrinkle_png_bgr"][:, ::-1] if part == "pixels" else case["out/pairs/wrinkle_8bit"]
    theirs = transposed(case[f"out/{part}/recovered_through_8bit"], part)
    ours = ratio.decode(unit(stored)) * neutral
    sound = stored < 255
    np.testing.assert_allclose(ours[sound], theirs[sound], rtol=1e-4, atol=2e-4)
    kept = sound & (stored != ratio.UNCHANGED_BYTE)
    table = ratio.ratio_from_bytes(np.ascontiguousarray(stored)) * neutral
    np.testing.assert_allclose(table[kept], theirs[kept], rtol=1e-3, atol=1e-3)
