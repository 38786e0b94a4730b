"""The skin and tongue part of the 52 shapes, per ancestry, in the units of the base mesh (dm).

What depends on the single identity (eyeballs, lids that meet, rigid jaw, lips that close) is finished at load time by
`parlante.head.rig`.
"""

from collections.abc import Callable

import numpy as np
from head_mesh import HINGE_JOINT, TEETH_LOWER, TONGUE
from head_topology import LIP_LINE, Mesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from parlante.head.arkit import ARKIT_NAMES, INDEX

Array = NDArray[np.float64]
ANCESTRIES = ("african", "asian", "caucasian")
JAW_GAIN = 0.88  # the sculpted opening is a shout; 1 should be a wide-open mouth
LIP_CORNER = 24  # column of the right corner in the lip rings; the left one is 0


def smooth(x: Array, low: float, high: float) -> Array:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def upper_weight(points: Array, mesh: Mesh) -> Array:
    """(S,) 1 above the line where the lips meet, 0 below; exact on the lip rings."""
    line = np.interp(np.abs(points[:, 0]), [0, 0.25, 0.6], [6.612, 6.605, 6.60])
    weight = smooth(points[:, 1] - line, -0.02, 0.03)
    ring = np.ones(38)
    ring[LIP_CORNER:] = 0
    ring[[0, LIP_CORNER]] = 0.5
    for row in mesh.lips:
        weight[row] = ring
    return weight


def lip_distance(points: Array, mesh: Mesh, first: int, last: int) -> Array:
    """(S,) distance (dm) to the nearest vertex of lip rings first..last."""
    distance, _ = cKDTree(points[mesh.lips[first : last + 1].ravel()]).query(points)
    return np.asarray(distance)


def _roll(points: Array, mesh: Mesh, upper: bool, share: float) -> Array:
    """Turn a lip inwards: its vertices slide along their own profile, over the edge and behind."""
    out = np.zeros_like(points)
    columns = range(1, LIP_CORNER) if upper else range(LIP_CORNER + 1, 38)
    lips = mesh.lips
    for column in columns:
        profile = points[lips[:13, column]]
        length = np.concatenate([[0], np.linalg.norm(np.diff(profile, axis=0), axis=1).cumsum()])
        inward = (
            share * (length[LIP_LINE] - length[1]) * max(np.cos(0.5 * np.pi * profile[LIP_LINE, 0] / 0.25), 0) ** 0.5
        )
        slide = np.interp(np.arange(13), [0, 1, 2, 12], [0.45, 0.85, 1.0, 1.0])
        goal = np.minimum(length + inward * slide, np.maximum(length, 0.06 * length + 0.94 * length[LIP_LINE]))
        moved = np.stack([np.interp(goal, length, profile[:, k]) for k in range(3)], axis=1)
        tuck = np.interp(np.arange(13), [0, 2, 5, 9, 12], [0.1, 0.45, 1.0, 1.0, 0.3]) * inward
        moved[:, 2] -= 0.55 * tuck
        out[lips[:13, column]] = moved - profile
    return _spread(points, mesh, out, 0.10)


def _spread(points: Array, mesh: Mesh, field: Array, radius: float) -> Array:
    """Carry the motion of lip ring 0 outwards over the skin, fading within `radius` (dm)."""
    rings = np.zeros(len(points), bool)
    rings[mesh.lips.ravel()] = True
    edge = mesh.lips[0]
    distance = np.linalg.norm(points[:, None] - points[edge][None], axis=2)
    kernel = np.exp(-((distance / 0.06) ** 2)) + 1e-12
    carried = (kernel @ field[edge]) / kernel.sum(1, keepdims=True)
    fade = np.exp(-((distance.min(1) / radius) ** 2))
    return np.where(rings[:, None], field, carried * fade[:, None])


def sculpt(
    points: Array, normals: Array, mesh: Mesh, unit: Callable[[str], Array], base: Array
) -> tuple[Array, Array, float]:
    """Shapes of one ancestry.

    points: (S, 3) skin vertices in dm, with (S, 3) `normals`; unit(name): (all, 3) offsets of an expression unit;
    base: (all, 3) the source vertices that belong to `points`.
    Returns (52, S, 3) skin offsets, (52, 226, 3) tongue offsets and the jaw's angle at jawOpen = 1 (radians).
    """
    skin: dict[str, Array] = {}
    tongue: dict[str, Array] = {}

    def part(name: str) -> Array:
        return unit(name)[mesh.source]

    left = smooth(points[:, 0], -0.10, 0.10)[:, None]
    upper = upper_weight(points, mesh)[:, None]
    near_lips = lip_distance(points, mesh, 1, 12)[:, None]
    front = smooth(points[:, 2], 0.5, 1.0)[:, None]

    def sides(name: str, field: Array) -> None:
        skin[f"{name}Left"], skin[f"{name}Right"] = field * left, field * (1 - left)

    # Jaw
    opening = part("mouth-open")
    strip = unit("mouth-open")[TEETH_LOWER]
    hinge = base[HINGE_JOINT].mean(0)
    arm = base[TEETH_LOWER] - hinge
    angle = JAW_GAIN * float((arm[:, 2] * -strip[:, 1] + arm[:, 1] * strip[:, 2]).sum() / (arm[:, 1:] ** 2).sum())
    still = smooth(points[:, 1], 6.58, 6.66)[:, None] * np.exp(-((points[:, :1] / 0.30) ** 4)) * front
    still = np.where(near_lips < 0.3, np.maximum(still, upper * np.exp(-((points[:, :1] / 0.215) ** 6))), still)
    opening = opening * (1 - still)
    skin["jawOpen"] = JAW_GAIN * opening
    jaw = np.linalg.norm(part("mouth-open"), axis=1)
    chin = np.percentile(jaw, 97)
    jaw = smooth(jaw / chin, 0.05, 0.85)[:, None] * (1 - 0.75 * still)
    jaw = jaw * (1 - 0.35 * np.exp(-((near_lips / 0.1) ** 2)) * (1 - upper))
    skin["jawForward"] = jaw * np.array([0, -0.01, 0.075])
    yaw = 0.12
    swing = np.stack([yaw * (points[:, 2] - hinge[2]), np.zeros(len(points)), -yaw * points[:, 0]], axis=1)
    skin["jawLeft"], skin["jawRight"] = jaw * swing, -jaw * swing

    # Mouth
    reach = np.exp(-((near_lips / 0.20) ** 2)) * front
    skin["mouthFunnel"] = 0.8 * part("mouth-protusion")
    skin["mouthPucker"] = part("mouth-pursing")
    bend = np.stack([np.full(len(points), 1.0), np.zeros(len(points)), -0.9 * points[:, 0] / 0.3], axis=1)
    sway = np.exp(-((near_lips / 0.22) ** 2)) * smooth(points[:, 1], 6.2, 6.5)[:, None]
    sway = sway * front * (1 - 0.6 * smooth(points[:, 1], 6.75, 7.0)[:, None])
    skin["mouthLeft"] = 0.10 * sway * bend
    skin["mouthRight"] = 0.10 * sway * (bend * [-1, 1, -1])
    sides("mouthSmile", 0.9 * part("mouth-corner-puller"))
    sides("mouthFrown", part("mouth-depression"))
    sides("mouthDimple", 0.55 * part("mouth-retraction") + 0.25 * part("mouth-compression"))
    sides("mouthStretch", part("mouth-retraction") + 0.35 * part("neck-platysma"))
    skin["mouthRollLower"] = _roll(points, mesh, False, 0.80)
    skin["mouthRollUpper"] = _roll(points, mesh, True, 0.85)
    chin_up = np.exp(-(((points - [0, 6.40, 1.5]) / [0.26, 0.16, 0.3]) ** 2).sum(1))[:, None] * (1 - upper)
    central = np.exp(-((points[:, :1] / 0.20) ** 4))
    evert = 0.35 * part("mouth-eversion") * (1 - upper) * central
    skin["mouthShrugLower"] = evert + chin_up * [0, 0.05, 0.015] + reach * central * (1 - upper) * [0, 0.02, 0.03]
    lift = np.exp(-((near_lips / 0.16) ** 2)) * upper * np.exp(-((points[:, :1] / 0.22) ** 2)) * front
    skin["mouthShrugUpper"] = lift * np.array([0, 0.040, 0.030])
    press = 0.45 * (_roll(points, mesh, False, 0.8) + _roll(points, mesh, True, 0.8))
    sides("mouthPress", 0.5 * part("mouth-compression") + press)
    sides("mouthLowerDown", part("mouth-depression-retraction") * (1 - upper))
    sides("mouthUpperUp", part("mouth-elevation") * np.where(near_lips < 0.12, upper, 1))

    # Upper face
    for side, word in (("Left", "left"), ("Right", "right")):
        skin[f"eyeBlink{side}"] = part(f"eye-{word}-closure")
        skin[f"eyeWide{side}"] = part(f"eye-{word}-opened-up")
        slit = part(f"eye-{word}-slit")
        skin[f"eyeSquint{side}"] = 0.5 * slit
        skin[f"browDown{side}"] = part(f"eyebrows-{word}-down")
        skin[f"browOuterUp{side}"] = part(f"eyebrows-{word}-extern-up") + 0.25 * part(f"eyebrows-{word}-up")
        sign = 1.0 if side == "Left" else -1.0
        cheek = np.exp(-(((points - [0.36 * sign, 7.0, 1.32]) / [0.20, 0.17, 0.35]) ** 2).sum(1))[:, None]
        cheek = cheek * (1 - smooth(points[:, 1], 7.12, 7.24)[:, None] * 0.8)
        skin[f"cheekSquint{side}"] = cheek * [0.0, 0.075, 0.03] + 0.25 * slit
        skin[f"noseSneer{side}"] = part(f"nose-{word}-elevation")
    skin["browInnerUp"] = part("eyebrows-left-inner-up") + part("eyebrows-right-inner-up")
    puff = np.zeros_like(points)
    for sign in (1.0, -1.0):
        bulge = np.exp(-(((points - [0.42 * sign, 6.68, 1.15]) / [0.22, 0.24, 0.32]) ** 2).sum(1))[:, None]
        puff += 0.13 * bulge * (normals * 0.6 + np.array([0.5 * sign, 0, 0.3]))
    puff += 0.025 * reach * np.array([0, 0, 1.0])
    inner = np.zeros((len(points), 1))
    inner[mesh.lips[9:].ravel()] = 1
    skin["cheekPuff"] = puff * (1 - inner)
    skin["tongueOut"] = np.zeros_like(points)
    skin["mouthClose"] = np.zeros_like(points)

    # Tongue, beside what it does with the jaw
    points_tongue = base[TONGUE]
    t = smooth(points_tongue[:, 2], 0.85, 1.40)[:, None]
    tongue["tongueOut"] = t * np.array([0, 0.02, 0.42]) + (t**3) * np.array([0, -0.08, 0.02])
    middle = smooth(points_tongue[:, 2], 0.9, 1.1)[:, None]
    tongue["tongueOut"] += middle * (1 - t) * np.array([0, 0.03, 0.0])

    out = np.zeros((52, len(points), 3))
    for name, field in skin.items():
        out[INDEX[name]] = field
    assert set(skin) | {n for n in ARKIT_NAMES if n.startswith("eyeLook")} == set(ARKIT_NAMES)
    out_tongue = np.zeros((52, len(points_tongue), 3))
    for name, field in tongue.items():
        out_tongue[INDEX[name]] = field
    return out, out_tongue, angle


def match_columns(points: Array, mesh: Mesh) -> Array:
    """(38, 38) weights that give, for each column of the lip rings, the place across the slit at the same x."""
    x = points[mesh.lips[LIP_LINE], 0]
    out = np.zeros((38, 38))
    over = np.arange(LIP_CORNER + 1)
    under = np.concatenate([np.arange(LIP_CORNER, 38), [0]])
    for own, across in ((over, under), (under, over)):
        rank = np.argsort(x[across])
        for column in own:
            position = float(np.interp(x[column], x[across][rank], np.arange(len(across))))
            low = min(int(position), len(across) - 2)
            out[column, across[rank[low]]] += 1 - (position - low)
            out[column, across[rank[low + 1]]] += position - low
    for corner in (0, LIP_CORNER):
        out[corner] = 0
        out[corner, corner] = 1
    return out


def close_weight(points: Array, mesh: Mesh) -> tuple[Array, NDArray[np.int64]]:
    """For mouthClose: (S,) how much each vertex follows the closing lips, and (S,) the column that it follows."""
    edge = mesh.lips[0]
    distance, nearest = cKDTree(points[edge]).query(points)
    weight = np.exp(-((distance / 0.19) ** 2))
    column = nearest.copy()
    shares = np.interp(np.arange(len(mesh.lips)), [11, 15], [1.0, 0.1])
    for row, share in zip(mesh.lips, shares, strict=True):
        weight[row], column[row] = share, np.arange(38)
    weight[points[:, 2] < 0.9] = 0
    inside = (distance > 0) & (points[:, 2] < 1.25) & (np.abs(points[:, 0]) < 0.3)
    weight[inside & ~np.isin(np.arange(len(points)), mesh.lips)] = 0
    weight[weight < 0.004] = 0
    return weight, column
