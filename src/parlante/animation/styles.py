"""What a user may write where a style is asked for."""

import math
from pathlib import Path

from parlante.animation.source import Source, unknown_name
from parlante.animation.sources import shipped_model
from parlante.core import InputError, Style
from parlante.core.style import blend, load_style


def find_style(wish: str | Style | None, source: Source) -> str | Style | None:
    """A known name as it is; a `.style` file; or a mixture such as `ada:0.7,bo:0.3`, its amounts scaled to sum to 1.

    Amounts are any finite numbers: `ada:2,bo:-1` leads beyond ada, away from bo. A single one counts from the source's
    average style: `ada:0` is the average, `ada:1.5` exaggerates ada, `ada:-1` is ada's opposite. Raises InputError for
    unknown names, other amounts, and styles of another model.
    """
    if wish is None or wish in source.style_names:
        return wish
    if isinstance(wish, str):
        wish = _mixture(wish, source) if ":" in wish and not Path(wish).is_file() else _single(wish, source)
        if isinstance(wish, str):
            return wish
    _check(wish, source)
    return wish


def _single(text: str, source: Source) -> str | Style:
    if text in source.style_names:
        return text
    path = Path(text)
    if path.suffix == ".style":
        return load_style(text)
    if path.suffix == ".npz":
        raise InputError(
            f"{text} is an animation, wanted a style: a known name, a mixture of names or a .style file; learn one "
            f"from it: parlante style extract {text} -o {path.with_suffix('.style')} --model "
            f"{source.provenance.get('model')}"
        )
    if path.is_file():
        raise InputError(
            f"{text} is no .style file; wanted one that parlante style wrote, a known name or a mixture of names"
        )
    raise unknown_name("style", text, source.style_names)


def _mixture(text: str, source: Source) -> Style:
    styles, amounts = [], []
    for part in text.split(","):
        name, _, amount = part.strip().rpartition(":")
        if not name:
            raise InputError(f"{part.strip()!r} in {text!r} is no NAME:AMOUNT; write ada:0.7,bo:0.3")
        amounts.append(_amount(amount, part))
        found = _single(name, source)
        style = source.style(found) if isinstance(found, str) else found
        _check(style, source)
        styles.append(style)
    if len(styles) == 1:
        return blend([source.style(None), styles[0]], [1 - amounts[0], amounts[0]], text)
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


def _check(style: Style, source: Source) -> None:
    model, checkpoint = source.provenance.get("model"), source.provenance.get("checkpoint_sha256")
    own = shipped_model(style)
    use = f"use --model {own}" if own else f"use --model DIR, the folder of its {style.model}"
    if style.model and style.model != model:
        raise InputError(f"style {style.name!r} belongs to {style.model}, not to {model}; {use}")
    if style.checkpoint and checkpoint and style.checkpoint != checkpoint:
        raise InputError(
            f"style {style.name!r} was extracted with another {model} ({style.checkpoint[:8]}, this is "
            f"{checkpoint[:8]}); {use}, or extract it again"
        )
