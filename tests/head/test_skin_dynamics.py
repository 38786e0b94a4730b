"""Wrinkle maps from motion: exact rest, right place, right strength, fast."""

import time

import numpy as np
import pytest

from parlante.geometry.uv import ratio
from parlante.head.arkit import ARKIT_NAMES
from parlante.head.model import Head, load_head
from parlante.head.skin_dynamics import SkinDynamics
from parlante.head.skin_frame import face_frame


@pytest.fixture(scope="module")
def head() -> Head:
    return load_head()


@pytest.fixture(scope="module")
def dynamics(head: Head) -> SkinDynamics:
    return SkinDynamics(head, "bruno")


def pose(head: Head, *shapes: str, strength: float = 1.0) -> np.ndarray:
    """(1, V, 3) offsets."""
    every = head.shapes("bruno")
    return strength * sum(every[ARKIT_NAMES.index(shape)] for shape in shapes)[None]


def place(head: Head, s: tuple[float, float], y: tuple[float, float]) -> np.ndarray:
    """(256, 256) texels of the skin within a range of chart places, mm, on both sides."""
    chart = face_frame(head).texels(256)[1] * 1e3
    return (
        (np.abs(chart[..., 0]) > s[0])
        & (np.abs(chart[..., 0]) < s[1])
        & (chart[..., 1] > y[0])
        & (chart[..., 1] < y[1])
    )


BROWS = ("browInnerUp", "browOuterUpLeft", "browOuterUpRight")
SMILE = ("mouthSmileLeft", "mouthSmileRight")


def test_no_motion_changes_nothing(head: Head, dynamics: SkinDynamics) -> None:
    still = np.zeros((2, head.topology.num_vertices, 3), np.float32)
    assert (dynamics.maps(still) == 1).all()
    assert (ratio.to_bytes(dynamics.wrinkle(still)) == ratio.UNCHANGED_BYTE).all()


def test_a_moved_head_does_not_wrinkle(head: Head, dynamics: SkinDynamics) -> None:
    shift = np.full((1, head.topology.num_vertices, 3), 0.003, np.float32)
    assert np.abs(dynamics.maps(shift) - 1).max() < 5e-3


def test_raised_brows_fold_the_forehead(head: Head, dynamics: SkinDynamics) -> None:
    folded = dynamics.maps(pose(head, *BROWS))[0].mean(-1)
    forehead, mouth = place(head, (0, 30), (58, 92)), place(head, (0, 30), (-50, -22))
    assert 0.50 < folded[forehead].min() < 0.75  # valleys a quarter to a half darker
    assert 1.02 < folded[forehead].max() < 1.3
    assert np.abs(folded[mouth] - 1).max() < 0.05


def test_a_smile_folds_the_cheeks_and_not_the_forehead(head: Head, dynamics: SkinDynamics) -> None:
    folded = dynamics.maps(pose(head, *SMILE))[0].mean(-1)
    assert folded[place(head, (22, 46), (-45, 2))].min() < 0.75
    assert np.abs(folded[place(head, (0, 45), (56, 95))] - 1).max() < 0.02
    one_side = dynamics.maps(pose(head, "mouthSmileLeft"))[0].mean(-1)
    left = face_frame(head).texels(256)[1][..., 0] > 0
    cheek = place(head, (25, 46), (-45, 2))
    assert (1 - one_side[cheek & left]).clip(0).sum() > 4 * (1 - one_side[cheek & ~left]).clip(0).sum()


@pytest.mark.parametrize("shapes", [BROWS, SMILE, ("mouthPucker",), ("browDownLeft", "browDownRight")])
def test_stronger_motion_folds_deeper(head: Head, dynamics: SkinDynamics, shapes: tuple[str, ...]) -> None:
    offsets = np.concatenate([pose(head, *shapes, strength=k) for k in (0.1, 0.3, 0.6, 1.0)])
    depth = np.abs(np.log(dynamics.maps(offsets))).mean((1, 2, 3))
    assert (np.diff(depth) > 0).all() and depth[0] > 0


def test_pressed_lips_pale_and_pursed_lips_flush(head: Head, dynamics: SkinDynamics) -> None:
    red_of = {}
    for name in ("mouthPucker", "mouthStretchLeft", "mouthRollLower", "mouthPressLeft"):
        colour = dynamics.maps(pose(head, name))[0][place(head, (3, 18), (-45, -29))]
        red_of[name] = (colour[:, 0] / colour[:, 1]).mean()
    assert red_of.pop("mouthPucker") > 1.01
    assert max(red_of.values()) < 0.999, red_of


def test_people_fold_differently(head: Head, dynamics: SkinDynamics) -> None:
    other = SkinDynamics(head, "freya")
    mine, theirs = (d.maps(pose(head, *BROWS))[0].mean(-1) for d in (dynamics, other))
    assert np.abs(mine - theirs).max() > 0.2
    assert theirs.min() > mine.min()  # younger skin folds less deeply


def test_sizes_agree_and_it_keeps_up_with_training(head: Head, dynamics: SkinDynamics) -> None:
    offsets = pose(head, *BROWS, *SMILE, strength=0.8)
    small = SkinDynamics(head, "bruno", size=128).maps(offsets)[0]
    large = dynamics.maps(offsets)[0].reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.85
    many = np.repeat(offsets, 30, 0)
    start = time.process_time()
    dynamics.wrinkle(many)
    assert 30 / (time.process_time() - start) > 60  # frames per second of processor time
