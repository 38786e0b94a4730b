"""Files that other files name: in their folder, regular, of the size they should have."""

import os
import time
from pathlib import Path

import pytest

from parlante.core import InputError
from parlante.core.beside import read_beside
from parlante.core.files import read_file
from parlante.retarget.rig.gltf import Gltf, read_gltf


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of everything that may be named, with secrets beside it."""
    (tmp_path / "secret").write_bytes(b"secret")
    home = tmp_path / "home"
    (home / "deep").mkdir(parents=True)
    for name in ("a.bin", "a b.bin", "deep/c.bin", "take:1.bin"):
        (home / name).write_bytes(b"1234")
    os.mkfifo(home / "pipe")
    (home / "loop").symlink_to("loop")
    (home / "way_out").symlink_to(tmp_path / "secret")
    (home / "folder_out").symlink_to(tmp_path)
    (home / "inside").symlink_to("deep/c.bin")
    (home / "zero").symlink_to("/dev/zero")
    return home


@pytest.mark.parametrize(
    "name", ["a.bin", "a%20b.bin", "a b.bin", "deep/c.bin", "deep/../a.bin", "inside", "./take:1.bin"]
)
def test_what_lies_in_the_folder_is_read(home: Path, name: str) -> None:
    assert read_beside(home, name, of="face.gltf", least=4) == b"1234"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/dev/zero", "not in its folder"), ("../secret", "not in its folder"), ("%2e%2e/secret", "not in its folder"),
        ("deep/../../secret", "not in its folder"), ("way_out", "not in its folder"), ("", "not in its folder"),
        ("folder_out/secret", "not in its folder"), ("zero", "not in its folder"), ("..\\secret", "not in its folder"),
        ("http://127.0.0.1:9/x", "not in its folder"), ("file:///etc/passwd", "not in its folder"),
        ("a%00b", "not in its folder"), ("C:/x", "not in its folder"), ("%2Fdev%2Fzero", "not in its folder"),
        ("pipe", "no regular file"), ("deep", "folder"), ("missing", "No such file"), ("n" * 300, "too long"),
        ("a.bin/x", "cannot be read"), ("loop", "face.gltf"),
    ],
)  # fmt: skip
def test_what_does_not_is_refused_at_once(home: Path, name: str, said: str) -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match=said) as caught:
        read_beside(home, name, of="face.gltf")
    assert time.monotonic() - start < 2 and len(str(caught.value)) < 600 and "\0" not in str(caught.value)


def test_sizes_are_checked(home: Path) -> None:
    for bounds in ({"least": 5}, {"most": 3}):
        with pytest.raises(InputError, match=r"has 4 bytes, wanted at (least 5|most 3)"):
            read_beside(home, "a.bin", of="face.gltf", **bounds)


@pytest.mark.parametrize("name", ["pipe", "deep", "loop", "missing", "zero", "a\0b", "n" * 300])
def test_given_files_are_regular_ones(home: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        read_file(home / name, "a picture")
    assert "give a picture" in str(caught.value) and "\n" not in str(caught.value)


def test_a_gltf_reads_nothing_else(home: Path) -> None:
    for uri in ("/dev/zero", "pipe", "../secret", "way_out", "data:;base64,AAA"):
        tree = {"buffers": [{"uri": uri, "byteLength": 4}], "images": [{"uri": uri}]}
        for read in (Gltf(tree, b"", folder=home).buffer, Gltf(tree, b"", folder=home).picture):
            with pytest.raises(InputError):
                read(0)
    assert Gltf({"buffers": [{"uri": "a.bin", "byteLength": 4}]}, b"", folder=home).buffer(0) == b"1234"


def test_data_that_is_not_there_is_told_on_opening(home: Path) -> None:
    for uri, said in (("pipe", "no regular file"), ("/dev/zero", "not in its folder"), ("a.bin", "wanted at least 40")):
        (home / "face.glb").write_bytes(Gltf({"buffers": [{"uri": uri, "byteLength": 40}]}, b"").container())
        with pytest.raises(InputError, match=said):
            read_gltf(home / "face.glb")
