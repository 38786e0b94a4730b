"""A small head-like take: a bumpy sheet with lips, eyes and 52 local shapes. Fast, and enough for every format."""

import numpy as np
import pytest

from parlante.core import Animation, Topology
from parlante.export import AnimationInfo, animation_info
from parlante.head.arkit import ARKIT_NAMES

SIDE = 12


def sheet_topology() -> Topology:
    number = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    a, b, c, d = number[:-1, :-1].ravel(), number[:-1, 1:].ravel(), number[1:, 1:].ravel(), number[1:, :-1].ravel()
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    columns, rows = np.meshgrid(np.linspace(0.05, 0.95, SIDE), np.linspace(0.05, 0.95, SIDE))
    uv = np.stack([columns.ravel(), rows.ravel()], 1).astype(np.float32)
    # a seam: one vertex has a second texture corner
    uv = np.concatenate([uv, [[0.99, 0.99]]]).astype(np.float32)
    uv_triangles = triangles.copy()
    uv_triangles[0, 0] = len(uv) - 1
    middle = SIDE // 2
    return Topology(
        name="sheet",
        num_vertices=SIDE * SIDE,
        triangles=triangles,
        uv=uv,
        uv_triangles=uv_triangles,
        regions={
            "skin": np.arange(0, 120, dtype=np.int32),
            "eyeball_left": np.arange(120, 132, dtype=np.int32),
            "eyeball_right": np.arange(132, 144, dtype=np.int32),
            "neck": np.arange(0, 36, dtype=np.int32),
        },
        landmarks={
            "upper_lip_inner": int(number[middle, middle]),
            "lower_lip_inner": int(number[middle - 1, middle]),
            "mouth_left": int(number[middle, middle + 2]),
            "mouth_right": int(number[middle, middle - 2]),
        },
    )


@pytest.fixture
def animation() -> Animation:
    rng = np.random.default_rng(0)
    topology = sheet_topology()
    u = topology.uv[: SIDE * SIDE]
    neutral = np.stack([(u[:, 0] - 0.5) * 0.2, (u[:, 1] - 0.5) * 0.24, 0.05 * np.cos(3 * (u[:, 0] - 0.5))], 1)
    frames = 20
    weights = rng.random((frames, 52)).astype(np.float32)
    return Animation(
        topology=topology,
        fps=30.0,
        neutral=neutral.astype(np.float32),
        vertices=(neutral + np.tensordot(weights, shapes_of(), 1)).astype(np.float32),
        audio=(0.1 * np.sin(np.arange(16000 * frames // 30) * 0.1)).astype(np.float32),
        sample_rate=16000,
        wrinkle=rng.integers(90, 140, (frames, 16, 16, 3)).astype(np.uint8),
        weights=weights,
        weight_names=ARKIT_NAMES,
        head_pose=(0.05 * rng.normal(size=(frames, 6)) * [1, 1, 1, 0.01, 0.01, 0.01]).astype(np.float32),
        albedo=rng.integers(0, 256, (32, 32, 3)).astype(np.uint8),
        provenance={"model": "made up", "seed": 3, "name": "Zoë"},
    )


@pytest.fixture
def info(animation: Animation) -> AnimationInfo:
    from dataclasses import replace

    return replace(animation_info(animation), shapes=shapes_of(), pivot=(0.0, -0.06, 0.0))


def shapes_of() -> np.ndarray:
    """52 local bumps."""
    rng = np.random.default_rng(1)
    shapes = np.zeros((52, SIDE * SIDE, 3), np.float32)
    for shape in shapes:
        centre = rng.integers(0, SIDE * SIDE)
        shape[max(0, centre - 8) : centre + 8] = rng.normal(size=3) * 0.01
    return shapes
