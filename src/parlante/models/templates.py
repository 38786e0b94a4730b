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
        names = [str(name) for name in arrays["names"]]
        if len(arrays["neutrals"]) != len(names):
            raise InputError(f"{path} names {len(names)} faces and holds {len(arrays['neutrals'])}; convert it again")
        faces = dict(zip(names, arrays["neutrals"]))
        return cls(faces, arrays["triangles"], arrays["uv"], arrays["uv_triangles"])
