"""Training of the two autoencoders (TexTalker, section 3; options of ours in the recipes).

Generator: weighted L1 (+ gradient and L2 terms) + codebook loss + [late] adaptive hinge GAN. Half the samples skip the
quantiser, so that the generator serves codes and unquantised latents alike.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from parlante import losses
from parlante.core import InputError
from parlante.models.textalker.discriminator import PatchDiscriminator
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig
from parlante.training.data import MapBatches, MapDataConfig, activity_map, corpus_faces, split_takes
from parlante.training.principal_start import principal_start
from parlante.training.run import LoopConfig, Scheme, fit, section


@dataclass(frozen=True, kw_only=True)
class VQGANLossConfig:
    """The `loss:` part of a recipe. Published: l1 1, commitment 1, codebook 0.25, adversarial 0.04 from step 20001."""

    l1: float = 1.0
    l2: float = 0.0
    gradient: float = 0.0
    commitment: float = 0.25
    codebook: float = 1.0
    skip_share: float = 0.5
    """Share of samples that are generated from z itself."""
    adversarial: float = 0.04
    adversarial_from: int | None = None
    """Step at which the discriminator joins; none leaves it out."""
    discriminator_width: int = 32
    discriminator_layers: int = 3
    revive_every: int = 100
    """Steps between revivals of dead codes; 0 switches it off."""
    alive: float = 0.05
    """A code is dead when it is used less than this share of the even rate."""


class VQGANScheme(Scheme):
    """One autoencoder on one kind of map."""

    weight: Tensor
    usage: Tensor
    unit: Tensor | None

    def __init__(
        self,
        model: VQAutoEncoder,
        loop: LoopConfig,
        loss: VQGANLossConfig,
        data: MapBatches,
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
        self.register_buffer("usage", torch.ones(model.config.codebook_size) / model.config.codebook_size)
        self.critic: PatchDiscriminator | None = None
        if loss.adversarial_from is not None:
            self.critic = PatchDiscriminator(model.config.channels, loss.discriminator_width, loss.discriminator_layers)
        self._indices = torch.zeros(0, dtype=torch.long)

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

    def losses(self, batch: Tensor) -> dict[str, Tensor]:
        """See the module's first lines."""
        model, c = self.network, self.loss
        assert isinstance(model, VQAutoEncoder)
        if self.steps_done == 0:
            self._place_codes(batch)
        skip = torch.rand(len(batch), device=batch.device) < c.skip_share
        output, code = model(batch, skip)
        pixel = c.l1 * losses.weighted_l1(output, batch, self.weight)
        if c.l2:
            pixel = pixel + c.l2 * losses.weighted_l2(output, batch, self.weight)
        if c.gradient:
            pixel = pixel + c.gradient * losses.gradient_l1(output, batch, self.weight)
        total = pixel + c.commitment * code.commitment + c.codebook * code.codebook
        answer = {"pixel": pixel, "commitment": code.commitment, "perplexity": code.perplexity}
        self._indices, self._output = code.indices.flatten(), output.detach()
        if self._fighting:
            assert self.critic is not None
            self.critic.requires_grad_(False)
            adversarial = losses.hinge_generator(self.critic(output))
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
            loss = losses.hinge_discriminator(self.critic(batch), self.critic(self._output))
            self.optimise(self.optimizers()[1], loss, list(self.critic.parameters()))  # type: ignore[index]
            logged["discriminator"] = loss.item()
        size = len(self.usage)
        share = torch.bincount(self._indices, minlength=size).float() / len(self._indices)
        self.usage.lerp_(share, 0.02)
        dead = self.usage < self.loss.alive / size
        logged["alive"] = 1 - dead.float().mean().item()
        every = self.loss.revive_every
        if every and step % every == every - 1 and dead.any() and step < 0.8 * self.loop.max_steps:
            self._revive(dead.nonzero()[:, 0], batch)
        return logged

    @torch.no_grad()
    def _place_codes(self, batch: Tensor) -> None:
        """Data initialisation: k-means on latents of some batches, drawn by their distance from rest."""
        model = self.network
        assert isinstance(model, VQAutoEncoder) and self.ema is not None
        maps = torch.cat([batch, *(self.batch(10**6 + k).to(batch.device) for k in range(8))])
        z = torch.cat([model.encode(piece) for piece in maps.split(16)]).permute(0, 2, 3, 1).flatten(0, 2)
        active = (z - z.mean(0)).norm(dim=1)
        z = z[torch.multinomial(active + 0.02 * active.mean() + 1e-12, 16 * len(self.usage), replacement=True)]
        codes = z[torch.randperm(len(z))[: len(self.usage)]].clone()
        for _ in range(8):
            nearest = torch.cdist(z, codes).argmin(1)
            count = torch.bincount(nearest, minlength=len(codes))[:, None]
            total = torch.zeros_like(codes).index_add_(0, nearest, z)
            codes = torch.where(count > 0, total / count.clamp(min=1), z[torch.randint(len(z), (len(codes),))])
        every = torch.arange(len(codes), device=codes.device)
        model.quantize.place(every, codes)
        self.ema.state["quantize.embedding.weight"].copy_(codes)

    @torch.no_grad()
    def _revive(self, codes: Tensor, batch: Tensor) -> None:
        """Move codes onto latents of a batch, those far from their own code first: most cells of a face are at rest."""
        model = self.network
        assert isinstance(model, VQAutoEncoder) and self.ema is not None
        z = model.encode(batch)
        far = (z - model.quantize.nearest(z)).square().sum(1).flatten()
        z = z.permute(0, 2, 3, 1).flatten(0, 2)
        picked = z[torch.multinomial(far + 0.05 * far.mean() + 1e-12, len(codes), replacement=len(codes) > len(z))]
        picked = picked + 0.01 * z.std(0) * torch.randn_like(picked)
        model.quantize.place(codes, picked)
        self.ema.state["quantize.embedding.weight"][codes] = picked
        self.usage[codes] = 1.0 / len(self.usage)

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
            if self.unit is not None:
                distance = (error * self.unit).norm(dim=1, keepdim=True)
                answer[f"mm_{name}"] = (distance * self.weight).mean().item()
            else:
                answer[f"psnr_{name}"] = -10 * float((error.square() * self.weight).mean().log10())
        answer["perplexity"] = model.quantize(z).perplexity.item()
        return answer


def main(config: dict[str, Any], run_dir: Path) -> None:
    """Train the autoencoder of `stage` motion_vqgan or wrinkle_vqgan and write `run_dir/export`."""
    kind = str(config["stage"]).removesuffix("_vqgan")
    if "corpus" not in (config.get("data") or {}):
        raise InputError("the recipe needs data.corpus: --set data.corpus=FOLDER written by `parlante synth`")
    sizes, loop = section(VQGANConfig, config, "model"), section(LoopConfig, config, "loop")
    loss, data = section(VQGANLossConfig, config, "loss"), section(MapDataConfig, config, "data")
    side = {"motion": (sizes.img_size, 16), "wrinkle": (16, sizes.img_size)}[kind]
    corpus, faces = corpus_faces(data.corpus, sizes=side, margin=data.stats_margin)
    batches = MapBatches(faces, split_takes(corpus, "train"), kind, data, loop.seed)
    check = MapBatches(faces, split_takes(corpus, "val", "train")[-40:], kind, data, loop.seed)
    held_out = torch.cat([check.batch(k, 1) for k in range(max(1, 48 // data.batch))])
    weight = faces.focus_map(kind, data.focus)
    if data.activity:
        weight = weight * (1 + data.activity * activity_map(batches))
        weight = weight / weight.mean()
    unit = None
    if kind == "motion":
        span = np.subtract(faces.stats.maximum, faces.stats.minimum)
        unit = torch.tensor(1000 * span, dtype=torch.float32).view(1, 3, 1, 1)
    torch.manual_seed(loop.seed)
    model = VQAutoEncoder(sizes)
    if not (run_dir / "last.ckpt").is_file():
        first = torch.cat([batches.batch(k, 3) for k in range(max(1, data.start_maps // data.batch))])
        principal_start(model, first, weight)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    scheme = VQGANScheme(model, loop, loss, batches, held_out, weight, unit)
    fit(scheme, run_dir)
    with torch.no_grad():
        figures = scheme.validate()
    model.save(run_dir / "export", kind=kind, stats=faces.stats.to_dict(), figures=figures, loss=asdict(loss))
