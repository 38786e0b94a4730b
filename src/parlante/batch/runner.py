"""Many jobs over processes of this machine or a Ray cluster: each is done once, a lost worker costs nothing but time.

A job is the name of a function and its arguments, so that it travels anywhere. Its function writes whole files only
(`core.atomic_path`, `core.atomic_folder`) and makes nothing that stands there already; repeating a job is then safe.
"""

import importlib
import json
import logging
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from parlante.core.errors import InputError, MissingExtra
from parlante.core.interruption import interruptible

TRIES = 3
"""How often a job is begun that takes its worker down."""


@dataclass(frozen=True)
class Job:
    """One piece of work."""

    name: str
    """Unique among the jobs of a run."""
    call: str
    """`module:function`; it takes `arguments` by name and returns nothing."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """What JSON can hold."""


@dataclass(frozen=True)
class JobResult:
    """What became of a job."""

    name: str
    seconds: float
    error: str = ""
    """Empty: done."""


def run_job(job: Job) -> JobResult:
    """Do a job here; any error becomes its outcome."""
    started = time.perf_counter()
    error = ""
    try:
        module, function = job.call.split(":")
        getattr(importlib.import_module(module), function)(**job.arguments)
    except InputError as problem:
        error = str(problem)
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}".splitlines()[0]
    return JobResult(job.name, time.perf_counter() - started, error)


def run_jobs(
    jobs: Sequence[Job], workers: int = 1, address: str | None = None, tries: int = TRIES
) -> Iterator[JobResult]:
    """One outcome per job, as they come in.

    workers: processes at a time. address: none: processes of this machine; otherwise a Ray cluster (`auto`,
    `ray://HOST:10001`, ..., or `local` for one started here), whose nodes see the same files under the same names.
    Leaving the iterator early ends the workers. Raises InputError for a cluster that cannot be reached and MissingExtra
    where Ray is not installed.
    """
    if not jobs:
        return
    if address is None:
        yield from _on_processes(jobs, workers, tries)
    else:
        yield from _on_ray(jobs, workers, address, tries)


# -- processes of this machine


class _Worker:
    """A process that does one job after another."""

    def __init__(self, threads: int) -> None:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, threads), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None

    def give(self, job: Job) -> None:
        self.job = job
        with suppress(BrokenPipeError):  # it died idle, which the next look at its pipe tells
            self.pipe.send(job)

    def stop(self) -> None:
        """End it, politely at first, so that it can remove what is half-written."""
        self.pipe.close()
        if self.job is not None:
            self.process.terminate()
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _serve(pipe: Any, threads: int) -> None:
    """The work of a worker: jobs from a pipe, until it is closed, a signal comes, or the parent is gone."""
    import threading

    import torch

    with interruptible(), suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        threading.Thread(target=_end_with_parent, name="parlante-parent", daemon=True).start()
        torch.set_num_threads(threads)
        while True:
            pipe.send(run_job(pipe.recv()))


def _end_with_parent() -> None:
    """Wait for the end of the parent, however it ends, and end this process so that it cleans up."""
    import multiprocessing
    import signal

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _on_processes(jobs: Sequence[Job], count: int, tries: int) -> Iterator[JobResult]:
    from multiprocessing.connection import wait

    waiting = deque((job, 1) for job in jobs)
    count = min(count, len(jobs))
    threads = max(1, cores() // count)
    workers: list[_Worker] = []
    attempts: dict[str, int] = {}
    try:
        while waiting or any(worker.job for worker in workers):
            while waiting and len(workers) < count:
                workers.append(_Worker(threads))
            for worker in [worker for worker in workers if worker.job is None][: len(waiting)]:
                job, attempt = waiting.popleft()
                attempts[job.name] = attempt
                worker.give(job)
            ready = wait([worker.pipe for worker in workers if worker.job])
            for worker in [worker for worker in workers if worker.pipe in ready]:
                lost = worker.job
                assert lost is not None
                try:
                    outcome = worker.pipe.recv()
                except (EOFError, ConnectionResetError):
                    workers.remove(worker)
                    worker.stop()
                    if attempts[lost.name] < tries:
                        waiting.append((lost, attempts[lost.name] + 1))
                        continue
                    outcome = JobResult(lost.name, 0.0, _lost(tries))
                else:
                    worker.job = None
                yield outcome
    finally:
        for worker in workers:
            worker.stop()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _lost(tries: int) -> str:
    return f"its worker was lost {tries} times (out of memory?); try it alone"


# -- Ray


def _on_ray(jobs: Sequence[Job], count: int, address: str, tries: int) -> Iterator[JobResult]:
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingExtra("ray", "ray") from error
    ours = not ray.is_initialized()
    if ours:
        local = {"num_cpus": count, "include_dashboard": False} if address == "local" else {}
        try:
            ray.init(address=address, log_to_driver=False, **local)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise InputError(f"cannot reach a Ray cluster at {address!r}: {str(error).splitlines()[0]}") from error
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # it tells of each retry at length; outcomes say it
    context = ray.data.DataContext.get_current()
    before = context.enable_progress_bars, context.max_errored_blocks
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # a job that takes its workers down does not end the others
    rows = [{"job": json.dumps(asdict(job))} for job in jobs]
    lost = {job.name for job in jobs}
    try:
        made = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _on_node,
            compute=ray.data.TaskPoolStrategy(size=count),
            num_cpus=1,
            ray_remote_args_fn=lambda: {"max_retries": tries - 1},
        )
        for row in made.iter_rows():
            outcome = JobResult(**json.loads(row["outcome"]))
            lost.discard(outcome.name)
            yield outcome
    finally:
        context.enable_progress_bars, context.max_errored_blocks = before
        if ours:
            ray.shutdown()
    for name in sorted(lost):
        yield JobResult(name, 0.0, _lost(tries))


def _on_node(row: dict[str, Any]) -> dict[str, str]:
    return {"outcome": json.dumps(asdict(run_job(Job(**json.loads(row["job"])))))}
