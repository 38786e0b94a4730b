"""Training in processes of its own: killed and resumed, and two that do what one does."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from families import Bench, same, weights
from tiny import arguments

from parlante.cli.train import run as train
from parlante.training.engine.logs import read_curve

PROGRAM = Path(__file__).parents[1] / "tiny_train.py"


@pytest.fixture
def bench(tiny_corpus: Path, tmp_path: Path) -> Bench:
    return Bench(tiny_corpus, tmp_path / "bench")


def program(bench: Bench, family: str, name: str, *changes: str, more: tuple[str, ...] = ()) -> subprocess.Popen:
    """The same training in a process of its own."""
    recipe, all_changes = bench.recipe(family)
    command = [sys.executable, str(PROGRAM), str(recipe), "--run", str(bench.root / name), *more]
    command += [part for change in (*all_changes, *changes) for part in ("--set", change)]
    clean = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "PARLANTE_RUN_DIR")}
    env = {**clean, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_a_killed_process_loses_nothing(bench: Bench) -> None:
    """SIGKILL at a random moment; the resumed run has the loss curve and the weights of an uninterrupted one."""
    long = ("loop.max_steps=120", "loop.validate_every=20")
    whole = bench.train("faceformer", "whole", *long)
    killed, after = bench.root / "killed", random.randint(3, 40)
    child = program(bench, "faceformer", "killed", *long)
    deadline = time.monotonic() + 600
    while child.poll() is None and time.monotonic() < deadline:
        log = killed / "log-0" / "metrics.csv"
        if (killed / "last.ckpt").is_file() and log.is_file() and log.read_text().count("\n") > after:
            break
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    _, errors = child.communicate()
    assert child.returncode == -signal.SIGKILL, errors.decode()[-2000:]
    assert train(arguments(None, bench.root, resume=killed)) == 0
    assert same(whole, killed) and read_curve(killed) == read_curve(whole), f"killed after {after} rows"
    assert not list(killed.glob(".*.part*"))


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_two_batches(bench: Bench) -> None:
    """The same global batch, the same losses."""
    alone = bench.train("faceformer", "alone", "loop.accumulate=2")
    child = program(bench, "faceformer", "pair", more=("--devices", "2"))
    _, errors = child.communicate(timeout=600)
    assert child.returncode == 0, errors.decode()[-2000:]
    one, two = read_curve(alone), read_curve(bench.root / "pair")
    assert one["loss"].keys() == two["loss"].keys()
    assert np.allclose(list(one["loss"].values()), list(two["loss"].values()), rtol=1e-6)
    assert one["val_lip_mm"] == pytest.approx(two["val_lip_mm"], rel=1e-6)
    first, second = weights(alone), weights(bench.root / "pair")
    assert all(torch.allclose(first[k].float(), second[k].float(), rtol=1e-4, atol=1e-6) for k in first)
