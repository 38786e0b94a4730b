"""Every `parlante` command that the documentation, `--help` and the recipes show is one that the parsers take."""

import argparse
import contextlib
import io
import itertools
import re

import pytest
from documented import PAGES, ROOT, Shown, commands_in, commands_in_help, commands_in_recipes, docs_site

from parlante.cli import COMMANDS
from parlante.core import InputError
from parlante.core.renames import RENAMED

SHOWN = [shown for page in PAGES for shown in commands_in(page)] + commands_in_help() + commands_in_recipes()


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """All options of a command and of those below it."""
    found: set[str] = set()
    for action in parser._actions:
        found.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                found |= options_of(sub)
    return found


def refusal(words: list[str]) -> str:
    """What the parser says against a command; empty if it takes it."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            docs_site.command_parser(words[0]).parse_args(words[1:])
    except SystemExit as stop:
        return said.getvalue() if stop.code else ""
    return ""


def wrong(shown: Shown) -> str:
    """What is wrong with a command; empty if nothing is."""
    name, *rest = shown.words
    if name not in COMMANDS:
        return f"no command {name}"
    if shown.whole and rest and rest != ["--help"]:
        return refusal(shown.words)
    known = options_of(docs_site.command_parser(name))
    given = {re.split("[=]", word)[0] for word in rest if re.match(r"--?[a-z]", word)}
    return f"no option {', '.join(sorted(given - known))}" if given - known else ""


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: f"{shown.place} {shown.words[0]}")
def test_it_is_a_command(shown: Shown) -> None:
    said = wrong(shown)
    assert not said, f"{shown.place}: parlante {' '.join(shown.words)}\n{said}"


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: f"{shown.place} {shown.words[0]}")
def test_it_uses_no_old_name(shown: Shown) -> None:
    if shown.place.startswith("docs/reference/renames.md"):
        return
    line = f" {' '.join(shown.words)} "
    names = {**RENAMED["option"], **RENAMED["command"]}
    old = [name for name in names if all(f" {word} " in line for word in name.split())]
    assert not old, f"{shown.place} uses {', '.join(sorted(old))}; see parlante/core/renames.py"


TRAININGS = [shown for shown in SHOWN if "train" in shown.words[:1] and (ROOT / "".join(shown.words[1:2])).is_file()]


@pytest.mark.parametrize("shown", TRAININGS, ids=lambda shown: shown.place)
def test_its_recipe_has_these_keys(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    """Recipe and `--set` make settings, without an old name."""
    pytest.importorskip("lightning", reason="training needs parlante[train]")
    from parlante.core import renames
    from parlante.training import find_stage
    from parlante.training.engine.recipe import read_recipe

    renames._said.clear()
    if shown.words[1].startswith("examples/plugin"):
        pytest.skip("the plug-in is not installed here; see tests/test_plugin.py")
    sets = [after for before, after in itertools.pairwise(shown.words) if before == "--set" and "=" in after]
    config = read_recipe(ROOT / shown.words[1], sets)
    try:
        find_stage(config["stage"]).read(config)
    except InputError as error:  # the example leaves out folders that only its reader knows
        assert "the recipe needs" in str(error)
    assert "is now called" not in capsys.readouterr().err


def test_there_are_commands_to_check() -> None:
    assert len(SHOWN) > 100
    assert {shown.words[0] for shown in SHOWN} >= COMMANDS.keys()
