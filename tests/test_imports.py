"""Imports point down the list of rooms in docs/design/architecture.md, and `--help` never waits for torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "parlante"
# From the top of the house to the cellar; a room may import itself and what stands after it.
FLOORS = (
    ("cli",),
    ("server",),
    ("evaluation",),
    ("batch",),
    ("animation",),
    ("retarget",),
    ("training",),
    ("render", "export"),
    ("synth",),
    ("models",),
    ("losses", "metrics"),
    ("data",),
    ("head",),
    ("audio",),
    ("geometry",),
    ("core",),
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
ALLOWED: set[tuple[str, str]] = set()


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("parlante.") for name in names if name.startswith("parlante.")}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    if room not in LEVEL:  # the package's own __init__ and __main__
        return
    upward = {
        name
        for name in imported(path)
        if name.split(".")[0] in LEVEL
        and LEVEL[name.split(".")[0]] < LEVEL[room]
        and not any((room, ".".join(name.split(".")[:n])) in ALLOWED for n in (1, 2))
    }
    assert not upward, f"{path.name} in {room} reaches up to {sorted(upward)}"


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path) for path in SOURCE.rglob("*.py")} - {"__init__", "__main__"}
    assert rooms <= LEVEL.keys(), f"give {rooms - LEVEL.keys()} a floor here and in docs/design/architecture.md"


def test_help_does_not_load_torch() -> None:
    code = (
        "import sys\nfrom parlante.cli import COMMANDS, main\n"
        "for command in COMMANDS:\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit as stop: assert stop.code == 0, command\n"
        "assert 'torch' not in sys.modules and 'numba' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("parlante") > 5, "every command shows an example"
