"""Kernels stand in for torch only where they are meant to; tests/models/components compares their numbers."""

import pytest
import torch

from parlante.models.components.causal_decoder import CausalDecoder
from parlante.models.cpu import accelerate


@pytest.fixture
def decoder() -> CausalDecoder:
    return CausalDecoder(16, 1, period=4).eval()


def test_narrow_decoders_on_the_cpu_are_compiled(decoder: CausalDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    assert accelerate.accelerate(decoder) is not None
    assert accelerate.accelerate(decoder.double()) is not None
    monkeypatch.setattr(accelerate, "ENABLED", False)
    assert accelerate.accelerate(decoder) is None


def test_torch_does_the_rest(decoder: CausalDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert accelerate.accelerate(decoder.train()) is None
    assert accelerate.accelerate(decoder.eval().to(torch.bfloat16)) is None
    monkeypatch.setattr(accelerate, "WIDEST", 15)
    assert accelerate.accelerate(decoder.float()) is None


def test_without_numba_torch_does_everything(decoder: CausalDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accelerate, "_kernels", lambda: None)
    assert accelerate.accelerate(decoder) is None
