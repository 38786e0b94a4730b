"""Diffusion training end to end on a tiny corpus: latents, two-window steps, export, generation."""

import numpy as np
import pytest
import torch
from tiny import arguments

from parlante.cli import train
from parlante.core import InputError
from parlante.models.textalker.talker import TexTalker
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.uv import MotionStats


@pytest.fixture
def ingredients(tiny_corpus, tmp_path):
    """Folders of untrained autoencoders and an untrained encoder."""
    from parlante.audio.phonetic import PhoneticConfig, PhoneticEncoder

    torch.manual_seed(0)
    stats = MotionStats((-0.1, -0.1, -0.1), (0.1, 0.1, 0.1)).to_dict()
    for kind in ("motion", "wrinkle"):
        sizes = VQGANConfig(
            img_size=32,
            nf=8,
            ch_mult=(1, 1),
            res_blocks=1,
            attn_resolutions=(),
            norm_groups=4,
            codebook_size=16,
            patch=2,
        )
        VQAutoEncoder(sizes).save(tmp_path / kind, kind=kind, stats=stats)
    PhoneticEncoder(PhoneticConfig(bands=16, stem=4, width=16, dilations=(1,))).save_pretrained(tmp_path / "encoder")
    return (
        f"data.corpus={tiny_corpus}",
        f"data.cache={tmp_path / 'cache'}",
        *(f"data.{name}={tmp_path / name}" for name in ("motion", "wrinkle", "encoder")),
        "data.motion_dim=12",
        "data.wrinkle_dim=10",
        "data.style_dims=[2, 2]",
        "data.variants=1",
        "model.width=32",
        "model.layers=2",
        "model.frames=20",
        "model.previous=4",
        "inference.overlap=3",
        "scheme.batch=3",
        "scheme.check_clips=2",
        "loop.accelerator=cpu",
        "loop.threads=1",
        "loop.log_every=1",
    )


def test_trains_exports_and_generates(ingredients, tmp_path):
    assert train.run(arguments("diffusion", tmp_path / "runs", *ingredients, "loop.max_steps=3")) == 0
    talker = TexTalker.from_pretrained(tmp_path / "runs" / "latent_diffusion-001" / "export")
    assert talker.config.styles == ("ann", "bob", "cat")
    features = torch.randn(1, 90, talker.config.feature_dim)
    windows = list(talker.generate(features, talker.style("ann"), 54, generator=torch.Generator().manual_seed(1)))
    assert [w.start for w in windows] == [0, 17, 34]
    assert sum(w.motion.shape[1] for w in windows) == sum(w.wrinkle.shape[1] for w in windows) == 54
    assert all(torch.isfinite(w.motion).all() for w in windows)


def test_learns(ingredients, tmp_path):
    """The loss falls on a corpus of seconds."""
    train.run(
        arguments("diffusion", tmp_path / "runs", *ingredients, "loop.max_steps=120", "loop.lr=3e-3", "loop.warmup=5")
    )
    rows = (tmp_path / "runs" / "latent_diffusion-001" / "log-0" / "metrics.csv").read_text().splitlines()
    at = rows[0].split(",").index("loss")
    loss = np.array([float(row.split(",")[at]) for row in rows[1:] if row.split(",")[at]])
    assert loss[-15:].mean() < 0.8 * loss[:5].mean()


def test_missing_ingredients_are_named(tiny_corpus, tmp_path):
    with pytest.raises(InputError, match=r"data\.motion"):
        train.run(arguments("diffusion", tmp_path, f"data.corpus={tiny_corpus}"))
    changes = [f"data.corpus={tiny_corpus}", "data.motion=nowhere", "data.wrinkle=nowhere"]
    with pytest.raises(InputError, match=r"nowhere.model\.safetensors"):
        train.run(arguments("diffusion", tmp_path, *changes))
