"""Names choose formats; what cannot be written is refused before the work; nothing half-written is left."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from parlante.core import Animation, InputError
from parlante.export import animation_info, check_outputs, frame_blocks, open_sinks, save


def test_unknown_formats_name_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.fbx.*\.mp4.*\.glb"):
        check_outputs([tmp_path / "a.fbx"])


def test_the_same_file_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="twice"):
        check_outputs([tmp_path / "a.csv", f"{tmp_path}/./a.csv"])


def test_two_outputs_that_would_write_the_same_file_beside_them_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"both write .*a\.xml"):
        check_outputs([tmp_path / "a.mc", f"{tmp_path / 'a.xml'}/"])
    check_outputs([tmp_path / "a.usda", tmp_path / "a.usdc"])  # skin and sound beside them are the same
    check_outputs([tmp_path / "a.usda", tmp_path / "a.usdz", tmp_path / "a.mc", tmp_path / "b.usdc"])


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "fixed.csv").write_text("x")
    (tmp_path / "fixed.csv").chmod(0o444)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "dir.csv").mkdir()
    for output in ("file/a.csv", "fixed.csv", "full/", "dir.csv", ""):
        with pytest.raises(InputError, match="cannot write"):
            check_outputs([f"{tmp_path}/{output}" if output else ""])
    if Path("/proc/self").exists():
        with pytest.raises(InputError, match="cannot write"):
            check_outputs(["/proc/nowhere/a.csv"])
    assert (tmp_path / "fixed.csv").read_text() == "x"


def test_an_error_on_the_way_leaves_no_file(animation: Animation, tmp_path: Path) -> None:
    info = animation_info(animation)
    with pytest.raises(RuntimeError), open_sinks([tmp_path / "a.npz", tmp_path / "a.csv"], info) as sinks:
        for sink in sinks:
            sink.write(next(frame_blocks(animation)))
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_an_older_file_survives_a_failure(animation: Animation, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("precious")
    with pytest.raises(RuntimeError), open_sinks([tmp_path / "a.csv"], animation_info(animation)):
        raise RuntimeError
    assert (tmp_path / "a.csv").read_text() == "precious"


def test_leftovers_of_dead_processes_are_swept_and_those_of_the_living_kept(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    dead = tmp_path / f".a.{done.stdout.strip()}.part.npz"
    alive = tmp_path / f".a.{os.getppid()}.part.npz"
    other = tmp_path / ".b.1.part.npz"
    for path in (dead, alive, other):
        path.write_text("half")
    check_outputs([tmp_path / "a.npz"])
    assert not dead.exists() and alive.exists() and other.exists()


def test_a_full_disk_is_told_before_the_work(animation: Animation, tmp_path: Path) -> None:
    endless = replace(animation_info(animation), num_frames=10**12)
    with pytest.raises(InputError, match="GB"), open_sinks([tmp_path / "a.npz"], endless):
        pass
    assert not list(tmp_path.iterdir())


def test_several_at_once(animation: Animation, tmp_path: Path) -> None:
    save(animation, tmp_path / "a.npz", tmp_path / "sub" / "a.csv")
    assert (tmp_path / "a.npz").stat().st_size > 1000 and (tmp_path / "sub" / "a.csv").stat().st_size > 1000


def test_an_unknown_format_is_answered_with_all_that_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown format \.avi; choose \.mp4, .*, \.ply/, or a folder of pictures"):
        check_outputs([tmp_path / "a.avi"])
