"""Procedural parts of the embedded head, in the units of the base mesh (dm): eyeballs, teeth, gums, lashes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EYE_SEGMENTS = 20
EYE_ANGLES = np.radians([6, 12, 18, 24, 28, 34, 44, 58, 74, 92, 112])  # polar angle of each ring from the pupil
LIMBUS = np.radians(27)  # where the cornea leaves the sphere
TOOTH_WIDTHS = np.array([8.6, 6.8, 7.8, 7.0, 6.8, 9.8])  # mm, from the middle to the side (Wheeler's Dental Anatomy)
TOOTH_HEIGHTS = np.array([10.2, 8.8, 10.0, 8.4, 7.6, 7.0])


@dataclass
class Part:
    """Points with triangles and a texture island in its own unit square."""

    points: Array
    triangles: NDArray[np.int64]
    uv: Array

    def __add__(self, other: "Part") -> "Part":
        return Part(
            np.concatenate([self.points, other.points]),
            np.concatenate([self.triangles, other.triangles + len(self.points)]),
            np.concatenate([self.uv, other.uv]),
        )


def fan_grid(rings: int, around: int) -> NDArray[np.int64]:
    """Triangles of a disc: vertex 0 in the middle, then `rings` rings of `around` vertices, counter-clockwise."""
    out = []
    for k in range(around):
        n = (k + 1) % around
        out.append([0, 1 + k, 1 + n])
        for ring in range(rings - 1):
            a, b = 1 + ring * around, 1 + (ring + 1) * around
            out += [[a + k, b + k, b + n], [a + k, b + n, a + n]]
    return np.array(out)


def grid_triangles(rows: int, columns: int) -> NDArray[np.int64]:
    """Triangles of a row-major grid, counter-clockwise with columns to the right and rows upwards."""
    out = []
    for r in range(rows - 1):
        for c in range(columns - 1):
            a, b, d, e = r * columns + c, r * columns + c + 1, (r + 1) * columns + c, (r + 1) * columns + c + 1
            out += [[a, b, e], [a, e, d]]
    return np.array(out)


def eyeball() -> Part:
    """An eye of radius 1 about the origin that looks along +z, with a cornea bulge; open at the back."""
    turn = 2 * np.pi * np.arange(EYE_SEGMENTS) / EYE_SEGMENTS
    bulge = 1 + 0.065 * np.clip(1 - (EYE_ANGLES / LIMBUS) ** 2, 0, 1)
    rings = [
        r * np.stack([np.sin(a) * np.cos(turn), np.sin(a) * np.sin(turn), np.full_like(turn, np.cos(a))], axis=1)
        for a, r in zip(EYE_ANGLES, bulge, strict=True)
    ]
    discs = [a / EYE_ANGLES[-1] * np.stack([np.cos(turn), np.sin(turn)], axis=1) for a in EYE_ANGLES]
    points = np.concatenate([[[0, 0, 1.065]], *rings])
    uv = 0.5 + 0.5 * np.concatenate([[[0, 0]], *discs])
    return Part(points, fan_grid(len(EYE_ANGLES), EYE_SEGMENTS), uv)


@dataclass(frozen=True)
class Arch:
    """A dental arch: half an ellipse seen from above, at the height of the biting edge."""

    half_width: float
    depth: float
    front: float
    edge: float
    up: float
    """+1 where the roots point up (upper jaw), -1 where down."""

    def at(self, s: Array) -> tuple[Array, Array]:
        """Points (n, 2) as x, z and outward directions at signed length `s` (dm) from the middle, + to the left."""
        angle = np.linspace(-np.pi / 2, np.pi / 2, 801)
        curve = np.stack([self.half_width * np.sin(angle), self.front - self.depth * (1 - np.cos(angle))], axis=1)
        length = np.concatenate([[0], np.linalg.norm(np.diff(curve, axis=0), axis=1).cumsum()])
        length -= length[400]
        point = np.stack([np.interp(s, length, curve[:, k]) for k in (0, 1)], axis=-1)
        tangent = np.stack([np.interp(s, length, np.gradient(curve[:, k], length)) for k in (0, 1)], axis=-1)
        tangent /= np.linalg.norm(tangent, axis=-1, keepdims=True)
        return point, np.stack([-tangent[..., 1], tangent[..., 0]], axis=-1)


UPPER = Arch(0.262, 0.50, 1.483, 6.564, 1.0)
LOWER = Arch(0.232, 0.47, 1.440, 6.607, -1.0)


def teeth(arch: Arch) -> Part:
    """Twelve teeth as rounded boxes that narrow towards the gum; each opens towards the root."""
    shrink = 1.0 if arch.up > 0 else 0.0
    widths = TOOTH_WIDTHS.copy()
    if arch.up < 0:
        widths[:3] = [5.4, 6.0, 6.9]
    widths = widths * 0.01
    cells = []
    ring = np.radians([-157.5, -112.5, -67.5, -22.5, 22.5, 67.5, 112.5, 157.5])
    for side in (-1, 1):
        start = 0.0
        for k, width in enumerate(widths):
            middle = side * (start + width / 2)
            start += width + 0.0012
            height = TOOTH_HEIGHTS[k] * 0.01 * (1.0 if arch.up > 0 else 0.92)
            thick = np.interp(k, [0, 2, 3, 5], [0.030, 0.042, 0.075, 0.090])
            (centre,), (out,) = (a[None] for a in arch.at(np.array(middle)))
            tangent = np.array([out[1], -out[0]])
            rise = [0.012 if k == 1 and shrink else 0.0, -0.006 if k == 2 else 0.0]
            base = sum(rise)
            # level above the edge, width share, thickness share, setback
            levels = [(0.0, 0.80, 0.45), (0.012, 0.97, 0.70), (0.45 * height, 1.0, 1.0), (height, 0.78, 1.0)]
            points = []
            flat = (
                np.sign(np.cos(ring)) * np.abs(np.cos(ring)) ** 0.55,
                np.sign(np.sin(ring)) * np.abs(np.sin(ring)) ** 0.55,
            )
            crown = centre - out * (0.5 * thick)
            points.append([crown[0], arch.edge + arch.up * (base - 0.003), crown[1]])
            for level, wide, deep in levels:
                across = 0.5 * width * wide * flat[0]
                back = 0.5 * thick * deep * flat[1] - 0.5 * thick + (0.008 if 0.0 < level < height else 0.0)
                xz = centre + across[:, None] * tangent + back[:, None] * out
                y = np.full(len(ring), arch.edge + arch.up * (base + level))
                points += np.stack([xz[:, 0], y, xz[:, 1]], axis=1).tolist()
            disc = np.stack([np.cos(ring), np.sin(ring)], axis=1)
            square = disc / np.abs(disc).max(1, keepdims=True)
            plane = np.concatenate([[[0, 0]], 0.25 * square, 0.45 * square, 0.72 * square, square])
            column = (6 + k) if side > 0 else 5 - k
            cell = 0.5 + 0.44 * plane
            cells.append(
                (column, Part(np.array(points), fan_grid(4, 8), np.stack([(column + cell[:, 0]) / 12, cell[:, 1]], 1)))
            )
    cells.sort(key=lambda c: c[0])
    whole = cells[0][1]
    for _, cell in cells[1:]:
        whole = whole + cell
    return _tilt(_outward(whole, per=33))


def _outward(part: Part, per: int) -> Part:
    """Turn the triangles of every group of `per` points to face away from the middle of the group."""
    corners = part.points[part.triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    group = part.triangles[:, 0] // per
    middle = np.stack([part.points[g * per : (g + 1) * per].mean(0) for g in range(len(part.points) // per)])
    inward = (normal * (corners.mean(1) - middle[group])).sum(1) < 0
    for g in np.unique(group):
        if inward[group == g].mean() > 0.5:
            part.triangles[group == g] = part.triangles[group == g][:, [0, 2, 1]]
            part.uv[g * per : (g + 1) * per, 0] = 2 * part.uv[g * per, 0] - part.uv[g * per : (g + 1) * per, 0]
    return part


TILT = 0.17  # the biting plane rises towards the back


def _tilt(part: Part) -> Part:
    part.points[:, 1] += TILT * (UPPER.front - part.points[:, 2])
    return part


def gums(arch: Arch, columns: int = 25) -> Part:
    """A ridge along the arch: scalloped in front of the teeth, over the ridge and down behind them."""
    reach = 0.44 if arch.up > 0 else 0.345
    s = np.linspace(-reach, reach, columns)
    point, out = arch.at(s)
    scallop = 0.006 * np.cos(2 * np.pi * s / 0.08)
    neck = 0.078 + scallop
    side = np.clip((np.abs(s) - 0.12) / 0.25, 0, 1)
    profile = [  # outwards from the arch, height above the biting edge
        (np.full(columns, -0.020), neck + 0.01),
        (np.full(columns, 0.016), neck),
        (np.full(columns, 0.022) - 0.014 * side, neck + 0.035 - 0.01 * side),
        (np.full(columns, 0.014) - 0.02 * side, neck + 0.09 - 0.045 * side),
    ]
    inner = np.interp(np.abs(s), [0, 0.2, 0.3, 0.5], [-0.06, -0.07, -0.11, -0.12])
    profile = [(inner, neck + 0.12), (inner, neck + 0.015), *profile]
    rows = []
    for offset, height in profile:
        xz = point + offset[:, None] * out
        rows.append(np.stack([xz[:, 0], arch.edge + arch.up * height, xz[:, 1]], axis=1))
    u = (s - s[0]) / (s[-1] - s[0])
    uv = np.stack([np.stack([u, np.full(columns, r / (len(rows) - 1))], axis=1) for r in range(len(rows))])
    part = Part(np.concatenate(rows), grid_triangles(len(rows), columns), uv.reshape(-1, 2))
    if arch.up < 0:
        part.triangles = part.triangles[:, [0, 2, 1]]
        part.uv[:, 1] = 1 - part.uv[:, 1]
    return _tilt(part)


@dataclass(frozen=True)
class LashRoots:
    """Where hairs grow: positions along the lid margin (a ring of 28 that starts at the outer corner)."""

    place: Array
    """(n,) ring position, fractional."""
    half_width: float
    length: Array
    """(n,) dm."""
    splay: Array
    """(n,) how far a hair leans outwards along the lid, -1..1."""


def lash_roots() -> LashRoots:
    """Twenty-two hairs on the upper lid (ring 1..13), twelve on the lower (ring 15..27)."""
    upper, lower = np.linspace(0.9, 12.6, 22), np.linspace(16.4, 26.6, 12)
    place = np.concatenate([upper, lower])
    rng = np.random.default_rng(5)
    length = np.concatenate([0.066 - 0.026 * (upper - 1) / 12, np.full(12, 0.028)]) * rng.uniform(0.85, 1.1, len(place))
    lean = np.concatenate([1 - 2 * (upper - 0.9) / 11.7, 1 - 2 * (26.6 - lower) / 10.2])
    return LashRoots(place, 0.0028, length, lean)
