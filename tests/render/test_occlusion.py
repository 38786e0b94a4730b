"""Where a cut-off neck fades, and where lips do not shine."""

import numpy as np

from parlante.core import Topology
from parlante.head import load_head
from parlante.render import Camera
from parlante.render.occlusion import CORNER, CORNER_GLOSS, GLOSS, Occlusion, neck_fade
from parlante.render.surface import Surface


def test_a_hole_near_the_hem_does_not_fade() -> None:
    """A flat mask, 20 cm high, open below and with a mouth 3 cm above its lower edge."""
    rows, columns = 41, 41
    y, x = np.meshgrid(np.linspace(0, 0.2, rows), np.linspace(-0.1, 0.1, columns), indexing="ij")
    points = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3).astype(np.float32)
    number = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    quads = np.stack([a, b, c, d], -1).reshape(-1, 4)
    middle = points[quads].mean(1)
    mouth = (np.abs(middle[:, 0]) < 0.02) & (np.abs(middle[:, 1] - 0.032) < 0.006)
    assert mouth.sum() > 4
    kept = quads[~mouth]
    triangles = np.concatenate([kept[:, [0, 1, 2]], kept[:, [0, 2, 3]]]).astype(np.int32)
    uv = np.zeros((len(points), 2), np.float32)
    fade = neck_fade(Surface(Topology("mask", len(points), triangles, uv, triangles)), points)
    lips = np.unique(quads[mouth])
    assert fade[points[:, 1] == 0].max() == 0.0
    far = points[lips][:, 1] > 0.0301
    assert fade[lips][far].min() > 0.9


def test_the_corners_of_the_mouth_do_not_glint() -> None:
    head = load_head()
    marks, neutral = head.topology.landmarks, head.neutral("hugo")
    surface = Surface(head.topology)
    Occlusion(surface, neutral, Camera((0.0, 0.0, 0.6), (0.0, 0.0, 0.0)).view)
    gloss = np.zeros(len(neutral))
    gloss[surface.corner_vertex] = surface.look[:, 2]
    corner, middle = marks["mouth_left"], marks["lower_lip_bottom"]
    assert gloss[corner] <= 1.01 * CORNER_GLOSS * GLOSS["lips"] < 0.2 * gloss[middle]
    lips = head.topology.regions["lips"]
    ends = neutral[[marks["mouth_left"], marks["mouth_right"]]]
    away = np.linalg.norm(neutral[lips][:, None] - ends, axis=2).min(1)
    assert (gloss[lips[away > CORNER]] == GLOSS["lips"]).all()
