"""Weights of the small recipes' own terms: a term of weight 0 is not computed, and the loss is the weighted sum."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from parlante.core import InputError
from parlante.models.registry import build
from parlante.training import find_stage
from parlante.training.engine.recipe import LoopConfig, read_recipe
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.features.motion_store import prepare
from parlante.training.schemes.facediffuser import DiffusionTermConfig, FaceDiffuserScheme
from parlante.training.schemes.motion_scheme import MotionSchemeConfig
from parlante.training.schemes.ptalker import PTalkerScheme

ROOT = Path(__file__).parents[3]
SIZES: dict[str, dict[str, Any]] = {
    "ptalker": {"audio_style_hidden": 8, "motion_layers": 1, "motion_convolutions": 1, "layers": 1, "heads": 2},
    "facediffuser": {"steps": 10},
}


@pytest.fixture
def values(corpus: Path, tmp_path: Path) -> Any:
    """The terms of one and the same step, with weights."""
    store = prepare(MotionDataConfig(corpus=str(corpus), cache=str(tmp_path), num_augmentations=0, rows=3))
    own = MotionSchemeConfig(batch=2, frames=24, frame_offsets=(0,))

    def step(family: str, loss: Any) -> dict[str, float]:
        width = store.features.shape[-1]
        sizes = {"motion_dim": 3, "audio_dim": width, "subjects": 2, "steps_per_frame": 1, "width": 16, **SIZES[family]}
        torch.manual_seed(0)
        network = build(family, sizes | ({"emotion_dim": width} if family == "ptalker" else {}))
        kind: Any = {"ptalker": PTalkerScheme, "facediffuser": FaceDiffuserScheme}[family]
        scheme = kind(family, network, store, LoopConfig(max_steps=1), own, loss=loss)
        torch.manual_seed(1)
        return {name: float(value.detach()) for name, value in scheme.losses(scheme.batch(0)).items()}

    return step


def test_ptalkers_terms_are_switches(values: Any) -> None:
    published, plain = values("ptalker", None), values("ptalker", {"constraint": 0.0})
    names = {"orthogonal_audio", "orthogonal_motion", "info_audio", "info_motion", "contrastive", "kl", "adversarial"}
    assert names <= published.keys() and "auxiliary" not in published
    assert not names & plain.keys()
    assert published["loss"] == pytest.approx(plain["loss"] + 0.01 * published["constraint"], rel=1e-5)
    one = values("ptalker", {**dict.fromkeys(names, 0.0), "kl": 2.0, "auxiliary": 3.0})
    assert names & one.keys() == {"kl"}
    assert one["constraint"] == pytest.approx(2 * one["kl"] + 3 * one["auxiliary"], rel=1e-5)


def test_facediffusers_term_is_a_switch(values: Any) -> None:
    with_it, without = values("facediffuser", None), values("facediffuser", DiffusionTermConfig(huber=0.0))
    assert "huber" not in without
    assert with_it["loss"] == pytest.approx(without["loss"] + with_it["huber"], rel=1e-5)


def test_every_ablation_changes_the_recipe() -> None:
    spec = importlib.util.spec_from_file_location("ablations", ROOT / "benchmarks" / "ptalker_ablations.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    stage = find_stage("ptalker")
    plain = stage.read(read_recipe(script.RECIPE, ["data.corpus=c"]))
    for name, changes in script.VARIANTS.items():
        found = stage.read(read_recipe(script.RECIPE, ["data.corpus=c", *changes]))
        assert (found.settings != plain.settings) == bool(changes), name
    with pytest.raises(InputError, match=r"loss has no orthogonal; did you mean orthogonal_"):
        stage.read(read_recipe(script.RECIPE, ["data.corpus=c", "loss.orthogonal=0"]))
