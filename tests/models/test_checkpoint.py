"""Checkpoint folders: what older ones say is read under its present names."""

import json
from pathlib import Path

import torch

from parlante.core.renames import RENAMED
from parlante.models.checkpoint import load_checkpoint, save_checkpoint


def test_old_keys_of_a_config_are_read_under_their_new_names(tmp_path: Path) -> None:
    old, new = next(iter(RENAMED["config key"].items()))
    folder = save_checkpoint(
        tmp_path, "toy", {old: [1, 2], "inner": {old: 3, "other": [{old: 4}]}}, {"x": torch.ones(2)}
    )
    assert old in json.loads((folder / "config.json").read_text())["config"]
    config, _ = load_checkpoint(folder, "toy")
    assert config == {new: [1, 2], "inner": {new: 3, "other": [{new: 4}]}}
