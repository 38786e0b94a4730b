"""Eyeballs, teeth, gums, tongue and the mouth's lining of ours for a mesh without: what is missing, how it is seated.

Whether something is missing is seen, not guessed from names: our part is drawn behind the user's lids or lips, and it
is missing where it shows and nothing of the user's lies at its place. A mouth that cannot open, eyes that are one
surface with the lids, and teeth of the user's own show nothing of ours, and get nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, Topology
from parlante.core.options import MESH_PARTS
from parlante.head import rig
from parlante.head.arkit import INDEX
from parlante.retarget.mesh.fit import Registered
from parlante.retarget.mesh.prior import FacePrior
from parlante.retarget.mesh.surface import Surface

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Numbers = NDArray[np.int64]

EYES = ("eyeball_left", "eyeball_right")
MOUTH = ("teeth_upper", "gum_upper", "teeth_lower", "gum_lower", "tongue")
LINING = "inner_mouth"
"""Of ours: cheeks, palate and throat from behind the lips on; part of the skin."""
TEXTURE_SHARE = 0.1640625
"""Share of our texture's height, from below, that holds the parts: 168 rows of 1024."""
_SIZE = 144
_VIEWS = (-40.0, 0.0, 40.0)
_OWN, _OWN_LINING = 0.003, 0.03
"""Metres: a surface this near behind our part is the user's own part."""
_MISSING = 0.5
_OVERLAPS = (0.0, 0.0004, 0.0008, 0.0012)
_LID_SHARES = np.interp(np.arange(15), [0, 2, 5, 7, 11, 14], [0, 0.12, 0.6, 1.0, 1.0, 0.3])
_OPENED = {"jawOpen": 0.7}
_SHUT: tuple[Mapping[str, float], ...] = ({}, {"mouthPressLeft": 1.0, "mouthPressRight": 1.0})


class Added(NamedTuple):
    """Parts of ours, in the order of our vertices."""

    names: tuple[str, ...]
    number: Numbers
    """(P,) our vertices"""
    triangles: Numbers
    """(F, 3) into them"""
    uv: NDArray[np.float32]
    """(C, 2) in our texture layout"""
    uv_triangles: Numbers
    regions: Mapping[str, Numbers]
    landmarks: Mapping[str, int]


def added(prior: FacePrior, names: Sequence[str]) -> Added:
    """The mesh of these parts. names: of `EYES`, `MOUTH` and `LINING`."""
    topology, ranges = prior.head.topology, prior.head.layout.ranges
    chosen = tuple(name for name in (*EYES, *MOUTH, LINING) if name in names)
    numbers = [
        topology.regions[LINING].astype(np.int64) if name == LINING else np.arange(*ranges[name]) for name in chosen
    ]
    index = np.concatenate([np.zeros(0, np.int64), *numbers])
    inside = np.isin(topology.triangles, index).all(1)
    corners, uv_triangles = np.unique(topology.uv_triangles[inside], return_inverse=True)
    place = np.full(topology.num_vertices, -1, np.int64)
    place[index] = np.arange(len(index))
    regions = {
        name: place[where]
        for name, where in topology.regions.items()
        if name in (*chosen, "gums", "teeth", "eyeballs") and len(where) and (place[where] >= 0).any()
    }
    return Added(
        chosen,
        index,
        place[topology.triangles[inside]],
        topology.uv[corners],
        uv_triangles.reshape(-1, 3).astype(np.int64),
        {name: where[where >= 0] for name, where in regions.items()},
        {name: int(place[number]) for name, number in topology.landmarks.items() if place[number] >= 0},
    )


def merged(topology: Topology, more: Added) -> Topology:
    """The topology with parts behind it: what was there keeps its numbers. Their uv lie in `parts_texture`, 0..1."""
    count, corners = topology.num_vertices, len(topology.uv)
    if not len(more.number):
        return topology
    regions = dict(topology.regions)
    for name, where in more.regions.items():
        regions[name] = np.concatenate([regions.get(name, np.zeros(0, np.int32)), where + count]).astype(np.int32)
    return Topology(
        topology.name,
        count + len(more.number),
        np.concatenate([topology.triangles, more.triangles + count]).astype(np.int32),
        np.concatenate([topology.uv, more.uv / [1, TEXTURE_SHARE]]).astype(np.float32),
        np.concatenate([topology.uv_triangles, more.uv_triangles + corners]).astype(np.int32),
        regions,
        {**topology.landmarks, **{name: number + count for name, number in more.landmarks.items()}},
    )


def check_parts(parts: str) -> None:
    """Raises InputError for anything but one of `MESH_PARTS`."""
    if parts not in MESH_PARTS:
        raise InputError(f"parts must be one of {', '.join(MESH_PARTS)}, got {parts!r}")


def wanted_eyes(
    parts: str, surface: Surface, registered: Registered, prior: FacePrior, own: tuple[Numbers, Numbers]
) -> tuple[str, ...]:
    """Which eyeballs to add. own: vertices of the user's eyeballs, left and right."""
    if parts in ("none", "mouth"):
        return ()
    if parts in ("eyes", "all"):
        return EYES
    return tuple(
        name
        for side, name in enumerate(EYES)
        if not len(own[side]) and _socket_empty(surface, registered, prior, side) > _MISSING
    )


def wanted_mouth(
    parts: str,
    surface: Surface,
    neutral: Floats,
    shapes: NDArray[np.floating],
    registered: Registered,
    ours: NDArray[np.floating],
    prior: FacePrior,
    own: Mapping[str, Numbers],
) -> tuple[str, ...]:
    """Teeth, gums, tongue and lining, what is missing. neutral (U, 3), shapes (52, U, 3): of the user; ours: of our
    fitted head; own: the user's own teeth, gums and tongue."""
    if parts in ("none", "eyes"):
        return ()
    mine = Surface(posed(neutral, shapes, _OPENED), surface.triangles)
    head = posed(registered.neutral, ours, _OPENED)
    line = head[prior.head.layout.lips[rig.LIP_LINE]]

    def missing(names: tuple[str, ...], own: float) -> bool:
        part = added(prior, names)
        return _missing(mine, Surface(head[part.number], part.triangles), line, own) > _MISSING

    toothless = not {"teeth_upper", "teeth_lower"} & set(own)
    if parts in ("mouth", "all") or (toothless and missing(("teeth_upper", "teeth_lower"), _OWN)):
        names: tuple[str, ...] = MOUTH
    else:
        names = ()
    return (*names, LINING) if missing((LINING,), _OWN_LINING) else names


def seat_eyes(surface: Surface, registered: Registered, prior: FacePrior) -> Registered:
    """The fitted head with eyeballs that touch the lids as those of the embedded people do, as far back as needed.

    Least squares over both eyes for the two centres and one radius, so that each place of the lids' margins is as far
    from the ball as it is on average in the embedded people; then back until nothing shows beside the opening.
    """
    layout = prior.head.layout
    clearance, radius = _clearances(prior)
    margins = np.stack([registered.neutral[layout.lids[side][rig.LID_MARGIN]] for side in (0, 1)])
    eyes = registered.anatomy.eyes.copy()
    first, size = eyes.copy(), registered.anatomy.eye_radius
    for _ in range(12):
        arm = margins - eyes[:, None]
        length = np.linalg.norm(arm, axis=2)
        rows = np.zeros((2, margins.shape[1], 7))
        for side in (0, 1):
            rows[side, :, 3 * side : 3 * side + 3] = -arm[side] / length[side, :, None]
        rows[..., 6] = -1.0
        left = length - size - clearance
        # the lids say little about the ball's size and about how deep it lies: both stay near what people have
        pull = np.diag([1.5, 1.5, 0.8] * 2 + [6.0])
        rest = pull @ np.concatenate([(first - eyes).ravel(), [radius - size]])
        step = np.linalg.lstsq(
            np.concatenate([rows.reshape(-1, 7), pull]), np.concatenate([-left.ravel(), rest]), rcond=None
        )[0]
        eyes += step[:6].reshape(2, 3)
        size += float(step[6])
    seated = _with_eyes(registered, prior, eyes, size)
    for _ in range(8):
        for side in (0, 1):
            ball = added(prior, EYES[side : side + 1])
            margin = seated.neutral[layout.lids[side][rig.LID_MARGIN]]
            if _beside(surface, Surface(seated.neutral[ball.number], ball.triangles), margin) > 0.02:
                eyes[side, 2] -= 0.0002
        if np.allclose(eyes, seated.anatomy.eyes):
            break
        seated = _with_eyes(registered, prior, eyes, size)
    return seated


def blinks_that_cover(
    surface: Surface,
    neutral: Floats,
    registered: Registered,
    ours: NDArray[np.floating],
    carry: Callable[[NDArray[np.floating]], NDArray[np.float32]],
    prior: FacePrior,
    names: Sequence[str],
    own: tuple[Numbers, Numbers],
) -> dict[int, NDArray[np.float32]]:
    """Blinks (number of the shape: (U, 3)) of the user's lids that leave nothing of the eyeballs to see.

    names: the added ones; own: vertices of the user's, left and right.

    The user's margins follow ours by a fraction of a millimetre; where that leaves a slit, the lids overlap a little.
    """
    layout, found = prior.head.layout, {}
    for side, name in enumerate(EYES):
        if name not in names and not len(own[side]):
            continue
        number = INDEX["eyeBlinkLeft" if side == 0 else "eyeBlinkRight"]
        rings, ball = layout.lids[side], added(prior, [name])
        upper, lower = rings[:, 1:14], rings[:, 27:14:-1]
        theirs = np.isin(surface.triangles, own[side]).any(1)
        mine = Surface(registered.neutral[ball.number], ball.triangles)
        if name not in names:
            mine = Surface(neutral, surface.triangles[theirs])
        height = registered.neutral[upper[rig.LID_MARGIN]] - registered.neutral[lower[rig.LID_MARGIN]]
        down = -height / np.maximum(np.linalg.norm(height, axis=1, keepdims=True), 1e-6)
        margin = registered.neutral[rings[rig.LID_MARGIN]]
        low, high = margin.min(0)[:2] - 0.001, margin.max(0)[:2] + 0.001
        for overlap in _OVERLAPS:
            shape = ours[number].astype(np.float64)
            for ring, share in enumerate(_LID_SHARES):
                shape[upper[ring]] += 0.7 * overlap * share * down
                shape[lower[ring]] -= 0.3 * overlap * share * down
            found[number] = carry(shape[None])[0]
            before = Surface(neutral + found[number], surface.triangles[~theirs]).seen(_SIZE, low, high)[1]
            owner, depth = mine.seen(_SIZE, low, high)
            if ((owner >= 0) & (depth > before)).mean() < 0.001:
                break
    return found


def seat_mouth(
    surface: Surface,
    neutral: Floats,
    shapes: NDArray[np.floating],
    registered: Registered,
    ours: NDArray[np.floating],
    prior: FacePrior,
) -> Floats:
    """(3,) how teeth, gums and tongue have to move so that closed lips cover them, straight back and 8 mm at most."""
    mouth = added(prior, MOUTH)
    shift = np.zeros(3)
    while shift[2] > -0.008:
        shown = [
            _beside(
                Surface(posed(neutral, shapes, pose), surface.triangles),
                Surface(posed(registered.neutral, ours, pose)[mouth.number] + shift, mouth.triangles),
                None,
            )
            for pose in _SHUT
        ]
        if max(shown) < 0.0004:
            break
        shift[2] -= 0.0005
    return shift


def posed(neutral: NDArray[np.floating], shapes: NDArray[np.floating], pose: Mapping[str, float]) -> Floats:
    """(V, 3) of a few named weights."""
    moved = np.asarray(neutral, np.float64).copy()
    for name, value in pose.items():
        moved += value * shapes[INDEX[name]]
    return moved


def parts_texture(prior: FacePrior, person: str) -> NDArray[np.uint8]:
    """(168, 1024, 3) sRGB: the lower edge of the painted texture of `person`, where the parts are laid out."""
    from parlante.head.skin import paint_albedo

    whole = paint_albedo(prior.head, person)
    return np.ascontiguousarray(whole[len(whole) - round(TEXTURE_SHARE * len(whole)) :])


def _clearances(prior: FacePrior) -> tuple[Floats, float]:
    """(2, 28) mean distances (metres) of the lids' margins from the embedded people's eyeballs, and their radius."""
    head = prior.head
    found = []
    for name in head.identity_names:
        anatomy, face = head.anatomy(name), head.neutral(name)
        arms = [face[head.layout.lids[side][rig.LID_MARGIN]] - anatomy.eyes[side] for side in (0, 1)]
        found.append(np.linalg.norm(arms, axis=2) - anatomy.eye_radius)
    return np.mean(found, axis=0), prior.radius


def _with_eyes(registered: Registered, prior: FacePrior, eyes: Floats, size: float) -> Registered:
    neutral = registered.neutral.copy()
    for side, name in enumerate(EYES):
        rows = slice(*prior.head.layout.ranges[name])
        arm = registered.neutral[rows] - registered.anatomy.eyes[side]
        neutral[rows] = eyes[side] + arm * (size / np.median(np.linalg.norm(arm, axis=1)))
    return replace(registered, neutral=neutral, anatomy=replace(registered.anatomy, eyes=eyes.copy(), eye_radius=size))


def _socket_empty(surface: Surface, registered: Registered, prior: FacePrior, side: int) -> float:
    ball = added(prior, EYES[side : side + 1])
    margin = registered.neutral[prior.head.layout.lids[side][rig.LID_MARGIN]]
    return _missing(surface, Surface(registered.neutral[ball.number], ball.triangles), margin)


def _missing(mine: Surface, part: Surface, opening: Floats, own: float = _OWN) -> float:
    """Share of `part`, as seen from the front through `opening` (N, 3), that shows and has nothing of `mine` behind
    it within `own` metres."""
    low, high = opening.min(0)[:2], opening.max(0)[:2]
    hole = _fan(opening).seen(_SIZE, low, high)[0] >= 0
    owner, depth = part.seen(_SIZE, low, high)
    before = mine.seen(_SIZE, low, high)[1]
    there = hole & (owner >= 0)
    shown = there & (before < depth + _OWN)  # full lips stand well before teeth, and say nothing
    return float((there & (before < depth - own)).sum() / max(shown.sum(), 0.05 * there.sum(), 1))


def _beside(mine: Surface, part: Surface, opening: Floats | None) -> float:
    """Largest share of `part`'s outline that shows beside `opening` (anywhere, if none), from three sides."""
    middle = part.vertices.mean(0)
    near = np.linalg.norm(mine.vertices - middle, axis=1) < 0.08
    triangles = mine.triangles[near[mine.triangles].any(1)]
    worst = 0.0
    for angle in _VIEWS:
        turned = rig.turn(0.0, angle)
        points = (part.vertices - middle) @ turned.T
        low, high = points.min(0)[:2], points.max(0)[:2]
        owner, depth = Surface(points, part.triangles).seen(_SIZE, low, high)
        before = Surface((mine.vertices - middle) @ turned.T, triangles).seen(_SIZE, low, high)[1]
        shown = (owner >= 0) & (depth > before)
        if opening is not None:
            from scipy import ndimage

            hole = _fan((opening - middle) @ turned.T).seen(_SIZE, low, high)[0] >= 0
            shown &= ~ndimage.binary_dilation(hole, iterations=4)
        # open sides of a mask or a cut head are no fault of the part
        shown &= np.isfinite(before)
        worst = max(worst, float(shown.sum() / max((owner >= 0).sum(), 1)))
    return worst


def _fan(ring: Floats) -> Surface:
    """The surface inside a closed line."""
    count = len(ring)
    turn = np.arange(count)
    return Surface(
        np.concatenate([ring, ring.mean(0, keepdims=True)]),
        np.stack([turn, (turn + 1) % count, np.full(count, count)], 1),
    )
