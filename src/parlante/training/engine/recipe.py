"""Recipes: a YAML mapping with a `stage` and one section for each dataclass of settings; and the `loop:` section."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from parlante.core import InputError
from parlante.core.files import read_file
from parlante.core.ranges import Amount, Count, Positive, Share, Whole
from parlante.core.renames import RENAMED, notice
from parlante.core.typed import check_depth

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
EXAMPLE = "recipes/faceformer/small.yaml"
_LARGEST, _MOST_VALUES = 1 << 22, 1 << 16
"""Bytes and values of a recipe; names of lists may be used again and again."""
FAMILIES_STAGE = "autoregressive"
"""What recipes said under `stage` for a family that `model.family` named."""


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """How long and how fast; the `loop:` part of a recipe."""

    max_steps: Count = 10000
    """Steps of the optimiser."""
    max_minutes: Positive | None = None
    """Stop (and anneal the learning rate to the end) by then, whichever comes first."""
    lr: Amount = 1e-3
    """Learning rate, after the warm-up."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Of the learning rate, after the warm-up."""
    final_lr: Amount = 0.02
    """Learning rate at the end, as a share of `lr` (cosine)."""
    warmup: Whole = 100
    """Steps in which the learning rate rises."""
    ema: Share = 0.995
    """Decay of the running average of the weights, which is what is validated and exported."""
    clip: Amount = 1.0
    """Gradient norm limit; 0 switches it off."""
    accumulate: Count = 1
    """Batches of a step; their gradients are averaged."""
    precision: Literal["32", "bf16", "16"] = "32"
    """32, or mixed: bf16 or 16. Weights, optimiser, average and validation stay float32."""
    log_every: Count = 20
    """Steps between rows of metrics.csv."""
    save_every: Count = 500
    """Steps between checkpoints."""
    validate_every: Count = 500
    """Steps between validations."""
    patience: Whole = 0
    """Stop after so many validations without a better figure, and keep the weights of the best; 0: train to the end."""
    monitor: str = ""
    """Figure that `patience` looks at; empty: the first one of the validation. Lower is better, except
    for psnr, accuracy and auc."""
    sample_every: Whole = 0
    """Steps between samples of a validation clip in `samples/`: a video with audio, or a sheet of maps; 0: none."""
    collapse: Share = 0.05
    """Warn where predicted motion varies less than this share of the true one's deviation; 0: never."""
    tensorboard: bool = False
    """Write the figures for TensorBoard, too."""
    wandb: str = ""
    """Project on Weights & Biases that gets the figures, too (extra `wandb`; its own settings say where it is); empty:
    none."""
    keep_every: Whole = 0
    """Steps between checkpoints that are kept as step-N.ckpt, with the averaged weights alone; 0: none are."""
    export_from: str = ""
    """Checkpoint of an earlier run with the same recipe: nothing is trained, its weights are judged and exported."""
    workers: Whole = 0
    """Processes that make batches ahead of time; 0: the training itself makes them. The batches stay the same."""
    one_clip: bool = False
    """Train and validate on a single clip: a smoke test, which every working model passes."""
    threads: Count | None = None
    """CPU threads; default torch's choice."""
    accelerator: str = "auto"
    """Lightning's: auto, cpu, gpu."""
    devices: Count = 1
    """Of each machine; the batch of a recipe is that of one device."""
    nodes: Count = 1
    """Machines."""
    strategy: str = "auto"
    """Lightning's; auto on several devices is data-parallel training that allows for weights without a gradient."""
    seed: Whole = 0
    """Of batches and all random draws; a stage that starts from random weights draws them from it, too."""


def read_recipe(path: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """A YAML recipe with `a.b=value` changes applied (values are YAML too), under today's names.

    Old names of keys are replaced, with a notice. What the recipe says is checked by its stage (`Stage.read`). Raises
    InputError if the file or a change is unusable.
    """
    content = read_file(path, f"a recipe, a YAML file such as {EXAMPLE}", largest=_LARGEST)
    try:
        config = yaml.safe_load(content)
        check_depth(config, _MOST_VALUES)
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"cannot read the recipe {path}: {reason}; mend its YAML") from error
    if not isinstance(config, dict) or not isinstance(config.get("stage"), str):
        raise InputError(f"{path} is no recipe: it must be a YAML mapping with a `stage`")
    config = _renamed(config)
    for change in changes:
        _change(config, change)
    return config


def _change(config: dict[str, Any], change: str) -> None:
    """Apply `a.b=value` in place."""
    place, equals, text = change.partition("=")
    if not equals:
        raise InputError(f"--set wants key=value, got {change!r}; for example --set loop.max_steps=100")
    try:
        value = yaml.safe_load(text)
        check_depth(value, _MOST_VALUES)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise InputError(f"--set {change}: {text!r} is no YAML value; put text in quotes") from error
    new = RENAMED["recipe key"].get(place)
    if new is not None:
        notice("recipe key", place, new)
        place = new
    _put(config, place, value, f"--set {change}")


def _put(config: dict[str, Any], place: str, value: Any, source: str) -> None:
    *parents, last = place.split(".")
    inner = config
    for key in parents:
        inner = inner.setdefault(key, {})
        if not isinstance(inner, dict):
            raise InputError(f"{source}: {key} is a value in the recipe, not a section")
    inner[last] = value


def _renamed(config: dict[str, Any]) -> dict[str, Any]:
    """The recipe with today's names of keys, see `core.renames`. Raises InputError where old and new are both there."""
    if config["stage"] == FAMILIES_STAGE:
        if not isinstance(config.get("model"), dict) or not config["model"].get("family"):
            raise InputError(f"the recipe's stage {FAMILIES_STAGE} needs model.family; or say stage: faceformer")
        config = {key: value for key, value in config.items() if key != "stage"}
    for old, new in RENAMED["recipe key"].items():
        *parents, last = old.split(".")
        inner: Any = config
        for key in parents:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or last not in inner:
            continue
        if _has(config, new):
            raise InputError(f"the recipe has {old} and {new}, which is its name now; leave {old} out")
        notice("recipe key", old, new)
        _put(config, new, inner.pop(last), f"{old} of the recipe")
    return config


def _has(config: Any, place: str) -> bool:
    for key in place.split("."):
        if not isinstance(config, dict) or key not in config:
            return False
        config = config[key]
    return True
