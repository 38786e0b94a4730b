"""Make the eight golden animations and say how far they are from what is recorded of them.

python tools/golden_animations.py                   compare with the records of tests/golden
python tools/golden_animations.py --write           record anew
python tools/golden_animations.py --full DIR        also keep the whole animations, in a new folder
python tools/golden_animations.py --compare DIR     compare with whole animations that --full kept

The records may change only in a commit that says why. Exit code 1 where anything differs by more than is tolerated.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("NUMBA_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "golden"))

import numpy as np
from golden_cases import CASES, Case, Workshop, threads
from golden_numbers import RECORDS, Difference, against_record, against_whole, read, recorded


def main(arguments: list[str]) -> int:
    """Make, keep, compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="record anew instead of comparing with the records")
    parser.add_argument("--full", type=Path, metavar="DIR", help="a new folder for the whole animations")
    parser.add_argument("--compare", type=Path, metavar="DIR", help="whole animations to compare with")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: %(default)s, as recorded)")
    parser.add_argument(
        "--case", action="append", choices=[case.name for case in CASES], help="only this one; repeatable"
    )
    options = parser.parse_args(arguments)
    if options.write and options.threads != 1:
        parser.error("records are made with one thread; leave out --threads")
    if options.compare and not options.compare.is_dir():
        parser.error(f"--compare {options.compare}: no such folder")
    if options.full:
        if options.full.exists() and any(options.full.iterdir()):
            parser.error(f"--full {options.full} is not empty; name a new folder")
        options.full.mkdir(parents=True, exist_ok=True)
    good = True
    with tempfile.TemporaryDirectory() as folder, threads(options.threads):
        workshop = Workshop(Path(folder))
        for case in CASES:
            if not options.case or case.name in options.case:
                good &= _treat(case, workshop, options)
    return 0 if good else 1


def _treat(case: Case, workshop: Workshop, options: argparse.Namespace) -> bool:
    """One case; whether nothing differs."""
    started = time.perf_counter()
    path = workshop.make(case)
    print(f"{case.name}: made in {time.perf_counter() - started:.1f} s")
    animation, record = read(path), RECORDS / f"{case.name}.npz"
    if options.full:
        shutil.copyfile(path, options.full / path.name)
    if options.write:
        RECORDS.mkdir(exist_ok=True)
        np.savez_compressed(record, **recorded(animation))
        print(f"  recorded in {record.stat().st_size / 1e3:.0f} kB")
    good = _tell(against_record(animation, read(record)), "record")
    if options.compare:
        good &= _tell(against_whole(animation, read(options.compare / path.name)), "whole")
    path.unlink()
    return good


def _tell(found: list[Difference], what: str) -> bool:
    """Print what is not equal, the largest shares of the tolerance first; whether all is tolerated."""
    apart = [one for one in found if one.largest != 0]
    for one in sorted(apart, key=lambda one: -one.largest / (one.tolerance or 1e-12)):
        print(f"  {what}: {one}")
    if not apart:
        print(f"  {what}: all {len(found)} arrays are equal to the last bit")
    return all(one.tolerated for one in found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
