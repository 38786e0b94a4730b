"""The `parlante` commands that the documentation shows: where they stand, and what they say."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from parlante.cli import COMMANDS

ROOT = Path(__file__).parents[2]
_spec = importlib.util.spec_from_file_location("docs_site", ROOT / "tools" / "docs_site.py")
assert _spec is not None and _spec.loader is not None
docs_site = importlib.util.module_from_spec(_spec)
"""What makes the reference pages."""
_spec.loader.exec_module(docs_site)
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
STRICT = ("docs/guides/coming-from.md", "docs/guides/researcher.md", "docs/guides/artist.md")
"""Pages whose commands within tables and sentences are whole, too."""
NO_COMMANDS = ("python", "js", "json", "yaml", "cmake")
"""Languages of code blocks in which no command is looked for."""


class Shown(NamedTuple):
    """A command as a page shows it."""

    place: str
    """FILE:LINE."""
    words: list[str]
    """Everything after `parlante`."""
    whole: bool
    """Whether it is a line of its own, to be typed as it is; else a mention within a sentence."""


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """Logical lines of code blocks, fenced or indented, with their line numbers; continued lines are put together."""
    fence, started, pending = "", 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r"\s*(```|~~~)\s*(\w*)", line)
        if mark:
            fence = "" if fence else (mark[2] or "text")
            pending = ""
            continue
        if (fence and fence not in NO_COMMANDS) or (not fence and line.startswith("    ")):
            started = started if pending else number
            pending += line.strip()
            if pending.endswith("\\"):
                pending = pending[:-1]
                continue
            yield started, pending
            pending = ""


def _words(command: str) -> list[str]:
    return shlex.split(command, comments=True)


def commands_in(path: Path) -> list[Shown]:
    """Every `parlante` command of a page."""
    text, name, found = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)), []
    for number, line in blocks(text):
        start = re.search(r"(?:^|(?<=\s))parlante (?=[a-z-])", line)
        if start:
            found.append(Shown(f"{name}:{number}", _words(line[start.end() :]), True))
    for number, line in enumerate(re.sub(r"(?ms)^ *```.*?^ *```", _blank, text).splitlines(), 1):
        if not line.startswith("    "):
            for span in re.findall(r"`parlante ([a-z][^`]*)`", line):
                found.append(Shown(f"{name}:{number}", _words(span.replace("\\|", "|")), name in STRICT))
    return found


def commands_in_help() -> list[Shown]:
    """The examples that the commands print with `--help`."""
    found = []
    for name in COMMANDS:
        for line in (docs_site.command_parser(name).epilog or "").splitlines():
            if line.startswith("  parlante "):
                line = re.split(r" {3,}", line.strip())[0]
                found.append(Shown(f"parlante {name} --help", _words(line)[1:], True))
    return found


def commands_in_recipes() -> list[Shown]:
    """The commands at the top of the recipes."""
    found = []
    for path in sorted((ROOT / "recipes").rglob("*.yaml")):
        comments = "\n".join(line[2:] for line in path.read_text().splitlines() if line.startswith("# "))
        for line in re.sub(r"\\\n", " ", comments).splitlines():
            if line.startswith("parlante "):
                line = re.split(r" {3,}\(", line)[0]
                found.append(Shown(str(path.relative_to(ROOT)), _words(line)[1:], True))
    return found


def _blank(match: "re.Match[str]") -> str:
    return "\n" * match[0].count("\n")
