"""Training of the two autoencoders (TexTalker, section 3; options of ours in the recipes).

Generator: weighted L1 (+ gradient and L2 terms, + a perceptual one) + codebook loss + [late] adaptive hinge GAN. In the
small recipes half the samples skip the quantiser, so that the generator serves codes and unquantised latents alike.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from parlante import losses
from parlante.core import InputError
from parlante.geometry.uv import MotionStats
from parlante.losses.perceptual import perceptual
from parlante.models.textalker.discriminator import PatchDiscriminator
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.training.engine.processes import first_process
from parlante.training.engine.recipe import LoopConfig, section
from parlante.training.engine.run import fit
from parlante.training.engine.samples import map_sheet
from parlante.training.engine.scheme import Scheme
from parlante.training.features.maps import MapBatches, MapDataConfig, activity_map, corpus_faces, split_takes
from parlante.training.features.scanned_maps import ScannedMaps, is_scanned
from parlante.training.schemes.codebook import CodebookHealth
from parlante.training.schemes.principal_start import principal_start


@dataclass(frozen=True, kw_only=True)
class VQGANLossConfig:
    """The `loss:` part of a recipe. Published: l1 1, commitment 1, codebook 0.25, adversarial and gan 0.2, from step
    20001, discriminator 64 wide with 4 layers, nothing else."""

    l1: float = 1.0
    l2: float = 0.0
    gradient: float = 0.0
    perceptual: str = "none"
    """lpips (with `perceptual_file`), gradients (a stand-in that needs no file) or none; see `perceptual.py`."""
    perceptual_file: str = ""
    perceptual_share: float = 0.0
    """Weight of the perceptual term; 0 only logs it, as the published training does."""
    commitment: float = 0.25
    codebook: float = 1.0
    skip_share: float = 0.5
    """Share of samples that are generated from z itself."""
    adversarial: float = 0.2
    """Weight of the generator's adversarial term, beside the adaptive one."""
    gan: float = 0.2
    """Factor of that term before its gradient is compared with the others'."""
    adversarial_from: int | None = None
    """Step at which the discriminator joins; none leaves it out."""
    discriminator_width: int = 32
    discriminator_layers: int = 3
    start_codes: bool = True
    """Place the codes on latents of the first batches; otherwise they start at random, as published."""
    revive_every: int = 100
    """Steps between revivals of dead codes; 0 switches it off."""
    alive: float = 0.05
    """A code is dead when it is used less than this share of the even rate."""
    autocast: bool = False
    """Run the networks in bfloat16; weights, codes, losses and optimisers stay float32."""


class Maps(Protocol):
    """Where batches come from."""

    def batch(self, step: int, *stream: int) -> Tensor:
        """(B, 3, H, H) maps, a function of the seed, the step and the stream."""


class VQGANScheme(Scheme):
    """One autoencoder on one kind of map."""

    weight: Tensor
    unit: Tensor | None

    def __init__(
        self,
        model: VQAutoEncoder,
        loop: LoopConfig,
        loss: VQGANLossConfig,
        data: Maps,
        held_out: Tensor | None = None,
        weight: Tensor | None = None,
        unit: Tensor | None = None,
    ) -> None:
        """held_out (N, 3, H, H) maps to validate on; weight (1, 1, H, H) loss weights; unit (1, 3, 1, 1) what a map's
        full range is worth (mm), or none for maps judged by PSNR."""
        super().__init__(loop)
        self.network, self.loss, self.data, self.held_out = model, loss, data, held_out
        self.register_buffer("weight", torch.ones(1, 1, 1, 1) if weight is None else weight, persistent=False)
        self.register_buffer("unit", unit, persistent=False)
        self.health = CodebookHealth(model.config.codebook_size, loss.alive)
        self.critic: PatchDiscriminator | None = None
        if loss.adversarial_from is not None:
            self.critic = PatchDiscriminator(model.config.channels, loss.discriminator_width, loss.discriminator_layers)
        self.distance = perceptual(loss.perceptual, loss.perceptual_file)

    def configure_optimizers(self) -> Any:
        """One for the autoencoder, one for the discriminator if there is one."""
        own = super().configure_optimizers()
        if self.critic is None:
            return own
        return [own, torch.optim.Adam(self.critic.parameters(), self.loop.lr, (0.9, 0.99))]

    def batch(self, step: int) -> Tensor:
        """(B, 3, H, H) maps."""
        return self.data.batch(step).contiguous(memory_format=torch.channels_last)

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
        assert isinstance(model, VQAutoEncoder)
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

    def after_step(self, step: int, batch: Tensor) -> dict[str, float]:
        """Discriminator's turn; code use and revival."""
        logged: dict[str, float] = {}
        if self._fighting:
            assert self.critic is not None
            loss = losses.hinge_discriminator(self._score(batch), self._score(self._output))
            self.optimise(self.optimizers()[1], loss, list(self.critic.parameters()))  # type: ignore[index]
            logged["discriminator"] = loss.item()
        dead = self.health.see(self._indices)
        logged["alive"] = 1 - dead.float().mean().item()
        every = self.loss.revive_every
        if every and step % every == every - 1 and dead.any() and step < 0.8 * self.loop.max_steps:
            numbers = dead.nonzero()[:, 0]
            self._set_codes(numbers, self.health.revive(self._model, numbers, batch))
            logged["revived"] = float(len(numbers))
        return logged

    @property
    def _model(self) -> VQAutoEncoder:
        assert isinstance(self.network, VQAutoEncoder)
        return self.network

    def _place_codes(self, batch: Tensor) -> None:
        maps = torch.cat([batch, *(self.batch(10**6 + k).to(batch.device) for k in range(8))])
        codes = self.health.place(self._model, maps)
        self._set_codes(torch.arange(len(codes), device=codes.device), codes)

    def _set_codes(self, where: Tensor, vectors: Tensor) -> None:
        """The average moves with codes that were put somewhere."""
        assert self.ema is not None
        kept = self.ema.state["quantize.embedding.weight"]
        kept[where] = vectors.to(kept)

    def validate(self) -> dict[str, float]:
        """Weighted error in mm (motion) or PSNR in dB (wrinkle), from codes and from z; code use."""
        if self.held_out is None:
            return {}
        model, truth = self.network, self.held_out
        assert isinstance(model, VQAutoEncoder)
        answer = {}
        z = torch.cat([model.encode(piece) for piece in truth.split(16)])
        for name, quantise in (("z", False), ("code", True)):
            output = torch.cat([model.decode(piece, quantise=quantise) for piece in z.split(16)])
            error = output - truth
            spread = (output - output.mean(0)).norm() / (truth - truth.mean(0)).norm().clamp(min=1e-12)
            if self.unit is not None:
                distance = (error * self.unit).norm(dim=1, keepdim=True)
                answer[f"mm_{name}"] = (distance * self.weight).mean().item()
            else:
                answer[f"psnr_{name}"] = -10 * float((error.square() * self.weight).mean().log10())
        answer["perplexity"] = model.quantize(z).perplexity.item()
        return answer | {"motion_spread": spread.item()}

    def sample(self, stem: Path) -> None:
        """Held-out maps above their reconstructions."""
        if self.held_out is not None:
            made = self._model.decode(self._model.encode(self.held_out[:16]))
            map_sheet(stem.with_suffix(".png"), self.held_out[:16], made)


def main(config: dict[str, Any], run_dir: Path) -> None:
    """Train the autoencoder of `stage` motion_vqgan or wrinkle_vqgan and write `run_dir/export`."""
    kind = str(config["stage"]).removesuffix("_vqgan")
    if "corpus" not in (config.get("data") or {}):
        raise InputError(
            "the recipe needs data.corpus: --set data.corpus=FOLDER written by `parlante synth` or `parlante prepare`"
        )
    sizes, loop = section(VQGANConfig, config, "model"), section(LoopConfig, config, "loop")
    loss, data = section(VQGANLossConfig, config, "loss"), section(MapDataConfig, config, "data")
    perceptual(loss.perceptual, loss.perceptual_file)  # a missing file is told before maps are made
    batches, held_out, weight, stats = (_scanned if is_scanned(data.corpus) else _synthetic)(kind, sizes, data, loop)
    unit = None
    if kind == "motion":
        span = np.subtract(stats.maximum, stats.minimum)
        unit = torch.tensor(1000 * span, dtype=torch.float32).view(1, 3, 1, 1)
    torch.manual_seed(loop.seed)
    model = VQAutoEncoder(sizes)
    if data.start_maps and not loop.one_clip and not (run_dir / "last.ckpt").is_file():
        first = torch.cat([batches.batch(k, 3) for k in range(max(1, data.start_maps // data.batch))])
        principal_start(model, first, torch.ones(1, 1, 1, 1) if weight is None else weight)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    scheme = VQGANScheme(model, loop, loss, batches, held_out, weight, unit)
    fit(scheme, run_dir)
    if not first_process():
        return
    with torch.no_grad():
        figures = scheme.validate()
    model.save(run_dir / "export", kind=kind, stats=stats.to_dict(), figures=figures, loss=asdict(loss))


Material = tuple[Maps, Tensor | None, Tensor | None, MotionStats]
"""Batches, held-out maps, loss weights, how motion maps are normalised."""


def _synthetic(kind: str, sizes: VQGANConfig, data: MapDataConfig, loop: LoopConfig) -> Material:
    """A SynthTalk corpus: maps rendered on the fly, texels weighed by place and activity."""
    side = {"motion": (sizes.img_size, 16), "wrinkle": (16, sizes.img_size)}[kind]
    corpus, faces = corpus_faces(data.corpus, sizes=side, margin=data.stats_margin)
    takes, kept = split_takes(corpus, "train"), split_takes(corpus, "val", "train")[-40:]
    if loop.one_clip:
        takes = kept = takes[:1]
        data = replace(data, speech_share=1.0)
    batches = MapBatches(faces, takes, kind, data, loop.seed)
    check = MapBatches(faces, kept, kind, data, loop.seed)
    held_out = torch.cat([check.batch(k, 1) for k in range(max(1, 48 // data.batch))])
    weight = faces.focus_map(kind, data.focus)
    if data.activity:
        weight = weight * (1 + data.activity * activity_map(batches))
        weight = weight / weight.mean()
    return batches, held_out, weight, faces.stats


def _scanned(kind: str, sizes: VQGANConfig, data: MapDataConfig, loop: LoopConfig) -> Material:
    """A corpus written by `parlante prepare`: every texel counts alike, as published."""
    batches = ScannedMaps(data.corpus, kind, sizes.img_size, data.batch, loop.seed, one_clip=loop.one_clip)
    return batches, batches.held_out(), None, batches.stats
