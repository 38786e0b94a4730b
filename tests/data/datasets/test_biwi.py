"""BIWI's archive, made on the spot in each form that it comes in: opened, packed and read back."""

import io
import pickle
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest

from parlante.cli import main
from parlante.core import InputError
from parlante.data.contract import window
from parlante.data.datasets.biwi import Biwi, normalise, surface_area
from parlante.data.open import open_corpus
from parlante.geometry.mesh import read_mesh

TRIANGLES = np.array([[0, 1, 2], [0, 2, 3], [2, 1, 4], [3, 2, 4]])
SHAPE = np.array([[0, 90, 10], [-60, 0, 5], [0, 0, 40], [60, 0, 0], [0, -80, 12]], float)
FRAMES = 30


def vl(vertices: np.ndarray) -> bytes:
    return len(vertices).to_bytes(4, "little") + vertices.astype("<f4").tobytes()


def tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def wav(path: Path, seconds: float, rate: int = 44100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(np.random.default_rng(1).integers(-9000, 9000, int(seconds * rate), np.int16).tobytes())


def scan(path: Path, vertices: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"v {x} {y} {z}" for x, y, z in vertices] + [f"f {a} {b} {c}" for a, b, c in TRIANGLES + 1]
    path.write_text("\n".join(lines) + "\n")


def motion(seed: int) -> np.ndarray:
    """(T, 5, 3) in the archive's axes: y down, z away."""
    moved = SHAPE + np.random.default_rng(seed).normal(0, 2, (FRAMES, 5, 3))
    return moved * [1, -1, -1]


SEQUENCES = {("F2", "e01"): 1, ("F2", "e37"): 2, ("F1", "e40"): 3, ("F1", "40"): 4}


def corpus_root(root: Path, form: str) -> Path:
    packed: dict[str, bytes] = {}
    for (subject, sequence), seed in SEQUENCES.items():
        frames = {f"frame_{k + 1:03}.vl": vl(v) for k, v in enumerate(motion(seed))}
        frames = dict(reversed(frames.items()))
        if form == "tar":
            tar(root / f"faces/{subject}/{sequence}.tar", frames)
            tar(root / f"faces/{subject}/{sequence}.tgz", {"frame_001.txt": b"1 0 0"})
        elif form == "tgz":
            tar(root / f"faces/{subject}_{sequence}.tgz", frames)
        elif form == "folders":
            for name, content in frames.items():
                path = root / f"faces/{subject}/{sequence}/{name}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        elif form == "nested":
            inner = tar(root.parent / "inner.tar", {f"./{sequence}/{name}": data for name, data in frames.items()})
            packed[f"{subject}/{sequence}.tar"] = inner.read_bytes()
        else:
            packed.update({f"{subject}/{sequence}/{name}": data for name, data in frames.items()})
        wav(root / f"audio/{subject}_{sequence}_cut.wav", FRAMES / 25)
    if packed:
        tar(root / "faces/faces01.tgz", packed)
    scan(root / "rigid_scans/F1.obj", SHAPE * [1, -1, -1])
    scan(root / "rigid_scans/F2.obj", SHAPE * [1, -1, -1])
    return root


@pytest.mark.parametrize("form", ["tar", "tgz", "folders", "archive", "nested"])
def test_frames_of_every_form_in_the_published_unit(tmp_path: Path, form: str) -> None:
    corpus = open_corpus(corpus_root(tmp_path / "BIWI", form))
    found = {row.key: row.split for row in corpus.clips}
    assert found == {"F2_e01": "train", "F2_e37": "test_seen", "F1_e40": "test_unseen"}
    assert (corpus.dataset, corpus.fps, corpus.unit) == ("BIWI", 25.0, "normalised")
    place = [row.key for row in corpus.clips].index("F2_e37")
    assert corpus.clips[place].frames == FRAMES
    frames = np.asarray(corpus[place].vertices, float)
    np.testing.assert_allclose(surface_area(frames, TRIANGLES), 1, rtol=1e-5)
    np.testing.assert_allclose(frames.mean(1), 0, atol=1e-6)
    turned = motion(2) * [1, -1, -1]  # upright again, one by one as published
    for frame, raw in zip(frames, turned):
        area = sum(np.linalg.norm(np.cross(raw[b] - raw[a], raw[c] - raw[a])) / 2 for a, b, c in TRIANGLES)
        np.testing.assert_allclose(frame, (raw - raw.mean(0)) / np.sqrt(area), atol=1e-6)
    np.testing.assert_allclose(corpus[place].audio.size / 16000, FRAMES / 25, atol=0.01)


@pytest.mark.parametrize("turn", [(1, -1, -1), (1, 1, 1)])
def test_neutral_faces_are_turned_as_the_frames_are(tmp_path: Path, turn: tuple[int, int, int]) -> None:
    root = corpus_root(tmp_path / "BIWI", "tar")
    scan(root / "rigid_scans/F2.obj", SHAPE * turn)
    wanted = normalise(SHAPE[None], TRIANGLES)[0]
    np.testing.assert_allclose(open_corpus(root).identity("F2").neutral, wanted, atol=1e-6)


@pytest.mark.parametrize("form", ["tar", "archive", "nested"])
def test_prepare_open_and_read_a_window(tmp_path: Path, form: str) -> None:
    root, target = corpus_root(tmp_path / "BIWI", form), tmp_path / "store"
    assert main(["prepare", "biwi", str(root), str(target), "--neutral-too", "--jobs", "2", "-q"]) == 0
    corpus = open_corpus(target)
    direct = Biwi(root, neutral_too=True)
    assert {row.key for row in corpus.clips} == {"F2_e01", "F2_e37", "F1_e40", "F1_40"}
    for place, row in enumerate(corpus.clips):
        other = [r.key for r in direct.clips].index(row.key)
        one = window(corpus[place], 5, 20)
        np.testing.assert_array_equal(one.vertices, np.asarray(direct[other].vertices[5:25]))
        np.testing.assert_array_equal(corpus.identity(row.subject).neutral, direct.identity(row.subject).neutral)
    assert corpus.topology.triangles.tolist() == TRIANGLES.tolist()


def test_the_video_has_the_sound_where_no_recording_is(tmp_path: Path) -> None:
    root = corpus_root(tmp_path / "BIWI", "folders")
    (root / "audio/F2_e01_cut.wav").unlink()
    assert any("F2_e01" in text for text in Biwi(root).problems)
    wav(tmp_path / "sound.wav", FRAMES / 25)
    (root / "videos/F2").mkdir(parents=True)
    flv(tmp_path / "sound.wav", root / "videos/F2/e01.flv")
    corpus = Biwi(root)
    place = [row.key for row in corpus.clips].index("F2_e01")
    assert abs(len(corpus[place].audio) / 16000 - FRAMES / 25) < 0.2


def flv(source: Path, target: Path) -> None:
    import av

    with av.open(str(source)) as sound, av.open(str(target), "w", format="flv") as video:
        stream = video.add_stream("mp3", rate=44100, layout="mono")
        for frame in sound.decode(audio=0):
            video.mux(stream.encode(frame))
        video.mux(stream.encode(None))


def test_codetalkers_prepared_folder_opens_as_it_is(tmp_path: Path) -> None:
    root = tmp_path / "BIWI"
    (root / "vertices_npy").mkdir(parents=True)
    shape = np.random.default_rng(0).normal(0, 0.3, (23370, 3))
    for subject, sentence in (("F2", "e01"), ("F1", "e38")):
        np.save(root / f"vertices_npy/{subject}_{sentence}.npy", np.stack([shape.ravel()] * 3))
        wav(root / f"wav/{subject}_{sentence}.wav", 3 / 25)
    (root / "templates.pkl").write_bytes(pickle.dumps({"F1": shape, "F2": shape}, protocol=2))
    corpus = open_corpus(root, "test_unseen")
    assert (corpus.dataset, corpus.fps, corpus.unit, len(corpus)) == ("BIWI", 25.0, "normalised", 1)
    np.testing.assert_array_equal(corpus[0].vertices[1], shape.astype(np.float32))
    assert "lve" in corpus.topology.regions and len(corpus.topology.regions["fdd"]) == 7784


@pytest.mark.parametrize("kind", ["outside", "absolute", "link", "cut", "other count", "no frame", "huge"])
def test_archives_that_are_not_what_they_should_be_are_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = corpus_root(tmp_path / "BIWI", "tgz")
    path = root / "faces/F2_e01.tgz"
    name = {"outside": "../../frame_001.vl", "absolute": "/tmp/frame_001.vl"}.get(kind, "frame_001.vl")
    content = vl(SHAPE)
    if kind == "other count":
        content = vl(SHAPE[:4])
    elif kind == "no frame":
        content = content[:-3]
    tar(path, {name: content})
    if kind == "link":
        with tarfile.open(path, "w:gz") as archive:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    elif kind == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    elif kind == "huge":
        info = tarfile.TarInfo(name)
        info.size = 1 << 41
        path.write_bytes(info.tobuf())
    target = tmp_path / "store"
    assert main(["prepare", "biwi", str(root), str(target), "-q"]) == 0
    assert {row.key for row in open_corpus(target).clips} == {"F2_e37", "F1_e40"}
    assert not (tmp_path / "frame_001.vl").exists()


def test_nothing_usable_is_said(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    with pytest.raises(InputError, match="no sequence that can be used"):
        open_corpus(tmp_path)


def test_archives_do_not_stay_open(tmp_path: Path) -> None:
    opened = Path("/proc/self/fd")
    if not opened.is_dir():
        pytest.skip("needs /proc")
    root = corpus_root(tmp_path / "BIWI", "tar")
    corpus = open_corpus(root)
    clips = [corpus[k].vertices[3] for k in range(len(corpus))]
    names = [str(path.readlink()) for path in opened.iterdir() if path.is_symlink()]
    assert len(clips) == 3 and not any(str(tmp_path) in name for name in names)


@pytest.mark.shared
def test_the_published_template_is_what_the_recipe_gives(shared: Path) -> None:
    """BIWI.ply as CodeTalker ships it, taken out of its unit as the archive's meshes are, comes back."""
    mesh = read_mesh(shared / "data" / "biwi" / "BIWI.ply")
    raw = 187.0 * mesh.vertices + [3.0, -40.0, 900.0]
    np.testing.assert_allclose(normalise(raw[None], mesh.triangles)[0], mesh.vertices, atol=1e-6)
