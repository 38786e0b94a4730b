"""Checkpoint folders: what older ones say is read under its present names."""

import json
import shutil
from pathlib import Path

import torch

from parlante.audio.encoders.phonetic import ASSET, PhoneticEncoder
from parlante.core.renames import RENAMED
from parlante.models.checkpoint import digest, load_checkpoint, model_name, save_checkpoint
from parlante.training.features.speech_features import phonetic_digest


def test_old_keys_of_a_config_are_read_under_their_new_names(tmp_path: Path) -> None:
    old, new = next(iter(RENAMED["config key"].items()))
    folder = save_checkpoint(
        tmp_path, "toy", {old: [1, 2], "inner": {old: 3, "other": [{old: 4}]}}, {"x": torch.ones(2)}
    )
    assert old in json.loads((folder / "config.json").read_text())["config"]
    config, _ = load_checkpoint(folder, "toy")
    assert config == {new: [1, 2], "inner": {new: 3, "other": [{new: 4}]}}


def test_a_run_folder_is_the_checkpoint_that_it_exported(tmp_path: Path) -> None:
    run = tmp_path / "run"
    saved = save_checkpoint(run / "export", "toy", {"a": 1}, {"x": torch.ones(2)})
    (run / "recipe.yaml").touch()
    assert load_checkpoint(run, "toy")[0] == {"a": 1} and model_name(run) == "toy" and digest(run) == digest(saved)
    shutil.copytree(ASSET, run / "phonetic" / "export")
    PhoneticEncoder.from_pretrained(run / "phonetic")
    assert phonetic_digest(str(run / "phonetic")) == phonetic_digest(str(run / "phonetic" / "export"))
