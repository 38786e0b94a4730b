"""Shared fixtures."""

import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of material that may not be shipped (real speech, meshes, golden numbers); skips where absent."""
    root = Path(os.environ.get("PARLANTE_SHARED", Path(__file__).parents[2] / "shared"))
    if not root.is_dir():
        pytest.skip(f"no shared material at {root}; set PARLANTE_SHARED")
    return root


@pytest.fixture
def hubert(tmp_path: Path) -> Path:
    """A tiny speech network, as `save_pretrained` writes it."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=[8] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    transformers.HubertModel(sizes).save_pretrained(tmp_path / "hubert")
    return tmp_path / "hubert"
