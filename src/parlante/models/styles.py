"""What a user may write where a style is asked for: a name, a mixture of names, a `.style` file."""

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from parlante.core import InputError, Style
from parlante.core.assets import ASSETS
from parlante.core.style import blend, load_style
from parlante.models.checkpoint import digest
from parlante.models.registry import shipped
from parlante.models.talker import Abilities, unknown_name


class KnowsStyles(Protocol):
    """What the reading of styles asks of a talker."""

    name: str
    abilities: Abilities
    provenance: dict[str, Any]

    def named_style(self, name: str | None) -> Style:
        """A known style, or the average. Raises InputError."""
        ...

    def folder_style(self, folder: Path) -> Style:
        """The style of the person in a folder. Raises InputError where there is none, or folders mean nothing."""
        ...


def parse_style(wish: str | Style, talker: KnowsStyles) -> Style:
    """A known name; a `.style` file; a person's folder; or a mixture such as `ada:0.7,bo:0.3`, whose amounts are scaled
    to sum to 1.

    Amounts are any finite numbers: `ada:2,bo:-1` leads beyond ada, away from bo. A single one counts from the talker's
    average style: `ada:0` is the average, `ada:1.5` exaggerates ada, `ada:-1` is ada's opposite. Raises InputError for
    unknown names, other amounts, and styles of another model.
    """
    if isinstance(wish, Style):
        found = wish
    elif wish not in talker.abilities.styles and ":" in wish and not Path(wish).is_file():
        found = _mixture(wish, talker)
    else:
        found = _single(wish, talker)
    _check(found, talker)
    return found


def shipped_model(style: Style) -> str:
    """Name of the shipped talker that a style belongs to; empty: it belongs to a folder, or does not say to whom."""
    if style.model not in shipped() or (style.checkpoint and style.checkpoint != _digest(style.model)):
        return ""
    return style.model


@lru_cache
def _digest(name: str) -> str:
    return digest(ASSETS / name)


def _single(text: str, talker: KnowsStyles) -> Style:
    if text in talker.abilities.styles:
        return talker.named_style(text)
    path = Path(text)
    if path.is_dir():
        return talker.folder_style(path)
    if path.suffix == ".style":
        return load_style(text)
    if path.suffix == ".npz":
        raise InputError(
            f"{text} is an animation, wanted a style: a known name, a mixture of names or a .style file; learn one "
            f"from it: parlante style extract {text} -o {path.with_suffix('.style')} --model {talker.name}"
        )
    if path.is_file():
        raise InputError(
            f"{text} is no .style file; wanted one that parlante style wrote, a known name or a mixture of names"
        )
    raise unknown_name("style", text, talker.abilities.styles)


def _mixture(text: str, talker: KnowsStyles) -> Style:
    styles, amounts = [], []
    for part in text.split(","):
        name, _, amount = part.strip().rpartition(":")
        if not name:
            raise InputError(f"{part.strip()!r} in {text!r} is no NAME:AMOUNT; write ada:0.7,bo:0.3")
        amounts.append(_amount(amount, part))
        style = _single(name, talker)
        _check(style, talker)
        checkpoint = style.checkpoint or str(talker.provenance.get("checkpoint_sha256", ""))
        styles.append(replace(style, checkpoint=checkpoint))  # one that names none fits this one
    if len(styles) == 1:
        return blend([talker.named_style(None), styles[0]], [1 - amounts[0], amounts[0]], text)
    total = sum(amounts)
    if abs(total) < 1e-3:
        raise InputError(f"the amounts of {text!r} sum to zero; make them sum to 1")
    return blend(styles, [amount / total for amount in amounts], text)


def _amount(text: str, part: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount):
        raise InputError(
            f"{part.strip()!r} has no amount: got {text!r}, wanted a number; write ada:0.7,bo:0.3 or ada:1.5"
        )
    return amount


def _check(style: Style, talker: KnowsStyles) -> None:
    checkpoint = talker.provenance.get("checkpoint_sha256")
    own = shipped_model(style)
    use = f"use --model {own}" if own else f"use --model DIR, the folder of its {style.model}"
    if style.model and style.model != talker.name:
        raise InputError(f"style {style.name!r} belongs to {style.model}, not to {talker.name}; {use}")
    if style.checkpoint and checkpoint and style.checkpoint != checkpoint:
        raise InputError(
            f"style {style.name!r} was extracted with another {talker.name} ({style.checkpoint[:8]}, this is "
            f"{checkpoint[:8]}); {use}, or extract it again"
        )
