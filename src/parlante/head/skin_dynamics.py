"""How skin changes its look as it moves: creases that deepen under compression, and blood pressed out of the lips.

Per frame, the linearised strain of the surface (the symmetric gradient of the displacement, as in thin-shell
mechanics) is measured across each crease; compression, softly rectified, darkens the valley and brightens its
shoulders. All of it is one sparse matrix on the vertex offsets and one lookup per texel, so it runs beside training.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from parlante.geometry.uv import bake_table
from parlante.head.arkit import ARKIT_NAMES
from parlante.head.creases import FAMILIES, Crease, crease_pattern, creases_of
from parlante.head.skin_frame import FaceFrame, face_frame
from parlante.head.skin_kernels import polyline_distance, ratio_maps

DEEP = 0.42
"""Log darkening of a fully folded valley at depth 1, averaged over colours: 34 %."""
COLOURS = np.array(
    [
        [[-0.84, -1.04, -1.12], [-0.9, -1.0, -1.02]],  # creases: shade is reddish; shoulders (negative pattern) lighten
        [[-0.84, -1.04, -1.12], [-0.9, -1.0, -1.02]],
        [[0.015, 0.125, 0.11], [0.02, 0.15, 0.13]],  # flow: + pale, - flushed
    ],
    np.float32,
)


class SkinDynamics:
    """Wrinkle maps of one identity from its motion.

    `head` offers topology, identity_names, identity(name), shapes(name) and traits(name). size is the map's side in
    texels; depth scales all creases (0 leaves only the blood flow). Building takes a fraction of a second.
    """

    def __init__(self, head: Any, name: str, size: int = 256, depth: float = 1.0) -> None:
        self.size, self.name = size, name
        frame, table = face_frame(head), bake_table(head.topology, size)
        neutral = head.neutral(name).astype(np.float64)
        lines = creases_of(head.traits(name))
        self._operator = _operator(head, name, frame, neutral, lines)

        _, chart = frame.texels(size)
        allowed = np.clip(table.bake_array(_creasable(frame)[None, :, None])[0, ..., 0], 0, 1) * table.covered
        pitch = 0.9e-3 * 256 / size
        creases = crease_pattern(lines, chart, allowed, blur=0.5 * pitch) * np.float32(DEEP * depth)
        flow = table.bake_array(_flow_mask(frame)[None, :, None])[0, ..., 0] * table.covered
        pattern = np.concatenate([creases, flow[None]]).reshape(3, -1).T
        pattern = np.where(np.abs(pattern) < 2e-3, 0, np.clip(pattern, -0.3, 0.62 * max(depth, 1.0))).astype(np.float32)
        self._texels = np.flatnonzero(np.abs(pattern).max(1) > 0).astype(np.int32)
        self._pattern = np.ascontiguousarray(pattern[self._texels])
        used = table.index[self._texels]
        self._vertices, compact = np.unique(used, return_inverse=True)
        self._index = compact.reshape(used.shape).astype(np.int32)
        self._weights = np.ascontiguousarray(table.weights[self._texels])
        vertices = head.topology.num_vertices
        rows = (np.arange(3)[:, None] * vertices + self._vertices[None]).ravel()
        self._operator = self._operator[rows].astype(np.float32)

    def activation(self, offsets: NDArray[np.floating]) -> NDArray[np.float32]:
        """Offsets from neutral (T, V, 3) metres -> how folded the skin is (T, 3, R): two layers of creases, 0 at rest
        and about 1 in a full expression, and blood flow (-1 flushed .. 1 pale), at the R vertices that matter."""
        frames = len(offsets)
        flat = np.ascontiguousarray(offsets.reshape(frames, -1).T, np.float32)
        strain = np.asarray(self._operator @ flat).T.reshape(frames, 3, -1)
        folded = np.empty_like(strain)
        folded[:, :2] = _fold(strain[:, :2])
        folded[:, 2] = np.tanh(strain[:, 2])
        return folded

    def maps(self, offsets: NDArray[np.floating]) -> NDArray[np.float32]:
        """Offsets (T, V, 3) metres -> colour ratio to the neutral skin (T, size, size, 3), 1 = unchanged."""
        return self._render(offsets, False)

    def wrinkle(self, offsets: NDArray[np.floating]) -> NDArray[np.float32]:
        """The same as wrinkle maps w = tanh(ratio / 2) in 0..1; unchanged is 0.46212."""
        return self._render(offsets, True)

    def _render(self, offsets: NDArray[np.floating], as_wrinkle: bool) -> NDArray[np.float32]:
        folded = self.activation(offsets)
        return ratio_maps(
            folded, self._texels, self._index, self._weights, self._pattern, COLOURS, self.size, as_wrinkle
        )


@lru_cache(maxsize=64)
def skin_dynamics(head: Any, name: str, size: int = 256) -> SkinDynamics:
    """The dynamics of an identity at depth 1, built once and kept."""
    return SkinDynamics(head, name, size)


def _fold(strain: NDArray[np.float32]) -> NDArray[np.float32]:
    """Soft rectifier of compression: 0 for none, quadratic start, 1 at 1, saturating at 1.5."""
    x = np.maximum(strain, 0)
    gentle = 1.15 * x * x / (x + 0.15)
    return np.where(gentle > 0.75, 0.75 + 0.75 * (1 - np.exp(-(gentle - 0.75) / 0.75)), gentle).astype(
        np.float32
    ) / np.float32(0.9626)


def _creasable(frame: FaceFrame) -> NDArray[np.float32]:
    """(V,) 1 on outer face skin and lips, 0 on ears, inner mouth, eyes, back of the head."""
    s, y = frame.chart.T
    front = np.clip((0.085 - np.abs(s)) / 0.015, 0, 1) * np.clip((0.105 - y) / 0.012, 0, 1)
    skin = frame.mask("skin", "lips", "face") * (
        1 - frame.mask("inner_mouth", "ears", "lashes", "eyeball_left", "eyeball_right", "teeth_upper", "teeth_lower")
    )
    return (front * skin * (1 - frame.mask("tongue"))).astype(np.float32)


def _flow_mask(frame: FaceFrame) -> NDArray[np.float32]:
    """(V,) how much blood flow shows: lips fully, cheeks a little."""
    s, y = frame.chart.T
    cheek = np.exp(-(((np.abs(s) - 0.042) / 0.013) ** 2) - ((y + 0.002) / 0.013) ** 2)
    cheek *= frame.mask("skin", "face") * (1 - frame.mask("inner_mouth", "ears", "tongue"))
    return np.maximum(frame.mask("lips"), 0.3 * np.where(cheek > 0.02, cheek, 0)).astype(np.float32)


def _operator(head: Any, name: str, frame: FaceFrame, neutral: NDArray[np.floating], lines: list[Crease]) -> Any:
    """(3V, 3V) sparse: offsets (interleaved x, y, z per vertex) -> scaled compression of both layers, then flow."""
    triangles = head.topology.triangles
    count = len(neutral)
    mask = _creasable(frame)
    live = mask[triangles].min(1) > 0
    triangles = triangles[live]
    gradient, area = _gradients(neutral, triangles)
    average = _to_vertices(triangles, area, count)
    shapes = head.shapes(name)
    # A family's direction: across its nearest line, carried from the chart to the surface.
    chart = frame.chart[triangles].astype(np.float64)
    centre = chart.mean(1).astype(np.float32)
    numerator: list[Any] = [sparse.csr_matrix((len(triangles), 3 * count)) for _ in range(2)]
    total = np.full((2, len(triangles)), 0.05)
    for family, spec in FAMILIES.items():
        weight, across = _nearest(lines, family, centre, spec.reach)
        near = np.flatnonzero(weight > 0.02)
        if not len(near):
            continue
        rows: Any = 0
        for share, direction in ((1.0, across[near]), (spec.along, np.stack([-across[near, 1], across[near, 0]], -1))):
            field = np.einsum("fki,fk->fi", gradient[near], np.einsum("fkc,fc->fk", chart[near], direction))
            field /= np.maximum(np.linalg.norm(field, axis=1, keepdims=True), 1e-9)
            # strain along d of displacement u: sum_k (grad phi_k . d) (d . u_k)
            slope = np.einsum("fki,fi->fk", gradient[near], field)
            coefficients = -share * slope[:, :, None] * field[:, None, :]
            rows = rows + _rows(near, coefficients, triangles, len(triangles), count)
        expression = sum(shapes[ARKIT_NAMES.index(shape)].astype(np.float64) for shape in spec.expression)
        jaw = shapes[ARKIT_NAMES.index("jawOpen")].astype(np.float64)
        middle = np.unique(triangles[weight > 0.6])
        full, talking = (_typical((average @ (rows @ np.ravel(pose)))[middle]) for pose in (expression, jaw))
        gain = 1.0 / max(full, 1.8 * talking, 0.02)  # talking alone must not carve the face
        numerator[spec.layer] = numerator[spec.layer] + sparse.diags(weight * gain) @ rows
        total[spec.layer] += weight
    layers = [average @ sparse.diags(1 / np.maximum(total[k], 1.0)) @ numerator[k] for k in range(2)]
    layers.append(_flow(frame, triangles, gradient, average, count))
    operator = sparse.vstack([_drop_small(layer) for layer in layers]).tocsr()
    return operator


def _typical(folding: NDArray[np.floating]) -> float:
    return float(np.quantile(folding, 0.7)) if len(folding) else 0.0


def _flow(
    frame: FaceFrame,
    triangles: NDArray[np.int32],
    gradient: NDArray[np.floating],
    average: Any,
    count: int,
) -> Any:
    """(V, 3V): stretched or inward-rolled lips pale (+), pursed or bunched ones and lifted cheeks flush (-)."""
    every = np.arange(len(triangles))
    area = _rows(every, gradient, triangles, len(triangles), count)  # sum over corners of grad phi_k . u_k
    along = np.einsum("fki,fk->fi", gradient, frame.chart[triangles][:, :, 0].astype(np.float64))
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    slope = np.einsum("fki,fi->fk", gradient, along)
    width = _rows(every, slope[:, :, None] * along[:, None, :], triangles, len(triangles), count)
    s, y = frame.chart.T
    lips = frame.mask("lips")
    blocks = [sparse.diags(2.2 * lips) @ (average @ width), sparse.diags(3.0 * (1 - lips)) @ (average @ area)]
    for upper in (True, False):  # inward motion of a lip against the skin around it
        lip = lips * ((y > -0.0375) == upper)
        rim_y = -0.023 if upper else -0.056
        ring = np.exp(-((s / 0.018) ** 2) - ((y - rim_y) / 0.003) ** 2) * (1 - lips) * frame.mask("skin", "face")
        if not lip.any() or ring.sum() < 1e-6:
            continue
        ring /= ring.sum()
        index = np.flatnonzero(lip)
        around = np.flatnonzero(ring > 1e-3 * ring.max())
        # depth is along z: the face looks forward
        own = sparse.csr_matrix((np.full(len(index), -1.0), (index, 3 * index + 2)), shape=(count, 3 * count))
        rows = np.repeat(index, len(around))
        columns = np.tile(3 * around + 2, len(index))
        other = sparse.csr_matrix((np.tile(ring[around], len(index)), (rows, columns)), shape=(count, 3 * count))
        blocks.append(140.0 * (own + other))
    return sum(blocks[1:], start=blocks[0])


def _gradients(
    vertices: NDArray[np.floating], triangles: NDArray[np.int32]
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Gradients of the three corner functions (F, 3, 3) and areas (F,)."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    double = np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-10)
    normal = normal / double
    gradient = np.stack([np.cross(normal, edge) / double for edge in (c - b, a - c, b - a)], 1)
    return gradient, 0.5 * double[:, 0]


def _to_vertices(triangles: NDArray[np.int32], area: NDArray[np.floating], count: int, rounds: int = 2) -> Any:
    """(V, F) area-weighted mean over a vertex's triangles, smoothed over the surface `rounds` times."""
    rows, columns = triangles.ravel(), np.repeat(np.arange(len(triangles)), 3)
    gather = sparse.csr_matrix((np.repeat(area, 3), (rows, columns)), shape=(count, len(triangles)))
    gather = sparse.diags(1 / np.maximum(np.asarray(gather.sum(1)).ravel(), 1e-12)) @ gather
    spread = sparse.csr_matrix((np.full(len(rows), 1 / 3), (columns, rows)), shape=(len(triangles), count))
    for _ in range(rounds):
        gather = gather @ (spread @ gather)
    return gather.tocsr()


def _rows(
    near: NDArray[np.integer],
    coefficients: NDArray[np.floating],
    triangles: NDArray[np.int32],
    faces: int,
    count: int,
) -> Any:
    """(F, 3V) sparse with coefficients (N, 3 corners, 3 axes) in the rows of the listed triangles."""
    columns = 3 * triangles[near][:, :, None] + np.arange(3)
    rows = np.repeat(near, 9)
    return sparse.csr_matrix((coefficients.ravel(), (rows, columns.ravel())), shape=(faces, 3 * count))


def _nearest(
    lines: list[Crease], family: str, places: NDArray[np.float32], reach: float
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Weight (N,) of a family at chart places (N, 2), and the unit direction across its nearest line (N, 2)."""
    best = np.full(len(places), 2.5 * reach)
    across = np.zeros((len(places), 2))
    everywhere = np.ones(len(places), np.float32)
    for line in lines:
        if line.family != family or len(line.points) < 2:
            continue
        along = np.linspace(0, 1, len(line.points)).astype(np.float32)
        distance, at = polyline_distance(places, everywhere, line.points, along, float(2.5 * reach))
        closer = distance < best
        tangent = np.gradient(line.points.astype(np.float64), axis=0)
        tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-12)
        here = np.stack([np.interp(at[closer], along, tangent[:, k]) for k in range(2)], -1)
        across[closer] = np.stack([-here[:, 1], here[:, 0]], -1)
        best[closer] = distance[closer]
    weight = np.where(best < 2.5 * reach, np.exp(-((best / reach) ** 2)), 0)
    return weight, across


def _drop_small(matrix: Any) -> Any:
    """Leave out coefficients too small to matter: they cost time in every frame."""
    matrix = matrix.tocsr()
    magnitude = np.abs(matrix.data)
    if len(magnitude):
        matrix.data[magnitude < 1e-3 * np.quantile(magnitude, 0.99)] = 0
        matrix.eliminate_zeros()
    return matrix
