"""Who to move like."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.core.errors import InputError
from parlante.core.files import atomic_path

FORMAT = "parlante-style/1"
_LARGEST = 1 << 26  # bytes; a style is a few kilobytes


@dataclass(frozen=True, eq=False)
class Style:
    """How a person moves, as numbers of one model; motion and wrinkles may come from different persons.

    TexTalker: style pivots (C, h, w), the mean latents of a person's motion and wrinkles (section "style pivots").
    Autoregressive models: motion is the style code (D,), wrinkle is empty. Mixing and strengthening are arithmetic.
    """

    motion: NDArray[np.float32]
    wrinkle: NDArray[np.float32]
    name: str = ""
    model: str = ""
    """Whose numbers these are: the model's name, or empty where nobody asks."""
    checkpoint: str = ""
    """SHA-256 of the weights that the style belongs to, or empty."""
    wrinkle_name: str = ""
    """The person whose wrinkles these are, or empty: the speaker's own."""

    def mix(self, other: "Style", amount: float, wrinkle_amount: float | None = None) -> "Style":
        """This style moved towards `other`: 0 is this one, 1 the other; beyond 1 exaggerates the difference.

        wrinkle_amount: the same for the wrinkles alone; `a.mix(b, 0, 1)` moves like a and wrinkles like b. From the
        mean style, an amount is the strength of the other's manner. Raises InputError for styles of different models.
        """
        skin = amount if wrinkle_amount is None else wrinkle_amount
        name = f"{self.name}+{amount:g}*({other.name}-{self.name})"
        moved = blend([self, other], [1 - amount, amount], name)
        if skin == amount:
            return moved
        return replace(moved, wrinkle=blend([self, other], [1 - skin, skin]).wrinkle, name=f"{name}, wrinkles {skin:g}")


def combined(motion: Style, wrinkle: Style) -> Style:
    """The motion of one style with the wrinkles of another."""
    return replace(motion, wrinkle=wrinkle.wrinkle, wrinkle_name=wrinkle.wrinkle_name)


def blend(styles: Sequence[Style], amounts: Sequence[float], name: str = "") -> Style:
    """The sum of `amounts` times `styles`; negative amounts lead away.

    Raises InputError for different models, and for amounts too large for single precision.
    """
    first = styles[0]
    for other in styles[1:]:
        same = (first.model, first.checkpoint) == (other.model, other.checkpoint)
        if not same or first.motion.shape != other.motion.shape or first.wrinkle.shape != other.wrinkle.shape:
            raise InputError(
                f"styles {first.name!r} of {_whose(first)} and {other.name!r} of {_whose(other)} cannot be mixed; "
                "extract both with the same model"
            )
    with np.errstate(over="ignore", invalid="ignore"):
        weights = np.asarray(amounts, np.float32)
        motion = np.tensordot(weights, np.stack([s.motion for s in styles]), 1).astype(np.float32)
        wrinkle = np.tensordot(weights, np.stack([s.wrinkle for s in styles]), 1).astype(np.float32)
    if not (np.isfinite(weights).all() and np.isfinite(motion).all() and np.isfinite(wrinkle).all()):
        told = ", ".join(f"{amount:g}" for amount in amounts)
        raise InputError(f"styles mixed in the amounts {told} are no finite numbers; amounts of -2..3 look like faces")
    names = name or ",".join(f"{s.name}:{amount:g}" for s, amount in zip(styles, amounts, strict=True))
    return Style(motion, wrinkle, names, first.model, first.checkpoint)


def save_style(style: Style, path: Path | str) -> None:
    """Write a `.style` file: a safetensors file of two arrays, who and which model as its metadata."""
    from safetensors.numpy import save_file

    facts = {"format": FORMAT, "name": style.name, "model": style.model, "checkpoint": style.checkpoint}
    arrays = {key: np.ascontiguousarray(getattr(style, key), np.float32) for key in ("motion", "wrinkle")}
    with atomic_path(path) as partial:
        save_file(arrays, partial, metadata=facts)


def load_style(path: Path | str) -> Style:
    """Read a `.style` file; nothing in it is executed. Raises InputError for anything else."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is too large for a style; give a file written by parlante style")
        with safe_open(path, framework="numpy") as file:
            facts = file.metadata() or {}
            keys = set(file.keys())
            if facts.get("format") != FORMAT or keys != {"motion", "wrinkle"}:
                raise InputError(f"{path} is no style file; give one written by parlante style extract")
            arrays = {key: file.get_tensor(key) for key in keys}
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"cannot read {path} as a style: {error}; extract it again") from error
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays.values()):
        raise InputError(f"{path} holds values that are no finite numbers; extract the style again")
    name, model, checkpoint = (str(facts.get(key, "")) for key in ("name", "model", "checkpoint"))
    return Style(arrays["motion"], arrays["wrinkle"], name, model, checkpoint)


def _whose(style: Style) -> str:
    return f"{style.model or 'no model'} {style.checkpoint[:8]}".strip()
