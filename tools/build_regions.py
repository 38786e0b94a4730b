"""Pack the published vertex lists (lips, upper face, ...) into `src/parlante/assets/regions/regions.npz`.

    python tools/build_regions.py regions.json

regions.json: {"topology/list": [vertex numbers, in the published order, repeats kept]}. The lists are facts published
with TalkingStyle, PTalker, CodeTalker and FaceDiffuser; `parlante.geometry.regions` names the file of each.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from parlante.core import atomic_path

OUT = Path(__file__).parents[1] / "src" / "parlante" / "assets" / "regions" / "regions.npz"


def main(arguments: list[str]) -> None:
    """Write the lists as int32 arrays named `topology/list`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lists", type=Path, help="the JSON file")
    parser.add_argument("--out", type=Path, default=OUT, help="file to write (default: %(default)s)")
    options = parser.parse_args(arguments)
    arrays = {name: np.asarray(numbers, np.int32) for name, numbers in json.loads(options.lists.read_text()).items()}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(options.out) as path, path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    print(f"{len(arrays)} lists, {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
