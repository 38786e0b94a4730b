"""Bulk work: every job once, a lost worker costs nothing but time, errors are outcomes; on processes and on Ray."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from parlante.batch.runner import Job, JobResult, run_job, run_jobs
from parlante.core.errors import InputError, MissingExtra


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers find `bulk_work` as this process does."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))


def jobs(folder: Path, count: int, seconds: float = 0.0) -> list[Job]:
    how = {"log": str(folder / "log"), "seconds": seconds}
    return [Job(f"{n}", "bulk_work:write", {"target": str(folder / f"{n}.txt"), **how}) for n in range(count)]


def lines(folder: Path, what: str) -> list[list[str]]:
    log = folder / "log"
    return [line.split() for line in log.read_text().splitlines() if line.startswith(what)] if log.exists() else []


def whole(folder: Path, count: int) -> None:
    """Every file is there, finished, made once, and nothing lies beside it."""
    assert {path.name for path in folder.iterdir()} - {"log"} == {f"{n}.txt" for n in range(count)}
    assert all((folder / f"{n}.txt").read_text() == "whole" for n in range(count))
    assert set(Counter(target for _, _, target in lines(folder, "done")).values()) == {1}


def test_an_error_is_an_outcome_of_one_line() -> None:
    assert run_job(Job("a", "bulk_work:refuse", {"what": "input"})).error == "cannot use this file; give another"
    assert run_job(Job("a", "bulk_work:refuse", {"what": "other"})).error == "RuntimeError: first line"
    assert "no_such" in run_job(Job("a", "bulk_work:no_such")).error
    assert list(run_jobs([], workers=2)) == []


@pytest.mark.slow
def test_processes_do_each_job_once_and_go_on_after_deaths(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    poor = Job("poor", "bulk_work:write_or_die", {"target": str(tmp_path / "4.txt"), "log": log, "deaths": 1})
    lost = Job("lost", "bulk_work:write_or_die", {"target": str(tmp_path / "x.txt"), "log": log, "deaths": 99})
    bad = Job("bad", "bulk_work:refuse", {"what": "input"})
    made = {outcome.name: outcome for outcome in run_jobs([lost, poor, bad, *jobs(tmp_path, 4)], workers=2, tries=2)}
    assert set(made) == {"lost", "poor", "bad", "0", "1", "2", "3"}
    assert made["lost"].error.startswith("its worker was lost 2 times") and made["bad"].error.startswith("cannot use")
    assert not any(made[name].error for name in ("poor", "0", "1", "2", "3"))
    for path in tmp_path.glob(".x.*"):  # of the one that always dies
        path.unlink()
    assert len([path for path in tmp_path.glob(".4.*")]) <= 1, "at most what the killed process could not remove"
    for path in tmp_path.glob(".4.*"):
        path.unlink()
    whole(tmp_path, 5)


def test_leaving_early_ends_the_workers_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    made = run_jobs(jobs(tmp_path, 1) + jobs(tmp_path, 6, seconds=60)[1:], workers=2)
    assert next(made).name == "0"
    while len(lines(tmp_path, "begun")) < 2:
        time.sleep(0.05)
    started = time.monotonic()
    made.close()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 30
    assert {path.name for path in tmp_path.iterdir()} == {"log", "0.txt"}
    for _, pid, _ in lines(tmp_path, "begun"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """Even SIGKILL, which nobody can catch: they notice, clean up and end."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys\nfrom parlante.batch.runner import Job, run_jobs\n"
        "if __name__ == '__main__':\n"
        "    how = {'log': sys.argv[1] + '/log', 'seconds': 60}\n"
        "    names = [sys.argv[1] + f'/{n}.txt' for n in range(2)]\n"
        "    list(run_jobs([Job(name, 'bulk_work:write', {'target': name, **how}) for name in names], workers=2))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    deadline = time.monotonic() + 60
    while len(lines(tmp_path, "begun")) < 2:
        assert time.monotonic() < deadline and parent.poll() is None
        time.sleep(0.05)
    workers = [int(pid) for _, pid, _ in lines(tmp_path, "begun")]
    parent.kill()
    parent.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < deadline, "the workers outlive their parent"
        time.sleep(0.05)
    assert {path.name for path in tmp_path.iterdir()} == {"log", "parent.py"}


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"\[ray\]"):
        list(run_jobs(jobs(tmp_path, 1), address="local"))


def test_two_ray_nodes_and_a_worker_killed_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'parlante[ray]'")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # ray writes a token there
    folder = tmp_path / "out"
    folder.mkdir()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        killed: list[int] = []

        def kill_one() -> None:
            while not killed:
                begun = lines(folder, "begun")
                if len(begun) >= 3:
                    done = {target for _, _, target in lines(folder, "done")}
                    for _, pid, target in begun:
                        if target not in done and not killed:
                            os.kill(int(pid), signal.SIGKILL)
                            killed.append(int(pid))
                time.sleep(0.02)

        threading.Thread(target=kill_one, daemon=True).start()
        made: list[JobResult] = list(run_jobs(jobs(folder, 8, seconds=0.7), workers=2, address=cluster.address))
        assert killed, "a worker was killed while it wrote"
        assert sorted(outcome.name for outcome in made) == [f"{n}" for n in range(8)]
        assert not any(outcome.error for outcome in made)
        assert len(lines(folder, "begun")) == 9, "only the killed job was begun again"
        for path in folder.glob(f".*.{killed[0]}.part*"):  # a killed process cannot clean up
            path.unlink()
        whole(folder, 8)
        assert len({pid for _, pid, _ in lines(folder, "done")}) >= 2
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_job_that_always_kills_its_ray_worker_does_not_end_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray", reason="ray is not installed: pip install 'parlante[ray]'")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = tmp_path / "out"
    folder.mkdir()
    how = {"target": str(folder / "x.txt"), "log": str(folder / "log"), "deaths": 99}
    some = [Job("lost", "bulk_work:write_or_die", how), Job("bad", "bulk_work:refuse", {"what": "input"})]
    made = {outcome.name: outcome.error for outcome in run_jobs(some + jobs(folder, 2), 2, "local", tries=2)}
    assert made["lost"].startswith("its worker was lost 2 times") and made["bad"].startswith("cannot use")
    assert made["0"] == made["1"] == "" and (folder / "1.txt").read_text() == "whole"
    assert len([line for line in lines(folder, "begun") if line[2].endswith("x.txt")]) == 2


def test_a_cluster_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(**_: object) -> None:
        raise ConnectionError("nobody there\nat all")

    ray = SimpleNamespace(is_initialized=lambda: False, init=refuse, data=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", ray.data)
    with pytest.raises(InputError, match=r"cannot reach a Ray cluster at 'far:1': nobody there$"):
        list(run_jobs(jobs(tmp_path, 1), address="far:1"))
