"""Arrays from anywhere: what a file claims is checked against the file before memory is taken."""

import io
import os
import re
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import parlante
from parlante.core import InputError
from parlante.core.arrays import ArrayArchive, read_npy, read_npz


def header(shape: str, kind: str = "'<f4'", fortran: str = "False") -> bytes:
    text = f"{{'descr': {kind}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text


def packed(members: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def bomb(gib: float, name: str = "zeros.npy") -> bytes:
    """A few megabytes that unpack to so many GiB of zeros."""
    out, count = io.BytesIO(), int(gib * 2**28)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive, archive.open(name, "w") as member:
        member.write(header(f"({count},)"))
        for _ in range(0, 4 * count, 1 << 24):
            member.write(bytes(1 << 24))
    return out.getvalue()


@pytest.mark.parametrize("array", [
    np.arange(6, dtype=np.float32).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.float64(3),
    np.zeros((0, 3), np.int32), np.array(["a", "é"]), np.array("x"), np.array(b"yz"), np.array([True, False]),
    np.arange(4, dtype=">i2"), np.zeros((2, 0)), np.array(""), np.ones(2, np.complex64),
])  # fmt: skip
def test_what_numpy_saves_is_read(array: np.ndarray, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=array, y=array)
    found = read_npz(tmp_path / "a.npz", ("x",))
    assert list(found) == ["x", "y"]
    np.save(tmp_path / "a.npy", array)
    for each in (found["x"], read_npz((tmp_path / "a.npz").read_bytes())["y"], read_npy(tmp_path / "a.npy")):
        assert each.dtype == np.asarray(array).dtype
        np.testing.assert_array_equal(each, array)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy", mapped=True), array)


def test_a_small_file_may_not_claim_gigabytes(tmp_path: Path) -> None:
    (tmp_path / "bomb.npz").write_bytes(bomb(0.25))
    assert (tmp_path / "bomb.npz").stat().st_size < 1 << 19
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"claim 268435456 bytes, more than the 16777216"):
            read_npz(tmp_path / "bomb.npz", most=1 << 24)
        with (
            ArrayArchive(tmp_path / "bomb.npz") as archive,
            pytest.raises(InputError, match="zeros claims 268435456 bytes, more than the 100"),
        ):
            archive.read("zeros", 100)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert read_npz(packed({"x.npy": header("(1,)") + bytes(4)}), most=0)["x"].shape == (1,)  # its own size is fine


MEMBERS = {
    "more than it holds": header("(9999999999,)") + bytes(16),
    "less than it holds": header("(2,)") + bytes(16),
    "objects": header("(1,)", "'|O'") + b"cos\nsystem\n(S'true'\ntR.",
    "fields": header("(1,)", "[('a', '<f4')]") + bytes(4),
    "objects in fields": header("(1,)", "[('a', '|O')]") + bytes(8),
    "arrays in arrays": header("(1,)", "('<f4', (999999999,))") + bytes(4),
    "void": header("(1,)", "'|V4'") + bytes(4),
    "dates": header("(1,)", "'<M8[s]'") + bytes(8),
    "negative": header("(-1, -4)") + bytes(16),
    "a size that is text": header("('a',)") + bytes(16),
    "a size that is true": header("(True,)") + bytes(4),
    "no tuple": header("4") + bytes(16),
    "no order": header("(4,)", fortran="'x'") + bytes(16),
    "a deep header": b"\x93NUMPY\x01\0" + struct.pack("<H", 60000) + b"[" * 60000,
    "code": header("(4,)", "__import__('os').abort()") + bytes(16),
    "no text": header("(1,)", "'<U1'") + struct.pack("<I", 0x110000),
    "a short header": b"\x93NUMPY\x01\0",
    "nothing": b"",
    "an outsized header": b"\x93NUMPY\x02\0" + struct.pack("<I", 1 << 20) + b" " * (1 << 20),
}


@pytest.mark.parametrize("content", MEMBERS.values(), ids=MEMBERS)
def test_what_is_no_array_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(packed({"x.npy": content}))
    (tmp_path / "a.npy").write_bytes(content)
    reads: tuple[Callable[[], object], ...] = (
        lambda: read_npz(tmp_path / "a.npz"),
        lambda: read_npy(tmp_path / "a.npy"),
        lambda: read_npy(tmp_path / "a.npy", mapped=True),
    )
    fine = {"less than it holds", "no text"}  # of a .npy only the beginning counts, and nobody reads text from one
    for read in reads[: 1 if content in [MEMBERS[name] for name in fine] else 3]:
        with pytest.raises(InputError) as caught:
            read()
        assert len(str(caught.value)) < 700 and "\n" not in str(caught.value)
        assert "allow_pickle" not in str(caught.value)


def test_other_archives_are_one_line(tmp_path: Path) -> None:
    good = header("(1,)") + bytes(4)
    os.mkfifo(tmp_path / "pipe.npz")
    contents = {
        "lzma": packed({"x.npy": good}, zipfile.ZIP_LZMA), "cut": packed({"x.npy": good})[:-30], "empty": b"",
        "text": b"hello",
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / f"{name}.npz").write_bytes(content)
    for name in (*contents, "pipe", "missing"):
        with pytest.raises(InputError):
            read_npz(tmp_path / f"{name}.npz")
    with pytest.raises(InputError, match="lacks b; it has: a"):
        read_npz(packed({"a.npy": good}), ("b",), name="x.npz")


def test_arrays_are_read_in_one_place() -> None:
    source = Path(parlante.__file__).parent
    reading = re.compile(r"\bnp\.(load|loadtxt|genfromtxt)\(|allow_pickle=True")
    found = [str(path.relative_to(source)) for path in source.rglob("*.py") if reading.search(path.read_text())]
    assert found == ["core/arrays.py"]
