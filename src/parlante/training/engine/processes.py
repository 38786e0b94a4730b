"""Several processes of one training: which one writes, who waits for whom, and tensors that all of them share."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist
from torch import Tensor


def first_process() -> bool:
    """Whether this process is the only one of a training, or the one that writes its results."""
    return all(int(os.environ.get(name) or 0) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


@contextmanager
def one_at_a_time(target: Path) -> Iterator[None]:
    """Processes that make the same cache folder enter one after the other; a killed one holds up nobody."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # not on this system: the processes of one training start after its first has prepared
        yield
        return
    with target.with_name(target.name + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def together() -> bool:
    """Whether several processes train one model."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def all_together(tensor: Tensor) -> Tensor:
    """The sum over all processes."""
    if together():
        dist.all_reduce(tensor)
    return tensor


def same_everywhere(tensor: Tensor) -> Tensor:
    """The first process's tensor, in all processes."""
    if together():
        tensor = tensor.contiguous()
        dist.broadcast(tensor, 0)
    return tensor
