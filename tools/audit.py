"""Known faults of pinned packages, without a network: constraints.txt against a folder of OSV files.

python tools/audit.py DATABASE              a folder of .json files in the OSV format (osv.dev offers them by ecosystem)
python tools/audit.py DATABASE --pins FILE  other pins, NAME==VERSION a line

Prints a line for each fault that a pinned version has. Exit code 1 where there are any, 2 where the database is none.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]


def read_pins(path: Path) -> dict[str, Version]:
    """Name -> version."""
    rows = [line.split("#")[0].split(" ")[0].strip() for line in path.read_text().splitlines()]
    return {canonicalize_name(name): Version(version) for name, _, version in (r.partition("==") for r in rows if r)}


def faults(record: Mapping[str, Any], pins: Mapping[str, Version]) -> Iterator[str]:
    """A line for each pinned package that an OSV record concerns."""
    for affected in record.get("affected", ()):
        package = affected.get("package", {})
        name = canonicalize_name(str(package.get("name", "")))
        if package.get("ecosystem") != "PyPI" or name not in pins:
            continue
        listed = str(pins[name]) in affected.get("versions", ())
        ranges = [each["events"] for each in affected.get("ranges", ()) if each.get("type") == "ECOSYSTEM"]
        if listed or any(_within(pins[name], events) for events in ranges):
            mended = [event["fixed"] for events in ranges for event in events if "fixed" in event]
            cure = f"mended in {', '.join(mended)}" if mended else "no version mends it yet"
            yield f"{name} {pins[name]}: {record.get('id', '?')} {record.get('summary', '')} ({cure})"


def _within(version: Version, events: Sequence[Mapping[str, str]]) -> bool:
    """Whether a version lies between an `introduced` and the `fixed` or `last_affected` after it."""
    inside = False
    for event in events:
        for kind, text in event.items():
            try:
                bound = Version(text)
            except InvalidVersion:
                continue
            if kind == "introduced" and version >= bound:
                inside = True
            elif (kind == "fixed" and version >= bound) or (kind == "last_affected" and version > bound):
                inside = False
    return inside


def main() -> int:
    """Compare and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("database", type=Path, help="a folder of .json files in the OSV format")
    parser.add_argument("--pins", type=Path, default=ROOT / "constraints.txt")
    options = parser.parse_args()
    files = sorted(options.database.rglob("*.json")) if options.database.is_dir() else []
    if not files:
        print(f"{options.database} is no folder of .json files; give the PyPI part of an OSV export", file=sys.stderr)
        return 2
    pins, found = read_pins(options.pins), 0
    for file in files:
        for line in faults(json.loads(file.read_text()), pins):
            print(line)
            found += 1
    print(f"{len(pins)} pins, {len(files)} records, {found} faults")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
