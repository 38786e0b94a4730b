"""The faces of a checkpoint: who can wear its motion."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, atomic_path, read_npz


@dataclass(frozen=True, eq=False)
class Templates:
    """Faces at rest and their triangles, as far as they are known."""

    neutrals: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    """Name -> (V, 3), in the unit of training."""
    triangles: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 3), np.int32))
    """(F, 3)."""
    uv: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    """(U, 2)."""
    uv_triangles: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 3), np.int32))
    """(F, 3), or (0, 3)."""

    def check(self, where: str) -> "Templates":
        """Itself. Raises InputError, `where` being its file, if a face or a triangle cannot be."""
        if any(face.ndim != 2 or face.shape[1] != 3 or not np.isfinite(face).all() for face in self.neutrals.values()):
            raise InputError(f"{where}: a face at rest is no table of finite numbers (V, 3)")
        if self.uv.ndim != 2 or self.uv.shape[1] != 2 or not np.isfinite(self.uv).all():
            raise InputError(f"{where}: uv is no table of finite numbers (U, 2)")
        vertices = len(next(iter(self.neutrals.values()))) if self.neutrals else None
        for name, count in (("triangles", vertices), ("uv_triangles", len(self.uv))):
            corners = getattr(self, name)
            if corners.ndim != 2 or corners.shape[1] != 3:
                raise InputError(f"{where}: {name} are {corners.shape}, wanted (F, 3)")
            if corners.size and (corners.min() < 0 or (count is not None and corners.max() >= count)):
                raise InputError(f"{where}: {name} name corners beyond the {count} that are there")
        return self

    def check_fit(self, num_vertices: int) -> None:
        """Raises InputError for a face or triangles of another mesh than one of so many vertices."""
        for name, face in self.neutrals.items():
            if len(face) != num_vertices:
                raise InputError(
                    f"the face {name!r} of --topology has {len(face)} vertices, the checkpoint moves {num_vertices}; "
                    "give the template that it was trained with"
                )
        if len(self.triangles) and self.triangles.max() >= num_vertices:
            raise InputError(f"--topology names vertices beyond the {num_vertices} of the checkpoint")

    def save(self, path: Path) -> None:
        """One `.npz` of plain arrays."""
        names = list(self.neutrals)
        faces = np.stack(list(self.neutrals.values())) if names else np.zeros((0, 0, 3), np.float32)
        mesh = {"triangles": self.triangles, "uv": self.uv, "uv_triangles": self.uv_triangles}
        with atomic_path(path) as partial, partial.open("wb") as stream:
            np.savez_compressed(stream, names=np.array(names, str), neutrals=faces, **mesh)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> "Templates":
        """Raises InputError if unreadable."""
        arrays = read_npz(path, ("names", "neutrals", "triangles", "uv", "uv_triangles"))
        names = [str(name) for name in np.atleast_1d(arrays["names"])]
        faces = np.atleast_1d(arrays["neutrals"])
        if len(faces) != len(names) or any(arrays[key].dtype.kind not in "fiu" for key in arrays if key != "names"):
            raise InputError(f"{path} names {len(names)} faces and holds {faces.dtype} {faces.shape}; convert it again")
        return cls(dict(zip(names, faces)), arrays["triangles"], arrays["uv"], arrays["uv_triangles"]).check(str(path))
