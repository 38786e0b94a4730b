"""What tensors of other people's files tell: sizes, from names and shapes.

Each family reads its own in its `import_.py`. Inference never
fails: a size that no tensor tells is made up, and the comparison with the model built from the sizes lists everything
that is missing, unexpected or of another shape.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from parlante.core import InputError
from parlante.models.components.causal_decoder import periodic_positions
from parlante.models.mesh_network import EMOTION, SPEECH

Tensors = Mapping[str, Tensor]
Sizes = dict[str, Any]
__all__ = ["EMOTION", "SPEECH", "TABLES", "Shapes", "Sizes", "Tensors", "decoder_sizes", "split", "take_tables"]

TABLES = frozenset(
    {"PPE.pe", "content_motion.PE.pe", "style_motion.PE.pe"}
    | {f"{side}.{side}_pos_embedding.pe" for side in ("encoder", "decoder")}
)
"""Positional tables: computed here for any length, so never loaded."""


def split(tensors: Tensors, prefix: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(tensors under `prefix`, without it; all others)."""
    inner = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
    return inner, {name: value for name, value in tensors.items() if not name.startswith(prefix)}


def period_of(table: Tensor) -> int:
    """The smallest shift under which a positional table (1, P, D) repeats; P if it does not."""
    rows = table.reshape(-1, table.shape[-1])
    same = (rows == rows[0]).all(-1).nonzero()[:, 0].tolist()
    for shift in same[1:]:
        if torch.equal(rows[shift:], rows[:-shift]):
            return int(shift)
    return len(rows)


def take_tables(tensors: Tensors, source: str) -> tuple[int | None, dict[str, Tensor]]:
    """(period of `PPE.pe` or none, the tensors without positional tables).

    Raises InputError if a table is not the published formula, because dropping it would change the model.
    """
    period: int | None = None
    for name in TABLES & tensors.keys():
        table = tensors[name]
        if table.ndim != 3 or not table.numel():
            raise InputError(f"{source}: {name} is {tuple(table.shape)}, wanted a table of three axes")
        rows = table.reshape(-1, table.shape[-1])
        periodic = name.endswith("PE.pe")
        found = period_of(table)
        wanted = periodic_positions(0, len(rows), table.shape[-1], found)
        if not torch.allclose(rows if periodic else rows[:1], wanted if periodic else wanted[:1], atol=2e-3):
            raise InputError(f"{source}: {name} is not the published positional table; this variant is not known")
        if name == "PPE.pe":
            period = found
    return period, {name: value for name, value in tensors.items() if name not in TABLES}


class Shapes:
    """Sizes read off tensors, the first place that has one; `missing` where none does."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    def size(self, *places: tuple[str, int], missing: int = 1) -> int:
        for name, axis in places:
            tensor = self._tensors.get(name)
            if tensor is not None and axis < tensor.ndim and tensor.shape[axis]:
                return int(tensor.shape[axis])
        return missing

    def count(self, pattern: str) -> int:
        """One more than the largest number that stands for {} in any name."""
        rule = re.compile(re.escape(pattern).replace(r"\{\}", r"(\d{1,4})") + r"\.")
        return max((int(hit[1]) + 1 for name in self._tensors if (hit := rule.match(name))), default=1)

    def has(self, name: str) -> bool:
        return name in self._tensors


def decoder_sizes(t: Shapes, encode: str, decode: str) -> Sizes:
    """What the families with a loop over vertices share."""
    return {
        "width": t.size(("transformer_decoder.layers.0.norm1.weight", 0), (f"{encode}.bias", 0), missing=8),
        "audio_dim": t.size(("audio_feature_map.weight", 1), (f"{SPEECH}encoder.layer_norm.weight", 0)),
        "motion_dim": t.size((f"{encode}.weight", 1), (f"{decode}.bias", 0), (f"{decode}.weight", 0), missing=3),
        "layers": t.count("transformer_decoder.layers.{}"),
    }
