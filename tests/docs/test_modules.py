"""The page that says which file does what names files and functions that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "design" / "modules.md"
ROWS = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if "`" in line and line[0] == "|"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("| "))
def test_a_row_names_what_is_there(row: list[str]) -> None:
    _, files, names = row
    paths = [ROOT / "src" / "parlante" / file for file in re.findall(r"`([^`]+)`", files)]
    assert paths and not [path for path in paths if not path.is_file()]
    code = "\n".join(path.read_text(encoding="utf-8") for path in paths)
    for name in re.findall(r"`([^`]+)`", names):
        assert re.search(rf"^(def |class ){name}\b|^{name}\b", code, re.MULTILINE), f"{name} is not defined in {files}"


def test_every_question_is_read() -> None:
    assert len(ROWS) > 70
