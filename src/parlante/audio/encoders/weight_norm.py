"""The two spellings of a weight-normalised convolution in a file.

The positional convolution of a speech network keeps w = g v / ||v|| as two tensors. Old torch wrote them as `weight_g`,
`weight_v`; newer torch as `parametrizations.weight.original0`, `.original1`. Same tensors, same order, so renaming is
exact in both directions.
"""

from collections.abc import Mapping
from typing import TypeVar

OLD = (".weight_g", ".weight_v")
NEW = (".parametrizations.weight.original0", ".parametrizations.weight.original1")

V = TypeVar("V")


def to_new(state: Mapping[str, V]) -> dict[str, V]:
    """Every `*.weight_g`, `*.weight_v` under its new name. Raises ValueError where a file holds both spellings."""
    return _rename(state, OLD, NEW)


def to_old(state: Mapping[str, V]) -> dict[str, V]:
    """Every `*.parametrizations.weight.original0`, `.original1` under its old name. Raises ValueError as `to_new`."""
    return _rename(state, NEW, OLD)


def _rename(state: Mapping[str, V], source: tuple[str, ...], target: tuple[str, ...]) -> dict[str, V]:
    renamed: dict[str, V] = {}
    for name, value in state.items():
        for ending, other in zip(source, target, strict=True):
            if name.endswith(ending):
                name = name.removesuffix(ending) + other
        if name in renamed:
            raise ValueError(f"{name} is there twice, under the old and the new name of a weight norm")
        renamed[name] = value
    return renamed
