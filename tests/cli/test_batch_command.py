"""parlante batch: a folder in, a folder out; what is finished stays, what fails is listed, the rest is done."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from miniature import SIZE, write_miniature
from safetensors.torch import load_file
from stand_in import spoken

from parlante.batch.jobs import animate_jobs, claim, find_recordings, output_suffix, sweep
from parlante.batch.runner import Job, run_job
from parlante.cli import main
from parlante.data.open import open_corpus
from parlante.export.folder import write_wav
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.training.features.scanned_maps import motion_stats


def recording(path: Path, seconds: float = 0.2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_wav(path, spoken(seconds), 16000)
    return path


def bulk(*arguments: object) -> int:
    return main(["batch", "animate", *map(str, arguments)])


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Jobs are done in this process by a quick stand-in for the talker."""
    from stand_in import StandIn

    from parlante.animation import Talker
    from parlante.batch import jobs as bulk_jobs
    from parlante.batch import runner as module

    def one_by_one(jobs: list[Job], *_: object):  # type: ignore[no-untyped-def]
        return (run_job(job) for job in jobs)

    monkeypatch.setattr(module, "run_jobs", one_by_one)
    monkeypatch.setattr(bulk_jobs, "_talker", lambda model, device: Talker(StandIn()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_everything_is_done_once_and_failures_are_listed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.wav", "scene/b.wav"):
        recording(here / "lines" / name)
    (here / "lines/broken.wav").write_bytes(b"nonsense")
    (here / "lines/notes.txt").write_text("not a recording")
    arguments = (
        "lines",
        "-o",
        "out",
        "--format",
        "csv",
        "--format",
        "npz",
        "--no-texture",
        "--liveliness",
        "head",
        "-q",
    )
    assert bulk(*arguments) == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and error[0].startswith("lines/broken.wav: ") and "Traceback" not in error[0]
    made = {str(path.relative_to(here / "out")) for path in (here / "out").rglob("*") if path.is_file()}
    assert made == {"bulk.json", "a.csv", "a.npz", "scene/b.csv", "scene/b.npz"}
    before = {path: path.stat().st_mtime_ns for path in (here / "out").rglob("*.npz")}

    (here / "out/scene/b.csv").unlink()
    recording(here / "lines/broken.wav")
    assert bulk(*arguments[:-1]) == 0
    assert "2 done, 1 kept from before" in capsys.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in (here / "out").rglob("*.npz")}
    assert all(after[path] == moment for path, moment in before.items()), "finished outputs are left alone"
    assert (here / "out/scene/b.csv").exists() and (here / "out/broken.npz").exists()

    settings = json.loads((here / "out/bulk.json").read_text())
    del settings["how"]["device"]
    settings["how"]["source"] = settings["how"].pop("model")
    (here / "out/bulk.json").write_text(json.dumps(settings))
    assert bulk(*arguments[:-1]) == 0, "a folder begun under old names goes on"
    assert "3 kept from before" in capsys.readouterr().err

    assert bulk(*arguments[:-1], "--seed", "5") == 2
    assert "made with another how" in capsys.readouterr().err
    os.utime(here / "lines/a.wav")
    assert bulk(*arguments[:-1]) == 0
    assert "1 done, 2 kept" in capsys.readouterr().err, "a recording that changed is done again"
    assert bulk(*arguments[:-1], "--again", "--seed", "5") == 0
    assert "3 done" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "-o", "out"], "no such file or folder: nowhere"),
        (["empty", "-o", "out"], "no recordings in empty"),
        (["lines", "-o", "lines/out"], "lies within the source"),
        (["lines", "twice/a.wav", "-o", "out"], "would share their outputs"),
        (["lines", "-o", "out", "--format", "avi"], "unknown format 'avi'"),
        (["lines", "-o", "out", "--workers", "0"], "--workers must be 1 or more"),
        (["lines", "-o", "out", "--liveliness", "winks"], "winks"),
        (["lines", "-o", "full"], "is no output of parlante batch"),
        (["lines", "-o", "out", "--character", "none.glb"], "no such character"),
        (["lines", "-o", "out", "--identity", "nobody"], "nobody"),
        (["lines", "-o", "out", "--style", "nobody.style"], "nobody.style"),
        (["lines", "-o", "out", "--fps", "1000"], "fps must lie in"),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    recording(here / "lines/a.wav")
    recording(here / "twice/a.wav")
    (here / "empty").mkdir()
    (here / "full").mkdir()
    (here / "full/thesis.txt").write_text("mine")
    assert bulk(*arguments) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and len(error.splitlines()) == 1
    assert not (here / "out").exists() and len(list((here / "full").iterdir())) == 1


def test_characters_get_the_parts_that_are_asked_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import parlante.animation.character as module

    recording(here / "lines/a.wav")
    (here / "me.character").mkdir()
    asked = []
    monkeypatch.setattr(module, "animate_character", lambda *_, parts, **__: asked.append(parts))
    assert bulk("lines", "-o", "out", "--character", "me.character", "--parts", "eyes", "-q") == 0
    assert asked == ["eyes"]


def test_a_clip_store_is_what_the_single_command_makes(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zarr")
    (here / "mine/vertices_npy").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("ann_1", "ann_2", "bob_1", "bob_2"):
        np.save(here / f"mine/vertices_npy/{name}.npy", rng.normal(0, 9, (15, 5, 3)).astype(np.float32))
        recording(here / f"mine/wav/{name}.wav", 0.5)
    np.savez(here / "mine/templates.npz", ann=np.zeros((5, 3)), bob=np.ones((5, 3)))
    broken = here / "mine/vertices_npy/bob_2.npy"
    np.save(broken, np.full((15, 5, 3), np.nan, np.float32))
    assert main(["batch", "prepare", "folder", "mine", "many", "--unit", "0.001"]) == 0
    told = capsys.readouterr()
    assert "4 done" in told.err and "bob_2" in told.out and "not finite" in told.out
    assert main(["prepare", "folder", "mine", "one", "--unit", "0.001", "-q"]) == 0
    many, one = (open_corpus(here / name) for name in ("many", "one"))
    assert many.clips == one.clips and len(one) == 3
    for index in range(3):
        np.testing.assert_array_equal(many[index].vertices[:], one[index].vertices[:])
    np.testing.assert_array_equal(many.identity("bob").neutral, one.identity("bob").neutral)

    np.save(broken, rng.normal(0, 9, (15, 5, 3)).astype(np.float32))
    assert main(["batch", "prepare", "folder", "mine", "many", "--unit", "0.001"]) == 0
    assert "1 done, 3 kept from before" in capsys.readouterr().err and len(open_corpus(here / "many")) == 4
    assert main(["batch", "prepare", "folder", "mine", "many"]) == 2
    assert "another" in capsys.readouterr().err


def test_suffixes_and_places(tmp_path: Path) -> None:
    assert [output_suffix(text) for text in ("mp4", ".CSV", "obj", "frames")] == [".mp4", ".csv", ".obj/", "/"]
    long, short = recording(tmp_path / "in/deep/long.wav", 0.5), recording(tmp_path / "in/short.FLAC", 0.1)
    found = find_recordings([tmp_path / "in"], tmp_path / "out")
    assert found == {long: tmp_path / "out/deep/long", short: tmp_path / "out/short"}
    jobs, kept = animate_jobs(found, [".mp4", "/"], {})
    assert [Path(job.name) for job in jobs] == [long, short] and not kept, "the longest first"
    assert jobs[0].arguments["outputs"] == [f"{tmp_path}/out/deep/long.mp4", f"{tmp_path}/out/deep/long/"]


def test_leftovers_of_lost_workers_are_swept(tmp_path: Path) -> None:
    claim(tmp_path, "animate", {})
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/.a.123.part.mp4").write_text("half")
    (tmp_path / ".b.77.part").mkdir()
    (tmp_path / ".b.77.part/frame.png").write_text("half")
    for kept in (".hidden", "a.mp4", "talk.part.mp4"):
        (tmp_path / kept).write_text("mine")
    sweep(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {"bulk.json", "deep", ".hidden", "a.mp4", "talk.part.mp4"}


@pytest.mark.slow
def test_encode_and_prepare_are_what_the_single_commands_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    raw = write_miniature(tmp_path / "raw", 12)
    options = ["--held-out", "1", "--shortest", "3", "-q"]
    assert main(["batch", "prepare", "textalk4d", str(raw), str(tmp_path / "bulk"), *options, "--workers", "1"]) == 0
    assert main(["prepare", "textalk4d", str(raw), str(tmp_path / "one"), *options]) == 0
    together, one = open_corpus(tmp_path / "bulk"), open_corpus(tmp_path / "one")
    assert together.clips == one.clips and str(together.offset_range()) == str(one.offset_range())
    for index in range(len(one)):
        np.testing.assert_array_equal(together[index].vertices[:], one[index].vertices[:])
        np.testing.assert_array_equal(together[index].textures[:], one[index].textures[:])

    torch.manual_seed(0)
    small = VQGANConfig(
        img_size=SIZE,
        nf=8,
        ch_mult=(1, 2),
        res_blocks=1,
        attn_resolutions=(),
        codebook_size=16,
        emb_dim=4,
        norm_groups=4,
    )
    for kind in ("motion", "wrinkle"):
        VQAutoEncoder(small).save(tmp_path / "pair" / kind, stats=motion_stats(one).to_dict())
    data, model = str(tmp_path / "one"), ["--model", str(tmp_path / "pair"), "-q"]
    assert main(["batch", "encode", data, *model, "-o", str(tmp_path / "many"), "--workers", "1"]) == 0
    assert main(["encode", data, *model, "-o", str(tmp_path / "single")]) == 0
    names = sorted(path.relative_to(tmp_path / "single") for path in (tmp_path / "single").rglob("*") if path.is_file())
    assert names == sorted(p.relative_to(tmp_path / "many") for p in (tmp_path / "many").rglob("*") if p.is_file())
    for name in names:
        if name.suffix == ".safetensors":
            one, other = (load_file(tmp_path / folder / name) for folder in ("single", "many"))
            for key in one:
                torch.testing.assert_close(one[key], other[key], atol=1e-5, rtol=1e-4)
