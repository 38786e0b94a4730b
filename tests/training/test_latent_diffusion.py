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
        arguments("diffusion", tmp_path / "runs", *ingredients, "loop.max_steps=60", "loop.lr=3e-3", "loop.warmup=5")
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [("scheme.makes=motion",), ("scheme.makes=wrinkle",), ("data.origin=mean",)],
    ids=["motion alone", "wrinkles alone", "one-hot styles"],
)
def test_ablations_train_and_generate(ingredients, changes, tmp_path):
    assert train.run(arguments("diffusion", tmp_path / "runs", *ingredients, "loop.max_steps=3", *changes)) == 0
    talker = TexTalker.from_pretrained(tmp_path / "runs" / "latent_diffusion-001" / "export")
    style = talker.style("bob")
    window = next(talker.latents(torch.randn(1, 40, talker.config.feature_dim), style, 15))
    moves = {kind: bool(getattr(window, kind).std(1).mean() > 1e-5) for kind in ("motion", "wrinkle")}
    alone = changes[0].partition("makes=")[2]
    assert moves == {kind: alone in ("", kind) for kind in moves}
    if not alone:  # the network is told a name, and faces are offsets from the mean of all
        told = talker.style_vector(*(torch.from_numpy(getattr(style, k))[None] for k in ("motion", "wrinkle")))
        assert told.tolist() == [[float(name == "bob") for name in talker.config.styles]]


@pytest.mark.slow
def test_one_codebook_for_both_kinds(ingredients, tiny_corpus, tmp_path):
    sizes = ("model.img_size=32", "model.patch=2", "model.nf=8", "model.norm_groups=4", "model.codebook_size=16")
    loop = ("loop.max_steps=2", "loop.accelerator=cpu", "data.start_maps=8")
    assert train.run(arguments("joint_vqgan", tmp_path / "runs", f"data.corpus={tiny_corpus}", *sizes, *loop)) == 0
    joint = tmp_path / "runs" / "joint_vqgan-001" / "export"
    same = (f"data.motion={joint}", f"data.wrinkle={joint}", "loop.max_steps=2", "inference.quantise=true")
    assert train.run(arguments("diffusion", tmp_path / "runs", *ingredients, *same)) == 0
    talker = TexTalker.from_pretrained(tmp_path / "runs" / "latent_diffusion-001" / "export")
    codes = [part.quantize.embedding.weight for part in (talker.motion, talker.wrinkle)]
    assert torch.equal(*codes)
