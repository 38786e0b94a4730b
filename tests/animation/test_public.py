"""What the README shows in Python works as it stands."""

from pathlib import Path

import pytest
from stand_in import StandIn, spoken

import parlante
from parlante.models import registry


def test_animate_and_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_load_shipped", lambda name, device: StandIn())
    name = parlante.load_head().identity_names[-1]
    for _ in range(2):  # the name stays a function after its module is loaded
        animation = parlante.animate((spoken(0.2), 16000), identity=name, seed=1)
    parlante.save(animation, tmp_path / "a.glb", tmp_path / "a.csv")
    assert animation.vertices.shape[0] == 6 and (tmp_path / "a.glb").stat().st_size > 100_000
