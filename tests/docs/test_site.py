"""The pages that are made from the code when the site is built."""

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
