"""3D-MEAD's files, made on the spot: opened, packed and read back."""

import os
import wave
from pathlib import Path

import numpy as np
import pytest

from parlante.cli import main
from parlante.core import InputError
from parlante.data.contract import window
from parlante.data.datasets.mead import VERTICES, Mead, read_verts
from parlante.data.open import open_corpus

FRAMES = 12


def verts(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (FRAMES, VERTICES, 3)).astype(np.float32)


def wav(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(np.arange(16000 * FRAMES // 30, dtype=np.int16).tobytes())


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Three speakers of three splits; the calm clip of one, and one seen from the side."""
    root = tmp_path / "MEAD-3D"
    clips = (
        ("M003", "front/angry/level_1/001"),
        ("M003", "front/neutral/level_1/002"),
        ("M032", "front/happy/level_3/001"),
        ("W037", "front/sad/level_2/010"),
        ("M003", "left_30/sad/level_2/001"),
    )
    for seed, (person, clip) in enumerate(clips):
        path = root / person / "video" / f"{clip}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, {"verts": verts(seed), "beta": np.zeros((FRAMES, 156))}, allow_pickle=True)  # type: ignore[arg-type]
        wav(root / person / "audio" / f"{clip.partition('/')[2]}.wav")
    return root


def test_the_published_files_open(published: Path) -> None:
    corpus = open_corpus(published)
    assert (corpus.dataset, corpus.fps, corpus.unit) == ("mead", 30.0, "m")
    assert {row.key: row.split for row in corpus.clips} == {
        "M003_angry_level_1_001": "train",
        "M003_neutral_level_1_002": "train",
        "M032_happy_level_3_001": "val",
        "W037_sad_level_2_010": "test_unseen",
    }
    np.testing.assert_array_equal(np.asarray(corpus[0].vertices), verts(0))
    assert corpus.clips[0].frames == FRAMES and len(corpus[0].audio) == 16000 * FRAMES // 30
    np.testing.assert_array_equal(corpus.identity("M003").neutral, verts(1)[0])  # the first frame of the calm clip
    with pytest.raises(InputError, match="no template of 'M032'"):
        corpus.identity("M032")


def test_templates_win(published: Path) -> None:
    shape = verts(9)[0]
    np.savez(published / "templates.npz", M003=shape)
    np.testing.assert_array_equal(open_corpus(published).identity("M003").neutral, shape)


def test_prepare_open_and_read_a_window(published: Path, tmp_path: Path) -> None:
    target = tmp_path / "store"
    assert main(["prepare", "mead", str(published), str(target), "-q"]) == 0
    direct, corpus = open_corpus(published), open_corpus(target)
    assert len(corpus) == 4 and corpus.dataset == "mead"
    for place in range(4):
        one, other = window(corpus[place], 2, 6), window(direct[place], 2, 6)
        np.testing.assert_array_equal(one.vertices, other.vertices)
        np.testing.assert_array_equal(one.audio, other.audio)


def test_the_sound_may_lie_elsewhere_and_every_camera_be_used(published: Path, tmp_path: Path) -> None:
    for person in published.iterdir():
        (tmp_path / "MEAD" / person.name).mkdir(parents=True)
        (person / "audio").rename(tmp_path / "MEAD" / person.name / "audio")
    with pytest.raises(InputError, match="no recording"):
        open_corpus(published)
    corpus = Mead(published, audio=tmp_path / "MEAD", camera="all")
    assert "M003_left_30_sad_level_2_001" in [row.key for row in corpus.clips]


def test_plain_arrays_are_read_too(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", verts(3))
    np.testing.assert_array_equal(read_verts(tmp_path / "a.npy"), verts(3))


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


def test_nothing_in_a_pickle_is_executed(tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    for number, value in enumerate(({"verts": Evil(evil)}, Evil(evil), [Evil(evil)])):
        holder = np.empty((), object)
        holder[()] = value
        np.save(tmp_path / f"{number}.npy", holder, allow_pickle=True)
        with pytest.raises(InputError, match="refused"):
            read_verts(tmp_path / f"{number}.npy")
    assert not evil.exists()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00v\x00{", b"\x93NUMPY\x07\x00v\x00{", b"verts"])
def test_damage_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match="cannot read"):
        read_verts(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.zeros((2, 7, 3), np.float32))
    with pytest.raises(InputError, match="wanted"):
        read_verts(tmp_path / "b.npy")
