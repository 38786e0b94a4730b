"""Old names that still work for one release, and the names that replace them."""

import sys

RENAMED: dict[str, dict[str, str]] = {
    "option": {"--life": "--liveliness", "--no-liveliness": "--liveliness none"},
    "command": {"bulk": "batch"},
    "recipe key": {},
    "config key": {},
    "python": {"source": "model"},
    "split": {"test_a": "test_seen", "test_b": "test_unseen"},
}
"""kind -> old name -> new name. docs/renames.md is made from it."""

_said: set[tuple[str, str]] = set()


def renamed(kind: str, old: str) -> str | None:
    """The new name of `old`, or none where it is not an old name. Raises KeyError for an unknown kind."""
    return RENAMED[kind].get(old)


def notice(kind: str, old: str, new: str) -> None:
    """Say once per process, in one line on stderr, that a name is old."""
    if (kind, old) not in _said:
        _said.add((kind, old))
        sys.stderr.write(f"parlante: the {kind} {old} is now called {new}; the old name works until the next release\n")
