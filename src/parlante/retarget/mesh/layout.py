"""The texture layout of a mesh as it comes: none, degenerate, or in another tile than the first."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from parlante.core import Topology
from parlante.core.notes import note
from parlante.geometry.uv import bake_table
from parlante.retarget.mesh.mesh import UserMesh

_FIRST, _TILES_IN_A_ROW = 1001, 10


def laid_out(mesh: UserMesh, face: NDArray[np.bool_]) -> tuple[UserMesh, bool]:
    """The mesh with its face in the first tile, 0..1, and whether it has a layout that maps can be made in.

    face (F,): triangles of the face. Notes a tile that is moved, and coordinates that cover no area.
    """
    if not mesh.textured:
        return mesh, False
    corners = mesh.uv[mesh.uv_triangles[face if face.any() else np.ones_like(face)]].astype(np.float64)
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    if not np.isfinite(area).all() or area.sum() < 1e-5:
        note(f"{mesh.name}: its texture coordinates cover no area on the face: taken as a mesh without, no wrinkles")
        return mesh, False
    tiles, where = np.unique(np.floor(corners.mean(1)), axis=0, return_inverse=True)
    tile = tiles[np.bincount(np.ravel(where), area).argmax()]
    if not tile.any():
        return mesh, True
    u, v = int(tile[0]), int(tile[1])
    name = f"tile {_FIRST + u + _TILES_IN_A_ROW * v}" if u in range(_TILES_IN_A_ROW) and v >= 0 else f"({u}, {v})"
    note(f"{mesh.name}: its face is laid out in {name} of the texture: taken as the first tile, 0..1")
    return replace(mesh, uv=(mesh.uv - tile).astype(np.float32)), True


def painted(mesh: UserMesh, textured: bool, size: int) -> UserMesh:
    """The mesh with a picture (size, size, 3) of its vertices' colours, where it has colours and no picture.

    textured: whether its layout can hold one. Notes what becomes of the colours.
    """
    if mesh.colours is None or (mesh.colours == 255).all():
        return mesh
    if (mesh.colours == mesh.colours[:1]).all():
        note(f"{mesh.name}: all of its vertices have one colour, eyes and teeth too: it is left out")
        return mesh
    if mesh.albedo is not None or not textured:
        why = "its picture is used" if mesh.albedo is not None else "it has no texture coordinates to paint them in"
        note(f"{mesh.name}: the colours of its vertices are left out, {why}")
        return mesh
    note(f"{mesh.name}: the colours of its vertices are painted into a texture of {size} x {size}")
    triangles, laid = mesh.triangles.astype(np.int32), mesh.uv_triangles.astype(np.int32)
    table = bake_table(Topology(mesh.name, len(mesh.vertices), triangles, mesh.uv, laid, {}, {}), size)
    picture = np.einsum("nk,nki->ni", table.weights, mesh.colours[table.index].astype(np.float32))
    return replace(mesh, albedo=np.clip(picture + 0.5, 0, 255).astype(np.uint8).reshape(size, size, 3))
