"""Template meshes: what is written in a file is what comes out, and a damaged file is one clear error."""

import struct
from pathlib import Path

import numpy as np
import pytest

from parlante.core import InputError
from parlante.geometry.mesh import read_mesh

CORNERS = [(0.0, 0.0, 0.5), (1.0, 0.0, 0.25), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0), (0.5, 2.0, 0.0)]
FANS = [[0, 1, 2], [0, 2, 3], [3, 2, 4]]


def ply(form: str) -> bytes:
    """A square and a triangle, with a colour that nobody asked for."""
    head = (
        f"ply\nformat {form} 1.0\ncomment test\nelement vertex 5\n"
        "property float x\nproperty float y\nproperty double z\nproperty uchar red\n"
        "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    ).encode()
    faces = [[0, 1, 2, 3], [3, 2, 4]]
    if form == "ascii":
        lines = [f"{x} {y} {z} 9" for x, y, z in CORNERS] + [" ".join(map(str, [len(f), *f])) for f in faces]
        return head + "\n".join(lines).encode()
    sign = "<" if "little" in form else ">"
    body = b"".join(struct.pack(sign + "ffdB", *corner, 9) for corner in CORNERS)
    return head + body + b"".join(struct.pack(f"{sign}B{len(f)}i", len(f), *f) for f in faces)


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_every_ply_gives_the_same_mesh(tmp_path: Path, form: str) -> None:
    path = tmp_path / "template.ply"
    path.write_bytes(ply(form))
    mesh = read_mesh(path)
    assert mesh.vertices.tolist() == [list(c) for c in CORNERS] and mesh.triangles.tolist() == FANS
    for cut in range(0, len(ply(form)) - 1, 7):
        path.write_bytes(ply(form)[:cut])
        with pytest.raises(InputError, match=r"template\.ply"):
            read_mesh(path)


def test_obj_keeps_texture_corners(tmp_path: Path) -> None:
    path = tmp_path / "face.obj"
    corners = "\n".join(f"v {x} {y} {z}" for x, y, z in CORNERS)
    path.write_text(f"# face\n{corners}\nvt 0 0\nvt 1 0 0\nvt 1 1\nvt 0 1\nf 1/1/1 2/2/1 3/3/1 4/4/1\nf -2/4 3/3 5/1\n")
    mesh = read_mesh(path)
    assert mesh.triangles.tolist() == FANS and mesh.uv_triangles.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 0]]
    assert mesh.uv.shape == (4, 2)


@pytest.mark.parametrize("text", ["", "f 1 2 3", "v 0 0 0\nf 1 2 3", "v a b c", "v 0 0 nan\n"])
def test_a_damaged_obj_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "face.obj").write_text(text)
    with pytest.raises(InputError, match=r"face\.obj"):
        read_mesh(tmp_path / "face.obj")


def test_the_template_of_a_corpus_is_read(shared: Path) -> None:
    mesh = read_mesh(shared / "data/biwi/BIWI.ply")
    assert mesh.vertices.shape == (23370, 3) and mesh.triangles.shape == (46068, 3)
    assert np.ptp(mesh.triangles) == 23369
