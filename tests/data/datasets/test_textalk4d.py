"""TexTalk4D: the published folders as clips, packed, and everything that can be wrong with them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from miniature import COLUMNS, ROWS, SIZE, obj, offsets, sheet, skin, write_miniature, write_wav
from PIL import Image

from parlante.cli import main
from parlante.core import InputError
from parlante.data.datasets import textalk4d
from parlante.data.datasets.textalk4d import TexTalk4D, held_out_from, window_starts
from parlante.data.open import open_corpus
from parlante.data.prepare import Report, write_store

FRAMES = 12
FEW = {"shortest": 3, "held_out": 1}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_miniature(tmp_path / "source", FRAMES)


def prepare(source: Path, target: Path, **options: int) -> Report:
    pytest.importorskip("zarr")
    return write_store(TexTalk4D(source, **(options or FEW)), target, jobs=3, options=options or FEW)


def test_published_folders_are_clips(source: Path) -> None:
    corpus = TexTalk4D(source, **FEW)
    assert [(clip.subject, clip.split, clip.first, clip.frames) for clip in corpus.clips] == [
        ("ID001", "train", 0, 12),
        ("ID002", "train", 0, 12),
        ("ID005", "train", 0, 6),
        ("ID005", "test_seen", 6, 6),
    ]
    assert [clip.starts_at_rest for clip in corpus.clips] == [True, True, True, False]
    clip = corpus[3]
    assert clip.subject == "ID005" and clip.fps == 30 and clip.sample_rate == 16000
    assert clip.vertices.shape == (6, ROWS * COLUMNS, 3)
    assert len(clip.audio) == corpus.clips[3].samples == 6 * 16000 // 30
    np.testing.assert_allclose(clip.vertices[2], 0.1 * (sheet(2) + offsets(2, 8)), atol=1e-6)
    assert clip.textures is not None and (clip.textures[-1] == skin(2, 11)).all()
    assert len(TexTalk4D(source, "test_unseen", unseen=True, shortest=3)) == 3
    assert TexTalk4D(source, shortest=3, textures=False)[0].textures is None
    with pytest.raises(InputError, match="no split 'test_c'"):
        TexTalk4D(source, "test_c", shortest=3)
    with pytest.raises(InputError, match="no 30 frames in a row"):
        TexTalk4D(source)


def test_prepared_clips_are_the_published_ones(source: Path, tmp_path: Path) -> None:
    assert prepare(source, tmp_path / "out").problems == []
    raw, packed = TexTalk4D(source, **FEW), open_corpus(tmp_path / "out")
    assert packed.clips == raw.clips and len(packed) == 4
    for one, other in zip(raw, packed):
        np.testing.assert_array_equal(np.asarray(other.vertices), np.asarray(one.vertices))
        np.testing.assert_array_equal(np.asarray(other.textures), np.asarray(one.textures))
        np.testing.assert_array_equal(other.audio, one.audio)
    assert [clip.split for clip in open_corpus(tmp_path / "out", "test_seen").clips] == ["test_seen"]
    identity = packed.identity("ID002")
    np.testing.assert_allclose(identity.neutral, 0.1 * sheet(1), atol=1e-6)
    assert identity.albedo is not None and (identity.albedo == skin(1, 0)).all()
    every = np.concatenate([0.1 * offsets(person, frame) for person in range(3) for frame in range(FRAMES)])
    for corpus in (raw, packed):
        np.testing.assert_allclose(corpus.offset_range(), (every.min(0), every.max(0)), atol=2e-7)


def test_gaps_and_damage_are_listed_and_worked_around(source: Path, tmp_path: Path) -> None:
    one, two, five = (source / name for name in ("ID001", "ID002", "ID005"))
    shutil.rmtree(one / "Models" / "000005")
    (one / "Textures_512" / "000009" / "face.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    mesh = two / "Models" / "000007" / "face_aligned.obj"
    mesh.write_text(mesh.read_text()[:900])
    other = two / "Models" / "000010" / "face_aligned.obj"
    other.write_text(other.read_text().replace("f 2/2 3/3", "f 3/3 2/2"))
    Image.new("RGB", (SIZE // 2, SIZE)).save(two / "Textures_512" / "000003" / "face.png")
    shutil.rmtree(five / "Textures_512")
    write_wav(five / "Records" / "enhanced_vocal.wav", 16000 * 8 // 30)
    options = {"shortest": 2, "held_out": 0}
    report = prepare(source, tmp_path / "out", **options)
    text = "\n".join(report.table())
    for part in ("ID001: 1 of 12 frames have no mesh: 000005", "wanted 99", "faces or uv differ", "8 pixels",
                 "ID005: it has no pictures", "ends with frame 8 of 12"):  # fmt: skip
        assert part in text, text
    packed = open_corpus(tmp_path / "out")
    assert [(clip.subject, clip.first, clip.frames) for clip in packed.clips] == [
        ("ID001", 0, 4), ("ID001", 5, 3), ("ID001", 9, 3),
        ("ID002", 0, 2), ("ID002", 3, 3), ("ID002", 7, 2), ("ID002", 10, 2),
        ("ID005", 0, 8),
    ]  # fmt: skip
    assert [clip.key for clip in packed.clips[1:4]] == ["ID001-000006", "ID001-000006+4", "ID002-000001"]
    assert [clip.starts_at_rest for clip in packed.clips] == [True, False, False, True, False, False, False, True]
    assert packed[7].textures is None
    np.testing.assert_allclose(packed[1].vertices[0], 0.1 * (sheet(0) + offsets(0, 5)), atol=1e-6)
    np.testing.assert_allclose(packed[2].vertices[2], 0.1 * (sheet(0) + offsets(0, 11)), atol=1e-6)
    assert packed[2].textures is not None and (packed[2].textures[0] == skin(0, 9)).all()
    again = prepare(source, tmp_path / "out", **options)
    assert again.kept == 4 and again.problems == report.problems
    assert open_corpus(tmp_path / "out").clips == packed.clips
    mesh.write_text(obj(sheet(1) + offsets(1, 6)))
    prepare(source, tmp_path / "out", **options)
    assert [clip.first for clip in open_corpus(tmp_path / "out").clips if clip.subject == "ID002"] == [0, 3, 10]


@pytest.mark.parametrize("damage", ["neutral", "recording", "topology", "uv"])
def test_an_identity_that_cannot_be_used_is_left_out(source: Path, tmp_path: Path, damage: str) -> None:
    folder = source / "ID002"
    if damage == "neutral":
        shutil.rmtree(folder / "Models" / "000001")
    elif damage == "recording":
        (folder / "Records" / "enhanced_vocal.wav").unlink()
    for mesh in folder.glob("Models/*/face_aligned.obj"):
        if damage == "topology":
            mesh.write_text(obj(sheet(1)) + "v 0 0 0\nf 1/1 2/2 100/1\n")
        elif damage == "uv":
            mesh.write_text(
                "\n".join(
                    line.split("/")[0] + " 2 3" if line[0] == "f" else line for line in obj(sheet(1)).splitlines()
                )
            )
    report = prepare(source, tmp_path / "out")
    told = {"neutral": "000001 is missing", "recording": "no recording", "topology": "is not that", "uv": "uv coord"}
    assert "ID002" in (text := "\n".join(report.table())) and told[damage] in text
    assert {clip.subject for clip in open_corpus(tmp_path / "out").clips} == {"ID001", "ID005"}


def test_equal_topology_in_other_words_is_equal(source: Path, tmp_path: Path) -> None:
    (source / "ID001" / "Models" / "000003" / "face_aligned.obj").write_text(
        "# exported again\r\n" + obj(sheet(0) + offsets(0, 2), "\r\n")
    )
    assert prepare(source, tmp_path / "out").clips[0].frames == FRAMES


def test_a_second_run_keeps_what_is_done(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupted run leaves whole clips only; the next one reads the others, and those that changed."""
    out = tmp_path / "out"
    real = textalk4d.read_vertices

    def stop(path: Path, count: int | None = None) -> object:
        if "ID002" in str(path) and "000008" in str(path):
            raise KeyboardInterrupt
        return real(path, count)

    monkeypatch.setattr(textalk4d, "read_vertices", stop)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, out)
    with pytest.raises(InputError, match="is unfinished"):
        open_corpus(out)
    assert "ID002-000001.json" not in {path.name for path in (out / "clips").iterdir()}
    monkeypatch.setattr(textalk4d, "read_vertices", real)
    prepare(source, out)
    assert prepare(source, out).kept == 4
    mesh = source / "ID005" / "Models" / "000004" / "face_aligned.obj"
    mesh.write_text(obj(sheet(2)) + "\n\n")
    assert prepare(source, out).kept == 3
    np.testing.assert_allclose(open_corpus(out)[2].vertices[3], 0.1 * sheet(2), atol=1e-6)
    with pytest.raises(InputError, match="prepared with another options"):
        prepare(source, out, shortest=3, held_out=2)


def test_a_folder_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prepared.json").write_text("{}")
    with pytest.raises(InputError, match="parlante prepare textalk4d SRC NEW_FOLDER"):
        open_corpus(tmp_path)


def test_the_command(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("zarr")
    shutil.rmtree(source / "ID001" / "Models" / "000005")
    arguments = ["--shortest", "3", "--held-out", "1", "--jobs", "2"]
    assert main(["prepare", "textalk4d", str(source), str(tmp_path / "out"), *arguments]) == 0
    shown = capsys.readouterr().out
    assert "ID001" in shown and "test_seen" in shown
    assert len(open_corpus(tmp_path / "out")) == 5
    assert main(["prepare", "textalk4d", str(source), str(tmp_path / "flat"), *arguments, "--no-textures"]) == 0
    assert open_corpus(tmp_path / "flat")[0].textures is None
    assert main(["prepare", "textalk4d", str(source), str(tmp_path / "new"), "--unit", "0"]) == 2
    assert "--unit must be" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["absent", "empty", "nested", "file", "nothing usable", "into itself", "foreign"])
def test_a_useless_source_or_target_is_exit_code_2(
    source: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    told = {
        "absent": "no such folder",
        "empty": "holds no TexTalk4D identity",
        "nested": f"did you mean {source}",
        "file": "is a file",
        "nothing usable": "can be used (ID001: it has no recording",
        "into itself": "lies within the source",
        "foreign": "is no clip store",
    }[kind]
    where = {"absent": tmp_path / "none", "empty": empty, "nested": tmp_path, "file": Path(__file__)}.get(kind, source)
    if kind == "nothing usable":
        for wav in source.glob("*/Records/*.wav"):
            wav.unlink()
    elif kind == "into itself":
        out = source / "prepared"
    elif kind == "foreign":
        out.mkdir()
        (out / "letters.txt").write_text("mine")
    assert main(["prepare", "textalk4d", str(where), str(out), "--shortest", "3"]) == 2
    assert told in capsys.readouterr().err
    if kind == "foreign":
        assert [p.name for p in out.iterdir()] == ["letters.txt"]


def test_the_published_rules_of_frames(shared: Path) -> None:
    """Which frames the two published datasets draw, and where the sound of each begins."""
    from safetensors.numpy import load_file

    from parlante.core.timing import num_samples

    path = shared / "parity" / "textalker" / "dataset"
    sizes = json.loads(path.with_suffix(".json").read_text())["hyperparameters"]
    case = load_file(path.with_suffix(".safetensors"))
    frames, window, people = sizes["frames"], sizes["n"], sizes["ids"]
    for person, low, high in case["out/vae_frame_index_bounds"]:
        held = person >= people - 10
        assert low == 1 and high == (held_out_from(frames) if held else frames) - 1
    for person, low, end, first, last, second, final, sound, count, sound2, count2 in case["out/crops"]:
        starts = window_starts(frames, 16000 * sizes["audio_seconds"], window, held_out=person >= people - 10)
        assert (starts.start, starts.stop) == (low, end)
        start = first - 1
        assert start in starts and last == start + window and (second, final) == (last + 1, last + window)
        assert sound == num_samples(start) and count == count2 == window * 16000 // 30 and sound2 == sound + count
