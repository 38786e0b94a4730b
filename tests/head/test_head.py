"""The embedded head keeps its promises: lips close, lids meet, shapes stay in place, texture does not overlap."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from parlante.core import InputError
from parlante.head import ARKIT_NAMES, IDENTITY_NAMES, Head, load_head
from parlante.head.arkit import INDEX
from parlante.head.mouth import lip_aperture, lip_width

SAMPLE = ("aiko", "emeka", "marek")


@pytest.fixture(scope="module")
def head() -> Head:
    return load_head()


def face(head: Head, name: str, **weights: float) -> np.ndarray:
    row = np.zeros((1, len(ARKIT_NAMES)), np.float32)
    for shape, weight in weights.items():
        row[0, INDEX[shape]] = weight
    return head.deform(name, row)[0]


def test_people_and_names(head: Head) -> None:
    assert head.identity_names == IDENTITY_NAMES == tuple(sorted(IDENTITY_NAMES))
    assert len(IDENTITY_NAMES) >= 30
    assert head.shape_names == ARKIT_NAMES
    sexes = [head.traits(name).sex for name in IDENTITY_NAMES]
    assert 0.4 < np.mean(sexes) < 0.6
    with pytest.raises(InputError, match="aiko"):
        head.shapes("nobody")
    with pytest.raises(InputError, match="52"):
        head.deform("aiko", np.zeros((2, 51)))


def test_regions_and_landmarks_named_in_the_contract(head: Head) -> None:
    regions = "skin lips upper_lip lower_lip face upper_face jaw eyeball_left eyeball_right teeth_upper teeth_lower "
    regions += "tongue lashes inner_mouth ears neck scalp"
    for name in regions.split(" "):
        assert len(head.topology.regions[name]) > 20, name
    for name in ("upper_lip_inner", "lower_lip_inner", "mouth_left", "mouth_right", "chin", "brow_inner_left"):
        assert name in head.topology.landmarks
    points = head.neutral("aiko")
    marks = head.topology.landmarks
    assert points[marks["mouth_left"], 0] > 0 > points[marks["mouth_right"], 0]
    assert points[marks["nose_tip"], 2] > points[marks["chin"], 2]


@pytest.mark.parametrize("name", IDENTITY_NAMES)
def test_size_and_closed_lips_at_rest(head: Head, name: str) -> None:
    neutral = head.neutral(name)
    marks = head.topology.landmarks
    assert 0.20 < neutral[marks["crown"], 1] - neutral[marks["menton"], 1] < 0.25
    assert lip_aperture(neutral, head.topology) < 0.001
    assert 0.035 < lip_width(neutral, head.topology) < 0.075


@pytest.mark.parametrize("name", SAMPLE)
def test_jaw_opens_and_mouth_close_closes_it(head: Head, name: str) -> None:
    topology, neutral = head.topology, head.neutral(name)
    opened = face(head, name, jawOpen=1)
    assert 0.020 < lip_aperture(opened, topology) < 0.033
    for amount in (0.3, 1.0):
        assert lip_aperture(face(head, name, jawOpen=amount, mouthClose=amount), topology) < 0.0015
    upper = topology.landmarks["upper_lip_inner"]
    assert np.linalg.norm(opened[upper] - neutral[upper]) < 0.003
    teeth = topology.regions["teeth_lower"]
    apart = np.linalg.norm(neutral[teeth][:, None] - neutral[teeth][None], axis=2)
    apart_open = np.linalg.norm(opened[teeth][:, None] - opened[teeth][None], axis=2)
    np.testing.assert_allclose(apart_open, apart, atol=2e-4)  # rigid
    assert np.abs(opened[topology.regions["teeth_upper"]] - neutral[topology.regions["teeth_upper"]]).max() == 0


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize(
    "shape", ["mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthSmileLeft", "mouthPressRight"]
)
def test_lips_stay_together(head: Head, name: str, shape: str) -> None:
    moved = face(head, name, **{shape: 1})
    marks = head.topology.landmarks
    apart = moved[marks["upper_lip_inner"], 1] - moved[marks["lower_lip_inner"], 1]
    assert abs(apart) < 0.0015


@pytest.mark.parametrize("name", [*SAMPLE, "hugo", "carmen"])
@pytest.mark.parametrize("shape", ["mouthSmile", "mouthFrown", "mouthDimple", "mouthStretch"])
@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_no_slit_opens_along_the_whole_mouth(head: Head, name: str, shape: str, weight: float) -> None:
    """Seen from the front, the upper lip hangs over the lower one at every x, where it does at rest."""
    rings = head.layout.lips[5:11]
    lower = [*range(24, 38), 0]

    def widest(face: np.ndarray) -> float:
        x = np.linspace(face[rings[2, 24], 0], face[rings[2, 0], 0], 60)[1:-1]

        def edge(columns: list[int]) -> np.ndarray:  # (rings, x) heights
            points = [face[ring[columns]] for ring in rings]
            return np.array([np.interp(x, *row[np.argsort(row[:, 0])].T[:2]) for row in points])

        return float((edge([*range(25)]).min(0) - edge(lower).max(0)).max())

    for sides in (("Left", "Right"), ("Left",), ("Right",)):
        posed = face(head, name, **{shape + side: weight for side in sides})
        assert widest(posed) < max(widest(head.neutral(name)), 0) + 5e-5
    closed = face(head, name, jawOpen=0.1, mouthClose=0.1, **{shape + side: weight for side in ("Left", "Right")})
    assert widest(closed) < max(widest(head.neutral(name)), 0) + 1e-4


@pytest.mark.parametrize("name", SAMPLE)
def test_lids_meet_over_the_eyeball(head: Head, name: str) -> None:
    anatomy = head.anatomy(name)
    for side, word in enumerate(("Left", "Right")):
        margin = head.layout.lids[side, 8]
        for weight in (0.5, 1.0):
            closed = face(head, name, **{f"eyeBlink{word}": weight})
            distance = np.linalg.norm(closed[margin] - anatomy.eyes[side], axis=1)
            assert distance.min() > anatomy.eye_radius * 0.995
        gap = closed[margin[1:14]] - closed[margin[28 - np.arange(1, 14)]]
        assert np.abs(gap[:, 1]).max() < 0.0012


def test_every_shape_moves_its_own_places_only(head: Head) -> None:
    shapes, regions, topology = head.shapes("hugo"), head.topology.regions, head.topology
    moved = np.linalg.norm(shapes, axis=2)
    assert (moved.max(1) > 0.002).all()
    left_eye = np.concatenate([regions["lids_left"], regions["eyeball_left"]])
    right_eye = np.concatenate([regions["lids_right"], regions["eyeball_right"]])
    for index, shape in enumerate(ARKIT_NAMES):
        if shape.startswith("eye"):
            other = right_eye if shape.endswith("Left") else left_eye
            assert moved[index, other].max() < 1e-4, shape
        if shape.startswith(("jaw", "mouth", "cheekPuff", "tongue")):
            assert moved[index, regions["eyeballs"]].max() == 0, shape
            assert moved[index, regions["forehead"]].max() < 1e-3, shape
        if shape.startswith(("brow", "eye")):
            assert moved[index, regions["lips"]].max() < 1e-3, shape
        if shape != "tongueOut":
            assert moved[index, regions["teeth_upper"]].max() == 0
        assert moved[index, topology.landmarks["crown"]] < 1e-3, shape
    left = topology.landmarks["mouth_left"]
    assert shapes[INDEX["mouthSmileLeft"], left, 1] > 0.003
    assert shapes[INDEX["mouthSmileRight"], left, 1] < 0.001
    assert shapes[INDEX["mouthLeft"], left, 0] > 0.003 > -0.003 > shapes[INDEX["mouthRight"], left, 0]
    pupil = topology.landmarks["pupil_left"]
    assert shapes[INDEX["eyeLookOutLeft"], pupil, 0] > 0.003
    assert shapes[INDEX["eyeLookUpLeft"], pupil, 1] > 0.003
    assert shapes[INDEX["tongueOut"], regions["tongue"], 2].max() > 0.03


def test_texture_layout_is_bijective(head: Head) -> None:
    topology = head.topology
    corners = topology.uv[topology.uv_triangles].astype(float)
    assert topology.uv.min() >= 0.01 and topology.uv.max() <= 0.99
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    assert (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).min() > 0
    size = 1024  # no texel centre may lie in two triangles
    owner = np.zeros((size, size), np.int32)
    scaled = corners * size - 0.5
    for p, q, r in scaled:
        low = np.ceil(np.min([p, q, r], axis=0)).astype(int)
        high = np.floor(np.max([p, q, r], axis=0)).astype(int) + 1
        x, y = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))

        def edge(m: np.ndarray, n: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> np.ndarray:
            return (n[0] - m[0]) * (y - m[1]) - (n[1] - m[1]) * (x - m[0])

        inside = (edge(p, q) > 1e-7) & (edge(q, r) > 1e-7) & (edge(r, p) > 1e-7)
        owner[y[inside], x[inside]] += 1
    assert owner.max() == 1


def test_slits_and_islands_are_apart_in_texture(head: Head) -> None:
    topology, layout = head.topology, head.layout
    corner_of = np.zeros(topology.num_vertices, int)
    corner_of[topology.triangles[head.material != 1]] = topology.uv_triangles[head.material != 1]
    uv = topology.uv[corner_of]
    marks = topology.landmarks
    assert uv[marks["upper_lip_inner"], 1] - uv[marks["lower_lip_inner"], 1] > 0.03
    for side in (0, 1):
        margin = uv[layout.lids[side, 8]]
        assert (margin[4:11, 1] - margin[28 - np.arange(4, 11), 1]).min() > 0.03
    groups = {"skin": np.flatnonzero(head.material == 0), "bag": np.flatnonzero(head.material == 1)}
    for name in ("eyeball_left", "eyeball_right", "tongue", "lashes"):
        groups[name] = np.flatnonzero(np.isin(topology.triangles[:, 0], topology.regions[name]))
    for jaw in ("upper", "lower"):
        vertices = np.concatenate([topology.regions[f"teeth_{jaw}"], topology.regions[f"gum_{jaw}"]])
        groups[jaw] = np.flatnonzero(np.isin(topology.triangles[:, 0], vertices))
    trees = {name: cKDTree(topology.uv[np.unique(topology.uv_triangles[rows])]) for name, rows in groups.items()}
    for first in trees:
        for second in trees:
            if first < second:
                distance, _ = trees[first].query(trees[second].data)
                assert distance.min() > 1.99 / 128, (first, second)


def test_teeth_stay_behind_the_lips(head: Head) -> None:
    for name in SAMPLE:
        neutral = head.neutral(name)
        front = neutral[head.topology.regions["teeth"], 2].max()
        assert front < neutral[head.topology.landmarks["upper_lip_inner"], 2] + 0.001
