"""Which fixtures lie in $PARLANTE_PARITY, told by what they hold, so that new ones are picked up."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(os.environ.get("PARLANTE_PARITY", Path(__file__).parents[3] / "shared" / "parity"))


def described(folder: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each `folder/*.json` that is an object, and the object, in the order of names."""
    for path in sorted(ROOT.glob(f"{folder}/*.json")):
        head = json.loads(path.read_text())
        if isinstance(head, dict):
            yield path, head


def holding(folder: str, key: str, usual: str) -> list[str]:
    """`folder/name` of each fixture with a tensor called `key`; the `usual` one, which will skip, if none is there."""
    found = [f"{folder}/{path.stem}" for path, head in described(folder) if key in head.get("tensors", {})]
    return found or [f"{folder}/{usual}"]
