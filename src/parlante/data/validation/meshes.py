"""Verdicts on a corpus's triangles: whatever makes normals, textures or pictures go wrong."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from parlante.core import Topology
from parlante.data.validation.findings import Finding
from parlante.geometry.regions import VERTICES


def topology_finding(topology: Topology, face: NDArray[np.floating] | None) -> Iterator[Finding]:
    """The table's lines on connectivity. face: (V, 3) a template, or none."""
    count = topology.num_vertices
    published = VERTICES.get(topology.name)
    if published is not None and published != count:
        text = f"{count} vertices, {topology.name} was published with {published}"
        yield Finding(
            "vertex count", "bad", text, "published vertex lists and checkpoints do not fit: prepare it again"
        )
    else:
        same = sorted(name for name, number in VERTICES.items() if number == count)
        yield Finding("vertex count", "ok", f"{count} vertices" + (f", as {' and '.join(same)}" if same else ""))
    if not len(topology.triangles):
        text = "no triangles are known"
        yield Finding("topology", "warn", text, "enough to train on; put a .ply or .obj beside the data for pictures")
        return
    faults = list(_faults(topology, face))
    told = "; ".join(faults) if faults else f"{len(topology.triangles)} triangles"
    todo = "clean the template mesh (the order of vertices must stay as it is)" if faults else ""
    yield Finding("topology", "warn" if faults else "ok", told, todo)


def _faults(topology: Topology, face: NDArray[np.floating] | None) -> Iterator[str]:
    triangles = np.asarray(topology.triangles, np.int64)
    ordered = np.sort(triangles, 1)
    collapsed = (ordered[:, 0] == ordered[:, 1]) | (ordered[:, 1] == ordered[:, 2])
    if collapsed.any():
        yield f"{int(collapsed.sum())} triangles name a vertex twice"
    _, repeats = np.unique(ordered, axis=0, return_counts=True)
    if (repeats > 1).any():
        yield f"{int((repeats - 1).sum())} triangles stand there twice"
    used = np.zeros(topology.num_vertices, bool)
    used[triangles] = True
    if not used.all():
        yield f"{int((~used).sum())} vertices are in no triangle, such as {int(np.flatnonzero(~used)[0])}"
    edges = np.sort(np.concatenate([ordered[:, [0, 1]], ordered[:, [1, 2]], ordered[:, [0, 2]]]), 1)
    _, shared = np.unique(edges, axis=0, return_counts=True)
    if (shared > 2).any():
        yield f"{int((shared > 2).sum())} edges have more than two triangles"
    if face is not None and np.isfinite(face).all():
        corners = np.asarray(face, np.float64)[triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        flat = (np.linalg.norm(normals, axis=1) <= 1e-10 * float(np.ptp(face, axis=0).max()) ** 2) & ~collapsed
        if flat.any():
            yield f"{int(flat.sum())} triangles have no area"
        out = corners.mean(1) - np.asarray(face, np.float64).mean(0)
        size = np.linalg.norm(out, axis=1) * np.linalg.norm(normals, axis=1)
        if (out * normals).sum() < -0.2 * size.sum():  # -1 for a ball turned inside out; near 0 cannot be told
            yield "triangles face inwards"
    if len(topology.uv) and (topology.uv.min() < -1e-4 or topology.uv.max() > 1 + 1e-4):
        yield f"texture corners lie outside 0..1: {topology.uv.min():.2f} to {topology.uv.max():.2f}"
