"""A stage: one kind of training, by the name that recipes call it; and the way from a recipe to an exported model.

Every stage goes the same way: settings, data, model, training, figures, export. A stage says which sections its recipe
has and how it trains; what comes after the training is the same for all.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from parlante.core import InputError, atomic_path
from parlante.training.engine.corpora import Corpora
from parlante.training.engine.logs import check_loggers
from parlante.training.engine.processes import first_process
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.schema import Section, read, suggestion


class Trained(Protocol):
    """What a training leaves."""

    def figures(self) -> dict[str, float]:
        """What it is worth on validation clips, or on what it was fitted to."""

    def export(self, folder: Path, figures: dict[str, float]) -> None:
        """Write the model to a new folder."""


@dataclass(frozen=True)
class Recipe:
    """A recipe that has been checked: settings by section."""

    stage: str
    settings: Mapping[str, Any]

    def __getitem__(self, section: str) -> Any:
        return self.settings[section]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One kind of training."""

    name: str
    """What recipes say under `stage`."""
    about: str
    """What it trains, in a line."""
    sections: Mapping[str, Section]
    """Sections of its recipe."""
    train: Callable[[Recipe, Path], Trained]
    """Prepare the data, build the model and train it, in a run folder. Raises InputError."""
    corpora: Corpora | None = None
    """Which ones `data.corpus` may be; none: the stage writes its own."""

    def read(self, config: Mapping[str, Any]) -> Recipe:
        """Check a recipe. Raises InputError for unknown sections and keys, with the nearest known name, for missing
        ones, and for values that do not fit."""
        for name, given in config.items():
            if name == "stage":
                continue
            if name not in self.sections:
                raise InputError(
                    f"a recipe of the stage {self.name} has no section {name}; {suggestion(str(name), self.sections)}"
                )
            for key in given if isinstance(given, Mapping) else ():
                self._check_place(name, key)
        return Recipe(self.name, {name: read(keys, config.get(name), name) for name, keys in self.sections.items()})

    def _check_place(self, section: str, key: str) -> None:
        """Raises InputError for a key that belongs to another section."""
        if key not in self.sections[section].types():
            for other, keys in self.sections.items():
                if key in keys.types():
                    raise InputError(f"the recipe's {section} has no {key}; did you mean {other}.{key}?")

    def run(self, recipe: Recipe, run_dir: Path) -> None:
        """Train; then write `run_dir/figures.json` and `run_dir/export`, by the first of several processes."""
        loop = recipe.settings.get("loop")
        if isinstance(loop, LoopConfig):
            check_loggers(loop.tensorboard, loop.wandb)
        if self.corpora is not None:
            self.corpora.check(self.name, recipe["data"].corpus)
        trained = self.train(recipe, run_dir)
        if not first_process():
            return
        with torch.no_grad():
            figures = trained.figures()
        with atomic_path(run_dir / "figures.json") as path:
            path.write_text(json.dumps(figures, indent=1) + "\n")
        trained.export(run_dir / "export", figures)
