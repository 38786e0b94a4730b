"""Per-character gains: read back as written, applied by name or pattern, mistakes named."""

from pathlib import Path

import numpy as np
import pytest

from parlante.core import InputError
from parlante.export.calibration import Calibration

NAMES = ("jawOpen", "mouthSmileLeft", "mouthSmileRight", "browInnerUp")


def test_gain_offset_and_limits_by_name_and_pattern(tmp_path: Path) -> None:
    written = Calibration({"mouth*": {"gain": 0.5}, "mouthSmileRight": {"offset": 0.1}, "jawOpen": {"max": 0.6}})
    written.write(tmp_path / "me.json")
    again = Calibration.read(tmp_path / "me.json")
    assert again.weights == written.weights
    weights = np.array([[0.9, 0.4, 0.4, 0.7], [0.2, 0.0, 0.0, 1.0]], np.float32)
    wanted = [[0.6, 0.2, 0.3, 0.7], [0.2, 0.0, 0.1, 1.0]]
    np.testing.assert_allclose(again.apply(weights, NAMES), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("not json", "cannot read"),
        ("[]", "no calibration"),
        ('{"parlante_calibration": 1}', "lacks"),
        ('{"parlante_calibration": 1, "curves": {"jawOpen": {"gian": 2}}}', "gian.*gain"),
        ('{"parlante_calibration": 1, "curves": {"jawOpen": {"gain": "2"}}}', "must be a number"),
        ('{"parlante_calibration": 1, "curves": {"jawOpen": 2}}', "jawOpen"),
    ],
)
def test_mistakes_are_named(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "me.json").write_text(text)
    with pytest.raises(InputError, match=says):
        Calibration.read(tmp_path / "me.json")


def test_an_entry_that_fits_no_curve_is_named() -> None:
    with pytest.raises(InputError, match=r"jawopen.*jawOpen"):
        Calibration({"jawopen": {"gain": 2}}).apply(np.zeros((1, 4)), NAMES)


def test_crossed_limits_are_named() -> None:
    with pytest.raises(InputError, match=r"jawOpen.*swap"):
        Calibration({"jawOpen": {"min": 0.9, "max": 0.1}}).table(NAMES)
