"""Multiface's folders, made on the spot: opened, packed and read back."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parlante.cli import main
from parlante.core import InputError
from parlante.data.contract import window
from parlante.data.datasets.multiface import (
    FULL,
    HIGH,
    LOW,
    MESHTALK,
    NEUTRAL,
    Multiface,
    meshtalk_vertices,
    sentence_number,
)
from parlante.data.open import open_corpus

COUNT, FRAMES, STEP = 6, 33, 3
FIRST, LAST = "SEN_alfalfa_is_healthy_for_you", "SEN_youre_boiling_milk_aint_you"
SHAPE = np.random.default_rng(0).normal(0, 60, (COUNT, 3)).astype(np.float32)


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def frame(number: int, count: int = COUNT) -> np.ndarray:
    shape = np.resize(SHAPE, (count, 3))
    return (shape + np.random.default_rng(number).normal(0, 2, shape.shape)).astype("<f4")


def person(root: Path, name: str, segments: dict[str, list[int]], count: int = COUNT, textured: bool = True) -> Path:
    folder = root / f"m--20180227--0000--{name}--GHS"
    triangles = "".join(f"f {a}/1 {a + 1}/2 {a + 2}/3\n" for a in range(1, count - 1))
    for segment, numbers in {**segments, NEUTRAL: [102, 105]}.items():
        for number in numbers:
            stem = folder / "tracked_mesh" / segment / f"{number:06}"
            put(stem.with_suffix(".bin"), frame(number, count).tobytes())
            put(stem.with_name(f"{number:06}_transform.txt"), b"1 0 0 0\n0 1 0 0\n0 0 1 0\n")
            if textured:
                put(folder / "unwrapped_uv_1024" / segment / "average" / f"{number:06}.png", png(number))
    lines = "".join(f"v {x} {y} {z}\n" for x, y, z in frame(102, count)) + "vt 0 0\nvt 1 0\nvt 0 1\n" + triangles
    put(folder / "tracked_mesh" / NEUTRAL / "000102.obj", lines.encode())
    for segment, numbers in segments.items():
        samples = np.arange((numbers[-1] - numbers[0]) // STEP * 1600 // 3 + 1600, dtype=np.int16)
        (folder / "audio").mkdir(parents=True, exist_ok=True)
        with wave.open(str(folder / "audio" / f"{segment}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(samples.tobytes())
    put(folder / "vert_mean.bin", SHAPE.tobytes())
    return folder


def numbers(start: int, count: int) -> list[int]:
    return list(range(start, start + STEP * count, STEP))


def test_frames_pictures_and_sound_in_metres(tmp_path: Path) -> None:
    person(tmp_path / "set", "6795937", {FIRST: numbers(300, FRAMES), LAST: numbers(600, FRAMES)})
    corpus = open_corpus(tmp_path / "set")
    assert (corpus.dataset, corpus.fps, corpus.unit) == ("multiface", 30.0, "m")
    assert [(row.key, row.split) for row in corpus.clips] == [
        (f"6795937_{FIRST}", "train"),
        (f"6795937_{LAST}", "test_seen"),
    ]
    clip = corpus[0]
    np.testing.assert_allclose(clip.vertices[4], frame(312) / 1000, atol=1e-6)
    np.testing.assert_array_equal(clip.textures[4], np.asarray(Image.open(io.BytesIO(png(312)))))
    assert len(clip.audio) == 16000 * FRAMES // 30
    face = corpus.identity("6795937")
    np.testing.assert_allclose(face.neutral, frame(102) / 1000, atol=1e-6)
    np.testing.assert_array_equal(face.albedo, np.asarray(Image.open(io.BytesIO(png(102)))))
    assert face.topology.triangles.tolist() == [[a, a + 1, a + 2] for a in range(COUNT - 2)]


def test_prepare_open_and_read_a_window(tmp_path: Path) -> None:
    source = person(tmp_path / "set", "002914589", {FIRST: numbers(300, FRAMES)})
    target = tmp_path / "store"
    assert main(["prepare", "multiface", str(source), str(target), "-q"]) == 0
    one, other = window(open_corpus(target)[0], 3, 20), window(open_corpus(source)[0], 3, 20)
    np.testing.assert_array_equal(one.vertices, other.vertices)
    np.testing.assert_array_equal(one.textures, other.textures)
    np.testing.assert_array_equal(one.audio, other.audio)
    stored = next((target / "data").glob("*/textures.bin")).read_bytes()
    assert stored.startswith(png(300)) and stored.endswith(png(300 + STEP * (FRAMES - 1)))  # as they were
    face = open_corpus(target).identity("002914589")
    np.testing.assert_array_equal(face.albedo, np.asarray(Image.open(io.BytesIO(png(102)))))


def test_a_gap_parts_a_sentence_and_the_sound_goes_with_it(tmp_path: Path) -> None:
    frames = numbers(300, FRAMES)
    later = numbers(300 + STEP * (FRAMES + 5), FRAMES)
    person(tmp_path, "6795937", {FIRST: frames + later + [later[-1] + 30]})
    corpus = Multiface(tmp_path)
    assert [row.frames for row in corpus.clips] == [FRAMES, FRAMES] and "1 frames in a row" in corpus.problems[0]
    start = (FRAMES + 5) * 16000 // 30
    np.testing.assert_allclose(corpus[1].audio[:50], np.arange(start, start + 50) / 32768, atol=1e-4)
    np.testing.assert_allclose(corpus[1].vertices[0], frame(later[0]) / 1000, atol=1e-6)


def test_pictures_are_only_there_when_all_are(tmp_path: Path) -> None:
    folder = person(tmp_path, "6795937", {FIRST: numbers(300, FRAMES)})
    (folder / "unwrapped_uv_1024" / FIRST / "average" / "000312.png").unlink()
    assert Multiface(tmp_path)[0].textures is None
    assert Multiface(tmp_path, textures=False).identity("6795937").albedo is None


def test_the_published_vertices_and_unit(tmp_path: Path) -> None:
    person(tmp_path, "6795937", {FIRST: numbers(300, 30)}, FULL, textured=False)
    corpus = Multiface(tmp_path, published=True)
    wanted = 2 * (frame(300, FULL)[meshtalk_vertices()] - LOW) / (HIGH - LOW) - 1
    np.testing.assert_allclose(corpus[0].vertices[0], wanted, atol=1e-5)
    assert corpus.unit == "normalised" and len(corpus.topology.regions["lve"]) == 1035
    kept = meshtalk_vertices()[corpus.topology.triangles]
    assert len(kept) and (np.diff(kept, axis=1) == 1).all()  # triangles of three kept neighbours
    assert len(meshtalk_vertices()) == MESHTALK


def test_sentences_are_numbered_as_published() -> None:
    found = {name: sentence_number(name) for name in (FIRST, LAST, "SEN_a_good_morrow_to_you_my_boy", "E002_Swallow")}
    assert found == {FIRST: 1, LAST: 50, "SEN_a_good_morrow_to_you_my_boy": 8, "E002_Swallow": None}


def test_damage_is_named_and_worked_around(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = person(tmp_path / "set", "6795937", {FIRST: numbers(300, FRAMES)})
    (folder / "tracked_mesh" / FIRST / "000303.bin").write_bytes(b"\0" * 11)
    corpus = open_corpus(tmp_path / "set")
    with pytest.raises(InputError, match=r"000303.bin has 11 bytes"):
        np.asarray(corpus[0].vertices)
    assert main(["prepare", "multiface", str(tmp_path / "set"), str(tmp_path / "store")]) == 0
    assert "000303.bin has 11 bytes" in capsys.readouterr().out
    assert [clip.frames for clip in open_corpus(tmp_path / "store").clips] == [FRAMES - 2]
    arguments = [str(tmp_path / "set"), str(tmp_path / "other"), "--shortest", str(FRAMES)]
    assert main(["prepare", "multiface", *arguments]) == 2
    assert f"no {FRAMES} frames in a row" in capsys.readouterr().err
    (folder / "audio" / f"{FIRST}.wav").unlink()
    with pytest.raises(InputError, match="no audio"):
        open_corpus(tmp_path / "set")
