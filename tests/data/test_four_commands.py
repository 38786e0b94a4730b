"""Every published on-disk format through prepare, check, two steps of training, evaluate and compare."""

import json
from pathlib import Path

import numpy as np
import pytest
from fuzz_readers import READERS

from parlante.cli import main

RECIPES = Path(__file__).parents[2] / "recipes"
FAMILIES = {
    "vocaset": "faceformer", "biwi": "talkingstyle", "mead": "facediffuser", "multiface": "ptalker",
    "folder": "faceformer",
}  # fmt: skip


@pytest.mark.parametrize("dataset", FAMILIES)
def test_from_published_files_to_a_ranking(dataset: str, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    source, store, run = (tmp_path / name for name in ("source", "store", "run"))
    source.mkdir()
    next(reader for reader in READERS if reader.name == dataset).seed(source)
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
