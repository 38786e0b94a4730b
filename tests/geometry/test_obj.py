"""Wavefront OBJ: what is written is what comes out, and whatever else a file may hold is one clear error."""

import random
from pathlib import Path

import numpy as np
import pytest

from parlante.core import InputError
from parlante.geometry.obj import ObjMesh, read_obj, read_vertices

LINES = [
    "# a square, a triangle and a pentagon",
    "mtllib skin.mtl",
    "v 0 0 0.5",
    "v 1 0 -0.25",
    "v 1.0e0 1.5 0",
    "v -.5 +1 0 1 0.2 0.3 0.4",
    "v 0.5 2 1e-3",
    "vn 0 0 1",
    "vt 0 0",
    "vt 1 0 0",
    "vt 1 1",
    "vt 0 0.123456789",
    "g face",
    "f 1/1/1 2/2/1 3/3/1 4/4/1",
    "f -2/4 3/3 5/1",
    "f 1/1 2/2 3/3 5/1 4/4  # round",
    "",
]
TEXT = "\n".join(LINES)
VERTICES = [[0, 0, 0.5], [1, 0, -0.25], [1, 1.5, 0], [-0.5, 1, 0], [0.5, 2, 0.001]]


def read(tmp_path: Path, content: str | bytes) -> ObjMesh:
    path = tmp_path / "face.obj"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_obj(path)


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r", "  \t\r\n"])
def test_a_mesh_comes_out_as_it_was_written(tmp_path: Path, ending: str) -> None:
    mesh = read(tmp_path, ending.join(LINES))
    assert mesh.vertices.tolist() == VERTICES
    assert mesh.uv.tolist() == [[0, 0], [1, 0], [1, 1], [0, 0.123456789]]
    assert mesh.sizes.tolist() == [4, 3, 5]
    triangles, uv_triangles = mesh.triangles
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 4], [0, 1, 2], [0, 2, 4], [0, 4, 3]]
    assert uv_triangles.tolist() == [[0, 1, 2], [0, 2, 3], [3, 2, 0], [0, 1, 2], [0, 2, 0], [0, 0, 3]]
    topology = mesh.topology("face")
    assert topology.num_vertices == 5 and len(topology.triangles) == 6


def test_numbers_are_read_as_python_reads_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(size=900), 10.0 ** rng.uniform(-30, 30, 300)]).reshape(-1, 3)
    forms = ("{:.6f}", "{:.9g}", "{:.3e}", "{!r}", "{:+.12g}")
    rows = [[forms[k % 5].format(float(x)) for x in row] for k, row in enumerate(values)]
    mesh = read(tmp_path, "\n".join("v " + " ".join(row) for row in rows))
    np.testing.assert_allclose(mesh.vertices, [[float(x) for x in row] for row in rows], rtol=1e-15, atol=0)


def test_indented_lines_and_missing_uv(tmp_path: Path) -> None:
    mesh = read(tmp_path, " v 0 0 0\n\tv 1 0 0\nv 0 1 0\n  f 1//1 2 3/\n")
    assert len(mesh.vertices) == 3 and (mesh.corners[:, 1] == -1).all()
    with pytest.raises(InputError, match="without texture corners"):
        mesh.topology("bare")


BAD = {
    "empty": b"",
    "no vertices": b"f 1 2 3\n",
    "text": b"once upon a time\n",
    "letters": b"v a b c\n",
    "two numbers": b"v 0 0\n",
    "not a number": b"v 0 0 nan\n",
    "infinite": b"v 0 0 inf\n",
    "too large": b"v 0 0 1e999\n",
    "too large for a face": b"v 0 0 1e39\n",
    "number and letters": b"v 0 0 1x\n",
    "two points": b"v 0.1.2 0 0\n",
    "open exponent": b"v 0 0 1e\n",
    "two corners": b"v 0 0 0\nv 1 0 0\nf 1 2\n",
    "beyond": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 4\n",
    "before": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 -4\n",
    "zero": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 0 1 2\n",
    "huge": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 99999999999999999999\n",
    "hugely negative": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 -99999999999999999999\n",
    "uv beyond": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/2\n",
    "uv beyond, none there": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1/1 2/1 3/1\n",
    "uv one before the first": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/-2\n",
    "uv infinite": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 1e400\nf 1/1 2/1 3/1\n",
    "uv letters": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/a 2/1 3/1\n",
    "corner and letters": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3x\n",
    "bare keyword": b"v 0 0 0\nv\n",
    "utf-16": TEXT.encode("utf-16"),
    "zeros": bytes(4096),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_one_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"face\.obj") as caught:
        read(tmp_path, BAD[name])
    assert "\n" not in str(caught.value)


def test_an_error_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 4 "):
        read(tmp_path, TEXT.replace("v 1 0 -0.25", "v 1 zero -0.25"))
    for path in (tmp_path, tmp_path / "absent.obj"):
        with pytest.raises(InputError, match="cannot read"):
            read_obj(path)


def test_a_cut_file_is_refused_or_whole(tmp_path: Path) -> None:
    """Every cut before the last vertex is an error once faces name it; later cuts only lose faces."""
    faces_first = "\n".join(sorted(LINES, key=lambda line: not line.startswith("vt"))).encode()
    for cut in range(0, len(faces_first), 3):
        try:
            mesh = read(tmp_path, faces_first[:cut])
        except InputError:
            continue
        assert mesh.vertices.tolist() == VERTICES[: len(mesh.vertices)] or cut < faces_first.index(b"f 1/1/1")
        assert not mesh.corners.size or mesh.corners[:, 0].max() < len(mesh.vertices)


def test_three_hundred_damaged_files(tmp_path: Path) -> None:
    """Bytes changed, dropped, doubled and inserted: one InputError, or a mesh whose numbers fit each other."""
    rng = random.Random(0)
    refused = 0
    alphabet = [*b"0123456789-+./ \tvtfen#\n\r\\", 0, 127, 255]
    for _ in range(300):
        content = bytearray(TEXT.encode())
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(content))
            kind = rng.randrange(5)
            if kind == 0:
                content[at] = rng.choice(alphabet)
            elif kind == 1:
                del content[at : at + rng.randint(1, 12)]
            elif kind == 2:
                content[at:at] = content[at : at + rng.randint(1, 40)]
            elif kind == 3:
                content[at:at] = bytes(rng.choice(alphabet) for _ in range(rng.randint(1, 9)))
            else:
                content[at:] = b""
                content += b"v 1 2"
        try:
            mesh = read(tmp_path, bytes(content))
        except InputError as error:
            refused += 1
            assert str(error).count("\n") == 0
            continue
        assert np.isfinite(mesh.vertices).all() and np.isfinite(mesh.uv).all() and len(mesh.vertices)
        assert mesh.sizes.sum() == len(mesh.corners) and (not len(mesh.sizes) or mesh.sizes.min() >= 3)
        if mesh.corners.size:
            assert 0 <= mesh.corners[:, 0].min() <= mesh.corners[:, 0].max() < len(mesh.vertices)
            assert -1 <= mesh.corners[:, 1].min() <= mesh.corners[:, 1].max() < len(mesh.uv)
        triangles, _ = mesh.triangles
        assert len(triangles) == int((mesh.sizes - 2).sum())
    assert 100 < refused < 300


def test_vertices_alone_with_a_fingerprint_of_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "frame.obj"
    path.write_text(TEXT)
    vertices, mark = read_vertices(path, 5)
    assert vertices.tolist() == VERTICES
    path.write_text(TEXT.replace("v 0.5 2 1e-3", "v 0.5 2 0.7").replace("g face", "g head"))
    moved, same = read_vertices(path)
    assert moved[4, 2] == 0.7 and same == mark
    path.write_text(TEXT.replace("f -2/4", "f -3/4"))
    assert read_vertices(path)[1] != mark
    with pytest.raises(InputError, match="holds 5 vertices, wanted 6"):
        read_vertices(path, 6)
    path.write_text(TEXT.replace("v 1 0", "v 1 O"))
    with pytest.raises(InputError, match="line 4 "):
        read_vertices(path)
    path.write_text(TEXT.replace("v 1 0", "v 1 1e500"))
    with pytest.raises(InputError, match="not finite"):
        read_vertices(path)


def test_the_published_face(shared: Path) -> None:
    mesh = read_obj(shared / "data" / "textalk_example" / "template.obj")
    assert mesh.vertices.shape == (8280, 3) and mesh.uv.shape == (8516, 2)
    assert np.bincount(mesh.sizes)[3:5].tolist() == [2, 8246]
