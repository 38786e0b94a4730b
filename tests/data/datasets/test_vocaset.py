"""VOCASET's official files, made on the spot: opened, packed and read back."""

import pickle
import struct
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from parlante.cli import main
from parlante.core import InputError
from parlante.data.contract import window
from parlante.data.datasets.vocaset import Vocaset
from parlante.data.open import open_corpus
from parlante.data.splits import VOCASET_TEST, VOCASET_TRAIN, VOCASET_VAL

COUNT = 11


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Three subjects with two sequences each, their frames scattered over the array as in the release."""
    root = tmp_path / "VOCASET"
    root.mkdir()
    rng = np.random.default_rng(0)
    names = [(s, f"sentence{n:02}") for s in (VOCASET_TRAIN[0], VOCASET_VAL[0], VOCASET_TEST[0]) for n in (1, 25)]
    lengths = [60 + 3 * k for k in range(len(names))]
    np.save(root / "data_verts.npy", rng.normal(0, 0.1, (sum(lengths), COUNT, 3)))
    rows = rng.permutation(sum(lengths))
    index: dict = {}
    audio: dict = {}
    at = 0
    for (subject, sequence), length in zip(names, lengths):
        frames = {k: int(rows[at + k]) for k in reversed(range(length))}  # dicts of Python 2 had no order
        at += length
        index.setdefault(subject, {})[sequence] = frames
        sound = rng.integers(-3000, 3000, 22000 * length // 60).astype(np.int16)
        audio.setdefault(subject, {})[sequence] = {"audio": sound, "sample_rate": 22000}
    templates = {subject: rng.normal(0, 0.1, (COUNT, 3)) for subject, _ in names}
    for name, value in (("subj_seq_to_idx", index), ("raw_audio_fixed", audio), ("templates", templates)):
        (root / f"{name}.pkl").write_bytes(pickle.dumps(value, protocol=2))
    return root


def frames_of(root: Path, subject: str, sequence: str) -> np.ndarray:
    index = pickle.loads((root / "subj_seq_to_idx.pkl").read_bytes())
    rows = [row for _, row in sorted(index[subject][sequence].items())]
    return np.load(root / "data_verts.npy")[rows[::2]].astype(np.float32)


def test_every_second_frame_in_the_order_of_the_frames(official: Path) -> None:
    corpus = open_corpus(official, "train")
    assert (corpus.dataset, corpus.fps, corpus.unit, len(corpus)) == ("vocaset", 30.0, "m", 2)
    clip = corpus[0]
    wanted = frames_of(official, clip.subject, "sentence01")
    np.testing.assert_array_equal(np.asarray(clip.vertices), wanted)
    assert abs(len(clip.audio) / 16000 - len(wanted) / 30) < 0.01
    assert 0.01 < np.abs(clip.audio).max() < 0.2


def test_splits_are_the_published_ones(official: Path) -> None:
    found = {(row.subject, row.sentence): row.split for row in Vocaset(official).clips}
    assert found[VOCASET_TRAIN[0], "sentence01"] == "train"
    assert found[VOCASET_VAL[0], "sentence01"] == found[VOCASET_TEST[0], "sentence01"] == "unused"
    assert found[VOCASET_VAL[0], "sentence25"] == "val"
    assert found[VOCASET_TEST[0], "sentence25"] == "test_unseen"
    assert [row.sentence for row in open_corpus(official, "test").clips] == ["sentence25"]


def test_prepare_open_and_read_a_window(official: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "store"
    assert main(["prepare", "vocaset", str(official), str(target), "--jobs", "2"]) == 0
    assert "test_unseen" in capsys.readouterr().out
    direct, corpus = open_corpus(official), open_corpus(target)
    assert len(corpus) == len(direct) == 6 and corpus.fps == 30 and corpus.unit == "m"
    for place in (0, 5):
        one, other = window(direct[place], 7, 20), window(corpus[place], 7, 20)
        np.testing.assert_array_equal(one.vertices, other.vertices)
        np.testing.assert_array_equal(one.audio, other.audio)
        assert len(other.audio) == 16000 * 20 // 30
        subject = corpus.clips[place].subject
        np.testing.assert_array_equal(corpus.identity(subject).neutral, direct.identity(subject).neutral)


def test_a_full_size_array_opens_at_once(official: Path) -> None:
    path = official / "data_verts.npy"
    header = {"descr": "<f4", "fortran_order": False, "shape": (123341, 5023, 3)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 123341 * 5023 * 3 * 4)  # sparse: 7.4 GB that take no room
    (official / "templates.pkl").write_bytes(pickle.dumps({VOCASET_TRAIN[0]: np.zeros((5023, 3))}, protocol=2))
    start = time.process_time()
    clip = open_corpus(official, "train")[0]
    assert clip.vertices[10:12].shape == (2, 5023, 3)
    assert time.process_time() - start < 1.0


def python2(value: object) -> bytes:
    """As cPickle of Python 2 wrote it with protocol 2: text and numbers of arrays alike are strings of bytes."""

    def text(content: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(content)) + content

    def item(value: object) -> bytes:
        if isinstance(value, dict):
            return b"}(" + b"".join(item(k) + item(v) for k, v in value.items()) + b"u"
        if isinstance(value, str):
            return text(value.encode("latin1"))
        if isinstance(value, int):
            return b"J" + struct.pack("<i", value)
        assert isinstance(value, np.ndarray)
        kind = f"{value.dtype.kind}{value.dtype.itemsize}".encode()
        dtype = b"cnumpy\ndtype\n(" + text(kind) + b"K\x00K\x01tR(K\x03" + text(b"<") + b"NNN"
        dtype += b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        shape = b"(" + b"".join(map(item, value.shape)) + b"t"
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + text(b"b") + b"tR"
        return made + b"(K\x01" + shape + dtype + b"\x89" + text(value.tobytes()) + b"tb"

    return b"\x80\x02" + item(value) + b"."


def test_pickles_of_python_2_are_read(official: Path) -> None:
    wanted = open_corpus(official)
    clips = [(np.asarray(clip.vertices), clip.audio, wanted.identity(clip.subject).neutral) for clip in wanted]
    for path in official.glob("*.pkl"):
        path.write_bytes(python2(pickle.loads(path.read_bytes())))
    found = open_corpus(official)
    for clip, (vertices, audio, neutral) in zip(found, clips, strict=True):
        np.testing.assert_array_equal(np.asarray(clip.vertices), vertices)
        np.testing.assert_array_equal(clip.audio, audio)
        np.testing.assert_array_equal(found.identity(clip.subject).neutral, neutral)


def test_an_index_of_default_dicts_is_read(official: Path) -> None:
    path = official / "subj_seq_to_idx.pkl"
    index = pickle.loads(path.read_bytes())
    for protocol in (0, 2, 4):
        path.write_bytes(pickle.dumps(defaultdict(dict, {k: defaultdict(dict, v) for k, v in index.items()}), protocol))
        assert len(open_corpus(official)) == 6


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("subj_seq_to_idx.pkl", pickle.dumps({"a": {"s01": {0: 10**9}}}), "does not have"),
        ("subj_seq_to_idx.pkl", pickle.dumps([1, 2]), "wanted subject"),
        ("subj_seq_to_idx.pkl", b"cos\nsystem\n(S'true'\ntR.", "refused"),
        ("data_verts.npy", b"\x93NUMPY\x01\x00", "cannot read"),
        ("data_verts.npy", b"", "cannot read"),
    ],
)
def test_damage_is_named(official: Path, name: str, content: bytes, says: str) -> None:
    (official / name).write_bytes(content)
    with pytest.raises(InputError, match=says):
        open_corpus(official)


def test_a_recording_that_is_missing_leaves_its_clip_out(official: Path, tmp_path: Path) -> None:
    audio = pickle.loads((official / "raw_audio_fixed.pkl").read_bytes())
    del audio[VOCASET_TRAIN[0]]["sentence01"]
    (official / "raw_audio_fixed.pkl").write_bytes(pickle.dumps(audio, protocol=2))
    assert main(["prepare", "vocaset", str(official), str(tmp_path / "store"), "-q"]) == 0
    assert len(open_corpus(tmp_path / "store")) == 5


def test_all_recordings_that_are_missing_are_named_before_work(
    official: Path, caplog: pytest.LogCaptureFixture
) -> None:
    audio = pickle.loads((official / "raw_audio_fixed.pkl").read_bytes())
    keys = [info.key for info in open_corpus(official).clips]
    gone = [(subject, sentence) for subject, found in audio.items() for sentence in found][:2]
    for subject, sentence in gone:
        del audio[subject][sentence]
    (official / "raw_audio_fixed.pkl").write_bytes(pickle.dumps(audio, protocol=2))
    corpus = open_corpus(official)
    names = {f"{subject}_{sentence}" for subject, sentence in gone}
    assert {info.key for info in corpus.clips} == set(keys) - names
    assert all(name in corpus.problems[-1] and name in caplog.text for name in names)
    assert all(len(clip.audio) for clip in corpus)
    (official / "raw_audio_fixed.pkl").write_bytes(pickle.dumps({}, protocol=2))
    with pytest.raises(InputError, match="sound of none"):
        open_corpus(official)
