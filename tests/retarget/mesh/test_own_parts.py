"""Parts that a mesh has of its own, and vertices that stand at one place."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cut_heads import WHO, write_obj

from parlante.head import load_head
from parlante.head.arkit import INDEX
from parlante.retarget.mesh import build_character
from parlante.retarget.mesh.attach import _eyeballs, _rooted
from parlante.retarget.mesh.mesh import parts_of, weld
from parlante.retarget.mesh.own_mouth import NAMES, own_mouth
from parlante.retarget.mesh.surface import Nearest, Surface

HEAD = load_head()
LOOSE = np.arange(HEAD.layout.ranges["eyeball_left"][0], HEAD.topology.num_vertices)


def fitted() -> SimpleNamespace:
    """What `register` finds, where our head is the user's."""
    return SimpleNamespace(neutral=HEAD.neutral(WHO).astype(float), anatomy=HEAD.anatomy(WHO))


@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (0.001, -0.004, 0.003), (0.0, 0.004, -0.003)])
@pytest.mark.parametrize("size", [1.0, 1.08])
def test_teeth_gums_and_tongue_are_told_apart(shift: tuple[float, float, float], size: float) -> None:
    """Every tooth is a part by itself, and the upper ones stand before the lower ones."""
    head, mine = fitted(), HEAD.neutral(WHO).astype(float)
    mouth = np.arange(HEAD.layout.ranges["teeth_upper"][0], HEAD.layout.ranges["tongue"][1])
    middle = mine[mouth].mean(0)
    mine[mouth] = (mine[mouth] - middle) * size + middle + shift
    part = parts_of(HEAD.topology.triangles.astype(np.int64), len(mine))
    found = own_mouth(mine, part, np.isin(np.arange(len(mine)), LOOSE), head, SimpleNamespace(head=HEAD))
    assert found.keys() == set(NAMES)
    for name in NAMES:
        np.testing.assert_array_equal(np.sort(found[name]), np.arange(*HEAD.layout.ranges[name]))


def test_lashes_go_with_the_lids_and_not_with_the_eye() -> None:
    head, mine = fitted(), HEAD.neutral(WHO).astype(float)
    triangles = HEAD.topology.triangles.astype(np.int64)
    part = parts_of(triangles, len(mine))
    loose = np.isin(np.arange(len(mine)), LOOSE)
    for side, ball in zip(("left", "right"), _eyeballs(mine, part, loose, head), strict=True):
        np.testing.assert_array_equal(ball, np.arange(*HEAD.layout.ranges[f"eyeball_{side}"]))
    lashes = np.isin(np.arange(len(mine)), np.arange(*HEAD.layout.ranges["lashes_left"]))
    skin = triangles[(triangles < HEAD.layout.ranges["skin"][1]).all(1)]
    nearest = Nearest(Surface(mine, skin))
    followed = np.zeros(0, np.int64)
    for own, root, place, mix in _rooted(mine, part, lashes, nearest):
        followed = np.union1d(followed, own)
        moved = np.einsum("nk,nki->ni", mix[root], mine[skin[place[root]]])
        assert 1000 * np.ptp(moved, axis=0).max() < 3.0, "its root holds the whole lash"
    assert len(followed) > 0.9 * lashes.sum()


def test_vertices_at_one_place_are_one_only_along_an_edge() -> None:
    """Two sheets that touch at a corner stay two; a seam, a fan of single triangles and a fold are closed."""
    places = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [2, 2, 0], [2, 1, 0]], float)
    seam = np.array([[0, 1, 2], [3, 5, 4]])
    points = places[[0, 1, 2, 1, 2, 3]]  # the edge 1-2 is doubled
    first, place = weld(points, seam)
    assert place[1] == place[3] and place[2] == place[4] and len(first) == 4
    touching = np.array([[0, 1, 2], [3, 4, 5]])
    points = np.array([[0, 0, 0], [1, 0, 0], [0.5, 1, 0], [0.5, 1, 0], [0, 2, 0], [1, 2, 0]])
    first, place = weld(points, touching)
    assert len(first) == 6 and len(np.unique(place)) == 6
    skin = HEAD.topology.triangles[(HEAD.topology.triangles < HEAD.layout.ranges["skin"][1]).all(1)]
    soup = HEAD.neutral(WHO)[skin].reshape(-1, 3)  # as files that share no vertex
    assert len(weld(soup, np.arange(len(soup)).reshape(-1, 3))[0]) == len(np.unique(skin))


def test_our_own_lips_stay_apart_where_they_touch() -> None:
    head, line = HEAD.neutral(WHO).astype(float), HEAD.layout.lips[7]
    skin = HEAD.topology.triangles[(HEAD.topology.triangles < HEAD.layout.ranges["skin"][1]).all(1)].astype(np.int64)
    lower = line[30]
    upper = line[int(np.linalg.norm(head[line[1:18]] - head[lower], axis=1).argmin()) + 1]
    head[lower] = head[upper]
    place = weld(head, skin)[1]
    assert place[lower] != place[upper]


def test_an_arch_alone_is_teeth() -> None:
    """As where each jaw is one strip: nearer to our gums, it would be taken for a mouth without teeth."""
    head, mine = fitted(), HEAD.neutral(WHO).astype(float)
    gums = np.concatenate([np.arange(*HEAD.layout.ranges[f"gum_{jaw}"]) for jaw in ("upper", "lower")])
    part = parts_of(HEAD.topology.triangles.astype(np.int64), len(mine))
    found = own_mouth(mine, part, np.isin(np.arange(len(mine)), gums), head, SimpleNamespace(head=HEAD))
    assert found.keys() == {"teeth_upper", "teeth_lower"}


@pytest.mark.slow
def test_a_whole_head_keeps_its_own_parts(tmp_path: Path) -> None:
    """Nothing is doubled, no triangle is cut, the upper teeth stay, the lower ones and the tongue go with the jaw."""
    path = write_obj(tmp_path / "own.obj", HEAD.neutral(WHO), HEAD.topology.triangles)
    character = build_character(path)
    assert character.report is not None
    assert not character.report["added"] and not character.report["cut_apart"] and not character.report["notes"]
    moved = np.linalg.norm(character.shapes[INDEX["jawOpen"]], axis=1)
    ranges = HEAD.layout.ranges
    assert not moved[slice(*ranges["teeth_upper"])].any() and not moved[slice(*ranges["gum_upper"])].any()
    for name in ("teeth_lower", "gum_lower", "tongue"):
        assert moved[slice(*ranges[name])].min() > 0.008
    lid = np.linalg.norm(character.shapes[INDEX["eyeBlinkLeft"]], axis=1)
    assert lid[slice(*ranges["lashes_left"])].max() > 0.005 and not lid[slice(*ranges["eyeball_left"])].any()
