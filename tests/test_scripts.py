"""Every script of `benchmarks/` and `tools/` can be imported: what it takes from the package is there."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path for folder in ("benchmarks", "tools") for path in (ROOT / folder).glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_can_be_imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (path.parent, ROOT / "tests" / "golden"):  # scripts share files with their neighbours
        monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)  # dataclasses ask for their module
    try:
        spec.loader.exec_module(module)
    finally:
        neighbours = {other.stem for other in SCRIPTS}
        for name in (set(sys.modules) - before) & neighbours:
            if name != path.stem:
                del sys.modules[name]
