"""A contact sheet keeps every picture, in order."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parlante.render import contact_sheet, save_png


def test_pictures_keep_their_place() -> None:
    frames = [np.full((20, 30, 3), 40 * k, np.uint8) for k in range(5)]
    sheet = contact_sheet(frames, columns=3, gap=2)
    assert sheet.shape == (42, 94, 3)
    for k in range(5):
        y, x = 22 * (k // 3), 32 * (k % 3)
        np.testing.assert_array_equal(sheet[y : y + 20, x : x + 30], frames[k])


def test_labels_are_drawn_and_sizes_checked() -> None:
    frames = [np.zeros((64, 64, 3), np.uint8)] * 2
    assert contact_sheet(frames, ["12", "13"]).max() > 200
    with pytest.raises(ValueError, match="one size"):
        contact_sheet([frames[0], np.zeros((32, 64, 3), np.uint8)])
    with pytest.raises(ValueError):
        contact_sheet([])


def test_png_round_trip(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    save_png(picture, tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
