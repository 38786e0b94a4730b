"""Read the base mesh, cut head and neck off it, and find the rings around mouth and eyes."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BODY = 13380  # vertices before this number are skin, inner mouth and eye sockets
TONGUE = slice(13380, 13606)
EYES = (slice(14598, 14670), slice(14670, 14742))  # left, right
TEETH_LOWER, TEETH_UPPER = slice(14992, 15060), slice(15060, 15128)
HEAD_JOINT, NECK_JOINT, HINGE_JOINT = slice(14070, 14078), slice(14534, 14542), slice(14590, 14598)
UNIT = 0.1  # metres in a unit of the source
NECK_LOOP = (42, 5.946)  # vertices and mean height of the edge loop along which the neck is cut


@dataclass(frozen=True)
class Base:
    """The whole source mesh, in its own units (1 dm)."""

    vertices: Array
    quads: NDArray[np.int64]
    uv: Array
    uv_quads: NDArray[np.int64]


def read_base(path: Path) -> Base:
    """Read a three.js version 3 model file made of quads with texture corners."""
    model = json.loads(path.read_text())
    faces = np.array(model["faces"]).reshape(-1, 10)
    if set(np.unique(faces[:, 0])) != {11}:
        raise ValueError(f"{path}: expected only quads with material and uv (type 11)")
    return Base(
        np.array(model["vertices"], float).reshape(-1, 3),
        faces[:, 1:5],
        np.array(model["uvs"][0], float).reshape(-1, 2),
        faces[:, 6:10],
    )


class Targets:
    """Sparse vertex offsets by name, in source units."""

    def __init__(self, path: Path, count: int) -> None:
        self._archive = np.load(path, allow_pickle=False)
        self._count = count

    def __call__(self, name: str) -> Array:
        """(count, 3) offsets of target `name`, for example "head/head-oval"."""
        offsets = np.zeros((self._count, 3))
        offsets[self._archive[f"targets/{name}.index"]] = self._archive[f"targets/{name}.vector"] * 1e-3
        return offsets


class Quads:
    """Neighbourhoods and edge loops of a quad mesh."""

    def __init__(self, quads: NDArray[np.int64]) -> None:
        self.neighbours: dict[int, set[int]] = defaultdict(set)
        self.faces: dict[int, list[int]] = defaultdict(list)
        for number, face in enumerate(quads.tolist()):
            for corner in range(4):
                a, b = face[corner], face[(corner + 1) % 4]
                self.faces[a].append(number)
                self.neighbours[a].add(b)
                self.neighbours[b].add(a)

    def _ahead(self, previous: int, current: int) -> int | None:
        if len(self.faces[current]) != 4 or len(self.neighbours[current]) != 4:
            return None
        beside = set(self.faces[previous]) & set(self.faces[current])
        found = [
            other
            for other in self.neighbours[current]
            if other != previous and not (set(self.faces[other]) & set(self.faces[current]) & beside)
        ]
        return found[0] if len(found) == 1 else None

    def loops(self, starts: NDArray[np.int64], length: int) -> list[list[int]]:
        """All closed edge loops of `length` vertices through any of `starts`."""
        found: dict[frozenset[int], list[int]] = {}
        for start in starts.tolist():
            for second in self.neighbours[start]:
                loop = [start, second]
                while len(loop) <= length:
                    ahead = self._ahead(loop[-2], loop[-1])
                    if ahead is None:
                        break
                    if ahead == start:
                        if len(loop) == length:
                            found.setdefault(frozenset(loop), loop)
                        break
                    loop.append(ahead)
        return list(found.values())

    def flood(self, seed: int, stop: set[int]) -> set[int]:
        """Vertices reachable from `seed` without crossing `stop` (which is included where touched)."""
        seen, stack = {seed}, [seed]
        while stack:
            here = stack.pop()
            if here in stop:
                continue
            for other in self.neighbours[here] - seen:
                seen.add(other)
                stack.append(other)
        return seen


def chain(loops: list[list[int]], graph: Quads, first: int) -> list[list[int]]:
    """Order neighbouring loops from `first` on, each turned to start opposite its predecessor's start."""
    members = [set(loop) for loop in loops]
    order, current, left = [loops[first]], first, set(range(len(loops))) - {first}
    while True:
        previous = order[-1]
        near = {n for v in previous for n in graph.neighbours[v]}
        following = [k for k in left if len(members[k] & near) == len(members[k])]
        if not following:
            return order
        current = following[0]
        left.remove(current)
        matched = []
        for vertex in previous:
            (partner,) = graph.neighbours[vertex] & members[current]
            matched.append(partner)
        order.append(matched)


@dataclass(frozen=True)
class Skin:
    """The part of the body that is kept; vertex numbers are the source's."""

    vertices: NDArray[np.int64]
    quads: NDArray[np.int64]
    neck_loop: list[int]
    lip_rings: list[list[int]]
    """Rings of 38 around the mouth from outside inwards; each starts at the left corner, then over the upper lip."""
    lid_rings: tuple[list[list[int]], list[list[int]]]
    """Left, right: rings of 28 around the eye, from outside inwards, each from the outer corner over the upper lid."""


def _turn(loop: list[int], points: Array, outward: float) -> list[int]:
    """Start at the vertex furthest along x * outward and go over the top."""
    x = points[loop, 0] * outward
    start = int(np.argmax(x))
    loop = loop[start:] + loop[:start]
    quarter = len(loop) // 4
    if points[loop[quarter], 1] < points[loop[-quarter], 1]:
        loop = loop[:1] + loop[:0:-1]
    return loop


def cut_head(base: Base) -> Skin:
    """Cut at the neck loop; drop the eye sockets behind the eyeballs, which nobody can see."""
    points = base.vertices
    body = base.quads[(base.quads < BODY).all(1)]
    graph = Quads(body)
    near_neck = np.flatnonzero((np.abs(points[:BODY, 1] - NECK_LOOP[1]) < 0.25) & (np.abs(points[:BODY, 0]) < 0.6))
    (neck,) = [
        loop for loop in graph.loops(near_neck, NECK_LOOP[0]) if abs(points[loop, 1].mean() - NECK_LOOP[1]) < 0.01
    ]
    keep = graph.flood(int(points[:BODY, 1].argmax()), set(neck))

    mouth = np.array([v for v in keep if np.abs(points[v] - [0.0, 6.61, 1.48]).max() < 0.4])
    rings = graph.loops(mouth, 38)
    outermost = int(np.argmax([np.ptp(points[ring, 1]) - 10 * (points[ring, 2].mean() < 1.45) for ring in rings]))
    rings[outermost] = _turn(rings[outermost], points, 1.0)
    lips = chain(rings, graph, outermost)

    lids = []
    for side, eye in zip((1.0, -1.0), EYES, strict=True):
        centre = points[eye].mean(0)
        near = np.array([v for v in keep if np.abs(points[v] - centre).max() < 0.3])
        rings = [r for r in graph.loops(near, 28) if np.abs(points[r].mean(0) - centre)[:2].max() < 0.05]
        outermost = int(np.argmax([np.ptp(points[r, 0]) for r in rings]))
        rings[outermost] = _turn(rings[outermost], points, side)
        lids.append(chain(rings, graph, outermost))
        last = lids[-1][14]
        behind = graph.flood(max(lids[-1][-1], key=lambda v: -points[v, 2]), set(last)) - set(last)
        if len(behind) > 400:
            raise ValueError("the socket ring is not closed")
        keep -= behind
        lids[-1] = lids[-1][:15]
    kept = np.zeros(len(points), bool)
    kept[list(keep)] = True
    quads = body[kept[body].all(1)]
    return Skin(np.flatnonzero(kept), quads, neck, lips, (lids[0], lids[1]))
