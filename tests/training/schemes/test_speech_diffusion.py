"""The published scheme end to end on a tiny encoded corpus: items, ablations, export, processes side by side."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import arguments

from parlante.cli import train
from parlante.core import InputError
from parlante.geometry.uv import MotionStats
from parlante.models.textalker.denoiser import DenoiserConfig
from parlante.models.textalker.model import TexTalker
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.training.engine.recipe import LoopConfig, read_recipe
from parlante.training.engine.schema import section
from parlante.training.features.corpus_maps import MapModels, open_maps
from parlante.training.features.encoded import EncodedCorpus
from parlante.training.features.encoding import encode_corpus
from parlante.training.schemes.speech_diffusion import (
    SpeechDiffusionConfig,
    SpeechDiffusionDataConfig,
    SpeechDiffusionScheme,
    build_talker,
)

RECIPE = Path(__file__).parents[3] / "recipes" / "textalker" / "diffusion_paper.yaml"
FOLDERS = ("corpus", "encoded", "motion", "wrinkle", "speech")
STAGE = "runs/speech_diffusion-001"


@pytest.fixture
def ingredients(tiny_corpus, tmp_path):
    """An encoded corpus, untrained autoencoders and a tiny speech network."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    stats = MotionStats((-0.1, -0.1, -0.1), (0.1, 0.1, 0.1))
    sizes = VQGANConfig(
        img_size=16, nf=8, ch_mult=(1, 1), res_blocks=1, attn_resolutions=(), norm_groups=4, codebook_size=8, emb_dim=2
    )
    for kind in ("motion", "wrinkle"):
        VQAutoEncoder(sizes).save(tmp_path / kind, kind=kind, stats=stats.to_dict())
    models = MapModels.load(tmp_path)
    encode_corpus(open_maps(tiny_corpus, models), models, tmp_path / "encoded")
    speech = transformers.HubertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=[8] * 7,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    transformers.HubertModel(speech).save_pretrained(tmp_path / "speech")
    return (
        *(f"data.{name}={tmp_path / name}" for name in FOLDERS),
        "model.width=16",
        "model.layers=2",
        "model.frames=8",
        "model.previous=3",
        "model.steps=20",
        "inference.steps=3",
        "inference.overlap=2",
        "scheme.batch=3",
        "scheme.check_items=2",
        "loop.accelerator=cpu",
        "loop.threads=1",
        "loop.log_every=1",
        "loop.max_steps=3",
        "loop.warmup=1",
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ((), 0),
        (("scheme.style_condition=pivots", "scheme.style_dims=[1, 1]"), 2),
        (("scheme.style_condition=one_hot", "scheme.outputs=motion"), 3),
        (("scheme.outputs=wrinkle",), 0),
    ],
)
def test_trains_exports_and_generates(ingredients, changes, told, tmp_path):
    assert train.run(arguments("diffusion_paper", tmp_path / "runs", *ingredients, *changes)) == 0
    talker = TexTalker.from_pretrained(tmp_path / STAGE / "export")
    assert talker.config.denoiser.style_dim == told
    features = talker.encode_audio(0.1 * torch.randn(1, 16000), 20)
    windows = list(talker.latents(features, talker.style("bob"), 20))
    assert sum(w.motion.shape[1] for w in windows) == 20
    motion, wrinkle = (torch.cat([getattr(w, kind) for w in windows], 1) for kind in ("motion", "wrinkle"))
    assert torch.isfinite(motion).all() and torch.isfinite(wrinkle).all()
    for kind, made in (("motion", motion), ("wrinkle", wrinkle)):
        moves = made.std(1).mean() > 1e-4
        assert moves == (f"scheme.outputs={'wrinkle' if kind == 'motion' else 'motion'}" not in changes)
    figures = json.loads((tmp_path / STAGE / "figures.json").read_text())
    assert np.isfinite(figures["loss"])
    rows = (tmp_path / STAGE / "log-0" / "metrics.csv").read_text().splitlines()
    assert len(rows) >= 4


def test_the_recipe_is_the_published_size_and_scheme():
    recipe = read_recipe(RECIPE)
    assert DenoiserConfig(**recipe["model"]) == DenoiserConfig()
    own = section(SpeechDiffusionConfig, recipe, "scheme")
    assert own == SpeechDiffusionConfig()
    loop = section(LoopConfig, recipe, "loop")
    assert (loop.lr, loop.lr * loop.final_lr, loop.clip) == (1e-4, 1e-5, 0)


def test_items_are_consecutive_frames_of_training_clips(ingredients, tmp_path):
    """Latents and sound of an item belong to the same frames of the same clip."""
    data = SpeechDiffusionDataConfig(**{name: str(tmp_path / name) for name in FOLDERS})
    own = SpeechDiffusionConfig(batch=32)
    sizes = {"width": 16, "layers": 1, "frames": 8, "previous": 3, "steps": 20}
    talker, corpus = build_talker(data, own, sizes, {"overlap": 2})
    scheme = SpeechDiffusionScheme(talker, corpus, LoopConfig(), own)
    for split, starts in scheme.starts.items():
        assert starts
        for pairs in starts.values():
            assert all(clip.split == split and room.stop + 16 <= clip.frames for clip, room in pairs)
    items, again = scheme.batch(0), scheme.batch(0)
    assert torch.equal(items.latents, again.latents) and torch.equal(items.audio, again.audio)
    matched = 0
    for latents, audio, number in zip(items.latents, items.audio, items.subject.tolist(), strict=True):
        for clip, room in scheme.starts["train"][number]:
            motion = corpus.latents(clip, 0, clip.frames)["motion"] - corpus.pivots["motion"][number].numpy()
            for start in room:
                truth = torch.from_numpy(motion[start : start + 16]).flatten(1)
                if torch.allclose(truth, latents[:, : truth.shape[1]], atol=1e-6):
                    sound = corpus.audio(clip)[int(start * 16000 / 30) :][: len(audio)]
                    matched += np.array_equal(audio[: len(sound)].numpy(), sound)
    assert matched == len(items.latents)


@pytest.mark.slow
def test_two_processes_share_one_run(ingredients, tmp_path):
    """Data-parallel training through the command line: one run folder, one set of weights, batches of their own."""
    changes = [*ingredients, "loop.devices=2", "loop.max_steps=2", "loop.save_every=2"]
    command = [sys.executable, "-m", "parlante", "train", str(RECIPE), "--out", str(tmp_path / "runs")]
    command += [part for change in changes for part in ("--set", change)]
    clean = {k: v for k, v in os.environ.items() if k not in ("RANK", "LOCAL_RANK", "PARLANTE_RUN_DIR")}
    done = subprocess.run(
        command, env={**clean, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert [p.name for p in (tmp_path / "runs").iterdir()] == ["speech_diffusion-001"]
    assert done.stdout.decode().count("done:") == 1
    TexTalker.from_pretrained(tmp_path / STAGE / "export")


def test_unusable_input_is_named(ingredients, tmp_path):
    def attempt(*changes: str) -> None:
        train.run(arguments("diffusion_paper", tmp_path / "runs", *ingredients, *changes))

    with pytest.raises(InputError, match=r"no finished encoding; write one with parlante encode"):
        attempt(f"data.encoded={tmp_path}")
    with pytest.raises(InputError, match="holds no corpus"):
        attempt(f"data.corpus={tmp_path}")
    with pytest.raises(InputError, match="as long as two windows of 60 frames"):
        attempt("model.frames=60")
    with pytest.raises(InputError, match="outputs must be both, motion or wrinkle, got 'hair'"):
        attempt("scheme.outputs=hair")
    next((tmp_path / "encoded" / "latents").rglob("*.safetensors")).write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"cannot read both latents from .*encode the corpus again"):
        for clip in EncodedCorpus(tmp_path / "encoded", tmp_path / "corpus").clips:
            EncodedCorpus(tmp_path / "encoded", tmp_path / "corpus").latents(clip, 0, 2)
