"""A head made ready for drawing: one corner per (vertex, texture coordinate), normals and slopes every frame."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from parlante.core import Topology
from parlante.render import shading

Floats = NDArray[np.float32]


class Surface:
    """Draw-ready arrays of one topology in camera space, renewed in place by `update`.

    corners C: the distinct (vertex, uv) pairs of the mesh. `triangles` (F, 3) index them, sorted by material;
    `ranges` lists (material, first triangle, end triangle).
    """

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        pairs = np.stack([topology.triangles.reshape(-1), topology.uv_triangles.reshape(-1)], axis=1)
        distinct, inverse = np.unique(pairs, axis=0, return_inverse=True)
        triangles = inverse.reshape(-1, 3).astype(np.int32)
        material = triangle_materials(topology)
        order = np.argsort(material, kind="stable")
        self.material: NDArray[np.int32] = np.ascontiguousarray(material[order])
        self.triangles: NDArray[np.int32] = np.ascontiguousarray(triangles[order])
        present, first = np.unique(self.material, return_index=True)
        ends = [*first[1:].tolist(), len(self.material)]
        self.ranges = [(int(m), int(a), int(b)) for m, a, b in zip(present, first, ends)]

        self.corner_vertex: NDArray[np.int32] = distinct[:, 0].astype(np.int32)
        uv = topology.uv[distinct[:, 1]].astype(np.float32) if len(topology.uv) else np.zeros((len(distinct), 2))
        self.uv: Floats = np.ascontiguousarray(np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1), dtype=np.float32)
        """(C, 2) texture coordinates with the first image row at 0."""
        count = len(distinct)
        self.position: Floats = np.zeros((count, 3), dtype=np.float32)
        self.normal: Floats = np.zeros((count, 3), dtype=np.float32)
        self.grad_u: Floats = np.zeros((count, 3), dtype=np.float32)
        self.grad_v: Floats = np.zeros((count, 3), dtype=np.float32)
        self.look: Floats = np.ones((count, 4), dtype=np.float32)
        """(C, 4) ambient visibility, key light visibility, gloss, coverage."""
        self._vertex_triangles = np.ascontiguousarray(topology.triangles[order], dtype=np.int32)
        self._vertex = np.zeros((topology.num_vertices, 3), dtype=np.float32)
        self._vertex_normal = np.zeros((topology.num_vertices, 3), dtype=np.float32)

    def update(self, vertices: Floats, view: NDArray[np.float64], slopes: bool) -> None:
        """Take new vertices (V, 3) metres through the `view` (4, 4) into camera space; `slopes` renews grad_u, grad_v.

        Raises ValueError if the vertices do not fit the topology.
        """
        if vertices.shape != self._vertex.shape:
            raise ValueError(f"vertices must be {self._vertex.shape} for {self.topology.name}, got {vertices.shape}")
        np.matmul(vertices, view[:3, :3].T.astype(np.float32), out=self._vertex)
        self._vertex += view[:3, 3].astype(np.float32)
        vertex_normals(self._vertex, self._vertex_triangles, self._vertex_normal)
        _gather(self._vertex, self._vertex_normal, self.corner_vertex, self.position, self.normal)
        if slopes:
            _uv_gradients(self.position, self.uv, self.triangles, self.grad_u, self.grad_v)

    def uv_per_screen(self, focal: float) -> float:
        """Texture length (0..1) per picture length (-1..1) on the skin that faces the viewer, the median."""
        screen = self.position[:, :2] * (-focal / self.position[:, 2:])
        skin = self.triangles[self.material == shading.SKIN]
        seen, laid = _double_areas(screen, skin), np.abs(_double_areas(self.uv, skin))
        facing = seen > 1e-12
        return float(np.sqrt(np.median(laid[facing] / seen[facing]))) if facing.any() else 0.0

    def colour_texture(self) -> NDArray[np.uint8]:
        """A (1, 7, 3) palette of the plain material colours, for a head that has no texture."""
        return shading.BASE_COLOUR[None]

    def palette_uv(self) -> Floats:
        """(C, 2) texture coordinates into `colour_texture`."""
        uv = np.full((len(self.uv), 2), 0.5, dtype=np.float32)
        uv[self.triangles.reshape(-1), 0] = (np.repeat(self.material, 3) + 0.5) / len(shading.BASE_COLOUR)
        return uv


def _double_areas(points: Floats, triangles: NDArray[np.int32]) -> Floats:
    """(F,) twice the signed area of triangles of points (C, 2)."""
    a, b, c = points[triangles[:, 0]], points[triangles[:, 1]], points[triangles[:, 2]]
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def triangle_materials(topology: Topology) -> NDArray[np.int32]:
    """(F,) material of each triangle: that of a region which holds all three corners, skin otherwise."""
    material = np.full(len(topology.triangles), shading.SKIN, dtype=np.int32)
    for region, number in shading.REGION_MATERIAL.items():
        if region in topology.regions:
            inside = np.zeros(topology.num_vertices, dtype=bool)
            inside[np.asarray(topology.regions[region], dtype=np.int64)] = True
            material[inside[topology.triangles].all(axis=1)] = number
    return material


@njit(cache=True, fastmath=True)
def vertex_normals(points: Any, triangles: Any, normals: Any) -> None:
    """Fill `normals` (V, 3) with unit normals of `points` (V, 3): the area-weighted mean of the faces around."""
    normals[:] = 0.0
    for f in range(len(triangles)):
        a, b, c = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        px, py, pz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        qx, qy, qz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(len(normals)):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        scale = np.float32(1.0) / max(length, np.float32(1e-20))
        normals[v, 0] *= scale
        normals[v, 1] *= scale
        normals[v, 2] *= scale


@njit(cache=True)
def _gather(points: Any, normals: Any, owner: Any, position: Any, normal: Any) -> None:
    for c in range(len(owner)):
        v = owner[c]
        for k in range(3):
            position[c, k] = points[v, k]
            normal[c, k] = normals[v, k]


@njit(cache=True, fastmath=True)
def _uv_gradients(position: Any, uv: Any, triangles: Any, grad_u: Any, grad_v: Any) -> None:
    """How texture coordinates grow along the surface (1/m), averaged over the triangles around each corner.

    For edges p, q of a triangle with uv steps (a, b) and (c, d): grad u = (a q x n + c n x p) / |n|^2 with n = p x q.
    """
    grad_u[:] = 0.0
    grad_v[:] = 0.0
    weight = np.zeros(len(position), dtype=np.float32)
    for f in range(len(triangles)):
        i, j, k = triangles[f, 0], triangles[f, 1], triangles[f, 2]
        px, py, pz = position[j, 0] - position[i, 0], position[j, 1] - position[i, 1], position[j, 2] - position[i, 2]
        qx, qy, qz = position[k, 0] - position[i, 0], position[k, 1] - position[i, 1], position[k, 2] - position[i, 2]
        nx, ny, nz = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
        squared = nx * nx + ny * ny + nz * nz
        if squared < 1e-24:
            continue
        area = np.sqrt(squared)
        # |grad * area| stays bounded for slivers, and the sum divides by the area again
        s = np.float32(1.0) / area
        ax, ay, az = (qy * nz - qz * ny) * s, (qz * nx - qx * nz) * s, (qx * ny - qy * nx) * s
        bx, by, bz = (ny * pz - nz * py) * s, (nz * px - nx * pz) * s, (nx * py - ny * px) * s
        du1, dv1 = uv[j, 0] - uv[i, 0], uv[j, 1] - uv[i, 1]
        du2, dv2 = uv[k, 0] - uv[i, 0], uv[k, 1] - uv[i, 1]
        for c in (i, j, k):
            weight[c] += area
            grad_u[c, 0] += du1 * ax + du2 * bx
            grad_u[c, 1] += du1 * ay + du2 * by
            grad_u[c, 2] += du1 * az + du2 * bz
            grad_v[c, 0] += dv1 * ax + dv2 * bx
            grad_v[c, 1] += dv1 * ay + dv2 * by
            grad_v[c, 2] += dv1 * az + dv2 * bz
    for c in range(len(position)):
        scale = np.float32(1.0) / max(weight[c], np.float32(1e-20))
        for k in range(3):
            grad_u[c, k] *= scale
            grad_v[c, k] *= scale
