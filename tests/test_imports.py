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


def modules() -> dict[str, Path]:
    """Every file of the package by its dotted name."""
    names = {path: ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in SOURCE.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for path, name in names.items()}


def imported_files(path: Path, files: dict[str, Path]) -> set[str]:
    """Files that a file imports, for types only and within functions included; `__init__` files do not count."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            deeper = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in files else node.module for name in deeper}
    return {name for name in found & files.keys() if files[name].name != "__init__.py" and files[name] != path}


def test_no_circle_between_files() -> None:
    files = modules()
    left = {name: imported_files(path, files) for name, path in files.items() if path.name != "__init__.py"}
    while ends := [
        name
        for name, others in left.items()
        if not others & left.keys() or not any(name in more for other, more in left.items() if other != name)
    ]:
        for name in ends:
            del left[name]
    stuck = [f"{name} -> {other}" for name, others in left.items() for other in sorted(others & left.keys())]
    assert not stuck, f"files in circles, or between two of them: {'; '.join(stuck)}"


FAMILY_NAMES = {
    "faceformer",
    "talkingstyle",
    "ptalker",
    "codetalker",
    "facediffuser",
    "textalker",
    "textalker-released",
}
FAMILY_ROOMS = ("models/registry.py", "training/schemes/", *(f"models/{name}/" for name in FAMILY_NAMES))
"""Where a family may be told by its name; its importer stands in its folder."""


def family_branches(tree: ast.AST) -> list[int]:
    """Lines that compare something with a family's name."""

    def named(node: ast.AST) -> bool:
        return any(isinstance(part, ast.Constant) and part.value in FAMILY_NAMES for part in ast.walk(node))

    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and named(node):
            lines.append(node.lineno)
        elif isinstance(node, ast.match_case) and named(node.pattern):
            lines.append(node.pattern.lineno)
    return lines


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_branch_on_a_family_s_name(path: Path) -> None:
    if str(path.relative_to(SOURCE)).startswith(FAMILY_ROOMS):
        return
    lines = family_branches(ast.parse(path.read_text()))
    assert not lines, (
        f"{path.relative_to(SOURCE)} asks for a family by name in lines {lines}; put the answer into FamilySpec"
    )


def test_branches_are_seen() -> None:
    assert family_branches(ast.parse("if model == 'ptalker': ...")) == [1]
    assert family_branches(ast.parse("a = 1\nb = model in ('x', 'codetalker')")) == [2]
    assert not family_branches(ast.parse("name = 'ptalker'"))


def test_functions_are_short() -> None:
    long = [
        f"{path.relative_to(SOURCE)}:{node.lineno} {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (node.end_lineno or 0) - node.lineno >= 79
    ]
    assert not long, "; ".join(long)
