"""Lips of a character whose mouthClose is too weak for its jawOpen: each is closed by itself, their sum is not."""

from dataclasses import replace

import numpy as np
from test_play import WHO, himself

from parlante.head import load_head
from parlante.head.arkit import INDEX
from parlante.retarget.mesh.contact import LipContact
from parlante.retarget.mesh.lips import line_between, opening
from parlante.retarget.mesh.surface import Surface


def said(jaw: np.ndarray, close: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames (T, V, 3) of ours, of the character as its shapes are mixed, and with its lips in contact."""
    head, character = load_head(), himself()
    shapes = head.shapes(WHO).copy()
    shapes[INDEX["mouthClose"]] *= 0.8
    character = replace(character, shapes=shapes)
    weights = np.zeros((len(jaw), 52), np.float32)
    weights[:, INDEX["jawOpen"]], weights[:, INDEX["mouthClose"]] = jaw, close
    ours, mixed = head.deform(WHO, weights), character.vertices(weights)
    closed = mixed.copy()
    contact = LipContact(character, head.neutral(WHO))
    for theirs, source in zip(closed, ours, strict=True):
        contact.close(theirs, source)
    return ours, mixed, closed


def seen(points: np.ndarray) -> float:
    """Metres that show open between the lips at the widest place."""
    head = load_head()
    skin = head.topology.triangles[(head.topology.triangles < head.layout.ranges["skin"][1]).all(1)]
    return float(opening(Surface(points, skin), line_between(points, dict(head.topology.landmarks)))[1].max())


def test_lips_meet_where_ours_meet_and_sink_no_deeper() -> None:
    ours, mixed, closed = said(np.array([0.6]), np.array([0.6]))
    assert seen(ours[0]) < 0.0002 and seen(mixed[0]) > 0.001
    assert seen(closed[0]) < 0.0003
    marks = load_head().topology.landmarks
    inner = [marks[f"{lip}_lip_inner"] for lip in ("lower", "upper")]
    overlap, true = (float(np.subtract(*points[0, inner, 1])) for points in (closed, ours))
    assert overlap < true + 0.0002, "they touch, and sink into each other no deeper than ours"
    lower = closed[0, inner[0], 1]
    far = np.abs(ours[0, :, 1] - lower) > 0.03
    np.testing.assert_array_equal(closed[0, far], mixed[0, far])


def test_open_mouths_stay_as_they_are() -> None:
    _, mixed, closed = said(np.array([0.4, 0.3]), np.array([0.0, 0.05]))
    np.testing.assert_array_equal(closed, mixed)


def test_opening_lips_do_not_jump() -> None:
    """What is added fades as ours open, no faster than ours move."""
    ours, mixed, closed = said(np.full(60, 0.6), np.linspace(0.6, 0.3, 60))
    added = np.abs(closed - mixed).max((1, 2))
    assert added[0] > 0.0003 and added[-1] == 0
    assert np.abs(np.diff(added)).max() < np.abs(np.diff(ours, axis=0)).max()


def test_a_mesh_without_corners_is_left_alone() -> None:
    character = himself()
    marks = {name: number for name, number in character.topology.landmarks.items() if name != "mouth_left"}
    bare = replace(character, topology=replace(character.topology, landmarks=marks))
    points = character.neutral.copy()
    LipContact(bare, character.neutral).close(points, character.neutral)
    np.testing.assert_array_equal(points, character.neutral)
