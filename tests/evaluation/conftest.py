"""Corpora of kilobytes, written once for each file of tests."""

from pathlib import Path

import pytest
from small_corpora import write_layout, write_synthtalk


@pytest.fixture(scope="module")
def synthtalk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthtalk(tmp_path_factory.mktemp("synthtalk"))


@pytest.fixture(scope="module")
def biwi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_layout(tmp_path_factory.mktemp("biwi"), ("F2", "M3"), 23370, 25, 3, frames=5)
