"""The people of a corpus of scans beside a trained TexTalker: who can speak without any file of the corpus.

DIR/faces.npz        names, faces at rest (N, V, 3) in metres, triangles and texture layout
DIR/skins/NAME.png   the picture of a face at rest
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.core import Identity, InputError, Topology, atomic_path
from parlante.core.pictures import read_picture
from parlante.models.talker import unknown_name
from parlante.models.templates import Templates

FACES, SKINS = "faces.npz", "skins"
SCALES = (1.0, 0.1, 0.01, 0.001)
"""Metres in a unit of a mesh: metres, TexTalk4D's decimetres, centimetres, millimetres."""


class ScannedPeople:
    """Faces at rest, their mesh, and where their skins are."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError for a folder whose faces cannot be used."""
        self.folder = folder
        self.templates = Templates.load(folder / FACES) if (folder / FACES).is_file() else Templates()
        self.topology: Topology | None = None
        if self.templates.neutrals:
            known = self.templates
            count = len(next(iter(known.neutrals.values())))
            try:
                self.topology = Topology(f"mesh-{count}", count, known.triangles, known.uv, known.uv_triangles)
            except ValueError as error:
                raise InputError(f"{folder / FACES}: {error}; train again") from error

    @property
    def names(self) -> tuple[str, ...]:
        """Of the people, in the order of their styles."""
        return tuple(self.templates.neutrals)

    def face(self, name: str) -> Identity:
        """One of them, with skin where there is a picture. Raises InputError for another name."""
        if self.topology is None or name not in self.templates.neutrals:
            raise unknown_name("identity", name, self.names)
        picture = self.folder / SKINS / f"{name}.png"
        skin = read_picture(picture) if picture.is_file() else None
        neutral = np.asarray(self.templates.neutrals[name], np.float32)
        return Identity(name, self.topology, neutral, skin)

    def metres(self, vertices: NDArray[np.floating]) -> float:
        """What the numbers of a mesh (V, 3) are multiplied by: the power of ten that makes the head as large as these
        people's; 1 where nobody is known."""
        if not self.names:
            return 1.0
        usual = float(np.median([_size(face) for face in self.templates.neutrals.values()]))
        ratio = max(_size(vertices), 1e-30) / max(usual, 1e-30)
        return min(SCALES, key=lambda scale: abs(np.log(scale * ratio)))

    def check_mesh(self, topology: Topology, source: str) -> None:
        """Raises InputError for a mesh or a texture layout that is not these people's."""
        own = self.topology
        if own is None:
            return
        if topology.num_vertices != own.num_vertices:
            raise InputError(
                f"{source} has {topology.num_vertices} vertices, the model moves meshes of {own.num_vertices}; give a "
                "face of the mesh that it was trained on"
            )
        layouts = [(mesh.triangles, mesh.uv[mesh.uv_triangles]) for mesh in (topology, own)]
        (faces, corners), (own_faces, own_corners) = layouts
        if not np.array_equal(faces, own_faces) or not np.allclose(corners, own_corners, rtol=0, atol=1e-4):
            raise InputError(
                f"{source} has the vertices of the trained mesh, but other faces or another texture layout; export it "
                "again from the template of the corpus"
            )


def save_people(folder: Path, people: Iterable[Identity]) -> None:
    """Write the people of a corpus beside a checkpoint; all have one topology."""
    from PIL import Image

    neutrals, topology = {}, None
    for person in people:
        neutrals[person.name], topology = person.neutral, person.topology
        if person.albedo is not None:
            with atomic_path(folder / SKINS / f"{person.name}.png") as partial, partial.open("wb") as file:
                Image.fromarray(person.albedo).save(file, "PNG")
    if topology is not None:
        Templates(neutrals, topology.triangles, topology.uv, topology.uv_triangles).save(folder / FACES)


def _size(vertices: NDArray[np.floating]) -> float:
    """Diagonal of the box around a face."""
    return float(np.linalg.norm(np.ptp(np.asarray(vertices, np.float64), axis=0)))
