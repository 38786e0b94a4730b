"""Faces at rest that belong to a checkpoint: the user's own copy of a template mesh or of a set's `templates.pkl`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, read_npz
from parlante.core.restricted_pickle import read_pickle
from parlante.geometry.mesh import read_mesh
from parlante.models.templates import Templates

_KINDS = (".ply", ".obj", ".npz", ".pkl")


def read_templates(paths: Iterable[Path | str], name: str = "template") -> Templates:
    """What `paths` (.ply, .obj, .npz, .pkl) tell together; the face of a mesh file is called `name`.

    `.npz`: `triangles`, and `neutral` (V, 3) or `neutrals` (N, V, 3) with `names`, `uv`, `uv_triangles` if it has them.
    `.pkl`: a dict from subject to (V, 3), read without executing anything. Raises InputError if a file is missing,
    damaged, of another kind or of another mesh than the first.
    """
    neutrals: dict[str, NDArray[np.float32]] = {}
    mesh: dict[str, Any] = {}
    found = Templates()
    for path in map(Path, paths):
        kind = path.suffix.lower()
        if kind not in _KINDS:
            raise InputError(f"cannot read {path} as a template; give one of {', '.join(_KINDS)}")
        if kind in (".ply", ".obj"):
            read = read_mesh(path)
            neutrals[name] = read.vertices
            mesh |= {"triangles": read.triangles, "uv": read.uv, "uv_triangles": read.uv_triangles}
        elif kind == ".npz":
            arrays = read_npz(path)
            neutrals |= _faces(arrays, path, name)
            mesh |= {key: arrays[key] for key in ("triangles", "uv", "uv_triangles") if key in arrays}
        else:
            neutrals |= _subjects(read_pickle(path), path)
        counts = {face.shape for face in neutrals.values()}
        if len(counts) > 1:
            raise InputError(f"{path}: faces of {' and '.join(map(str, sorted(counts)))}, wanted one mesh")
        found = _templates(neutrals, mesh, path).check(str(path))
    return found


def _templates(neutrals: dict[str, NDArray[np.float32]], mesh: dict[str, Any], path: Path) -> Templates:
    """`neutrals` with the triangles and texture corners of `mesh`, as far as it has them."""
    for key, wanted in (("triangles", "iu"), ("uv_triangles", "iu"), ("uv", "f")):
        kind = np.asarray(mesh.get(key, ())).dtype.kind
        if key in mesh and kind not in wanted:
            raise InputError(f"{path}: {key} are no {'whole ' * (wanted == 'iu')}numbers")
    none = Templates()
    return Templates(
        neutrals,
        np.asarray(mesh.get("triangles", none.triangles), np.int32),
        np.asarray(mesh.get("uv", none.uv), np.float32),
        np.asarray(mesh.get("uv_triangles", none.uv_triangles), np.int32),
    )


def _faces(arrays: dict[str, NDArray[Any]], path: Path, name: str) -> dict[str, NDArray[np.float32]]:
    if "neutrals" in arrays and "names" in arrays:
        return {str(key): _face(face, f"{path}: {key}") for key, face in zip(arrays["names"], arrays["neutrals"])}
    if "neutral" in arrays:
        return {name: _face(arrays["neutral"], str(path))}
    raise InputError(f"{path} has no face at rest; wanted neutral (V, 3), it holds: {', '.join(sorted(arrays))}")


def _subjects(content: Any, path: Path) -> dict[str, NDArray[np.float32]]:
    if not isinstance(content, dict) or not content or not all(isinstance(name, str) for name in content):
        raise InputError(f"{path} is no dict from subjects to faces")
    return {name: _face(face, f"{path}: {name}") for name, face in content.items()}


def _face(values: Any, where: str) -> NDArray[np.float32]:
    """(V, 3) finite float32, also from (3V,)."""
    if not isinstance(values, np.ndarray) or values.dtype.kind != "f" or values.size % 3 or not values.size:
        raise InputError(f"{where} is no face, wanted numbers (V, 3)")
    face = values.reshape(-1, 3).astype(np.float32)
    if not np.isfinite(face).all():
        raise InputError(f"{where} holds numbers that are not finite")
    return face
