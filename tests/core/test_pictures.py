"""Pictures are opened in one place: formats that are listed, sizes that fit, one line for everything else."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import parlante
from parlante.core import InputError
from parlante.core.notes import gathered
from parlante.core.pictures import FORMATS, picture, read_picture
from parlante.retarget.mesh.mesh import read_character_mesh
from parlante.retarget.rig.gltf import Gltf

SKIN = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n{} loop\nshowpage\n"


def encoded(kind: str, values: np.ndarray = SKIN) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return out.getvalue()


def png(width: int, height: int) -> bytes:
    """A picture that claims its size and holds next to nothing."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 64)))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (*chunks, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gs` that leaves a trace."""
    trace = tmp_path / "trace"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gs").write_text(f"#!/bin/sh\ntouch {trace}\n")
    (tmp_path / "bin" / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return trace


@pytest.mark.parametrize("kind", FORMATS)
def test_formats(kind: str, tmp_path: Path) -> None:
    (tmp_path / "skin").write_bytes(encoded(kind))
    found = read_picture(tmp_path / "skin")
    assert found.dtype == np.uint8 and found.shape == SKIN.shape
    if kind != "JPEG":
        np.testing.assert_array_equal(found, SKIN)


def test_grey_and_transparent() -> None:
    assert picture(encoded("PNG", SKIN[..., 0]), "x").shape == SKIN.shape
    assert picture(encoded("PNG", np.dstack([SKIN, SKIN[..., 0]])), "x").shape == SKIN.shape


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (POSTSCRIPT, "none of these"),
        (encoded("GIF"), "none of these"),
        (b"", "none of these"),
        (encoded("PNG")[:-30], "cannot read"),
        (encoded("TIFF")[:40], "cannot read"),
        (png(20000, 20000), "cannot read"),
        (png(16385, 8192), "make it smaller"),
        (encoded("PNG", SKIN[..., 0].astype(np.uint16) * 256), "8 bits a channel"),
    ],
)
def test_others_are_one_line(content: bytes, said: str, recwarn: pytest.WarningsRecorder) -> None:
    with pytest.raises(InputError, match=said) as caught:
        picture(content, "skin.png")
    assert "\n" not in str(caught.value) and str(caught.value).count("skin.png") == 1 and not recwarn


def test_postscript_starts_no_program(tmp_path: Path, ghostscript: Path) -> None:
    for name in ("skin.png", "skin.eps"):
        (tmp_path / name).write_bytes(POSTSCRIPT)
        with pytest.raises(InputError):
            read_picture(tmp_path / name)
    tree, data = triangle()
    tree["bufferViews"].append({"buffer": 0, "byteOffset": len(data), "byteLength": len(POSTSCRIPT)})
    tree["images"] = [{"bufferView": 1, "mimeType": "image/png"}]
    (tmp_path / "face.glb").write_bytes(Gltf(tree, data + POSTSCRIPT).container())
    with gathered() as lines:
        assert read_character_mesh(tmp_path / "face.glb").albedo is None
    assert len(lines) == 1 and "face.glb: its texture is left out" in lines[0]
    assert not ghostscript.exists()


def test_a_picture_beside_a_mesh_is_used(tmp_path: Path) -> None:
    tree, data = triangle()
    tree["images"] = [{"uri": "my%20skin.png"}]
    (tmp_path / "my skin.png").write_bytes(encoded("PNG"))
    (tmp_path / "face.glb").write_bytes(Gltf(tree, data).container())
    np.testing.assert_array_equal(read_character_mesh(tmp_path / "face.glb").albedo, SKIN)


def triangle() -> tuple[dict, bytes]:
    """A glTF of one textured triangle that lacks its picture, and its data."""
    data = np.eye(3, dtype="<f4").tobytes()
    tree = {
        "asset": {"version": "2.0"}, "nodes": [{"mesh": 0}], "buffers": [{"byteLength": len(data)}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "material": 0}]}],
        "bufferViews": [{"buffer": 0, "byteLength": len(data)}],
        "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}], "textures": [{"source": 0}],
    }  # fmt: skip
    return tree, data


def test_pictures_are_opened_in_one_place() -> None:
    source = Path(parlante.__file__).parent
    opening = re.compile(r"\bImage\.open\(|\bimread\(|from PIL\.Image import|imageio")
    found = [path.relative_to(source) for path in source.rglob("*.py") if opening.search(path.read_text())]
    assert found == [Path("core/pictures.py")]
