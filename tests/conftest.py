"""Shared fixtures."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of material that may not be shipped (real speech, meshes, golden numbers); skips where absent."""
    root = Path(os.environ.get("PARLANTE_SHARED", Path(__file__).parents[2] / "shared"))
    if not root.is_dir():
        pytest.skip(f"no shared material at {root}; set PARLANTE_SHARED")
    return root
