"""A tiny corpus for every training test."""

from pathlib import Path

import pytest
from tiny import TinyHead, TinySkin, write_corpus


@pytest.fixture
def tiny_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus folder; the head and its skin are tiny while the test runs."""
    import parlante.head
    import parlante.head.skin_dynamics

    head = TinyHead()
    monkeypatch.setattr(parlante.head, "load_head", lambda: head, raising=False)
    monkeypatch.setattr(parlante.head.skin_dynamics, "SkinDynamics", TinySkin)
    return write_corpus(tmp_path / "corpus")
