"""Tiny corpora for every training test."""

import wave
from pathlib import Path

import numpy as np
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


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Two people with four clips of 1.2 to 1.8 s each, moved by three shapes of
    30 vertices at 25 frames per second; no triangles."""
    root, rng = tmp_path / "mine", np.random.default_rng(0)
    (root / "vertices_npy").mkdir(parents=True)
    (root / "wav").mkdir()
    faces = {name: rng.normal(0, 0.05, (30, 3)) for name in ("ann", "bob")}
    shapes = rng.normal(0, 0.002, (3, 30, 3))
    for place, key in enumerate(f"{name}_{number:02}" for number in range(4) for name in faces):
        frames = 30 + 2 * place
        moved = faces[key[:3]] + np.tensordot(rng.normal(0, 1, (frames, 3)).cumsum(0) / 3, shapes, 1)
        np.save(root / f"vertices_npy/{key}.npy", moved.reshape(frames, -1).astype(np.float32))
        with wave.open(str(root / f"wav/{key}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, 0, "NONE", ""))
            file.writeframes(rng.integers(-9000, 9000, frames * 16000 // 25).astype("<i2").tobytes())
    np.savez(root / "templates.npz", **faces)
    return root
