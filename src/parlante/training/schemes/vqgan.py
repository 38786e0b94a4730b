"""Training of the two autoencoders (TexTalker, section 3; options of ours in the recipes).

Generator: weighted L1 (+ gradient and L2 terms, + a perceptual one) + codebook loss + [late] adaptive hinge GAN. In the
small recipes half the samples skip the quantiser, so that the generator serves codes and unquantised latents alike.
"""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from parlante import losses
from parlante.core.ranges import Amount, Count, Share, Whole
from parlante.data.open import open_corpus
from parlante.geometry.uv import MotionStats
from parlante.losses.perceptual import perceptual
from parlante.models.textalker.discriminator import PatchDiscriminator
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.training.engine.corpora import ANY
from parlante.training.engine.loop import fit
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.samples import map_sheet
from parlante.training.engine.schema import Section
from parlante.training.engine.scheme import Scheme, validation_clips
from parlante.training.engine.stage import Recipe, Stage
from parlante.training.features.maps import MapBatches, MapDataConfig, activity_map, corpus_faces, split_weights
from parlante.training.features.scanned_maps import ScannedMaps
from parlante.training.schemes.codebook import CodebookHealth
from parlante.training.schemes.principal_start import principal_start

log = logging.getLogger("parlante.training")


@dataclass(frozen=True, kw_only=True)
class VQGANLossConfig:
    """The `loss:` part of a recipe. Published: l1 1, commitment 1, codebook 0.25, adversarial and gan 0.2, from step
    20001, discriminator 64 wide with 4 layers, nothing else."""

    l1: Amount = 1.0
    """Weight of the absolute error."""
    l2: Amount = 0.0
    """Weight of the squared error."""
    gradient: Amount = 0.0
    """Weight of the absolute error of differences between neighbouring texels."""
    perceptual: Literal["lpips", "gradients", "none"] = "none"
    """lpips (with `perceptual_file`), gradients (a stand-in that needs no file) or none; see `losses.perceptual`."""
    perceptual_file: str = ""
    """Weights of LPIPS with VGG16; not part of this package."""
    perceptual_share: Amount = 0.0
    """Weight of the perceptual term; 0 only logs it, as the published training does."""
    commitment: Amount = 0.25
    """Weight of the term that pulls the encoder to its codes."""
    codebook: Amount = 1.0
    """Weight of the term that pulls the codes to the encoder."""
    skip_share: Share = 0.5
    """Share of samples that are generated from z itself."""
    adversarial: Amount = 0.2
    """Weight of the generator's adversarial term, beside the adaptive one."""
    gan: Amount = 0.2
    """Factor of that term before its gradient is compared with the others'."""
    adversarial_from: Whole | None = None
    """Step at which the discriminator joins; none leaves it out."""
    discriminator_width: Count = 32
    """Channels of its first layer."""
    discriminator_layers: Count = 3
    """Its layers that halve the map."""
    start_codes: bool = True
    """Place the codes on latents of the first batches; otherwise they start at random, as published."""
    revive_every: Whole = 100
    """Steps between revivals of dead codes; 0 switches it off."""
    alive: Share = 0.05
    """A code is dead when it is used less than this share of the even rate."""
    autocast: bool = False
    """Run the networks in bfloat16; weights, codes, losses and optimisers stay float32."""


class Maps(Protocol):
    """Where batches come from."""

    def batch(self, step: int, *stream: int) -> Tensor:
        """(B, 3, H, H) maps, a function of the seed, the step and the stream."""


@dataclass(frozen=True, eq=False)
class Material:
    """What an autoencoder learns from."""

    maps: Maps
    """Training batches."""
    held_out: Tensor | None = None
    """(N, 3, H, H) maps to validate on."""
    weight: Tensor | None = None
    """(1, 1, H, H) loss weights of mean 1; none: all texels count alike."""
    stats: MotionStats | None = None
    """How motion maps are normalised."""

    @property
    def loss_weight(self) -> Tensor:
        """`weight`, or ones (1, 1, 1, 1), which stand for every texel."""
        return torch.ones(1, 1, 1, 1) if self.weight is None else self.weight

    @property
    def millimetres(self) -> Tensor | None:
        """(1, 3, 1, 1) what the full range of a motion map is worth."""
        if self.stats is None:
            return None
        span = np.subtract(self.stats.maximum, self.stats.minimum)
        return torch.tensor(1000 * span, dtype=torch.float32).view(1, 3, 1, 1)


class VQGANScheme(Scheme):
    """One autoencoder on one kind of map: motion, wrinkle or joint."""

    network: VQAutoEncoder
    weight: Tensor
    unit: Tensor | None

    def __init__(
        self, model: VQAutoEncoder, loop: LoopConfig, loss: VQGANLossConfig, material: Material, kind: str
    ) -> None:
        super().__init__(loop)
        self.network, self.loss, self.material, self.kind = model, loss, material, kind
        self.register_buffer("weight", material.loss_weight, persistent=False)
        self.register_buffer("unit", material.millimetres if kind == "motion" else None, persistent=False)
        self.health = CodebookHealth(model.config.codebook_size, loss.alive)
        self.critic: PatchDiscriminator | None = None
        if loss.adversarial_from is not None:
            self.critic = PatchDiscriminator(model.config.channels, loss.discriminator_width, loss.discriminator_layers)
        self.distance = perceptual(loss.perceptual, loss.perceptual_file)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """One for the autoencoder, one for the discriminator if there is one."""
        own = super().optimizers()
        if self.critic is None:
            return own
        return [*own, torch.optim.Adam(self.critic.parameters(), self.loop.lr, (0.9, 0.99))]

    def batch(self, step: int) -> Tensor:
        """(B, 3, H, H) maps."""
        return self.material.maps.batch(step).contiguous(memory_format=torch.channels_last)

    @property
    def _fighting(self) -> bool:
        start = self.loss.adversarial_from
        return self.critic is not None and start is not None and self.steps_done >= start

    def _mixed(self, like: Tensor) -> torch.autocast:
        return torch.autocast(like.device.type, torch.bfloat16, enabled=self.loss.autocast)

    def _score(self, image: Tensor) -> Tensor:
        assert self.critic is not None
        with self._mixed(image):
            return self.critic(image).float()

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        """See the module's first lines."""
        model, c = self.network, self.loss
        if self.steps_done == 0 and self.part == 0 and c.start_codes:
            self._place_codes(batch)
        skip = torch.rand(len(batch), device=batch.device) < c.skip_share if c.skip_share else None
        with self._mixed(batch):
            output, code = model(batch, skip)
        output = output.float()
        pixel = c.l1 * losses.weighted_l1(output, batch, self.weight)
        if c.l2:
            pixel = pixel + c.l2 * losses.weighted_l2(output, batch, self.weight)
        if c.gradient:
            pixel = pixel + c.gradient * losses.gradient_l1(output, batch, self.weight)
        answer = {"pixel": pixel, "commitment": code.commitment, "perplexity": code.perplexity}
        if self.distance is not None:
            with torch.set_grad_enabled(c.perceptual_share > 0), self._mixed(batch):
                distance = self.distance(output, batch)
            pixel = pixel + c.perceptual_share * distance
            answer["perceptual"] = distance
        total = pixel + c.commitment * code.commitment + c.codebook * code.codebook
        self._indices, self._output = code.indices, output.detach()
        if self._fighting:
            assert self.critic is not None
            self.critic.requires_grad_(False)
            adversarial = c.gan * losses.hinge_generator(self._score(output))
            share = losses.adaptive_weight(pixel, adversarial, model.last_weight)
            total = total + c.adversarial * share * adversarial
            self.critic.requires_grad_(True)
            answer |= {"adversarial": adversarial, "adaptive": share}
        return answer | {"loss": total}

    def rival_losses(self, batch: Tensor) -> dict[str, Tensor]:
        """The discriminator's turn, once it has joined."""
        if not self._fighting:
            return {}
        return {"discriminator": losses.hinge_discriminator(self._score(batch), self._score(self._output))}

    def after_step(self, step: int, batch: Tensor) -> dict[str, float]:
        """Code use and revival."""
        dead = self.health.see(self._indices)
        logged = {"alive": 1 - dead.float().mean().item()}
        every = self.loss.revive_every
        if every and step % every == every - 1 and dead.any() and step < 0.8 * self.loop.max_steps:
            numbers = dead.nonzero()[:, 0]
            self._set_codes(numbers, self.health.revive(self.network, numbers, batch))
            logged["revived"] = float(len(numbers))
        return logged

    def _place_codes(self, batch: Tensor) -> None:
        maps = torch.cat([batch, *(self.batch(10**6 + k).to(batch.device) for k in range(8))])
        codes = self.health.place(self.network, maps)
        self._set_codes(torch.arange(len(codes), device=codes.device), codes)

    def _set_codes(self, where: Tensor, vectors: Tensor) -> None:
        """The average moves with codes that were put somewhere."""
        assert self.ema is not None
        kept = self.ema.state["quantize.embedding.weight"]
        kept[where] = vectors.to(kept)

    def validate(self) -> dict[str, float]:
        """Weighted error in mm (motion) or PSNR in dB (wrinkle), from codes and from z; code use."""
        model, truth = self.network, self.material.held_out
        if truth is None:
            return {}
        answer = {}
        z = torch.cat([model.encode(piece) for piece in truth.split(16)])
        for name, quantise in (("z", False), ("code", True)):
            output = torch.cat([model.decode(piece, quantise=quantise) for piece in z.split(16)])
            error = output - truth
            moved, spread = (truth - truth.mean(0)).norm(), (output - output.mean(0)).norm()
            if self.unit is not None:
                distance = (error * self.unit).norm(dim=1, keepdim=True)
                answer[f"mm_{name}"] = (distance * self.weight).mean().item()
            else:
                answer[f"psnr_{name}"] = -10 * float((error.square() * self.weight).mean().log10())
        answer["perplexity"] = model.quantize(z).perplexity.item()
        if moved < 1e-3 * truth.norm():  # one map, or maps of one moment: their spread says nothing
            return answer
        return answer | {"motion_spread": (spread / moved).item()}

    def sample(self, stem: Path) -> None:
        """Held-out maps above their reconstructions."""
        truth = self.material.held_out
        if truth is not None:
            map_sheet(stem.with_suffix(".png"), truth[:16], self.network.decode(self.network.encode(truth[:16])))

    def export(self, folder: Path, figures: dict[str, float]) -> None:
        """Write a `VQAutoEncoder`."""
        stats = None if self.material.stats is None else self.material.stats.to_dict()
        self.network.save(folder, kind=self.kind, stats=stats, figures=figures, loss=asdict(self.loss))


def motion_stage() -> Stage:
    """The stage `motion_vqgan`."""
    return _stage("motion")


def wrinkle_stage() -> Stage:
    """The stage `wrinkle_vqgan`."""
    return _stage("wrinkle")


def vqgan_sections() -> dict[str, Section]:
    """The sections of an autoencoder's recipe."""
    return {
        "data": Section(MapDataConfig),
        "model": Section(VQGANConfig),
        "loss": Section(VQGANLossConfig),
        "loop": Section(LoopConfig),
    }


def _stage(kind: str) -> Stage:
    def prepare(recipe: Recipe) -> Material:
        material = _synthetic if open_corpus(recipe["data"].corpus).has_weights else _scanned
        return material(kind, recipe["model"], recipe["data"], recipe["loop"])

    about = f"TexTalker (CVPR 2025): the autoencoder of {kind} maps."
    train = training_on(kind, prepare)
    return Stage(name=f"{kind}_vqgan", about=about, sections=vqgan_sections(), train=train, corpora=ANY)


def training_on(kind: str, prepare: Callable[[Recipe], Material]) -> Callable[[Recipe, Path], VQGANScheme]:
    """The training of an autoencoder of one kind of map, on what `prepare` makes of a recipe."""

    def train(recipe: Recipe, run_dir: Path) -> VQGANScheme:
        data, loop, loss = recipe["data"], recipe["loop"], recipe["loss"]
        perceptual(loss.perceptual, loss.perceptual_file)  # so that a missing file is named before maps are made
        material = prepare(recipe)
        torch.manual_seed(loop.seed)
        model = VQAutoEncoder(recipe["model"])
        if data.start_maps and not loop.one_clip and not (run_dir / "last.ckpt").is_file():
            first = [material.maps.batch(k, 3) for k in range(max(1, data.start_maps // data.batch))]
            principal_start(model, torch.cat(first), material.loss_weight)
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return fit(VQGANScheme(model, loop, loss, material, kind), run_dir)

    return train


def _synthetic(kind: str, sizes: VQGANConfig, data: MapDataConfig, loop: LoopConfig) -> Material:
    """A SynthTalk corpus: maps rendered on the fly, texels weighed by place and activity."""
    side = {"motion": (sizes.img_size, 16), "wrinkle": (16, sizes.img_size)}[kind]
    corpus, faces = corpus_faces(data.corpus, sizes=side, margin=data.stats_margin)
    clips = split_weights(corpus, "train")
    if loop.one_clip:
        clips = kept = clips[:1]
        data = replace(data, speech_share=1.0)
    else:
        validation_clips(corpus.clips)
        kept = split_weights(corpus, "val")[-40:]
    batches = MapBatches(faces, clips, kind, data, loop.seed)
    check = MapBatches(faces, kept, kind, data, loop.seed)
    weight = faces.focus_map(kind, data.focus)
    if data.activity:
        weight = weight * (1 + data.activity * activity_map(batches))
        weight = weight / weight.mean()
    return Material(batches, held_out_maps(check, data.batch), weight, faces.stats)


def held_out_maps(maps: Maps, batch: int) -> Tensor:
    """About 48 maps of a stream of their own."""
    return torch.cat([maps.batch(k, 1) for k in range(max(1, 48 // batch))])


def tell_unused(data: MapDataConfig) -> None:
    """Warn of settings that are for faces of the embedded head, where a corpus of scans is given."""
    plain = MapDataConfig(corpus=data.corpus)
    names = [n for n in ("speech_share", "stats_margin", "focus", "activity") if getattr(data, n) != getattr(plain, n)]
    if names:
        listed = ", ".join(f"data.{name}" for name in names)
        log.warning("%s: a corpus of scans; %s not used: every frame and every texel counts alike", data.corpus, listed)


def _scanned(kind: str, sizes: VQGANConfig, data: MapDataConfig, loop: LoopConfig) -> Material:
    """A corpus of scans: every texel counts alike, as published."""
    tell_unused(data)
    maps = ScannedMaps(data.corpus, kind, sizes.img_size, data.batch, loop.seed, one_clip=loop.one_clip)
    return Material(maps, maps.held_out(), None, maps.stats)
