"""Recipes of every family, cut down to a training of a moment on the tiny corpus."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny import arguments

from parlante.cli.train import run as train
from parlante.geometry.uv import MotionStats
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.training.features.corpus_maps import MapModels, open_maps
from parlante.training.features.encoding import encode_corpus
from parlante.training.schemes.motion_basis import MotionBasisConfig, fit_basis

RECIPES = Path(__file__).parents[2] / "recipes"
FAMILIES = ("faceformer", "talkingstyle", "ptalker", "facediffuser", "codetalker_stage1", "codetalker", "motion_vqgan",
            "latent_diffusion", "speech_diffusion")  # fmt: skip
LOOP = (
    "max_steps=6",
    "save_every=2",
    "log_every=1",
    "validate_every=3",
    "threads=1",
    "workers=0",
    "accelerator=cpu",
    "warmup=2",
)


@dataclass
class Bench:
    """Ingredients of all recipes."""

    corpus: Path
    root: Path

    def recipe(self, family: str) -> tuple[Path, list[str]]:
        """The family's recipe and what makes it tiny."""
        changes = [f"loop.{each}" for each in LOOP]
        if family in ("motion_vqgan", "latent_diffusion", "speech_diffusion"):
            return getattr(self, f"_{family}")(changes)
        data = {"corpus": self.corpus, "basis": self._basis(), "cache": self.root / "cache", "num_augmentations": 1}
        changes += [f"data.{key}={value}" for key, value in data.items()]
        changes += ["scheme.batch=2", "scheme.frames=24", "scheme.frame_offsets=[-2, 0, 2]", "scheme.check_clips=2"]
        if family == "codetalker_stage1":
            sizes = {"width": 16, "layers": 1, "heads": 2, "hidden": 16, "groups": 2, "code_dim": 8, "codes": 16}
            changes += [f"model.{key}={value}" for key, value in sizes.items()]
            return RECIPES / "codetalker" / "autoencoder.yaml", changes
        changes += ["model.width=16", *(() if family == "facediffuser" else ("model.layers=1",))]
        if family == "codetalker":
            changes += [f"data.autoencoder={self._stage1()}"]
        return RECIPES / family / "small.yaml", changes

    def train(self, family: str, name: str, *changes: str) -> Path:
        """Train in this process; returns the run folder."""
        recipe, all_changes = self.recipe(family)
        options = arguments(None, self.root, *all_changes, *changes)
        options.recipe, options.run = recipe, self.root / name
        assert train(options) == 0
        return self.root / name

    def _basis(self) -> Path:
        path = self.root / "basis.npz"
        if not path.is_file():
            fit_basis(MotionBasisConfig(corpus=str(self.corpus), size=30, stride=1))[0].save(path)
        return path

    def _stage1(self) -> Path:
        if not (self.root / "stage1").is_dir():
            self.train("codetalker_stage1", "stage1", "loop.max_steps=2")
        return self.root / "stage1" / "export"

    def _motion_vqgan(self, changes: list[str]) -> tuple[Path, list[str]]:
        sizes = ("model.nf=8", "model.img_size=32", "model.patch=4", "model.ch_mult=[1]", "model.codebook_size=16")
        more = ("data.batch=2", "data.start_maps=4", "loss.adversarial_from=2", "loss.revive_every=2")
        return RECIPES / "textalker" / "motion_vqgan.yaml", [*changes, f"data.corpus={self.corpus}", *sizes, *more]

    def _autoencoders(self) -> dict[str, Path]:
        folders = {kind: self.root / kind for kind in ("motion", "wrinkle")}
        if not folders["wrinkle"].is_dir():
            torch.manual_seed(0)
            stats = MotionStats((-0.1, -0.1, -0.1), (0.1, 0.1, 0.1)).to_dict()
            sizes = VQGANConfig(
                img_size=16, nf=8, ch_mult=(1, 1), res_blocks=1, attn_resolutions=(), norm_groups=4, codebook_size=8,
                emb_dim=2,
            )  # fmt: skip
            for kind, folder in folders.items():
                VQAutoEncoder(sizes).save(folder, kind=kind, stats=stats)
        return folders

    def _latent_diffusion(self, changes: list[str]) -> tuple[Path, list[str]]:
        from parlante.audio.encoders.phonetic import PhoneticConfig, PhoneticEncoder

        encoder = self.root / "encoder"
        if not encoder.is_dir():
            torch.manual_seed(0)
            PhoneticEncoder(PhoneticConfig(bands=16, stem=4, width=16, dilations=(1,))).save_pretrained(encoder)
        data = {"corpus": self.corpus, "cache": self.root / "cache", "encoder": encoder, **self._autoencoders()}
        data |= {"motion_dim": 12, "wrinkle_dim": 10, "style_dims": [2, 2], "num_augmentations": 1}
        sizes = ("model.width=32", "model.layers=1", "model.frames=20", "model.previous=4", "inference.overlap=3")
        changes += [f"data.{key}={value}" for key, value in data.items()]
        changes += [*sizes, "scheme.batch=2", "scheme.check_clips=2"]
        return RECIPES / "textalker" / "diffusion.yaml", changes

    def _speech_diffusion(self, changes: list[str]) -> tuple[Path, list[str]]:
        transformers = pytest.importorskip("transformers")
        folders = self._autoencoders()
        if not (self.root / "speech").is_dir():
            models = MapModels.load(self.root)
            encode_corpus(open_maps(self.corpus, models), models, self.root / "encoded")
            torch.manual_seed(0)
            speech = transformers.HubertConfig(
                hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=[8] * 7,
                num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2,
            )  # fmt: skip
            transformers.HubertModel(speech).save_pretrained(self.root / "speech")
        data = {"corpus": self.corpus, **folders, "encoded": self.root / "encoded", "speech": self.root / "speech"}
        sizes = ("model.width=16", "model.layers=1", "model.frames=8", "model.previous=3", "model.steps=20")
        changes += [f"data.{key}={value}" for key, value in data.items()]
        changes += [*sizes, "inference.steps=3", "inference.overlap=2", "scheme.batch=2", "scheme.check_items=2"]
        return RECIPES / "textalker" / "diffusion_paper.yaml", changes


class PowerCut(RuntimeError):
    """The machine goes off."""


@contextmanager
def power_cut(step: int) -> Iterator[None]:
    """While open, trainings break off in the middle of a step."""
    from parlante.training.engine.scheme import Ema

    update = Ema.update

    def cut(self: Ema, module: torch.nn.Module) -> None:
        if self.steps == step:
            raise PowerCut
        update(self, module)

    Ema.update = cut  # type: ignore[method-assign]
    try:
        yield
    finally:
        Ema.update = update  # type: ignore[method-assign]


def weights(run: Path) -> dict[str, torch.Tensor]:
    """All tensors of a run's last checkpoint that training makes: weights, average, optimiser."""
    kept = torch.load(run / "last.ckpt", weights_only=True)
    found = {f"model.{name}": value for name, value in kept["state_dict"].items()}
    found |= {f"ema.{name}": value for name, value in kept["scheme"]["ema"].items()}
    for number, optimizer in enumerate(kept["optimizer_states"]):
        for place, state in optimizer["state"].items():
            found |= {f"optimizer.{number}.{place}.{key}": torch.as_tensor(value) for key, value in state.items()}
    return found


def same(one: Path, other: Path) -> bool:
    """Whether two runs ended in the same bits."""
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
