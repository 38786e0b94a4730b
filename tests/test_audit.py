"""The offline audit: ranges and lists of the OSV format, on a database of two records."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "audit.py"


def audit(folder: Path, pins: str) -> tuple[int, str]:
    (folder / "pins.txt").write_text(pins)
    command = [sys.executable, str(TOOL), str(folder / "osv"), "--pins", str(folder / "pins.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def database(tmp_path: Path) -> Path:
    def record(number: int, **affected: object) -> dict[str, object]:
        package = {"ecosystem": "PyPI", "name": "Some.Thing"}
        return {"id": f"X-{number}", "summary": "bad", "affected": [{"package": package, **affected}]}

    events = [{"introduced": "0"}, {"fixed": "1.2"}, {"introduced": "2.0"}, {"last_affected": "2.3"}]
    (tmp_path / "osv").mkdir()
    for number, affected in enumerate(({"ranges": [{"type": "ECOSYSTEM", "events": events}]}, {"versions": ["1.5"]})):
        (tmp_path / "osv" / f"{number}.json").write_text(json.dumps(record(number, **affected)))
    return tmp_path


@pytest.mark.parametrize(
    ("version", "found"), [("1.1", "X-0"), ("1.2", ""), ("1.5", "X-1"), ("2.0", "X-0"), ("2.3", "X-0"), ("2.4", "")]
)
def test_versions(database: Path, version: str, found: str) -> None:
    code, said = audit(database, f"# pins\nsome_thing=={version}\nother==1.1 --hash=sha256:00\n")
    assert code == (1 if found else 0), said
    assert f"2 pins, 2 records, {1 if found else 0} faults" in said and found in said


def test_no_database_is_said(tmp_path: Path) -> None:
    assert audit(tmp_path, "a==1\n")[0] == 2
