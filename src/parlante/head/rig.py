"""The part of the 52 shapes that depends on the single identity, finished when a head is loaded.

Eyeballs turn and lids meet over them, teeth and tongue follow the jaw as a rigid body, lashes ride on the lids, and
`mouthClose` is whatever closes the lips of this very mouth when its jaw is open.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parlante.head.arkit import INDEX

Array = NDArray[np.float64]
LIP_LINE, LID_MARGIN = 7, 8
LIP_CORNER = 24
UPPER_LASH, LOWER_LASH = (0.00016, 1.0), (0.00010, 0.65)  # half width in metres on a 13.8 mm eye, length
LOOK = {"Up": 22.0, "Down": 26.0, "In": 27.0, "Out": 30.0}  # degrees at weight 1
CLOSED_AT = 0.30  # share of the jaw's opening at which mouthClose makes the lips meet
KEEP_CLOSED = (
    *("mouthPucker", "mouthLeft", "mouthRight", "mouthRollLower", "mouthRollUpper", "cheekPuff", "mouthShrugLower"),
    *(f"mouth{name}{side}" for name in ("Smile", "Frown", "Dimple", "Stretch", "Press") for side in ("Left", "Right")),
)
SLANTING = tuple(f"mouth{n}{side}" for n in ("Smile", "Frown", "Dimple", "Stretch") for side in ("Left", "Right"))
LIP_SHARES = np.interp(np.arange(16), [0, 2, 5, 9, 13], [0.12, 0.4, 1.0, 1.0, 0.0])  # of a ring in closing the lips


@dataclass(frozen=True)
class Anatomy:
    """Where one head's parts turn. Metres."""

    eyes: Array
    """(2, 3) centres, left and right."""
    eye_radius: float
    hinge: Array
    """(3,) middle of the jaw's axis."""


@dataclass(frozen=True)
class HeadLayout:
    """Vertex numbers and weights that are the same for every identity."""

    ranges: Mapping[str, tuple[int, int]]
    lips: NDArray[np.int32]
    """(16, 38) rings around the mouth from outside inwards."""
    lids: NDArray[np.int32]
    """(2, 15, 28) rings around each eye from outside inwards; columns 1..13 upper, 15..27 lower."""
    across: Array
    """(38, 38) weights of the columns across the slit at the same x."""
    close_weight: Array
    close_column: NDArray[np.int32]
    lash_place: Array
    lash_length: Array
    lash_lean: Array


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


def lashes(skin: Array, layout: HeadLayout, side: int, scale: float) -> Array:
    """(3 * hairs, 3) points of the lashes that grow from the lids of `skin` (S, 3)."""
    rings = layout.lids[side]
    place = layout.lash_place
    low = np.floor(place).astype(int)
    share = (place - low)[:, None]

    def on_ring(ring: int) -> Array:
        points = skin[rings[ring]]
        return points[low % 28] * (1 - share) + points[(low + 1) % 28] * share

    margin, inside, outside = on_ring(LID_MARGIN), on_ring(LID_MARGIN + 2), on_ring(LID_MARGIN - 3)
    upper = (place < 14)[:, None]
    chord = skin[rings[LID_MARGIN, 0]] - skin[rings[LID_MARGIN, 14]]
    tangent = np.broadcast_to(_unit(chord[None]), margin.shape)
    from_eye = margin - (skin[rings[LID_MARGIN]].mean(0) - np.array([0, 0, 0.010 * scale]))
    direction = _unit(from_eye) + 0.5 * _unit(margin - inside) + np.where(upper, 0.25, 0.4) * _unit(outside - margin)
    direction = _unit(direction + 0.30 * layout.lash_lean[:, None] * tangent)
    half = np.where(upper, UPPER_LASH[0], LOWER_LASH[0]) * scale
    tip = margin + direction * layout.lash_length[:, None] * np.where(upper, UPPER_LASH[1], LOWER_LASH[1]) * scale
    return np.asarray(np.stack([margin - half * tangent, margin + half * tangent, tip], axis=1).reshape(-1, 3))


def turn(degrees_down: float, degrees_left: float) -> Array:
    """(3, 3) rotation that tips the gaze down about x, then to the character's left about y."""
    a, b = np.radians([degrees_down, degrees_left])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    return np.asarray(about_y @ about_x)


def _lid_masks(layout: HeadLayout, side: int, count: int) -> tuple[Array, Array]:
    """(S,) weights of the upper and of the lower lid, 1 at the margin, 0 at the corners and beyond ring 0."""
    upper, lower = np.zeros(count), np.zeros(count)
    depth = np.interp(np.arange(15), [0, 2, 5, 7, 11, 14], [0, 0.12, 0.5, 1.0, 1.0, 0.3])
    profile = np.sin(np.pi * np.arange(15) / 14)
    for ring, share in zip(layout.lids[side], depth, strict=True):
        upper[ring[1:14]] = share * profile[1:14]
        lower[ring[15:28]] = share * profile[13:0:-1]
    return upper, lower


def _blink(neutral: Array, sculpted: Array, layout: HeadLayout, side: int, anatomy: Anatomy) -> Array:
    """Correct a sculpted eyelid closure so that the lids meet and stay outside the eyeball on the whole way."""
    rings = layout.lids[side]
    delta = sculpted.copy()
    columns = np.arange(1, 14)
    partner = 28 - columns
    fade = np.interp(np.arange(15), [0, 2, 4, 7, 10, 14], [0, 0.08, 0.35, 1.0, 1.0, 0.3])
    upper = neutral[rings[LID_MARGIN, columns]] + delta[rings[LID_MARGIN, columns]]
    lower = neutral[rings[LID_MARGIN, partner]] + delta[rings[LID_MARGIN, partner]]
    gap = lower - upper
    for ring, share in zip(rings, fade, strict=True):
        delta[ring[columns]] += 0.85 * share * gap
        delta[ring[partner]] -= 0.15 * share * gap
    centre, radius = anatomy.eyes[side], anatomy.eye_radius
    touched = np.unique(rings[3 : LID_MARGIN + 4])
    depth = np.zeros(len(neutral))
    for k, clearance in zip(
        range(3, LID_MARGIN + 4), np.interp(np.arange(3, 12), [3, 8, 11], [1.0, 0.7, 0.4]), strict=True
    ):
        depth[rings[k]] = clearance
    need = radius * 1.045 + 0.0006 * depth[touched]
    for position in (1.0, 0.5):
        arm = neutral[touched] + position * delta[touched] - centre
        length = np.linalg.norm(arm, axis=1)
        ahead = arm[:, 2] > 0.2 * radius
        moved = np.linalg.norm(delta[touched], axis=1) > 2e-4
        rest = np.linalg.norm(neutral[touched] - centre, axis=1)
        wanted = np.minimum(need, np.maximum(rest, need)) if position == 1.0 else np.minimum(need, rest + 0.0002)
        push = np.where(ahead & moved, np.maximum(wanted - length, 0), 0)
        delta[touched] += (arm / length[:, None]) * (push / position)[:, None]
    return delta


def finish(
    neutral: Array, sculpted: Array, jaw_angle: float, anatomy: Anatomy, layout: HeadLayout
) -> NDArray[np.float32]:
    """(52, V, 3) shapes in metres of the head `neutral` (V, 3).

    sculpted: (52, V, 3) with skin and tongue filled in; jaw_angle: radians that the jaw turns at jawOpen = 1.
    """
    shapes = sculpted.astype(np.float64)
    count = layout.ranges["skin"][1]

    def rows(name: str) -> slice:
        return slice(*layout.ranges[name])

    # Jaw: lower teeth and tongue turn about the hinge, or shift as one.
    rotation = turn(np.degrees(jaw_angle), 0.0)
    for name in ("teeth_lower", "gum_lower", "tongue"):
        arm = neutral[rows(name)] - anatomy.hinge
        share = np.clip((neutral[rows(name)][:, 2:3] - anatomy.hinge[2]) / 0.03, 0.3, 1) if name == "tongue" else 1.0
        shapes[INDEX["jawOpen"], rows(name)] = share * (arm @ rotation.T - arm)
        shapes[INDEX["jawForward"], rows(name)] = [0, -0.001, 0.006]
        for direction, sign in (("jawLeft", 1.0), ("jawRight", -1.0)):
            about = turn(0.0, sign * np.degrees(0.12))
            shapes[INDEX[direction], rows(name)] = arm @ about.T - arm

    # Eyes
    for side, word in enumerate(("Left", "Right")):
        ball = rows(f"eyeball_{word.lower()}")
        arm = neutral[ball] - anatomy.eyes[side]
        outwards = 1.0 if side == 0 else -1.0
        gaze = {
            "Up": turn(-LOOK["Up"], 0),
            "Down": turn(LOOK["Down"], 0),
            "In": turn(0, -outwards * LOOK["In"]),
            "Out": turn(0, outwards * LOOK["Out"]),
        }
        for direction, matrix in gaze.items():
            shapes[INDEX[f"eyeLook{direction}{word}"], ball] = arm @ matrix.T - arm
        skin = neutral[:count]
        blink = _blink(skin, shapes[INDEX[f"eyeBlink{word}"], :count], layout, side, anatomy)
        shapes[INDEX[f"eyeBlink{word}"], :count] = blink
        upper, lower = (w[:, None] for w in _lid_masks(layout, side, count))
        wide = shapes[INDEX[f"eyeWide{word}"], :count]
        around = skin - anatomy.eyes[side]
        shapes[INDEX[f"eyeLookUp{word}"], :count] = 0.45 * wide * np.sign(upper) + 0.16 * lower * (
            around @ gaze["Up"].T - around
        )
        shapes[INDEX[f"eyeLookDown{word}"], :count] = 0.42 * blink * np.sign(upper) + 0.30 * lower * (
            around @ gaze["Down"].T - around
        )
        for direction in ("In", "Out"):
            shapes[INDEX[f"eyeLook{direction}{word}"], :count] = (
                0.07 * np.maximum(upper, lower) * (around @ gaze[direction].T - around)
            )

    shapes[INDEX["mouthClose"], :count] = _close(shapes[INDEX["jawOpen"], :count], layout)

    for name in KEEP_CLOSED:
        _keep_closed(shapes[INDEX[name], :count], layout)
    for name in SLANTING:
        _meet_on_slant(neutral[:count], shapes[INDEX[name], :count], layout)

    scale = anatomy.eye_radius / 0.0138
    for side, name in enumerate(("lashes_left", "lashes_right")):
        rest = lashes(neutral[:count], layout, side, scale)
        moving = np.flatnonzero(np.abs(shapes[:, layout.lids[side].ravel()]).max((1, 2)) > 1e-7)
        for shape in moving:
            shapes[shape, rows(name)] = lashes(neutral[:count] + shapes[shape, :count], layout, side, scale) - rest
    return shapes.astype(np.float32)


def _keep_closed(shape: Array, layout: HeadLayout) -> None:
    """Move both lips of `shape` (S, 3), in place, so that they rise and sink together along the line between them."""
    line = shape[layout.lips[LIP_LINE]]
    gap = layout.across @ line - line
    gap[[0, LIP_CORNER]] = 0
    gap[:, 0] = 0
    for row, share in zip(layout.lips, LIP_SHARES, strict=True):
        shape[row] += 0.5 * share * gap


def _meet_on_slant(neutral: Array, shape: Array, layout: HeadLayout) -> None:
    """Bring the lips of `shape` (S, 3) together, in place, where the line between them slants at weight 1.

    Lips that slide past each other along a slanting line part by slide times slant, though each point keeps the height
    of its partner at rest. Here a point's partner is what lies across the slit once the face has moved.
    """
    line = layout.lips[LIP_LINE]
    upper, lower = np.arange(LIP_CORNER + 1), np.r_[LIP_CORNER : len(line), 0]

    def across(points: Array) -> Array:
        gap = np.zeros((len(line), 3))
        for own, other in ((upper, lower), (lower, upper)):
            order = other[np.argsort(points[other, 0])]
            for axis in (1, 2):
                gap[own, axis] = np.interp(points[own, 0], points[order, 0], points[order, axis]) - points[own, axis]
        gap[[0, LIP_CORNER]] = 0
        return gap

    towards = np.where(np.arange(len(line)) < LIP_CORNER, -1.0, 1.0)  # the other lip
    rest = across(neutral[line])
    touching = towards * np.minimum(towards * rest[:, 1], 0)
    for _ in range(2):  # halves of two curves: the second pass leaves hundredths of a millimetre
        gap = across(neutral[line] + shape[line])
        gap[:, 1] = towards * np.maximum(towards * (gap[:, 1] - touching), 0)  # pressed together they may stay
        gap[:, 2] -= rest[:, 2]
        for row, share in zip(layout.lips, LIP_SHARES, strict=True):
            shape[row] += 0.5 * share * gap


def _close(opening: Array, layout: HeadLayout) -> Array:
    """Both lips of a jaw that moved by `opening` (S, 3) go to one line, `CLOSED_AT` of the way down."""
    line = opening[layout.lips[LIP_LINE]]
    lower = line.copy()
    over = np.arange(1, LIP_CORNER)
    lower[over] = layout.across[over] @ line
    goal = CLOSED_AT * lower
    weight = layout.close_weight[:, None]
    return np.asarray(weight * (goal[layout.close_column] - opening))
