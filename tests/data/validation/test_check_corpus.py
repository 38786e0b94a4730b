"""Small corpora with one planted fault each: every fault is found and named, and a clean corpus passes."""

import csv
import json
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from parlante.cli import main
from parlante.data.validation import Report, check_corpus
from parlante.data.validation.report import write_report

FRAMES, FPS, RATE = 60, 30, 16000
ROWS, COLUMNS = 12, 11
SUBJECTS, SENTENCES = ("ann", "bob", "eve"), 4


class Planted:
    """A corpus in memory, to be spoilt and written as a folder of arrays."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        v, u = np.mgrid[0:ROWS, 0:COLUMNS] / [[[ROWS - 1]], [[COLUMNS - 1]]]
        self.templates, self.motion, self.sound = {}, {}, {}
        for number, subject in enumerate(SUBJECTS):
            deep = (0.06 + 0.02 * number) * np.cos(2.5 * (u - 0.5)) * np.cos((1 + number) * (v - 0.5))
            face = np.stack([0.18 * (u - 0.5), 0.22 * (v - 0.5), deep], -1).reshape(-1, 3)
            self.templates[subject] = face
            for sentence in range(SENTENCES):
                opening, sound = _speech(rng)
                key = f"{subject}_{sentence:02d}"
                mouth = np.exp(-200 * (face[:, 0] ** 2 + (face[:, 1] + 0.05) ** 2))[:, None] * [0.0, -1.0, 0.3]
                self.motion[key] = face + 0.015 * opening[:, None, None] * mouth
                self.sound[key] = sound
        a = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
        quads = np.stack([a[:-1, :-1], a[:-1, 1:], a[1:, 1:], a[1:, :-1]], -1).reshape(-1, 4)
        self.triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        self.splits = {"train": [], "val": [], "test_seen": []}
        for key in self.motion:
            place = {"02": "val", "03": "test_seen"}.get(key[-2:], "train")
            self.splits[place].append(key)

    def write(self, root: Path) -> Path:
        (root / "vertices_npy").mkdir(parents=True)
        (root / "wav").mkdir()
        for key, motion in self.motion.items():
            np.save(root / "vertices_npy" / f"{key}.npy", np.asarray(motion, np.float32))
            with wave.open(str(root / "wav" / f"{key}.wav"), "wb") as file:
                file.setparams((1, 2, RATE, 0, "NONE", ""))
                file.writeframes((np.clip(self.sound[key], -1, 1) * 32767).astype("<i2").tobytes())
        np.savez(root / "templates.npz", **self.templates)
        lines = [f"v {x} {y} {z}" for x, y, z in next(iter(self.templates.values()))]
        lines += ["f " + " ".join(str(k + 1) for k in corners) for corners in self.triangles]
        (root / "mesh.obj").write_text("\n".join(lines) + "\n")
        (root / "splits.json").write_text(json.dumps(self.splits))
        return root


def _speech(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(T,) how far the mouth opens, and (N,) a hum as loud; both rest at the ends."""
    t = np.arange(FRAMES) / FPS
    swing = sum(np.sin(2 * np.pi * rate * t + rng.uniform(0, 6)) for rate in (1.1, 2.3, 3.9))
    opening = np.logaddexp(0, 2 * swing) / 6 * np.sin(np.pi * (t + 0.5 / FPS) / (FRAMES / FPS))
    seconds = np.arange(FRAMES * RATE // FPS) / RATE
    hum = np.sin(2 * np.pi * rng.uniform(100, 220) * seconds) + 0.2 * rng.normal(size=len(seconds))
    return opening, 0.4 * np.interp(seconds, t, opening) * hum


def _unit(c: Planted) -> None:
    for faces in (c.motion, c.templates):
        faces.update({key: 1000 * value for key, value in faces.items()})


def _subject_unit(c: Planted) -> None:
    for faces in (c.motion, c.templates):
        faces.update({key: 10 * value for key, value in faces.items() if key.startswith("bob")})


def _clip_unit(c: Planted) -> None:
    c.motion["bob_01"] = 3 * c.motion["bob_01"]


def _rate(c: Planted) -> None:
    for key, sound in c.sound.items():
        c.sound[key] = np.interp(np.arange(0, len(sound), 1.2), np.arange(len(sound)), sound)  # 36 frames a second


def _length(c: Planted) -> None:
    c.sound["ann_01"] = c.sound["ann_01"][: RATE // 2]


def _swapped(c: Planted) -> None:
    c.templates["ann"], c.templates["bob"] = c.templates["bob"], c.templates["ann"]


def _moved(c: Planted) -> None:
    c.templates["ann"] = c.templates["ann"] + [0.0, 0.05, 0.0]


def _silent(c: Planted) -> None:
    c.sound["ann_01"] = 1e-4 * c.sound["ann_01"]


def _clipped(c: Planted) -> None:
    c.sound["ann_01"] = 12 * c.sound["ann_01"]


def _jitter(c: Planted) -> None:
    noise = np.random.default_rng(1).normal(0, 0.001, c.motion["ann_01"].shape)
    c.motion["ann_01"] = c.motion["ann_01"] + noise


def _static(c: Planted) -> None:
    c.motion["ann_01"] = np.repeat(c.motion["ann_01"][:1], FRAMES, 0)


def _nothing(c: Planted) -> None:
    c.motion["ann_01"] = np.zeros_like(c.motion["ann_01"])


def _doubled(c: Planted) -> None:
    c.motion["ann_01"] = np.repeat(c.motion["ann_01"][::2], 2, 0)


def _spikes(c: Planted) -> None:
    c.motion["ann_01"] = c.motion["ann_01"].copy()
    c.motion["ann_01"][[20, 35, 50], 7] += 0.08


def _nan(c: Planted) -> None:
    c.motion["ann_01"] = c.motion["ann_01"].copy()
    c.motion["ann_01"][33, 4, 1] = np.nan


def _head(c: Planted) -> None:
    angle = np.radians(15) * np.sin(np.linspace(0, 6, FRAMES))
    s, k, o, e = np.sin(angle), np.cos(angle), np.zeros(FRAMES), np.ones(FRAMES)
    turn = np.stack([k, o, s, o, e, o, -s, o, k], -1).reshape(-1, 3, 3)
    c.motion["ann_01"] = np.einsum("tij,tvj->tvi", turn, c.motion["ann_01"])


def _degenerate(c: Planted) -> None:
    c.triangles = np.concatenate([c.triangles, [[4, 4, 5]]])


def _repeated(c: Planted) -> None:
    c.triangles = np.concatenate([c.triangles, c.triangles[:2, [1, 2, 0]]])


def _lost(c: Planted) -> None:
    c.triangles = c.triangles[(c.triangles != 17).all(1)]


def _inside_out(c: Planted) -> None:
    c.triangles = c.triangles[:, ::-1]


def _copied(c: Planted) -> None:
    c.motion["ann_03"], c.sound["ann_03"] = c.motion["ann_01"], c.sound["ann_01"]


def _copied_in_train(c: Planted) -> None:
    c.sound["ann_01"] = c.sound["ann_00"]


def _seen(c: Planted) -> None:
    c.splits = {"train": ["ann", "bob_00"], "val": ["bob_01"], "test_unseen": ["eve", "bob_02", "bob_03"]}


def _no_val(c: Planted) -> None:
    c.splits = {"train": list(SUBJECTS)}


FAULTS: list[tuple[Callable[[Planted], None], str, str, str]] = [
    (_unit, "unit", "warn", "millimetres"),
    (_subject_unit, "subject scale", "bad", "bob: 10 times"),
    (_clip_unit, "clip scale", "bad", "bob_01: 3 times"),
    (_rate, "frame rate", "bad", "36.00 frames per second of audio, the corpus states 30"),
    (_length, "audio and motion length", "bad", "ann_01: 2.00 s of motion, 0.50 s"),
    (_swapped, "template", "bad", "its face is that of"),
    (_moved, "template", "bad", "never nearer"),
    (_silent, "audible speech", "bad", "ann_01: silent"),
    (_clipped, "clipped audio", "bad", "ann_01"),
    (_jitter, "jitter", "bad", "ann_01: vertices shake by 0.4"),
    (_static, "moving faces", "bad", "ann_01: the face hardly moves"),
    (_nothing, "moving faces", "bad", "ann_01: all vertices are at one point"),
    (_doubled, "moving faces", "bad", "ann_01.*repeat"),
    (_spikes, "spikes", "bad", "ann_01: the mesh jumps and returns at frame 20, 35, 50"),
    (_nan, "finite numbers", "bad", "ann_01: frame 33"),
    (_head, "head pose", "warn", "ann_01: the whole head turns by"),
    (_degenerate, "topology", "warn", "1 triangles name a vertex twice"),
    (_repeated, "topology", "warn", "2 triangles stand there twice"),
    (_lost, "topology", "warn", "1 vertices are in no triangle, such as 17"),
    (_inside_out, "topology", "warn", "inwards"),
    (_copied, "same audio", "bad", "ann_01.*ann_03|ann_03.*ann_01"),
    (_copied, "same motion", "bad", "ann_01.*ann_03|ann_03.*ann_01"),
    (_copied_in_train, "same audio", "warn", "ann_00 .train. and ann_01"),
    (_seen, "split overlap", "bad", "bob is in train and in test_unseen"),
    (_no_val, "splits", "warn", "no val"),
]


def checked(root: Path, spoil: Callable[[Planted], None] | None = None) -> Report:
    corpus = Planted()
    if spoil is not None:
        spoil(corpus)
    return check_corpus(corpus.write(root), fps=FPS)


def test_a_clean_corpus_passes(tmp_path: Path) -> None:
    report = checked(tmp_path / "talk")
    assert [f for f in report.findings if f.verdict != "ok"] == []
    assert report.verdict == "ok" and len(report.clips) == 12


@pytest.mark.parametrize(("spoil", "check", "verdict", "told"), FAULTS, ids=lambda p: getattr(p, "__name__", None))
def test_a_planted_fault_is_found(
    tmp_path: Path, spoil: Callable[[Planted], None], check: str, verdict: str, told: str
) -> None:
    import re

    report = checked(tmp_path / "talk", spoil)
    found = next(f for f in report.findings if f.check == check)
    assert found.verdict == verdict and re.search(told, found.found) and found.todo, found


def test_a_few_useless_clips_are_a_warning_but_one_nan_is_not() -> None:
    from parlante.data.validation.findings import Facts, clip_findings
    from parlante.data.validation.measure import Measures

    def clips(**fault: object) -> list[Measures]:
        fine = {
            "frames": 60,
            "fps": 30.0,
            "audio_s": 2.0,
            "extent": 0.25,
            "spread": 0.01,
            "loud_db": -20.0,
            "speaking": 1.0,
        }
        rows = [Measures(index=n, key=f"k{n}", subject="a", split="train", **fine) for n in range(40)]
        for name, value in fault.items():
            setattr(rows[7], name, value)
        return rows

    def verdicts(**fault: object) -> dict[str, str]:
        return {f.check: f.verdict for f in clip_findings(clips(**fault), Facts())}

    assert set(verdicts().values()) == {"ok"}
    assert verdicts(loud_db=-90.0)["audible speech"] == "warn"
    assert verdicts(bad_frames=(3,))["finite numbers"] == "bad"
    assert verdicts(problem="gone")["readable"] == "bad"


def test_the_command_tells_by_its_exit_code_and_writes_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fine = Planted().write(tmp_path / "fine")
    assert main(["check", str(fine), "--fps", "30", "-o", str(tmp_path / "report")]) == 0
    assert "fit to train on" in capsys.readouterr().out
    with Image.open(tmp_path / "report" / "check.png") as picture:
        assert picture.size == (1280, 960) and len(picture.convert("RGB").getcolors(1 << 20) or []) > 50
    assert json.loads((tmp_path / "report" / "check.json").read_text())["verdict"] == "ok"
    with (tmp_path / "report" / "clips.csv").open() as file:
        assert [row["verdict"] for row in csv.DictReader(file)] == ["ok"] * 12
    spoilt = Planted()
    _nan(spoilt)
    assert main(["check", str(spoilt.write(tmp_path / "spoilt")), "--fps", "30", "-q"]) == 3
    out = capsys.readouterr().out
    assert "finite numbers" in out and "not fit" in out and "ok  " not in out
    assert main(["check", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_an_unreadable_clip_is_told_and_the_others_are_checked(tmp_path: Path) -> None:
    root = Planted().write(tmp_path / "talk")
    (root / "wav" / "bob_02.wav").write_bytes(b"no sound at all")
    report = check_corpus(root, fps=FPS)
    found = next(f for f in report.findings if f.check == "readable")
    assert found.verdict == "bad" and found.clips == ("bob_02",) and "not a recording" in found.found
    assert sum(m.extent > 0 for m in report.clips) == 11
    write_report(report, tmp_path / "report")


def test_processes_measure_the_same(tmp_path: Path) -> None:
    root = Planted().write(tmp_path / "talk")
    told: list[tuple[int, int]] = []
    one = check_corpus(root, fps=FPS)
    two = check_corpus(root, fps=FPS, jobs=2, progress=lambda done, total: told.append((done, total)))
    assert one.findings == two.findings and one.subject_rows == two.subject_rows
    assert sum(done for done, _ in told) == told[0][1] == 12 * FRAMES


def test_other_kinds_of_corpus(tmp_path: Path) -> None:
    from miniature import pack, write_miniature

    source = write_miniature(tmp_path / "source", frames=40)
    report = check_corpus(pack(source, tmp_path / "store", held_out=1, shortest=10))
    verdicts = {f.check: f.verdict for f in report.findings}
    assert verdicts["readable"] == verdicts["finite numbers"] == verdicts["split overlap"] == "ok"
    assert len(report.clips) >= 4
