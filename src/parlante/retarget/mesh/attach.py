"""What every vertex of the user's mesh follows: a place on our skin, its neighbours, an eyeball, the jaw or nothing."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from parlante.head import rig
from parlante.head.arkit import INDEX
from parlante.retarget.mesh.fit import Registered
from parlante.retarget.mesh.own_mouth import LOWER, own_mouth
from parlante.retarget.mesh.prior import FacePrior
from parlante.retarget.mesh.surface import Nearest, Surface, ball_centre
from parlante.retarget.mesh.transfer import Carrier, graph_of, smoothing_of

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Numbers = NDArray[np.int64]
_WINDOW = 0.25
_SMALL, _ROOT = 0.045, 0.001
_BULGE = 1.35
"""Farthest place of a cornea, in radii of its eyeball."""
_NEAR, _HUGGING, _SLAB, _JOIN = 0.004, 0.0025, 0.007, 0.002


class Attachment(NamedTuple):
    """See the module."""

    carrier: Carrier
    eyeballs: tuple[Numbers, Numbers]
    """The user's own eyeballs, left and right."""
    jaw: Numbers
    """The user's own lower teeth and tongue: they follow ours as a rigid body."""
    upper: Bools
    """(U,) seen, near the mouth, above the line between the lips"""
    lower: Bools
    inside: Bools
    """(U,) in the mouth or on the inner side of the lips: not seen at rest"""
    above: Bools
    """(U,) follow the upper lip, seen or not"""
    under: Bools
    inner: Bools
    """(U,) near the mouth and not seen at rest"""
    mouth: Mapping[str, Numbers]
    """The user's own teeth, gums and tongue, by the names of ours."""

    def without_mouth(self, triangles: NDArray[np.int64]) -> Bools:
        """(F,) triangles that are not of the user's own teeth, gums or tongue: what can be lips."""
        own = np.concatenate([np.zeros(0, np.int64), *self.mouth.values()])
        return np.asarray(~np.isin(triangles, own).any(1))


def attach(surface: Surface, registered: Registered, prior: FacePrior, part: Numbers, main: int) -> Attachment:
    """Decide for every vertex of the user's mesh what it follows. `part` (U,): connected component of each vertex."""
    layout = prior.head.layout
    skin = prior.head.topology.triangles.astype(np.int64)
    ours = Surface(registered.neutral - registered.seal, skin)
    outer = outer_triangles(prior)
    vertices, normals = surface.vertices, surface.normals
    seen = _visible(surface)
    below, near_mouth = _lip_sides(surface, registered, layout)
    lower_lip, upper_lip = _lip_triangles(skin, layout)
    distance = np.full(len(vertices), np.inf)
    triangle = np.zeros(len(vertices), np.int64)
    share = np.zeros((len(vertices), 3))
    for chosen, allowed in (
        (~near_mouth, outer),
        (near_mouth & below, outer & ~upper_lip),
        (near_mouth & ~below, outer & ~lower_lip),
    ):
        if chosen.any():
            distance[chosen], triangle[chosen], share[chosen] = Nearest(ours, allowed)(
                vertices[chosen], normals[chosen], facing=0.3
            )
    good = (distance < _NEAR) & ~(near_mouth & ~seen)
    rigid = _separate(part, main, good, vertices)
    drawn = rigid & np.isin(np.arange(len(vertices)), surface.triangles)  # no eyes of vertices without a triangle
    eyeballs = _eyeballs(vertices, part, drawn, registered)
    balls = np.concatenate(eyeballs)
    mouth = own_mouth(vertices, part, drawn & ~np.isin(np.arange(len(vertices)), balls), registered, prior)
    jaw = np.concatenate([np.zeros(0, np.int64), *(own for name, own in mouth.items() if name in LOWER)])
    # hair cards, lashes, brows that lie on the skin go with it; the rest of the loose parts stays with the skull
    hugging = rigid & good & (distance < _HUGGING)
    for group in (*eyeballs, *mouth.values()):
        hugging[group] = False
    good = np.where(rigid, hugging, good)
    fine = drawn & ~np.isin(np.arange(len(vertices)), np.concatenate([balls, *mouth.values()]))
    for own, root, place, mix in _rooted(vertices, part, fine, Nearest(ours, outer)):
        good[own], triangle[own], share[own] = True, place[root], mix[root]
    # a lip moves as one slab: its inner side follows the outer, or the skin would sink through it
    inner = near_mouth & ~seen & ~rigid & ~good
    for chosen, allowed in ((inner & below, outer & ~upper_lip), (inner & ~below, outer & ~lower_lip)):
        if chosen.any():
            found = Nearest(ours, allowed)(vertices[chosen])
            distance[chosen], triangle[chosen], share[chosen] = found
    good |= inner & (distance < _SLAB)
    known, free = np.flatnonzero(good), np.flatnonzero(~good & ~rigid)
    connected = sparse.csgraph.connected_components(graph_of(surface), directed=False)[1]
    free = free[np.isin(connected[free], np.unique(connected[known]))]
    side = near_mouth & seen & good & ~inner
    return Attachment(
        Carrier(known, skin[triangle[known]], share[known], free, surface, smoothing_of(surface, near_mouth & ~rigid)),
        eyeballs,
        jaw,
        side & ~below,
        side & below,
        inner & _within(vertices, registered, layout),
        near_mouth & good & ~below,
        near_mouth & good & below,
        inner,
        mouth,
    )


def loosened(attached: Attachment, surface: Surface) -> Attachment:
    """The same on a surface of the same vertices, some triangles cut away; without tears in the corners of the mouth.

    There the inner sides of both lips join, and would be torn between them: they follow what is around.
    """
    carry = attached.carrier
    join = _between(surface, attached.above, attached.under) & attached.inner
    part = sparse.csgraph.connected_components(graph_of(surface), directed=False)[1]
    kept = ~join[carry.known]
    free = np.union1d(carry.free, carry.known[~kept])
    free = free[np.isin(part[free], np.unique(part[carry.known[kept]]))]
    loose = Carrier(carry.known[kept], carry.index[kept], carry.weights[kept], free, surface, carry.smoothing)
    return attached._replace(carrier=loose)


def user_shapes(
    attached: Attachment,
    shapes: NDArray[np.float32],
    surface: Surface,
    registered: Registered,
    layout: rig.HeadLayout,
) -> NDArray[np.float32]:
    """(52, U, 3) shapes on the user's mesh, its own eyeballs and lower teeth turned as rigid bodies."""
    out = attached.carrier(shapes)
    for side, word in enumerate(("Left", "Right")):
        own = attached.eyeballs[side]
        if not len(own):
            continue
        arm = surface.vertices[own] - surface.vertices[own].mean(0)
        outwards = 1.0 if side == 0 else -1.0
        out[:, own] = 0
        for direction, matrix in {
            "Up": rig.turn(-rig.LOOK["Up"], 0),
            "Down": rig.turn(rig.LOOK["Down"], 0),
            "In": rig.turn(0, -outwards * rig.LOOK["In"]),
            "Out": rig.turn(0, outwards * rig.LOOK["Out"]),
        }.items():
            out[INDEX[f"eyeLook{direction}{word}"], own] = arm @ matrix.T - arm
    if len(attached.jaw):
        teeth = slice(*layout.ranges["teeth_lower"])
        place = np.concatenate([registered.neutral[teeth], np.ones((teeth.stop - teeth.start, 1))], 1)
        own_places = np.concatenate([surface.vertices[attached.jaw], np.ones((len(attached.jaw), 1))], 1)
        for number, shape in enumerate(shapes):
            out[number, attached.jaw] = own_places @ np.linalg.lstsq(place, shape[teeth], rcond=None)[0]
    return out


def _between(surface: Surface, first: Bools, second: Bools) -> Bools:
    """(U,) within `_JOIN` along the mesh of an edge from the one set to the other."""
    graph = graph_of(surface)
    rows, columns = graph.nonzero()
    crossing = rows[(first[rows] & second[columns]) | (second[rows] & first[columns])]
    if not len(crossing):
        return np.zeros(len(first), bool)
    graph.data = 1 / graph.data
    way = sparse.csgraph.dijkstra(graph, directed=False, indices=np.unique(crossing), min_only=True, limit=_JOIN)
    return np.asarray(np.isfinite(way))


def _within(vertices: Floats, registered: Registered, layout: rig.HeadLayout) -> Bools:
    """(U,) at the height of the lips: nostrils lie near the mouth too."""
    line = (registered.neutral - registered.seal)[layout.lips[rig.LIP_LINE]]
    return np.asarray(np.abs(vertices[:, 1] - line[:, 1].mean()) < 0.012)


def outer_triangles(prior: FacePrior) -> Bools:
    """(F,) skin that is seen from outside: no inner mouth, nothing behind the lips' line or the lids' margins."""
    triangles, layout = prior.head.topology.triangles, prior.head.layout
    hidden = np.zeros(prior.head.topology.num_vertices, bool)
    hidden[prior.head.topology.regions["inner_mouth"]] = True
    hidden[layout.lips[rig.LIP_LINE + 2 :].ravel()] = True
    hidden[layout.lips[: rig.LIP_LINE + 1].ravel()] = False
    for rings in layout.lids:
        hidden[rings[rig.LID_MARGIN + 2 :].ravel()] = True
    hidden[layout.ranges["skin"][1] :] = True
    return np.asarray(~hidden[triangles].any(1))


def _separate(part: Numbers, main: int, good: Bools, vertices: Floats) -> Bools:
    """(U,) in a part that is not skin: eyes, teeth, hair, clothes."""
    size = np.bincount(part)
    followed = np.bincount(part, good, len(size)) / np.maximum(size, 1)
    low = np.full((len(size), 3), np.inf)
    high = np.full((len(size), 3), -np.inf)
    np.minimum.at(low, part, vertices)
    np.maximum.at(high, part, vertices)
    extent = (high - low).max(1)
    skin = (followed > 0.8) & (extent > 0.25 * extent[main])
    skin[main] = True
    return np.asarray(~skin[part])


def _rooted(
    vertices: Floats, part: Numbers, fine: Bools, nearest: Nearest
) -> Iterator[tuple[Numbers, Numbers, Numbers, Floats]]:
    """Lashes, brows and other small parts that stand on the skin: each vertex goes with the nearest root of its part.

    Yields vertices, the number of each one's root within the part, and the place of each root: triangles and weights.
    """
    index = np.flatnonzero(fine)
    for own in np.split(index[np.argsort(part[index], kind="stable")], np.cumsum(np.bincount(part[index]))[:-1]):
        if not len(own) or np.ptp(vertices[own], axis=0).max() > _SMALL:
            continue
        far, place, mix = nearest(vertices[own])
        roots = np.flatnonzero(far < max(_ROOT, float(far.min()) + 1e-6))
        if far.min() < _HUGGING:
            yield own, roots[cKDTree(vertices[own][roots]).query(vertices[own])[1]], place, mix


def _eyeballs(vertices: Floats, part: Numbers, rigid: Bools, registered: Registered) -> tuple[Numbers, Numbers]:
    """Per eye the ball and what lies on or in it, such as a cornea; not lashes, which stand out of it."""
    found = []
    for centre in registered.anatomy.eyes:
        inside = np.linalg.norm(vertices - centre, axis=1) < 1.5 * registered.anatomy.eye_radius
        whole = [n for n in np.unique(part[rigid & inside]) if inside[part == n].mean() > 0.85]
        sizes = [np.ptp(vertices[part == n], axis=0) for n in whole]
        if not whole or max(size.min() for size in sizes) < 0.5 * registered.anatomy.eye_radius:
            found.append(np.zeros(0, np.int64))
            continue
        ball = vertices[part == whole[int(np.argmax([size.min() for size in sizes]))]]
        arm = np.linalg.norm(vertices - ball_centre(ball), axis=1)
        far = arm / np.median(np.linalg.norm(ball - ball_centre(ball), axis=1))
        broad = {n: np.ptp(vertices[part == n], axis=0).max() > registered.anatomy.eye_radius / 2 for n in whole}
        whole = [n for n in whole if far[part == n].max() < (_BULGE if broad[n] else 1.06)]
        found.append(np.flatnonzero(np.isin(part, whole)))
    return found[0], found[1]


def _visible(surface: Surface, size: int = 700) -> Bools:
    """(U,) seen from the front about the head, within a millimetre."""
    used = surface.vertices[np.unique(surface.triangles)][:, :2]
    low, high = np.maximum(used.min(0), -_WINDOW), np.minimum(used.max(0), _WINDOW)  # of a body, the head alone
    middle, half = (low + high) / 2, max((high - low).max() / 2, 1e-6)
    _, depth = surface.seen(size, middle - half, middle + half)
    column = ((surface.vertices[:, 0] - middle[0] + half) / (2 * half) * size).astype(int)
    row = ((middle[1] + half - surface.vertices[:, 1]) / (2 * half) * size).astype(int)
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    out = np.zeros(len(surface.vertices), bool)
    out[inside] = surface.vertices[inside, 2] > depth[row[inside], column[inside]] - 0.001
    return np.asarray(out & (surface.normals[:, 2] > -0.35))


def _lip_sides(surface: Surface, registered: Registered, layout: rig.HeadLayout) -> tuple[Bools, Bools]:
    """(U,) below the lips' line, and near the mouth."""
    rest = registered.neutral - registered.seal
    line = rest[layout.lips[rig.LIP_LINE]]
    order = np.argsort(line[:, 0])
    smooth = np.convolve(np.pad(line[order, 1], 2, mode="edge"), np.ones(5) / 5, mode="valid")
    middle_line = np.interp(surface.vertices[:, 0], line[order, 0], smooth)
    width = np.ptp(line[:, 0])
    arm = surface.vertices - line.mean(0)
    near = (np.abs(arm[:, 0]) < 0.75 * width) & (np.abs(arm[:, 1]) < 0.55 * width)
    below = np.asarray(surface.vertices[:, 1] < middle_line)
    # near the line it is the mesh that tells which lip a vertex belongs to: the way along it to what is clearly one
    sure = near & (np.abs(surface.vertices[:, 1] - middle_line) > 0.0015) & _visible(surface)
    graph = graph_of(surface)
    graph.data = 1 / graph.data
    ways = [
        sparse.csgraph.dijkstra(graph, directed=False, indices=np.flatnonzero(seeds), min_only=True, limit=0.03)
        for seeds in (sure & below, sure & ~below)
        if seeds.any()
    ]
    if len(ways) == 2:
        doubtful = near & ~sure & (np.isfinite(ways[0]) | np.isfinite(ways[1]))
        below[doubtful] = (ways[0] < ways[1])[doubtful]
    return below, np.asarray(near & (arm[:, 2] > -0.06) & (arm[:, 2] < 0.04))


def _lip_triangles(triangles: Numbers, layout: rig.HeadLayout) -> tuple[Bools, Bools]:
    """(F,) triangles with a corner on the lower lip's rings, and on the upper's."""
    sides: list[Bools] = []
    for columns in (np.arange(rig.LIP_CORNER + 1, layout.lips.shape[1]), np.arange(1, rig.LIP_CORNER)):
        inside = np.zeros(triangles.max() + 1, bool)
        inside[layout.lips[:, columns].ravel()] = True
        sides.append(np.asarray(inside[triangles].any(1)))
    return sides[0], sides[1]
