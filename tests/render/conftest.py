"""A small head to draw: an ellipsoid with two eyes and a mouth slit, textured."""

import numpy as np
import pytest

from parlante.core import Topology


def ball(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit sphere: points (N, 3), uv (N, 2), triangles (F, 3) counter-clockwise from outside; seam at the back."""
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    down, around = np.pi * (1 - v), 2 * np.pi * (u - 0.5)
    points = np.stack([np.sin(down) * np.sin(around), np.cos(down), np.sin(down) * np.cos(around)], axis=-1)
    number = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return points.reshape(-1, 3), np.stack([u, v], axis=-1).reshape(-1, 2), triangles


@pytest.fixture(scope="session")
def head() -> tuple[Topology, np.ndarray, np.ndarray]:
    """Topology, neutral (V, 3) metres and albedo (256, 256, 3): skin with a dark forehead stripe, two white eyes."""
    skin, uv, triangles = ball(41, 61)
    skin = skin * [0.08, 0.12, 0.09]
    parts, uvs, faces, regions = [skin], [uv * [1, 0.9]], [triangles], {"skin": np.arange(len(skin), dtype=np.int32)}
    for name, side in (("eyeball_left", 1), ("eyeball_right", -1)):
        points, around, corners = ball(13, 19)
        start = sum(map(len, parts))
        parts.append(points * 0.014 + [0.03 * side, 0.02, 0.075])
        uvs.append(around * [0.4, 0.08] + [0.3, 0.91])
        faces.append(corners + start)
        regions[name] = np.arange(start, start + len(points), dtype=np.int32)
    vertices, every = np.concatenate(parts).astype(np.float32), np.concatenate(faces).astype(np.int32)
    albedo = np.full((256, 256, 3), (200, 150, 130), np.uint8)
    albedo[:25] = (235, 232, 228)
    albedo[110:116, 90:166] = (90, 50, 40)
    topology = Topology("ball", len(vertices), every, np.concatenate(uvs).astype(np.float32), every, regions)
    return topology, vertices, albedo
