"""Which fixtures lie in a folder of $PARLANTE_PARITY, told by what they hold, so that new ones are picked up."""

import json
import os
from pathlib import Path

ROOT = Path(os.environ.get("PARLANTE_PARITY", Path(__file__).parents[3] / "shared" / "parity"))


def holding(folder: str, key: str, usual: str) -> list[str]:
    """`folder/name` of each fixture with a tensor called `key`; the `usual` one, which will skip, if none is there."""
    found = []
    for path in sorted(ROOT.glob(f"{folder}/*.json")):
        head = json.loads(path.read_text())
        if isinstance(head, dict) and key in head.get("tensors", {}):
            found.append(f"{folder}/{path.stem}")
    return found or [f"{folder}/{usual}"]
