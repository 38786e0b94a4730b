"""The pages that are made from the code when the site is built."""

import re

import pytest
from documented import ROOT, docs_site


def test_the_command_reference_names_every_option() -> None:
    from parlante.cli import COMMANDS

    page = docs_site.cli_page()
    for name in COMMANDS:
        assert f"## parlante {name}\n" in page
    for option in (
        "`--identity` `NAME`",
        "`--live` ",
        "### parlante style extract",
        "#### parlante batch prepare biwi",
    ):
        assert option in page


def test_pages_hold_no_unknown_insert() -> None:
    for path in (ROOT / "docs").rglob("*.md"):
        assert "{{" not in docs_site.filled(path.read_text(encoding="utf-8")), path


def test_a_page_that_fetches_from_elsewhere_is_found() -> None:
    assert docs_site.external_requests('<script src="https://cdn.example/x.js"></script>')
    assert docs_site.external_requests("<link rel=stylesheet href=//fonts.example/a.css>")
    assert not docs_site.external_requests('<a href="https://example.org">a</a><img src="images/demo.jpg">')


def test_an_unknown_insert_is_an_error() -> None:
    with pytest.raises(KeyError, match="nothing"):
        docs_site.filled("# A page\n\n{{ nothing }}\n")


def test_files_that_pages_name_are_there() -> None:
    """Every `folder/file.py` in a page exists below the repository, the package or the tests."""
    missing = []
    for path in (*(ROOT / "docs").rglob("*.md"), ROOT / "CONTRIBUTING.md"):
        if path.name == "coming-from.md":  # names files of other repositories
            continue
        for name in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|yaml|md))`", path.read_text(encoding="utf-8")):
            places = (ROOT, ROOT / "src" / "parlante", path.parent)
            if not any((place / name).is_file() for place in places):
                missing.append(f"{path.name}: {name}")
    assert not missing


def test_recipe_keys_that_pages_name_are_there() -> None:
    pytest.importorskip("lightning", reason="training needs parlante[train]")
    from parlante.training import find_stage, stage_names

    known = {
        f"{section}.{key}"
        for stage in map(find_stage, stage_names())
        for section, keys in stage.sections.items()
        for key in keys.types()
    }
    sections = "|".join(sorted({name.partition(".")[0] for name in known}))
    wrong = []
    for path in (ROOT / "docs").rglob("*.md"):
        for name in re.findall(rf"`((?:{sections})\.[a-z_]+)(?:=[^`]*)?`", path.read_text(encoding="utf-8")):
            if name not in known and not name.endswith((".json", ".py", ".yaml", ".safetensors")):
                wrong.append(f"{path.name}: {name}")
    assert not wrong
