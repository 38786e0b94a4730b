"""Freed memory goes back."""

import sys

import numpy as np
import pytest

from parlante.core.memory import give_back_memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_holes_between_kept_blocks_are_returned() -> None:
    def resident() -> int:
        from pathlib import Path

        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    if not give_back_memory() and not give_back_memory():
        pytest.skip("this C library cannot trim")
    pieces = [np.ones(100_000, np.uint8) for _ in range(2000)]  # below the size that is mapped on its own
    full = resident()
    kept = pieces[::50]
    del pieces
    give_back_memory()
    assert len(kept) == 40
    assert full - resident() > 100e6
