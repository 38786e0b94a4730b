"""The pages on export and formats are run: commands and Python, on a small animation; a table names every format."""

import itertools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from parlante.cli import main
from parlante.core import Animation
from parlante.export import formats, save
from parlante.export.calibration import Calibration
from parlante.head import load_head
from parlante.head.arkit import ARKIT_NAMES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "guides" / "export.md").read_text(encoding="utf-8")
FORMATS_PAGE = (DOCS / "reference" / "formats.md").read_text(encoding="utf-8")
COMMANDS = [line for line in (PAGE + FORMATS_PAGE).splitlines() if line.startswith("parlante export line.npz")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    head = load_head()
    name = head.identity_names[0]
    weights = np.full((4, 52), 0.1, np.float32)
    folder = tmp_path_factory.mktemp("page")
    line = Animation(
        topology=head.topology,
        fps=30.0,
        neutral=head.neutral(name),
        vertices=head.deform(name, weights),
        audio=np.zeros(2133, np.float32),
        sample_rate=16000,
        weights=weights,
        weight_names=ARKIT_NAMES,
        albedo=np.full((64, 64, 3), 128, np.uint8),
        wrinkle=np.full((4, 16, 16, 3), 118, np.uint8),
        provenance={"identity": name},
    )
    save(line, folder / "line.npz")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_run(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if ".usd" in command:
        pytest.importorskip("pxr")
    monkeypatch.chdir(folder)
    words = shlex.split(command)[1:]
    assert main([*words, "-q"]) == 0
    assert all(Path(word).exists() for before, word in itertools.pairwise(words) if before == "-o")


def test_there_are_commands_to_run() -> None:
    assert len(COMMANDS) >= 2


def test_its_python_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(block, "docs/guides/export.md", "exec"), {})
    assert len(Path("line.csv").read_text().splitlines()) == 9


def test_its_calibration_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "me.json").write_text(block)
    assert Calibration.read(tmp_path / "me.json").weights == json.loads(block)["curves"]


def test_its_table_names_every_format() -> None:
    table = " ".join(line for line in FORMATS_PAGE.splitlines() if line.startswith("| `"))
    missing = [suffix for suffix in formats() if f"{suffix}`" not in table]
    assert not missing
