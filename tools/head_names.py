"""Named places of the embedded head: regions, landmarks, materials, and how far each vertex follows the head's pose."""

import numpy as np
from head_topology import LID_MARGIN, LIP_LINE, LIP_SEAM, Mesh
from numpy.typing import NDArray

from parlante.head.rig import LIP_CORNER

Array = NDArray[np.float64]
MATERIALS = ("skin", "inner_mouth", "eye", "teeth", "gum", "tongue", "lash")


def inner_mouth(mesh: Mesh) -> NDArray[np.bool_]:
    """(S,) vertices that lie only on the island of the inner mouth."""
    first, last = mesh.islands["inner_mouth"]
    on_bag = (mesh.uv_triangles[:, 0] >= first) & (mesh.uv_triangles[:, 0] < last)
    out = np.zeros(len(mesh.source), bool)
    out[mesh.triangles[on_bag]] = True
    out[mesh.lips[LIP_SEAM]] = False
    return out


def materials(mesh: Mesh) -> NDArray[np.int64]:
    """(F,) numbers into `MATERIALS`."""
    out = np.zeros(len(mesh.triangles), int)
    kinds = {"eyeball": 2, "teeth": 3, "gum": 4, "tongue": 5, "lashes": 6}
    for name, (start, stop) in mesh.ranges.items():
        if name != "skin":
            out[(mesh.triangles[:, 0] >= start) & (mesh.triangles[:, 0] < stop)] = kinds[name.split("_")[0]]
    first, last = mesh.islands["inner_mouth"]
    out[(mesh.uv_triangles[:, 0] >= first) & (mesh.uv_triangles[:, 0] < last)] = 1
    return out


def neck_weights(points: Array, mesh: Mesh) -> Array:
    """(V,) 0 at the neck's edge, 1 on the head; `points` (V, 3) dm, base shape. Parts inside the head are 1."""
    height = points[:, 1] - np.interp(points[:, 2], [-0.2, 0.7], [6.10, 5.80])
    t = np.clip(height / np.interp(points[:, 2], [-0.2, 0.3, 0.8], [0.75, 0.60, 0.42]), 0, 1)
    out = t * t * (3 - 2 * t)
    out[len(mesh.source) :] = 1
    out[np.flatnonzero(inner_mouth(mesh))] = 1
    return np.asarray(out)


def regions(points: Array, mesh: Mesh) -> dict[str, NDArray[np.int64]]:
    """Sorted vertex numbers of each named region. points: (S, 3) skin in dm, base shape."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    inner = inner_mouth(mesh)
    outer = ~inner
    count = len(points)

    def ringed(rings: NDArray[np.int64]) -> NDArray[np.bool_]:
        out = np.zeros(count, bool)
        out[rings.ravel()] = True
        return out

    ears = outer & (x > 0.685) & (y > 6.75) & (y < 7.45) & (z > 0.2) & (z < 0.75)
    lips = ringed(mesh.lips[1:9])
    upper = ringed(mesh.lips[1:9, : LIP_CORNER + 1])
    lower = ringed(np.concatenate([mesh.lips[1:9, LIP_CORNER:], mesh.lips[1:9, :1]], axis=1))
    hidden = ringed(mesh.lids[:, LID_MARGIN + 1 :])
    face = outer & ~ears & (z > 0.72) & (y > 6.12 + 0.25 * np.clip(1.1 - z, 0, 1)) & (y < 7.95)
    neck = outer & ~face & ~ears & (y < np.interp(z, [-0.1, 0.5, 0.9], [6.75, 6.35, 6.25]))
    scalp = outer & ~face & ~ears & ~neck & (y > 7.0)
    named = {
        "skin": outer,
        "inner_mouth": inner,
        "lips": lips,
        "upper_lip": upper,
        "lower_lip": lower,
        "lip_line": ringed(mesh.lips[LIP_LINE]),
        "mouth": ringed(mesh.lips[:9]) | (face & (x < 0.36) & (y > 6.42) & (y < 6.80) & (z > 1.2)),
        "face": face & ~hidden,
        "upper_face": face & ~hidden & (y > 6.98),
        "lower_face": face & (y <= 6.98),
        "forehead": face & (y > 7.50),
        "nose": face & (x < 0.18) & (y > 6.78) & (y < 7.25) & (z > 1.38),
        "cheeks": face & (x > 0.22) & (y > 6.55) & (y < 7.08),
        "brows": face & (x > 0.06) & (x < 0.58) & (np.abs(y - 7.45) < 0.08),
        "jaw": face & (y < 6.62) & ~lips,
        "lids_left": ringed(mesh.lids[0, :11]),
        "lids_right": ringed(mesh.lids[1, :11]),
        "eye_sockets": hidden,
        "ears": ears,
        "neck": neck,
        "scalp": scalp,
    }
    out = {name: np.flatnonzero(mask) for name, mask in named.items()}
    for name, (start, stop) in mesh.ranges.items():
        if name != "skin":
            out[name] = np.arange(start, stop)
    out["lashes"] = np.concatenate([out.pop("lashes_left"), out.pop("lashes_right")])
    out["gums"] = np.concatenate([out["gum_upper"], out["gum_lower"]])
    out["eyeballs"] = np.concatenate([out["eyeball_left"], out["eyeball_right"]])
    out["teeth"] = np.concatenate([out["teeth_upper"], out["teeth_lower"]])
    out["lids"] = np.union1d(out["lids_left"], out["lids_right"])
    return out


def landmarks(points: Array, mesh: Mesh) -> dict[str, int]:
    """Vertex number of each named place. points: (S, 3) skin in dm, base shape."""
    usable = np.flatnonzero(~inner_mouth(mesh))
    usable = usable[points[usable, 2] > -1]

    def nearest(place: tuple[float, float, float]) -> int:
        return int(usable[np.argmin(((points[usable] - np.array(place)) ** 2).sum(1))])

    middle = usable[np.abs(points[usable, 0]) < 1e-3]

    def extreme(axis: int, sign: float, low: float, high: float) -> int:
        chosen = middle[(points[middle, 1] > low) & (points[middle, 1] < high) & (points[middle, 2] > 0.5)]
        return int(chosen[np.argmax(sign * points[chosen, axis])])

    lips, lids = mesh.lips, mesh.lids
    nose = extreme(2, 1, 6.75, 7.05)
    out = {
        "upper_lip_inner": int(lips[LIP_LINE, 12]),
        "lower_lip_inner": int(lips[LIP_LINE, 31]),
        "mouth_left": int(lips[5, 0]),
        "mouth_right": int(lips[5, LIP_CORNER]),
        "upper_lip_top": int(lips[2, 12]),
        "lower_lip_bottom": int(lips[2, 31]),
        "upper_lip_left": int(lips[LIP_LINE, 6]),
        "upper_lip_right": int(lips[LIP_LINE, 18]),
        "lower_lip_left": int(lips[LIP_LINE, 34]),
        "lower_lip_right": int(lips[LIP_LINE, 28]),
        "nose_tip": nose,
        "subnasale": extreme(2, -1, points[lips[1, 12], 1], points[nose, 1]),
        "nose_bridge": extreme(2, 1, 7.18, 7.32),
        "glabella": extreme(2, 1, 7.38, 7.50),
        "forehead": nearest((0.0, 7.75, 1.4)),
        "chin": extreme(2, 1, 6.20, 6.42),
        "menton": nearest((0.0, 6.18, 1.36)),
        "crown": int(np.argmax(points[:, 1])),
        "throat": nearest((0.0, 6.15, 0.95)),
    }
    for side, word, sign in ((0, "left", 1.0), (1, "right", -1.0)):
        out |= {
            f"eye_outer_{word}": int(lids[side, LID_MARGIN, 0]),
            f"eye_inner_{word}": int(lids[side, LID_MARGIN, 14]),
            f"eye_upper_{word}": int(lids[side, LID_MARGIN, 8]),
            f"eye_lower_{word}": int(lids[side, LID_MARGIN, 21]),
            f"brow_inner_{word}": nearest((0.12 * sign, 7.44, 1.5)),
            f"brow_middle_{word}": nearest((0.33 * sign, 7.49, 1.45)),
            f"brow_outer_{word}": nearest((0.52 * sign, 7.43, 1.25)),
            f"nostril_{word}": nearest((0.15 * sign, 6.86, 1.48)),
            f"cheek_{word}": nearest((0.38 * sign, 6.95, 1.3)),
            f"cheekbone_{word}": nearest((0.52 * sign, 7.08, 1.15)),
            f"temple_{word}": nearest((0.62 * sign, 7.45, 0.9)),
            f"jaw_angle_{word}": nearest((0.55 * sign, 6.50, 0.7)),
            f"ear_{word}": nearest((0.72 * sign, 7.1, 0.65)),
        }
    for word in ("left", "right"):
        out[f"pupil_{word}"] = mesh.ranges[f"eyeball_{word}"][0]
    return out
