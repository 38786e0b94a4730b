"""Which texel is what: parts, places and soft regions of the texture, shared by all identities at one size."""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.geometry.uv import bake_table
from parlante.geometry.uv._raster import rasterise
from parlante.head.skin_frame import FaceFrame, face_frame
from parlante.head.skin_kernels import doubled, fractal_noise, inside_polygon, polyline_distance

Array = NDArray[np.float32]
Outline = list[tuple[float, float]]
# Outlines in the chart of `skin_frame`, mm, on the left side; the right is their mirror image.
HAIRLINE: Outline = [
    (-60, 92), (0, 92), (10, 93), (22, 96), (34, 96), (44, 91),
    (53, 81), (61, 68), (70, 58), (84, 55), (100, 51), (111, 42),
    (118, 28), (122, 9), (137, 7), (141, 24), (145, 40), (165, 47), (188, 43), (197, 25), (202, 2), (214, -22),
    (255, -40), (350, -46), (350, 400), (-60, 400),
]  # fmt: skip
BEARD: Outline = [
    (-40, -20.5), (0, -20.5), (9, -20),
    (18, -21.5), (26, -26), (33, -33), (38, -37), (52, -31), (68, -25), (85, -17), (102, -6),
    (118, 12), (130, 12), (133, -5), (128, -26), (118, -42), (104, -60), (84, -74), (60, -86), (0, -92), (-40, -92),
]  # fmt: skip
LID_MARGIN = 8
DEEP = 0.028
"""Metres inside the hairline beyond which skin never shows."""
PARTS = ("skin", "inner_mouth", "eyeball", "teeth", "gum", "tongue", "lashes")


class SkinMap:
    """Static pictures at one size, flattened to (N,) texels, N = size * size, row-major.

    part (N,) index into PARTS; position (N, 3) and chart (N, 2) metres in the frame of `skin_frame`; lips (N,) 0..1.
    skin (M,) the texels that show outer skin, to which all soft regions belong; deep (D,) those well under the hair.
    """

    def __init__(self, head: Any, size: int) -> None:
        frame = face_frame(head)
        self.frame, self.size, self.table = frame, size, bake_table(head.topology, size)
        position, chart = frame.texels(size)
        self.position: Array = position.reshape(-1, 3)
        self.chart: Array = chart.reshape(-1, 2)
        self.part = self._parts()
        outer = np.flatnonzero(self.part == 0)
        folded = np.abs(self.chart[outer]) * f32([1, 0]) + self.chart[outer] * f32([0, 1])
        scalp = inside_polygon(folded, _mm(HAIRLINE))
        under = scalp > DEEP
        self.skin: NDArray[np.int64] = outer[~under]
        self.deep: NDArray[np.int64] = outer[under]
        self.scalp: Array = scalp[~under]
        folded = np.ascontiguousarray(folded[~under])
        self.where: Array = np.ascontiguousarray(self.position[self.skin])
        """(M, 3)"""
        self.s: Array = np.ascontiguousarray(folded[:, 0])
        self.y: Array = np.ascontiguousarray(folded[:, 1])
        rings = self.table.bake_array(_lip_rings(head)[None, :, None])[0].reshape(-1)
        self.lips: Array = smoothstep(1.55, 2.15, rings[self.skin])
        self.ears: Array = self.table.bake_array(frame.mask("ears")[None, :, None])[0].reshape(-1)[self.skin]
        self.beard: Array = inside_polygon(folded, _mm(BEARD))
        self.half: Array = bake_table(head.topology, size // 2).bake_array(frame.position[None])[0].reshape(-1, 3)
        self._soft: dict[str, Array] = {}
        self.atlas = ChartAtlas(frame)
        everywhere, ones = np.ones(len(folded), np.float32), np.ones(16, np.float32)
        lids = frame.chart[head.layout.lids[0]]  # (15, 28, 2) rings from outside inwards, columns from the outer corner
        self.lid_lines: dict[str, Array] = {
            name: polyline_distance(folded, everywhere, np.ascontiguousarray(line), ones[: len(line)], 0.02)[0]
            for name, line in (
                ("upper", lids[LID_MARGIN, :15]),
                ("lower", lids[LID_MARGIN, np.r_[14:28, 0]]),
                ("fold", 0.55 * lids[4, 1:14] + 0.45 * lids[3, 1:14]),
            )
        }
        inside = self.table.bake_array(_lid_rings(head)[None, :, None])[0].reshape(-1)
        self.lid_depth: Array = inside[self.skin]
        """0 outside the lid's edge, 1 one ring inside, and so on."""

    def noise(
        self,
        millimetres: float | tuple[float, float, float],
        octaves: int,
        seed: int,
        texels: NDArray[Any] | None = None,
    ) -> Array:
        """Smooth noise about -1..1 on the skin, (M,), or on the flat texels given; features of the stated size."""
        scale = np.array(np.broadcast_to(millimetres, 3), np.float32) * np.float32(1e-3)
        smallest = float(scale.min()) / 2 ** (octaves - 1)
        chosen = self.skin if texels is None else texels
        if smallest > 1.2 / self.size and self.size % 2 == 0:  # large features need no fine grid
            coarse = fractal_noise(self.half, scale, octaves, seed).reshape(self.size // 2, self.size // 2)
            return doubled(coarse, chosen)
        where = self.where if texels is None else np.ascontiguousarray(self.position[texels])
        return fractal_noise(where, scale, octaves, seed)

    def spot(self, s: float, y: float, wide: float, high: float | None = None) -> Array:
        """(M,) soft ellipse about chart place (+-s, y), radii in mm."""
        key = f"{s},{y},{wide},{high}"
        if key not in self._soft:
            a = (self.s - np.float32(s * 1e-3)) / np.float32(wide * 1e-3)
            b = (self.y - np.float32(y * 1e-3)) / np.float32((high or wide) * 1e-3)
            self._soft[key] = np.exp(-(a * a + b * b))
        return self._soft[key]

    def _parts(self) -> NDArray[np.uint8]:
        topology = self.frame.topology
        of_triangle = np.zeros(len(topology.triangles), np.uint8)
        for number, part in enumerate(PARTS):
            for region, vertices in topology.regions.items():
                if part != "skin" and (region == part or region.rsplit("_", 1)[0] == part):
                    inside = np.zeros(topology.num_vertices, bool)
                    inside[vertices] = True
                    of_triangle[inside[topology.triangles].all(1)] = number
        return of_triangle[np.maximum(self.table.triangle.ravel(), 0)]


class ChartAtlas:
    """The way back: from a chart place (s, y) on the outer face to the texture."""

    PITCH, LEFT, LOW, SIDE = 0.25e-3, -0.16, -0.13, 1280

    def __init__(self, frame: FaceFrame) -> None:
        topology = frame.topology
        hidden = frame.mask("inner_mouth", "eyeball_left", "eyeball_right", "teeth_upper", "teeth_lower", "tongue")
        hidden += frame.mask("gum_upper", "gum_lower", "lashes", "lashes_left", "lashes_right")
        cells = (frame.chart - f32([self.LEFT, self.LOW])) / np.float32(self.PITCH)
        corners = cells[topology.triangles]
        keep = (hidden[topology.triangles].max(1) == 0) & (np.ptp(corners[..., 0], axis=1) < 200)
        a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
        turn = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
        keep &= turn > 0  # facing outwards
        depth = np.hypot(frame.position[:, 0], frame.position[:, 2] - 0.03)[topology.triangles].mean(1)
        chosen = np.flatnonzero(keep)[np.argsort(-depth[keep])]
        owner, weights = rasterise(np.ascontiguousarray(corners[chosen]), self.SIDE, False)
        uv = topology.uv[topology.uv_triangles[chosen]][np.maximum(owner, 0)]
        self.uv: Array = np.einsum("ijk,ijkc->ijc", weights, uv).astype(np.float32)
        self.uv[owner < 0] = np.nan

    def texels(self, places: Array, size: int) -> Array:
        """Chart places (..., 2) metres -> column and row (..., 2) at a size; nan where there is no outer skin."""
        cell = (places - f32([self.LEFT, self.LOW])) / np.float32(self.PITCH)
        base = np.clip(np.floor(cell).astype(np.int64), 0, self.SIDE - 2)
        fraction = np.clip(cell - base, 0, 1).astype(np.float32)
        x, y = base[..., 0], base[..., 1]
        fx, fy = fraction[..., :1], fraction[..., 1:]
        uv = (self.uv[y, x] * (1 - fx) + self.uv[y, x + 1] * fx) * (1 - fy)
        uv = uv + (self.uv[y + 1, x] * (1 - fx) + self.uv[y + 1, x + 1] * fx) * fy
        return np.stack([uv[..., 0] * size - 0.5, (1 - uv[..., 1]) * size - 0.5], -1)


@lru_cache(maxsize=3)
def skin_map(head: Any, size: int) -> SkinMap:
    """The map of a head at a size, built once and kept."""
    return SkinMap(head, size)


def _lip_rings(head: Any) -> Array:
    """(V,) number of the ring around the mouth from outside inwards, 9 inside the mouth; 2 is the edge of the red."""
    values = np.zeros(head.topology.num_vertices, np.float32)
    values[head.topology.regions["inner_mouth"]] = 9
    for number, ring in enumerate(head.layout.lips[:10]):
        values[ring] = number
    return values


def _lid_rings(head: Any) -> Array:
    """(V,) rings inside the edge of the lids, 0 outside."""
    values = np.zeros(head.topology.num_vertices, np.float32)
    for number in range(LID_MARGIN, head.layout.lids.shape[1]):
        values[head.layout.lids[:, number]] = number - LID_MARGIN
    return values


def _mm(points: Outline) -> Array:
    return np.array(points, np.float32) * np.float32(1e-3)


def f32(values: Any) -> Array:
    """Numbers as a float32 array."""
    return np.array(values, np.float32)


def smoothstep(low: float, high: float, x: Array) -> Array:
    """0 up to `low`, 1 from `high` on, smooth between; the other way round where low > high."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
