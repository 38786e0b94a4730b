"""Meshes that lie beside arrays: faces at rest, and the triangles that belong to them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, Topology, read_npz
from parlante.core.arrays import read_npy
from parlante.core.restricted_pickle import read_pickle
from parlante.geometry.mesh import Mesh, read_mesh


def map_array(path: Path, wanted: str = "(T, 3 V)") -> NDArray[Any]:
    """The numbers of a `.npy`, memory-mapped. Raises InputError if it is missing, damaged or holds no numbers."""
    array = read_npy(path, mapped=True, wanted=f"an array {wanted}")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path} holds no numbers; wanted an array {wanted}")
    return array


def read_templates(root: Path, count: int) -> dict[str, NDArray[np.float32]]:
    """subject: (count, 3), of `templates.pkl`, `templates.npz`, or `templates/SUBJECT.ply|obj|npy`.

    Raises InputError if there are none, or one of them has another vertex count.
    """
    found: dict[str, Any] = {}
    if (root / "templates.pkl").is_file():
        found = read_pickle(root / "templates.pkl")
        if not isinstance(found, dict) or not found:
            raise InputError(f"{root / 'templates.pkl'} holds no templates; wanted a dict subject: (V, 3)")
    elif (root / "templates.npz").is_file():
        found = dict(read_npz(root / "templates.npz"))
    elif (root / "templates").is_dir():
        for path in sorted((root / "templates").iterdir()):
            if path.suffix.lower() in (".ply", ".obj"):
                found[path.stem] = read_mesh(path).vertices
            elif path.suffix.lower() == ".npy":
                found[path.stem] = map_array(path, "(V, 3)")
    if not found:
        raise InputError(f"{root} has no templates; wanted templates.pkl, templates.npz or templates/SUBJECT.ply")
    templates = {}
    for subject, values in found.items():
        try:
            array = np.asarray(values, np.float32)
        except (ValueError, TypeError) as error:
            raise InputError(f"the template of {subject} in {root} is not an array of numbers") from error
        if array.size != 3 * count:
            raise InputError(f"the template of {subject} in {root} has {array.size / 3:g} vertices, the clips {count}")
        if not np.isfinite(array).all():
            raise InputError(f"the template of {subject} in {root} has numbers that are not finite")
        templates[str(subject)] = array.reshape(count, 3)
    return templates


def find_topology(root: Path, name: str, count: int, template: Path | str | None = None) -> Topology:
    """Triangles (and uv) of `template`, else of the first `.ply` or `.obj` in `root` or `root/templates` that fits.

    Without one the topology has no triangles. Raises InputError if `template` has not `count` vertices.
    """
    if template is not None:
        mesh = read_mesh(template)
        if len(mesh.vertices) != count:
            raise InputError(f"{template} has {len(mesh.vertices)} vertices, the clips {count}; give one that fits")
        return mesh_topology(name, mesh)
    for folder in (root, root / "templates"):
        for path in sorted(folder.glob("*.ply")) + sorted(folder.glob("*.obj")):
            mesh = read_mesh(path)
            if len(mesh.vertices) == count:
                return mesh_topology(name, mesh)
    return bare_topology(name, count)


def bare_topology(name: str, count: int) -> Topology:
    """A topology of which only the vertex count is known."""
    none = np.zeros((0, 3), np.int32)
    return Topology(name, count, none, np.zeros((0, 2), np.float32), none, regions_of(name, count))


def mesh_topology(name: str, mesh: Mesh) -> Topology:
    """The connectivity of a mesh, with every uv at the origin if it has none."""
    uv, uv_triangles = mesh.uv, mesh.uv_triangles
    if len(uv_triangles) != len(mesh.triangles):
        uv, uv_triangles = np.zeros((1, 2), np.float32), np.zeros_like(mesh.triangles)
    count = len(mesh.vertices)
    return Topology(name, count, mesh.triangles, uv, uv_triangles, regions_of(name, count))


def regions_of(name: str, count: int) -> dict[str, NDArray[np.int32]]:
    """The published vertex lists of a dataset, by their own names, if its meshes have the published vertex count."""
    from parlante.geometry.regions import ORIGINS, VERTICES, region

    if VERTICES.get(name) != count:
        return {}
    return {full.partition("/")[2]: region(full) for full in ORIGINS if full.partition("/")[0] == name}
