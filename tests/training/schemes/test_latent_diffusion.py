"""Diffusion training end to end on a tiny corpus: latents, two-window steps, export, generation."""

import numpy as np
import pytest
import torch
from tiny import arguments

from parlante.cli import train
from parlante.core import InputError
from parlante.geometry.uv import MotionStats
from parlante.models.textalker.completion import complete_latents
from parlante.models.textalker.denoiser import DenoiserConfig
from parlante.models.textalker.diffusion import LatentDiffusion
from parlante.models.textalker.model import TexTalker
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.training.schemes.two_windows import Draws, Pair, estimate_pair


@pytest.fixture
def ingredients(tiny_corpus, tmp_path):
    """Folders of untrained autoencoders and an untrained encoder."""
    from parlante.audio.encoders.phonetic import PhoneticConfig, PhoneticEncoder

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
        "data.num_augmentations=1",
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
        arguments("diffusion", tmp_path / "runs", *ingredients, "loop.max_steps=80", "loop.lr=3e-3", "loop.warmup=5")
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


def test_a_model_may_learn_to_complete_a_face(ingredients, tmp_path, monkeypatch):
    """Training runs, the export knows; a known half is shown as it is and comes back as the basis can say it."""
    changes = ("scheme.completion=0.8", "loop.max_steps=2")
    assert train.run(arguments("diffusion", tmp_path / "runs", *ingredients, *changes)) == 0
    talker = TexTalker.from_pretrained(tmp_path / "runs" / "latent_diffusion-001" / "export")
    assert talker.config.trained_completion
    style, known = talker.style("bob"), torch.randn(30, *talker.shapes[1])
    plain, seen = talker.diffusion.estimate, []
    monkeypatch.setattr(
        talker.diffusion, "estimate", lambda x, *rest, **more: seen.append(x) or plain(x, *rest, **more)
    )
    windows = list(
        complete_latents(talker, "wrinkle", known, style, steps=2, generator=torch.Generator().manual_seed(0))
    )
    pivot, basis = torch.from_numpy(style.wrinkle), talker.wrinkle_basis
    said = basis.decode(basis.encode((known - pivot).flatten(1))).unflatten(1, pivot.shape) + pivot
    torch.testing.assert_close(torch.cat([w.wrinkle[0] for w in windows]), said, atol=1e-4, rtol=1e-3)
    count = talker.config.denoiser.motion_dim
    assert torch.equal(seen[0][..., count:], seen[1][..., count:])
    assert not torch.equal(seen[0][..., :count], seen[1][..., :count])
    with pytest.raises(InputError, match="completion must be 0 unless both kinds are made"):
        train.run(arguments("diffusion", tmp_path / "runs", *ingredients, *changes, "scheme.outputs=motion"))


def test_given_halves_meet_the_network_without_noise():
    """Of each window motion, wrinkles or nothing is clean; about as often as asked for."""
    sizes = DenoiserConfig(motion_dim=3, wrinkle_dim=2, width=16, heads=2, layers=1, frames=8, previous=2, steps=10)
    model, met = LatentDiffusion(sizes, feature_dim=4), []
    model.denoising_net.register_forward_pre_hook(lambda module, arguments: met.append(arguments[0]))
    torch.manual_seed(0)
    clean, kept = torch.randn(200, 16, 5), torch.ones(200, 16)
    pair = Pair(clean, torch.randn(200, 16, 16), torch.randn(200, 2, 16), kept)
    draws = Draws.of(model, pair, audio_dropout=0.1, completion=0.5)
    with torch.no_grad():
        estimate_pair(model, pair, draws)
    same = (met[0] == torch.cat(clean.chunk(2, 1))).all(1)
    assert torch.equal(same, draws.completion)
    halves = {(bool(row[0]), bool(row[3])) for row in same}
    assert halves == {(False, False), (True, False), (False, True)} and (same[:, :3].all(1) == same[:, 0]).all()
    assert 0.4 < same.any(1).float().mean() < 0.6 and 0.18 < same[:, 0].float().mean() < 0.32


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [("scheme.outputs=motion",), ("scheme.outputs=wrinkle",), ("data.origin=mean",)],
    ids=["motion alone", "wrinkles alone", "one-hot styles"],
)
def test_ablations_train_and_generate(ingredients, changes, tmp_path):
    assert train.run(arguments("diffusion", tmp_path / "runs", *ingredients, "loop.max_steps=3", *changes)) == 0
    talker = TexTalker.from_pretrained(tmp_path / "runs" / "latent_diffusion-001" / "export")
    style = talker.style("bob")
    window = next(talker.latents(torch.randn(1, 40, talker.config.feature_dim), style, 15))
    moves = {kind: bool(getattr(window, kind).std(1).mean() > 1e-5) for kind in ("motion", "wrinkle")}
    alone = changes[0].partition("outputs=")[2]
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
