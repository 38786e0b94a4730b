"""Numbers that the authors' own code produced; skipped with a message where they are absent."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from golden import Golden
from safetensors.torch import load_file
from torch import Tensor

from parlante.models.components import causal_decoder

LAST_BIT = 2.0**-23
"""Of a number of 1 to 2 in single precision."""


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


@pytest.fixture(autouse=True)
def authors_tables(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a fixture holds the authors' positional tables, its cases are computed with them.

    The tables are sines in single precision, whose last bit depends on machine and period; in double precision one such
    bit is a hundred times what the cases allow. Ours must agree with theirs to that bit.
    """
    params = getattr(request.node, "callspec", None)
    for value in params.params.values() if params else ():
        golden = getattr(value, "golden", value)
        period = golden.sizes.get("period") if isinstance(golden, Golden) else None
        if not period:
            continue
        theirs: dict[tuple[int, int], Tensor] = {}
        for name, table in golden.tables().items():
            rows = table.reshape(-1, table.shape[-1])
            ours = causal_decoder.periodic_positions(0, len(rows), rows.shape[1], period)
            assert (rows - ours).abs().max() <= LAST_BIT, f"{golden}: {name} is another table than ours"
            theirs[rows.shape[1], period] = rows[:period]
        monkeypatch.setattr(causal_decoder, "_one_period", _first_of(theirs, causal_decoder._one_period))


def _first_of(theirs: dict[tuple[int, int], Tensor], own: Callable[[int, int], Tensor]) -> Callable[[int, int], Tensor]:
    return lambda width, period: theirs[width, period] if (width, period) in theirs else own(width, period)
