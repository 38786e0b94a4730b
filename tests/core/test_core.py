"""The nouns refuse what they cannot mean; files are whole or absent."""

from pathlib import Path

import numpy as np
import pytest

from parlante.core import (
    Animation,
    Clip,
    Identity,
    InputError,
    Style,
    Topology,
    atomic_path,
    claim_folder,
    new_run_dir,
    read_npz,
)


def triangle() -> Topology:
    corners = np.array([[0, 1, 2]], np.int32)
    return Topology("triangle", 3, corners, np.zeros((3, 2), np.float32), corners)


def test_a_topology_checks_its_numbers() -> None:
    corners = np.array([[0, 1, 3]], np.int32)
    with pytest.raises(ValueError, match=r"0\.\.2, got 0\.\.3"):
        Topology("bad", 3, corners, np.zeros((4, 2), np.float32), corners)


def test_flattened_vertices_are_refused_with_advice() -> None:
    with pytest.raises(ValueError, match=r"\(40, 9\).*reshape"):
        Clip(np.zeros(16000, np.float32), 16000, np.zeros((40, 9), np.float32), 30.0, "s", "t")


def test_an_identity_fits_its_topology() -> None:
    with pytest.raises(ValueError, match=r"\(3, 3\).*\(4, 3\)"):
        Identity("someone", triangle(), np.zeros((4, 3), np.float32))


def test_an_animation_has_as_many_of_everything() -> None:
    with pytest.raises(ValueError, match="weights has 4 frames, vertices have 5"):
        Animation(
            triangle(),
            30.0,
            np.zeros((3, 3), np.float32),
            np.zeros((5, 3, 3), np.float32),
            np.zeros(1, np.float32),
            16000,
            weights=np.zeros((4, 52), np.float32),
        )


def test_styles_mix_and_exaggerate() -> None:
    a = Style(np.zeros((1, 2, 2), np.float32), np.zeros((1, 2, 2), np.float32), "a")
    b = Style(np.ones((1, 2, 2), np.float32), np.full((1, 2, 2), 2, np.float32), "b")
    assert np.all(a.mix(b, 0.5).motion == 0.5)
    assert np.all(a.mix(b, 1.5).wrinkle == 3)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "x.npz"
    target.write_text("before")
    with pytest.raises(RuntimeError), atomic_path(target) as path:
        path.write_text("half")
        raise RuntimeError
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_write_replaces_the_target(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "x.txt"
    with atomic_path(target) as path:
        assert path.suffix == ".txt"
        path.write_text("whole")
    assert target.read_text() == "whole"


def test_a_folder_is_no_target(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is a folder"), atomic_path(tmp_path):
        pass


def test_a_run_folder_is_never_reused(tmp_path: Path) -> None:
    first, second = new_run_dir(tmp_path, "run"), new_run_dir(tmp_path, "run")
    assert first != second
    assert first.is_dir()
    assert second.is_dir()


def test_npz_reading_is_safe_and_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_npz(tmp_path / "none.npz")
    text = tmp_path / "text.npz"
    text.write_text("hello")
    with pytest.raises(InputError, match="cannot read"):
        read_npz(text)
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, a=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="cannot read"):
        read_npz(pickled)
    good = tmp_path / "good.npz"
    np.savez(good, a=np.zeros(2))
    with pytest.raises(InputError, match="lacks b; it has: a"):
        read_npz(good, required=("b",))


def test_a_claimed_folder_goes_on_with_its_own_settings_only(tmp_path: Path) -> None:
    def claim(folder: Path, renew=None, **wanted: object) -> None:
        claim_folder(folder, "mark.json", wanted, made="prepared", kind="corpus", renew=renew)

    claim(tmp_path / "a", sizes=(1, 2), seed=3)
    claim(tmp_path / "a", sizes=(1, 2), seed=3)
    with pytest.raises(InputError, match=r"prepared with another seed; choose another folder$"):
        claim(tmp_path / "a", sizes=(1, 2), seed=4)
    claim(tmp_path / "a", renew=lambda found: found["seed"] == 3, sizes=(1, 2), seed=4)
    claim(tmp_path / "a", sizes=(1, 2), seed=4)
    (tmp_path / "a" / "mark.json").write_text("{")
    with pytest.raises(InputError, match="cannot read"):
        claim(tmp_path / "a", seed=4)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is no corpus"):
        claim(tmp_path / "b", seed=4)
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["thesis.txt"]
