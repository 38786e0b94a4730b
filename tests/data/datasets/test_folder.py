"""One's own folder of arrays, in each form that it may have: opened, packed and read back."""

import io
import json
import pickle
import subprocess
import sys
import uuid
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parlante.cli import main
from parlante.core import InputError
from parlante.data.contract import window
from parlante.data.datasets.folder import FolderDataset
from parlante.data.datasets.vocaset import resample
from parlante.data.open import open_corpus
from parlante.data.splits import own_splits

COUNT, FRAMES = 5, 40
SHAPE = np.random.default_rng(0).normal(0, 90, (COUNT, 3)).astype(np.float32)
TRIANGLES = [[0, 1, 2], [2, 3, 4]]


def wav(path: Path, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 22050, 0, "NONE", ""))
        file.writeframes(np.random.default_rng(1).integers(-9000, 9000, round(seconds * 22050), np.int16).tobytes())


def moving(seed: int) -> np.ndarray:
    return SHAPE + np.random.default_rng(seed).normal(0, 2, (FRAMES, COUNT, 3)).astype(np.float32)


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 4, 3), np.uint8)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    (root / "vertices_npy").mkdir(parents=True)
    for seed in range(10):
        key = f"{'ann' if seed % 2 else 'bob_jr'}_{seed:02}"
        array = moving(seed)
        np.save(root / f"vertices_npy/{key}.npy", array if seed % 3 else array.reshape(FRAMES, -1).astype(np.float64))
        wav(root / f"wav/{key}.wav", FRAMES / 25)
    (root / "templates.pkl").write_bytes(pickle.dumps({"ann": SHAPE, "bob_jr": SHAPE.ravel() + 1}, protocol=2))
    return root


def test_the_rate_is_that_of_the_sound(folder: Path) -> None:
    corpus = open_corpus(folder)
    assert (corpus.dataset, corpus.fps, corpus.unit, len(corpus)) == ("mine", 25.0, "unknown", 10)
    assert open_corpus(folder, fps=50).fps == 50
    for row in corpus.clips[:3]:
        wav(folder / f"wav/{row.key}.wav", FRAMES / 37)
    with pytest.raises(InputError, match="no common rate; give --fps"):
        open_corpus(folder)


def test_own_people_on_a_published_mesh_are_not_the_published_dataset(tmp_path: Path) -> None:
    mesh = np.zeros((FRAMES, 6172, 3), np.float32)
    for folder, people in (("mine", ("ann", "bob")), ("theirs", ("2", "13"))):
        (tmp_path / folder / "vertices_npy").mkdir(parents=True)
        for key in (f"{name}_{number:02}" for name in people for number in range(1, 5)):
            np.save(tmp_path / folder / f"vertices_npy/{key}.npy", mesh)
            wav(tmp_path / folder / f"wav/{key}.wav", FRAMES / 30)
    mine, theirs = open_corpus(tmp_path / "mine"), open_corpus(tmp_path / "theirs")
    assert (mine.dataset, mine.unit) == ("mine", "unknown") and {row.split for row in mine.clips} > {
        "val",
        "test_seen",
    }
    assert theirs.dataset == "multiface" and {row.split for row in theirs.clips} == {"train"}


def test_splits_by_subject_unless_they_are_listed(folder: Path) -> None:
    found = {row.key: row.split for row in open_corpus(folder).clips}
    assert found == {
        **{f"ann_{n:02}": "train" for n in (1, 3, 5)}, "ann_07": "val", "ann_09": "test_seen",
        **{f"bob_jr_{n:02}": "train" for n in (0, 2, 4)}, "bob_jr_06": "val", "bob_jr_08": "test_seen",
    }  # fmt: skip
    (folder / "splits.json").write_text(json.dumps({"train": ["ann"], "val": ["ann_03"], "test_unseen": ["bob_jr_02"]}))
    with pytest.raises(InputError, match="no split 'test_seen'"):
        open_corpus(folder, "test_seen")
    found = {row.key: row.split for row in open_corpus(folder).clips}
    assert (found["ann_01"], found["ann_03"], found["bob_jr_02"], found["bob_jr_00"]) == (
        "train", "val", "test_unseen", "unused",
    )  # fmt: skip
    (folder / "splits.json").write_text(json.dumps({"train": ["ann"], "val": ["ann"]}))
    with pytest.raises(InputError, match="ann stands in train and in val"):
        open_corpus(folder)


def test_splits_never_share_a_clip() -> None:
    places = own_splits((f"{s}_{k}", s) for s in "abc" for k in range(25))
    assert len(places) == 75 and [list(places.values()).count(s) for s in ("train", "val", "test_seen")] == [63, 6, 6]
    assert set(own_splits([("a_1", "a"), ("a_2", "a")]).values()) == {"train"}


def test_prepare_in_metres_open_and_read_a_window(folder: Path, tmp_path: Path) -> None:
    lines = [f"v {x} {y} {z}" for x, y, z in SHAPE] + [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in TRIANGLES]
    (tmp_path / "shape.obj").write_text("\n".join(lines) + "\n")
    arguments = ["--unit", "0.001", "--name", "ours", "--template", str(tmp_path / "shape.obj"), "-q", "--jobs", "2"]
    assert main(["prepare", "folder", str(folder), str(tmp_path / "store"), *arguments]) == 0
    corpus = open_corpus(tmp_path / "store")
    assert (corpus.dataset, corpus.fps, corpus.unit) == ("ours", 25.0, "m")
    place = [row.key for row in corpus.clips].index("ann_03")
    np.testing.assert_allclose(window(corpus[place], 3, 9).vertices, moving(3)[3:12] / 1000, atol=1e-6)
    np.testing.assert_array_equal(corpus[place].audio, open_corpus(folder)[place].audio)
    np.testing.assert_allclose(corpus.identity("bob_jr").neutral, (SHAPE + 1) / 1000, atol=1e-6)
    assert corpus.topology.triangles.tolist() == TRIANGLES


def test_going_on_keeps_what_has_not_changed(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "store"
    assert main(["prepare", "folder", str(folder), str(target), "-q"]) == 0
    before = {p.name: p.stat().st_mtime_ns for p in (target / "clips").iterdir()}
    np.save(folder / "vertices_npy/ann_03.npy", moving(3) + 1)
    (folder / "vertices_npy/ann_05.npy").unlink()
    assert main(["prepare", "folder", str(folder), str(target)]) == 0
    after = {p.name: p.stat().st_mtime_ns for p in (target / "clips").iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"ann_03.json"}
    corpus = open_corpus(target)
    assert len(corpus) == 9
    place = [row.key for row in corpus.clips].index("ann_03")
    np.testing.assert_allclose(corpus[place].vertices[0], moving(3)[0] + 1, atol=1e-4)
    assert main(["prepare", "folder", str(folder), str(target), "--fps", "30"]) == 2
    assert "another fps" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["npz", "ply", "npy"])
def test_templates_of_every_form(folder: Path, form: str) -> None:
    (folder / "templates.pkl").unlink()
    if form == "npz":
        np.savez(folder / "templates.npz", ann=SHAPE, bob_jr=SHAPE)
    else:
        (folder / "templates").mkdir()
        for subject in ("ann", "bob_jr"):
            path = folder / "templates" / f"{subject}.{form}"
            if form == "npy":
                np.save(path, SHAPE)
                continue
            head = (
                f"ply\nformat ascii 1.0\nelement vertex {COUNT}\nproperty float x\nproperty float y\nproperty float z\n"
            )
            head += "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
            rows = [" ".join(map(str, row)) for row in SHAPE] + [f"3 {a} {b} {c}" for a, b, c in TRIANGLES]
            path.write_text(head + "\n".join(rows) + "\n")
    corpus = open_corpus(folder)
    np.testing.assert_allclose(corpus.identity("ann").neutral, SHAPE, rtol=1e-6)
    assert len(corpus.topology.triangles) == (2 if form == "ply" else 0)


def test_pictures_stay_the_files_they_are(folder: Path, tmp_path: Path) -> None:
    (folder / "textures/ann_03").mkdir(parents=True)
    for number in range(FRAMES):
        (folder / f"textures/ann_03/{number:06}.png").write_bytes(png(number))
    (folder / "textures/ann.png").write_bytes(png(99))
    assert main(["prepare", "folder", str(folder), str(tmp_path / "store"), "-q"]) == 0
    for corpus in (open_corpus(folder), open_corpus(tmp_path / "store")):
        place = [row.key for row in corpus.clips].index("ann_03")
        np.testing.assert_array_equal(corpus[place].textures[17], np.asarray(Image.open(io.BytesIO(png(17)))))
        assert corpus[0].textures is None
        np.testing.assert_array_equal(corpus.identity("ann").albedo, np.asarray(Image.open(io.BytesIO(png(99)))))
    (folder / "textures/ann_03/000003.png").unlink()
    with pytest.raises(InputError, match="39 pictures, wanted one a frame: 40"):
        place = [row.key for row in open_corpus(folder).clips].index("ann_03")
        open_corpus(folder)[place]


def test_a_clip_that_cannot_be_used_is_left_out_and_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "vertices_npy/bob_jr_02.npy", moving(3)[:, :, :2])
    (folder / "vertices_npy/._ann_01.npy").write_bytes(b"Mac OS X")
    broken = moving(3)
    broken[7, 2] = np.nan
    np.save(folder / "vertices_npy/ann_03.npy", broken)
    (folder / "wav/ann_05.wav").write_bytes(b"RIFF")
    (folder / "wav/ann_07.wav").unlink()
    (folder / "templates.pkl").write_bytes(pickle.dumps({"ann": SHAPE}, protocol=2))
    assert main(["prepare", "folder", str(folder), str(tmp_path / "store")]) == 0
    said = capsys.readouterr().out
    for text in (
        "bob_jr_02.npy has shape",
        "ann_03: ",
        "frame 7 has numbers",
        "ann_05: ",
        "no wav/ann_07.wav",
        "no template of bob_jr",
    ):
        assert text in said
    assert len(open_corpus(tmp_path / "store")) == 6


def test_preparing_leaves_out_meshes_of_another_size(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(folder / "vertices_npy/ann_03.npy", moving(3)[:, :4])
    assert main(["prepare", "folder", str(folder), str(tmp_path / "store")]) == 0
    assert "ann_03.npy: 4 vertices, most have 5" in capsys.readouterr().out
    assert len(open_corpus(tmp_path / "store")) == 9
    for path in (folder / "vertices_npy").glob("bob*.npy"):
        np.save(path, np.load(path).reshape(len(np.load(path)), -1, 3)[:, :3])
    assert main(["prepare", "folder", str(folder), str(tmp_path / "other")]) == 2
    assert "mixes vertex counts" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["mixed", "shape", "object", "template", "no pairs"])
def test_damage_is_named(folder: Path, kind: str) -> None:
    path = folder / "vertices_npy/ann_03.npy"
    if kind == "mixed":
        np.save(path, moving(3)[:, :4])
    elif kind in ("shape", "object"):
        for array in (folder / "vertices_npy").iterdir():
            np.save(array, moving(3)[:, :, :2] if kind == "shape" else np.array([{}]), allow_pickle=True)
    elif kind == "template":
        (folder / "templates.pkl").write_bytes(pickle.dumps({"ann": SHAPE[:3]}))
    else:
        for wave_file in (folder / "wav").iterdir():
            wave_file.unlink()
    says = {
        "mixed": "mixes vertex counts: 4 in ann_03, 5 in ann_01",
        "shape": "wanted",
        "object": "cannot read",
        "template": "has 3 vertices, the clips 5",
        "no pairs": "no wav/ann_01.wav",
    }
    with pytest.raises(InputError, match=says[kind]):
        open_corpus(folder).identity("ann")


@pytest.mark.parametrize("split", [None, "train", "val", "test_seen", "test_unseen"])
def test_vocasets_converted_folder_is_taken_at_half_its_rate(tmp_path: Path, split: str | None) -> None:
    root = tmp_path / "vocaset"
    (root / "vertices_npy").mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [
        "FaceTalk_170728_03272_TA_sentence05",
        "FaceTalk_170811_03275_TA_sentence30",
        "FaceTalk_170809_00138_TA_sentence40",
    ]
    arrays = {name: rng.normal(0, 0.1, (7, 5023 * 3)) for name in names}
    for name, array in arrays.items():
        np.save(root / f"vertices_npy/{name}.npy", array)
        wav(root / f"wav/{name}.wav", 7 / 60)
    (root / "templates.pkl").write_bytes(pickle.dumps({n[:24]: np.zeros((5023, 3)) for n in names}, protocol=2))
    if split == "test_seen":
        with pytest.raises(InputError, match="no split"):
            open_corpus(root, split)
        return
    corpus = FolderDataset(root, split)
    wanted = {None: names, "train": names[:1], "val": names[1:2], "test_unseen": names[2:]}[split]
    assert sorted(row.key for row in corpus.clips) == sorted(wanted)
    assert (corpus.dataset, corpus.fps, corpus.unit, corpus.clips[0].frames) == ("vocaset", 30.0, "m", 4)
    key = corpus.clips[0].key
    np.testing.assert_allclose(np.asarray(corpus[0].vertices), arrays[key].reshape(7, 5023, 3)[::2], atol=1e-6)
    assert {"lve_facediffuser", "fdd_facediffuser"} <= set(corpus.topology.regions)


def test_sound_in_memory_is_read_as_from_a_file(tmp_path: Path) -> None:
    from parlante.audio.io import read_audio

    wav(tmp_path / "a.wav", 0.7)
    with wave.open(str(tmp_path / "a.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    found, wanted = resample(samples, 22050), read_audio(tmp_path / "a.wav")
    assert len(found) == len(wanted)
    np.testing.assert_allclose(found, wanted, atol=2e-4)
    np.testing.assert_allclose(resample(samples.astype(np.float64), 22050), found, atol=1e-6)


FULL = """
import resource, sys
from parlante.cli import main
import parlante.data.store.writer
import zarr, zarr.codecs, zarr.storage, numcodecs, av
resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))
sys.exit(main(["prepare", "folder", {source!r}, {target!r}, "-q"]))
"""


def test_a_full_disk_ends_it_instead_of_leaving_clips_out(folder: Path, tmp_path: Path) -> None:
    code = FULL.format(source=str(folder), target=str(tmp_path / "store"))
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200)
    assert found.returncode == 2 and "File too large" in found.stderr
    with pytest.raises(InputError, match="is unfinished"):
        open_corpus(tmp_path / "store")
    assert main(["prepare", "folder", str(folder), str(tmp_path / "store"), "-q"]) == 0  # once there is room again
    assert len(open_corpus(tmp_path / "store")) == 10


def test_a_store_on_object_storage(folder: Path) -> None:
    target = f"memory://{uuid.uuid4().hex}/corpora/mine"
    assert main(["prepare", "folder", str(folder), target, "-q"]) == 0
    assert main(["prepare", "folder", str(folder), target, "-q"]) == 0  # goes on where everything stands
    np.testing.assert_allclose(open_corpus(target)[1].vertices[5], moving(3)[5], atol=1e-4)
    assert main(["prepare", "textalk4d", str(folder), target, "-q"]) == 2


def test_a_fingerprint_changes_with_clips_and_files(folder: Path) -> None:
    corpus = open_corpus(folder)
    found = {corpus.fingerprint(), open_corpus(folder).fingerprint()}
    assert len(found) == 1
    found.add(open_corpus(folder, "train").fingerprint())
    shape = np.load(folder / "vertices_npy" / "ann_03.npy")
    np.save(folder / "vertices_npy" / "ann_03.npy", shape[:-1])
    found.add(open_corpus(folder, fps=corpus.fps).fingerprint())
    assert len(found) == 3
