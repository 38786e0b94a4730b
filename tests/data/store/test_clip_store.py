"""The clip store: what goes in comes out, from any place, whoever writes and whatever is interrupted."""

import json
import multiprocessing
import pickle
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from parlante.core import Clip, InputError
from parlante.data.contract import ClipInfo, Corpus, SubjectInfo, window
from parlante.data.meshes import bare_topology
from parlante.data.open import open_corpus
from parlante.data.store.clip_store import CHUNK, ClipStore
from parlante.data.store.writer import StoreWriter

COUNT, FRAMES = 7, 2 * CHUNK + 9


def made(seed: int, textured: bool = False) -> Clip:
    rng = np.random.default_rng(seed)
    vertices = rng.normal(0, 0.1, (FRAMES, COUNT, 3)).astype(np.float32)
    audio = rng.normal(0, 0.1, FRAMES * 16000 // 30).astype(np.float32)
    skin = rng.integers(0, 256, (FRAMES, 4, 6, 3)).astype(np.uint8) if textured else None
    return Clip(audio, 16000, vertices, 30.0, f"p{seed % 2}", f"p{seed % 2}_s{seed}", skin)


def writer(root: Path | str, **options: object) -> StoreWriter:
    topology = bare_topology("mine", COUNT)
    return StoreWriter(root, dataset="mine", fps=30.0, unit="m", topology=topology, options=options)


def fill(root: Path | str, seeds: range = range(4)) -> None:
    out = writer(root)
    for seed in seeds:
        out.add(made(seed, seed == 1), "train" if seed else "val", sentence=f"s{seed}", signature="x")
    out.subject(SubjectInfo(name="p0"), np.ones((COUNT, 3), np.float32))
    out.finish()


@pytest.fixture(params=["folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "folder" else f"memory://{uuid.uuid4().hex}/store"


def test_what_goes_in_comes_out(place: str) -> None:
    fill(place)
    corpus = open_corpus(place)
    assert [row.key for row in corpus.clips] == ["p0_s0", "p0_s2", "p1_s1", "p1_s3"]
    for row, clip in zip(corpus.clips, corpus):
        seed = int(row.sentence[1:])
        wanted = made(seed, seed == 1)
        np.testing.assert_array_equal(np.asarray(clip.vertices), wanted.vertices)
        np.testing.assert_array_equal(clip.audio, wanted.audio)
        assert (clip.subject, clip.key, clip.fps) == (wanted.subject, wanted.key, 30.0)
        assert (clip.textures is None) == (wanted.textures is None)
    np.testing.assert_array_equal(corpus[2].textures[3:9], made(1, True).textures[3:9])
    np.testing.assert_array_equal(corpus.identity("p0").neutral, np.ones((COUNT, 3)))
    assert [row.key for row in open_corpus(place, "val").clips] == ["p0_s0"]
    with pytest.raises(InputError, match="no split 'test'"):
        open_corpus(place, "test")
    with pytest.raises(InputError, match="no neutral face of p1"):
        corpus.identity("p1")


@pytest.mark.parametrize("key", [5, -1, slice(30, 40), slice(None, None, 7), slice(60, 60), [0, FRAMES - 1, 3, 3]])
def test_frames_and_windows_are_those_of_the_array(tmp_path: Path, key: object) -> None:
    fill(tmp_path / "store", range(1))
    clip = open_corpus(tmp_path / "store")[0]
    np.testing.assert_array_equal(clip.vertices[key], made(0).vertices[key])


def test_windows_have_their_sound(tmp_path: Path) -> None:
    fill(tmp_path / "store", range(1))
    part = window(open_corpus(tmp_path / "store")[0], 31, 15)
    np.testing.assert_array_equal(part.vertices, made(0).vertices[31:46])
    np.testing.assert_array_equal(part.audio, made(0).audio[31 * 16000 // 30 :][:8000])
    with pytest.raises(InputError, match="do not lie within"):
        window(open_corpus(tmp_path / "store")[0], FRAMES - 5, 6)


def test_statistics_are_those_of_the_offsets(tmp_path: Path) -> None:
    out = writer(tmp_path / "store")
    neutral = np.full((COUNT, 3), 0.25, np.float32)

    class Measured(Corpus):
        """The same clip, of a corpus that knows no range."""

        clips = (ClipInfo(key="p0_s0", subject="p0", split="train"),)

        def read(self, index: int) -> Clip:
            return made(0)

        def neutral(self, subject: str) -> np.ndarray:
            return neutral

    out.add(made(0), "train", neutral=neutral)
    out.finish()
    offsets = made(0).vertices - neutral
    for corpus in (ClipStore(tmp_path / "store"), Measured()):
        low, high = corpus.offset_range()
        np.testing.assert_allclose(low, offsets.min((0, 1)), rtol=1e-6)
        np.testing.assert_allclose(high, offsets.max((0, 1)), rtol=1e-6)


def write_one(root: str, seed: int) -> None:
    writer(root).add(made(seed), "train", sentence=f"s{seed}")


def test_many_processes_write_at_once(tmp_path: Path) -> None:
    root = str(tmp_path / "store")
    jobs = [(root, seed) for seed in (0, 1, 2, 3, 3, 3)]  # three of them write the same clip
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(write_one, jobs)
    writer(root).finish()
    corpus = open_corpus(root)
    assert sorted(row.sentence for row in corpus.clips) == ["s0", "s1", "s2", "s3"]
    for row, clip in zip(corpus.clips, corpus):
        np.testing.assert_array_equal(np.asarray(clip.vertices), made(int(row.sentence[1:])).vertices)
    assert len(list((tmp_path / "store" / "data").iterdir())) == 4


def first_frame(root: str, place: int) -> bytes:
    return open_corpus(root)[place].vertices[0].tobytes()


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_readers_in_other_processes(tmp_path: Path, start: str) -> None:
    root = str(tmp_path / "store")
    fill(root)
    corpus = open_corpus(root)
    assert corpus[0].vertices[0].shape == (COUNT, 3)  # the parent has read already: threads and open arrays exist
    with multiprocessing.get_context(start).Pool(2) as pool:
        found = pool.starmap_async(first_frame, [(root, k) for k in range(4)]).get(timeout=120)
    assert found == [made(k).vertices[0].tobytes() for k in (0, 2, 1, 3)]
    again = pickle.loads(pickle.dumps(corpus))
    np.testing.assert_array_equal(again[1].vertices[5], made(2).vertices[5])


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from test_clip_store import made, writer
out = writer({root!r})
for seed in range(50):
    out.add(made(seed), "train", sentence=f"s{{seed}}", signature="x")
"""


def test_killed_in_the_middle_it_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "store"
    code = KILLED.format(tests=str(Path(__file__).parent), root=str(root))
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        for _ in range(600):
            if (root / "clips").is_dir() and len(list((root / "clips").glob("p*.json"))) >= 3:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    with pytest.raises(InputError, match="is unfinished"):
        open_corpus(root)
    stray = root / "data" / "p0_s99-00000000"
    stray.mkdir()
    out = writer(root)
    kept = sum(out.written(made(seed).key, "x") for seed in range(50))
    assert 3 <= kept < 50
    for seed in range(50):
        if not out.written(made(seed).key, "x"):
            out.add(made(seed), "train", sentence=f"s{seed}", signature="x")
    out.finish()
    corpus = open_corpus(root)
    assert len(corpus) == 50 and not stray.exists()
    for row, clip in zip(corpus.clips, corpus):
        np.testing.assert_array_equal(clip.vertices[40], made(int(row.sentence[1:])).vertices[40])


def test_an_interrupted_clip_leaves_nothing(tmp_path: Path) -> None:
    class Stops:
        shape = (FRAMES, COUNT, 3)

        def __len__(self) -> int:
            return FRAMES

        def __getitem__(self, key: slice) -> np.ndarray:
            if key.start:
                raise KeyboardInterrupt
            return made(0).vertices[key]

    out = writer(tmp_path / "store")
    clip = Clip(made(0).audio, 16000, Stops(), 30.0, "p", "p_s")  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        out.add(clip, "train")
    assert not list((tmp_path / "store" / "data").iterdir())
    with pytest.raises(InputError, match="no clip was written"):
        out.finish()


def test_a_changed_clip_is_replaced_and_a_lost_one_removed(tmp_path: Path) -> None:
    fill(tmp_path / "store")
    out = writer(tmp_path / "store")
    assert out.written("p0_s0", "x") and not out.written("p0_s0", "y")
    changed = made(0)
    changed.vertices[:] = 0.5
    out.add(changed, "train", signature="y")
    out.finish(["p0_s2", "p0_s0"])
    corpus = open_corpus(tmp_path / "store")
    assert [row.key for row in corpus.clips] == ["p0_s2", "p0_s0"]
    assert (np.asarray(corpus[1].vertices) == 0.5).all()
    assert len(list((tmp_path / "store" / "data").iterdir())) == 2


@pytest.mark.parametrize("kind", ["frames", "sound", "shape", "empty"])
def test_what_is_no_clip_is_refused(tmp_path: Path, kind: str) -> None:
    clip = made(0)
    if kind == "frames":
        clip.vertices[40, 2, 1] = np.nan
    elif kind == "sound":
        clip.audio[3] = np.inf
    vertices = clip.vertices[:, :5] if kind == "shape" else clip.vertices[:0] if kind == "empty" else clip.vertices
    broken = Clip(clip.audio, 16000, vertices, 30.0, "p", "p_s")
    says = {"frames": "frame 40", "sound": "not finite", "shape": "wanted some of 7", "empty": "0 frames"}[kind]
    with pytest.raises(InputError, match=says):
        writer(tmp_path / "store").add(broken, "train")
    assert not list((tmp_path / "store").glob("data/*")) and not (tmp_path / "store" / "clips").exists()


def test_other_options_and_other_folders_are_refused(tmp_path: Path) -> None:
    writer(tmp_path / "store", every=2)
    with pytest.raises(InputError, match="another options"):
        writer(tmp_path / "store", every=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is no clip store"):
        writer(tmp_path / "other")


def damage(root: Path, kind: str) -> None:
    index = json.loads((root / "store.json").read_text())
    folder = root / "data" / index["clips"][0]["folder"]
    if kind == "no chunk":
        next(
            p for p in folder.rglob("*") if p.is_file() and p.parent.name != "vertices" and "vertices/c" in str(p)
        ).unlink()
    elif kind == "bad chunk":
        next(p for p in folder.rglob("*") if p.is_file() and "vertices/c" in str(p)).write_bytes(b"\0" * 50)
    elif kind == "no array":
        (folder / "audio" / "zarr.json").unlink()
    elif kind == "bad array":
        (folder / "audio" / "zarr.json").write_text("{")
    elif kind == "cut index":
        (root / "store.json").write_text((root / "store.json").read_text()[:-40])
    elif kind == "outside":
        index["clips"][0]["folder"] = "../../etc"
        (root / "store.json").write_text(json.dumps(index))
    elif kind == "longer":
        index["clips"][0]["frames"] += 1
        (root / "store.json").write_text(json.dumps(index))
    elif kind == "newer":
        index["format"] = 99
        (root / "store.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    "kind", ["no chunk", "bad chunk", "no array", "bad array", "cut index", "outside", "longer", "newer"]
)
def test_damage_is_named(tmp_path: Path, kind: str) -> None:
    fill(tmp_path / "store", range(1))
    damage(tmp_path / "store", kind)
    with pytest.raises(InputError):
        np.asarray(open_corpus(tmp_path / "store")[0].vertices)


def test_ten_hours_open_within_a_second(tmp_path: Path) -> None:
    fill(tmp_path / "store", range(1))
    path = tmp_path / "store" / "store.json"
    index = json.loads(path.read_text())
    index["clips"] = [{**index["clips"][0], "key": f"p0_s{k}"} for k in range(9000)]  # of 4 seconds each
    path.write_text(json.dumps(index))
    start = time.process_time()
    corpus = open_corpus(tmp_path / "store")
    assert len(corpus) == 9000 and corpus[8999].vertices[10].shape == (COUNT, 3)
    assert time.process_time() - start < 1.0


FULL = """
import resource, sys
sys.path.insert(0, {tests!r})
from test_clip_store import made, writer
from parlante.core import InputError
out = writer({root!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # no file beyond 2 kB can be written any more
try:
    out.add(made(7), "train")
except InputError as error:
    print("refused:", error)
"""


def test_a_full_disk_is_said_and_earlier_clips_stay(tmp_path: Path) -> None:
    root = tmp_path / "store"
    fill(root)
    before = sorted(path for path in root.rglob("*"))
    code = FULL.format(tests=str(Path(__file__).parent), root=str(root))
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.startswith(f"refused: cannot write {root}: File too large")
    assert sorted(path for path in root.rglob("*")) == before
    np.testing.assert_array_equal(open_corpus(root)[0].vertices[3], made(0).vertices[3])


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot write"):
        writer(tmp_path / "file" / "store")
