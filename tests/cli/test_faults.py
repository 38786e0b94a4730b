"""What nobody foresaw is told in one line, with a report in a file, and never as a traceback."""

import errno
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from parlante.cli import info, main


def _raise(monkeypatch: pytest.MonkeyPatch, error: Exception, folder: Path) -> None:
    def run(options: object) -> int:
        raise error

    monkeypatch.delenv("PARLANTE_DEBUG", raising=False)
    monkeypatch.setattr(info, "run", run)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def test_a_fault_of_ours_leaves_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raise(monkeypatch, KeyError("no such\nkey"), tmp_path)
    assert main(["info", "a b.npz"]) == 70
    told = capsys.readouterr().err
    (report,) = tmp_path.iterdir()
    assert told.count("\n") == 1 and "a fault of parlante" in told and str(report) in told
    text = report.read_text()
    assert "'a b.npz'" in text and "Traceback" in text and "numpy" in text and "test_faults.py" in text


def test_a_report_goes_here_if_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _raise(monkeypatch, ZeroDivisionError(), tmp_path / "missing")
    monkeypatch.chdir(tmp_path)
    assert main(["info"]) == 70
    assert [path.name[:15] for path in tmp_path.iterdir()] == ["parlante-fault-"]


def test_a_traceback_is_shown_to_who_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _raise(monkeypatch, KeyError("x"), tmp_path)
    monkeypatch.setenv("PARLANTE_DEBUG", "1")
    with pytest.raises(KeyError):
        main(["info"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device", "x.mp4"), "x.mp4: No space left"),
    ],
)
def test_what_the_machine_lacks_takes_one_line(
    error: Exception, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raise(monkeypatch, error, tmp_path)
    assert main(["info"]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1 and not list(tmp_path.iterdir())


def test_names_that_no_disk_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "loop.npz").symlink_to("loop.npz")
    for name in ("a" * 300 + ".wav", str(tmp_path / "loop.npz"), str(tmp_path / "loop.npz" / "x")):
        assert main(["info", name]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    code = "import sys; from parlante.cli import main; sys.exit(main(['info']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141
