"""Wrinkle maps on albedos of 1K to 8K: the ratio is enlarged along the edges of the albedo, island by island.

Joint bilateral upsampling (Kopf et al. 2007), one doubling at a time: a fine texel is a weighted mean of the four
coarse ones about it, with weights tent x likeness of their albedo colours x same UV island. On plain skin, repeated
doubling by the tent tends to the quadratic B-spline (Chaikin 1974), which shows no texel grid; the map is sharpened
beforehand so that this spline goes through its texels. Where the albedo has an edge (lip, brow,
hairline) or the chart ends, the ratio follows the edge. The weights belong to the albedo: they are made once, and a
frame costs four products per texel and colour. Beside them, nothing larger than a stripe of rows is held.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parlante.core import Topology
from parlante.geometry.uv import _upsample
from parlante.geometry.uv.ratio import decode, ratio_from_bytes

EDGE = 0.08
"""Distance of two sRGB colours (0..1 each channel) at which they count as different materials."""
FLOOR = 0.02
"""What is left of the likeness of entirely different colours: a lone pore still takes its ratio from around it."""
FOREIGN = 1e-4
"""Factor of texels of another island, so small that they count only where there are no others."""
SHARPENING = 4
"""Steps, and texels, by which a map is sharpened against the blur of doubling; leaves a sixteenth at a line's width."""
STRIPE = 128
"""Rows worked on at a time."""
LOWEST = 1e-3
"""Ratios below this are held there, so that their logarithm exists."""


@dataclass(frozen=True, eq=False)
class _Doubling:
    """From a coarse map to one about twice its size."""

    coarse: tuple[int, int]
    fine: tuple[int, int]
    weights: NDArray[np.uint8]
    """(H, W, 4), summing to 255: upper left, upper right, lower left, lower right."""

    def rows_needed(self, start: int, stop: int) -> tuple[int, int]:
        """Coarse rows that the fine rows start..stop are made from."""
        height, rows = self.fine[0], self.coarse[0]
        return _upsample.blend_weights(start, height, rows)[0], _upsample.blend_weights(stop - 1, height, rows)[1] + 1

    def run(self, coarse: NDArray[np.float32], offset: int, start: int, stop: int) -> NDArray[np.float32]:
        """Fine rows start..stop from coarse rows offset..."""
        fine = np.empty((stop - start, self.fine[1], 3), np.float32)
        _upsample.double(coarse, offset, self.coarse[0], self.weights[start:stop], self.fine[0], start, fine)
        return fine


class Upsampler:
    """Wrinkle maps of one size on one albedo.

    albedo: (H, W, 3) uint8 sRGB. size: (h, w) of the maps. topology: whose UV islands must not bleed into each other;
    none if the albedo is one piece. edge: see `EDGE`; infinity gives smooth enlargement that looks at islands only.
    workers: threads that make the weights. Takes 5.4 bytes per texel beside the albedo. Raises ValueError for a wrong
    shape or type.
    """

    def __init__(
        self,
        albedo: NDArray[np.uint8],
        size: tuple[int, int],
        topology: Topology | None = None,
        *,
        edge: float = EDGE,
        workers: int = 1,
    ) -> None:
        if albedo.ndim != 3 or albedo.shape[2] != 3 or albedo.dtype != np.uint8:
            raise ValueError(f"albedo must be (H, W, 3) uint8, got {albedo.shape} {albedo.dtype}")
        self.albedo = np.ascontiguousarray(albedo)
        self.height, self.width = self.albedo.shape[:2]
        self.size = size
        self._start = (min(size[0], self.height), min(size[1], self.width))
        sizes = [(self.height, self.width)]
        while sizes[-1][0] > 2 * self._start[0] or sizes[-1][1] > 2 * self._start[1]:
            sizes.append((max(-(-sizes[-1][0] // 2), self._start[0]), max(-(-sizes[-1][1] // 2), self._start[1])))
        if sizes[-1] != self._start:
            sizes.append(self._start)
        distance = np.arange(1024) * 64 / (2 * (255 * edge) ** 2)
        likeness = (FLOOR + (1 - FLOOR) * np.exp(-distance)).astype(np.float32)
        self._doublings: list[_Doubling] = []
        guide, island = self.albedo, _islands(topology, sizes[0])
        for fine, coarse in pairwise(sizes):
            lower, island_below = _shrink(guide, coarse), _islands(topology, coarse)
            weights = np.empty((*fine, 4), np.uint8)

            def fill(
                start: int, a: Any = guide, b: Any = lower, c: Any = island, d: Any = island_below, out: Any = weights
            ) -> None:
                stop = min(start + STRIPE, len(out))
                _upsample.fill_weights(a, b, c, d, likeness, FOREIGN, start, stop, out)

            _in_parallel(fill, range(0, fine[0], STRIPE), workers)
            self._doublings.insert(0, _Doubling(coarse, fine, weights))
            guide, island = lower, island_below
        self._blur = np.empty((*self._start, 9 if self._doublings else 0), np.float32)
        if self._doublings:
            _upsample.fill_blur(guide, island, likeness, FOREIGN, self._blur)

    def frame(self, wrinkle: NDArray[Any]) -> "UpsampledFrame":
        """One wrinkle map (h, w, 3), stored bytes or w in 0..1, ready to be read in stripes.

        Raises ValueError for another size.
        """
        if wrinkle.shape != (*self.size, 3):
            raise ValueError(f"wrinkle must be ({self.size[0]}, {self.size[1]}, 3), got {wrinkle.shape}")
        ratio = ratio_from_bytes(wrinkle) if wrinkle.dtype == np.uint8 else decode(wrinkle).astype(np.float32)
        return UpsampledFrame(self, np.log(np.maximum(ratio, LOWEST, dtype=np.float32)))

    def _sharpen(self, logarithm: NDArray[np.float32]) -> NDArray[np.float32]:
        """What to double so that the result goes through the map: Jacobi steps on the blur that doubling amounts to.
        Zeros more than `SHARPENING` texels from anything else stay zero."""
        made = logarithm
        for _ in range(SHARPENING if self._doublings else 0):
            better = np.empty_like(made)
            _upsample.add_missing(made, logarithm, self._blur, better)
            made = better
        return made

    def apply(self, wrinkle: NDArray[Any], workers: int = 1) -> NDArray[np.uint8]:
        """The albedo of one frame, (H, W, 3) uint8. Where the map says unchanged it is the albedo, bit for bit."""
        frame, out = self.frame(wrinkle), np.empty_like(self.albedo)

        def work(start: int) -> None:
            stop = min(start + STRIPE, self.height)
            out[start:stop] = frame.colours(start, stop)

        _in_parallel(work, range(0, self.height, STRIPE), workers)
        return out


class UpsampledFrame:
    """A frame's ratio at the size of the albedo, computed where it is asked for. Safe to read from several threads."""

    def __init__(self, upsampler: Upsampler, logarithm: NDArray[np.float32]) -> None:
        self._up = upsampler
        if logarithm.shape[:2] != upsampler._start:
            planes = [Image.fromarray(np.ascontiguousarray(logarithm[..., c])) for c in range(3)]
            rows, columns = upsampler._start
            logarithm = np.stack([np.asarray(p.resize((columns, rows), Image.Resampling.BOX)) for p in planes], -1)
        self._log = upsampler._sharpen(np.ascontiguousarray(logarithm))

    def ratio(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows start..stop of the ratio, (n, W, 3). Doublings work on its logarithm, the last one on the ratio."""
        doublings = self._up._doublings
        if not doublings:
            return np.exp(self._log[start:stop])
        spans = self._spans(start, stop)
        rows, offset = self._log[slice(*spans[0])], spans[0][0]
        for number, (doubling, span) in enumerate(zip(doublings, spans[1:])):
            if number == len(doublings) - 1:
                rows = np.exp(rows)
            rows, offset = doubling.run(rows, offset, *span), span[0]
        return rows

    def _spans(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The rows needed of every size, smallest first."""
        spans = [(start, stop)]
        for doubling in reversed(self._up._doublings):
            spans.insert(0, doubling.rows_needed(*spans[0]))
        return spans

    def moved(self, start: int, stop: int) -> bool:
        """Whether anything in rows start..stop may differ from the albedo."""
        return bool(self._log[slice(*self._spans(start, stop)[0])].any())

    def colours(self, start: int, stop: int, ratio: NDArray[np.float32] | None = None) -> NDArray[np.uint8]:
        """Rows start..stop of the coloured albedo, (n, W, 3) sRGB; not to be written to. ratio: theirs, if known."""
        albedo = self._up.albedo[start:stop]
        if not self.moved(start, stop):
            return albedo
        out = np.empty_like(albedo)
        _upsample.colour(albedo, self.ratio(start, stop) if ratio is None else ratio, out)
        return out


def relief(ratio: NDArray[np.float32]) -> NDArray[np.float32]:
    """log of the colour mean of a ratio (n, W, 3) -> (n, W): how high the skin stands, 0 where it is unchanged, valleys
    negative; times `parlante.render.shading.BUMP` it is metres."""
    mean = (ratio[..., 0] + ratio[..., 1] + ratio[..., 2]) / np.float32(3)
    return np.log(np.maximum(mean, np.float32(LOWEST)))


def normal_rows(height: NDArray[np.float32], start: int, stop: int, texel: tuple[float, float]) -> NDArray[np.uint8]:
    """Tangent-space normals (n, W, 3) of rows start..stop, from heights (n + halo, W) that reach one row beyond on each
    side where there is one. texel: its width and height, in the unit of the heights.

    n = (-dh/du, -dh/dv, 1) / |...| with u to the right and v upwards, stored as 128 + round(127.5 n), at most
    255: flat skin is (128, 128, 255), the OpenGL (green up) convention.
    """
    out = np.empty((stop - start, height.shape[1], 3), np.uint8)
    _upsample.normals(height, min(start, 1), 1 / texel[0], 1 / texel[1], out)
    return out


def _shrink(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Area mean at (h, w)."""
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BOX))


def _islands(topology: Topology | None, size: tuple[int, int]) -> NDArray[np.uint8]:
    """(h, w) number of the UV island of each texel, 0 outside all; (1, 1) without a topology. Numbers wrap at 255."""
    if topology is None:
        return np.zeros((1, 1), np.uint8)
    texels = topology.uv * [size[1], -size[0]] + [-0.5, size[0] - 0.5]
    drawn = np.zeros(size, np.uint8)
    numbers = (island_of_triangles(topology) % 255 + 1).astype(np.uint8)
    _upsample.draw_islands(texels[topology.uv_triangles].astype(np.float32), numbers, drawn)
    return drawn


def island_of_triangles(topology: Topology) -> NDArray[np.int32]:
    """(F,) number of the connected piece of the UV layout that each triangle lies in."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    triangles, count = topology.uv_triangles, len(topology.uv)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges), np.int8), edges.T), shape=(count, count))
    owner: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return owner[triangles[:, 0]]


def _in_parallel(work: Callable[[int], None], starts: range, workers: int) -> None:
    if workers < 2:
        for start in starts:
            work(start)
        return
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(work, starts):
            pass
