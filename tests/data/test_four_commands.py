"""Every published on-disk format through prepare, check, two steps of training, evaluate and compare."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzz_readers import READERS

from parlante.cli import main
from parlante.data.datasets.multiface import _SENTENCES
from parlante.data.splits import VOCASET_VAL

RECIPES = Path(__file__).parents[2] / "recipes"
FAMILIES = {
    "vocaset": "faceformer", "biwi": "talkingstyle", "mead": "facediffuser", "multiface": "ptalker",
    "folder": "faceformer",
}  # fmt: skip


def _vocaset(root: Path) -> None:
    """A validation speaker with the frames of the training one."""
    for name in ("subj_seq_to_idx", "raw_audio_fixed", "templates"):
        path = root / f"{name}.pkl"
        value = pickle.loads(path.read_bytes())
        value[VOCASET_VAL[0]] = next(iter(value.values()))
        path.write_bytes(pickle.dumps(value, protocol=2))


def _biwi(root: Path) -> None:
    shutil.copy(root / "faces/F2/e01.tar", root / "faces/F2/e33.tar")
    shutil.copy(root / "audio/F2_e01.wav", root / "audio/F2_e33.wav")


def _mead(root: Path) -> None:
    """The calm clip of the validation speaker, whose face at rest it tells."""
    for kind, clip in (("video/front", "002.npy"), ("audio", "002.wav")):
        folder = root / "M032" / kind / "neutral" / "level_1"
        folder.mkdir(parents=True)
        shutil.copy(root / "M003" / kind / "neutral" / "level_1" / clip, folder / clip)


def _multiface(root: Path) -> None:
    (folder,) = root.glob("m--*")
    sentence, other = "SEN_alfalfa_is_healthy_for_you", f"SEN_{_SENTENCES.split()[40]}_then"
    for kind in ("tracked_mesh", "unwrapped_uv_1024"):
        shutil.copytree(folder / kind / sentence, folder / kind / other)
    shutil.copy(folder / "audio" / f"{sentence}.wav", folder / "audio" / f"{other}.wav")


def _folder(root: Path) -> None:
    for kind, suffix in (("vertices_npy", "npy"), ("wav", "wav")):
        shutil.copy(root / kind / f"ann_01.{suffix}", root / kind / f"ann_02.{suffix}")
    shutil.copytree(root / "textures" / "ann_01", root / "textures" / "ann_02")
    (root / "splits.json").write_text(json.dumps({"train": ["ann_01"], "val": ["ann_02"], "test_unseen": ["bob"]}))


ADD_VALIDATION: dict[str, Callable[[Path], None]] = {
    "vocaset": _vocaset, "biwi": _biwi, "mead": _mead, "multiface": _multiface, "folder": _folder,
}  # fmt: skip
"""Adds a clip of the published validation split, which a training is judged by."""


@pytest.mark.parametrize("dataset", FAMILIES)
def test_from_published_files_to_a_ranking(dataset: str, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    source, store, run = (tmp_path / name for name in ("source", "store", "run"))
    source.mkdir()
    next(reader for reader in READERS if reader.name == dataset).seed(source)
    ADD_VALIDATION[dataset](source)
    for number, frame in enumerate(sorted(source.rglob("tracked_mesh/SEN*/*.bin"))):  # Multiface's stand still
        moved = np.fromfile(frame, "<f4") + np.random.default_rng(number).normal(0, 2, 15)
        frame.write_bytes(moved.astype("<f4").tobytes())
    rate = ["--fps", "30"] if dataset == "folder" else []
    assert main(["prepare", dataset, str(source), str(store), "--jobs", "1", "-q", *rate]) == 0
    assert main(["check", str(store), "--jobs", "1"]) in (0, 3)  # noise is no face
    family = FAMILIES[dataset]
    changes = [
        f"data.corpus={store}", f"data.cache={tmp_path / 'cache'}", "data.num_augmentations=0", "loop.max_steps=2",
        "loop.warmup=1", "scheme.batch=2", "scheme.frames=8", "scheme.check_clips=1", "model.width=8",
    ]  # fmt: skip
    options = [part for change in changes for part in ("--set", change)]
    assert main(["train", str(RECIPES / family / "small.yaml"), "--run", str(run), *options]) == 0
    report = tmp_path / "report"
    judge = ["evaluate", str(run), "--data", str(store), "--split", "train", "--clips", "1", "--no-video"]
    assert main([*judge, "--textures", "0", "-o", str(report)]) == 0
    assert main(["compare", str(report), "--by", "mve"]) == 0
    found = json.loads((report / "report.json").read_text())
    assert found["models"][str(run)]["facts"]["model"] == family
    assert found["models"][str(run)]["figures"]["mve"]["value"] > 0
