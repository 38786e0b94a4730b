"""Numbers that the authors' own code produced; skipped with a message where they are absent."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor


@dataclass(frozen=True)
class Case:
    """One fixture: its sizes, weights, inputs and outputs."""

    sizes: dict[str, Any]
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Tensors under `prefix/`, without it."""
        return {k[len(prefix) + 1 :]: v for k, v in self.tensors.items() if k.startswith(prefix + "/")}


@pytest.fixture(scope="session")
def parity() -> Callable[[str], Case]:
    """Read the fixture `folder/name`."""
    root = Path(os.environ.get("PARLANTE_PARITY", Path(__file__).parents[3] / "shared" / "parity"))

    def read(name: str) -> Case:
        path = root / f"{name}.safetensors"
        if not path.is_file():
            pytest.skip(f"no parity fixture {path}; set PARLANTE_PARITY")
        head = json.loads(path.with_suffix(".json").read_text())
        return Case(head["hyperparameters"], load_file(path))

    return read
