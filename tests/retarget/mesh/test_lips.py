"""Lips that are parted, or one surface, on the skin of a person of ours as somebody's mesh."""

import numpy as np
from cut_heads import WHO

from parlante.head import load_head, rig
from parlante.head.arkit import INDEX
from parlante.retarget.mesh.lips import PARTS_OF_LIPS, meeting, opening, torn
from parlante.retarget.mesh.surface import Surface


def skin() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Face (V, 3), shapes (52, V, 3), triangles of the skin without the inside of the mouth."""
    head = load_head()
    inside = np.zeros(head.topology.num_vertices, bool)
    inside[head.layout.lips[rig.LIP_LINE + 1 :].ravel()] = True
    inside[head.topology.regions["inner_mouth"]] = True
    triangles = head.topology.triangles[(head.topology.triangles < head.layout.ranges["skin"][1]).all(1)]
    return head.neutral(WHO).astype(float), head.shapes(WHO), triangles[~inside[triangles].any(1)]


def lowered(millimetres: float) -> np.ndarray:
    """(V, 3) a displacement that lowers the lower lip."""
    lips = load_head().layout.lips
    shift = np.zeros((load_head().topology.num_vertices, 3))
    for ring, share in zip(lips, PARTS_OF_LIPS, strict=True):
        shift[ring[rig.LIP_CORNER + 1 :], 1] = -0.001 * millimetres * share
    return shift


def test_parted_lips_meet_and_open_as_before() -> None:
    face, shapes, triangles = skin()
    layout = load_head().layout
    parted = face + lowered(0.8)
    wry = shapes.copy()
    wry[INDEX["mouthPucker"]] += lowered(0.5).astype(np.float32)
    met = meeting(Surface(parted, triangles), parted, face, wry, lambda motion: motion.astype(np.float32), layout)
    assert 0.5 < 1000 * met.before["rest"] < 1.0 and 1000 * met.after["rest"] < 0.1
    assert 1000 * met.before["mouthPucker"] > 0.3 and 1000 * met.after["mouthPucker"] < 0.1
    line = layout.lips[rig.LIP_LINE]
    closed = parted + met.seal
    gap = (layout.across @ closed[line] - closed[line])[5:20, 1]
    assert 1000 * np.abs(gap).max() < 0.5, "it was 0.8: they meet, and do not sink into each other"
    np.testing.assert_array_equal(met.shapes[INDEX["jawOpen"]], wry[INDEX["jawOpen"]])
    closed = closed + met.shapes[INDEX["mouthPucker"]]
    assert 1000 * np.abs((layout.across @ closed[line] - closed[line])[5:20, 1]).max() < 0.5


def test_lips_of_one_surface_are_cut_apart_and_no_others() -> None:
    face, shapes, triangles = skin()
    ring = load_head().layout.lips[rig.LIP_LINE]
    upper, lower = ring[1 : rig.LIP_CORNER], ring[: rig.LIP_CORNER : -1]
    over = np.abs(face[upper, 0] - face[lower, 0][:, None]).argmin(1)
    across = upper[over]
    bridge = np.stack([lower[:-1], lower[1:], across[:-1]], 1)
    jaw = shapes[INDEX["jawOpen"]]
    line, opened = face[ring], face[ring] + jaw[ring]
    above, under = (np.zeros(len(face), bool) for _ in range(2))
    above[load_head().layout.lips[:, 1 : rig.LIP_CORNER]] = True
    under[load_head().layout.lips[:, rig.LIP_CORNER + 1 :]] = True
    assert not torn(Surface(face, triangles), face, jaw, (above, under), line, opened).any(), (
        "this mouth is open already"
    )
    sheet = np.stack([across[:-1], lower[1:], across[1:]], 1)
    barred = np.concatenate([triangles, bridge, sheet])
    cut = torn(Surface(face, barred), face, jaw, (above, under), line, opened)
    assert not cut[: len(triangles)].any() and cut[len(triangles) :].mean() > 0.7
    before, after = (opening(Surface(face + jaw, faces), opened)[1].mean() for faces in (barred, barred[~cut]))
    assert after > 3 * before
