"""The vector-quantised autoencoder of a UV map (TexTalker, section 3; network of VQGAN, Esser et al. 2021).

One architecture serves motion maps and wrinkle maps, with weights and codebooks of their own:

    map (3, H, H) -> encoder -> z (16, 16, 16) -> nearest codes -> generator -> map (3, H, H)

Parameter names are those of the released checkpoints: `encoder.blocks.i`, `quantize.embedding.weight`,
`generator.blocks.i`. `patch` is ours: pixels are folded into channels before the encoder and unfolded after the
generator, which makes the small sizes affordable on a CPU; `patch=1` is the published network.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.core.ranges import Count, Whole
from parlante.models.checkpoint import built, load_checkpoint, save_checkpoint, settings, usable
from parlante.models.components.conv2d import AttentionBlock, Downsample, ResBlock, Upsample, group_norm


@dataclass(frozen=True, kw_only=True)
class VQGANConfig:
    """Sizes; the defaults are the published ones."""

    img_size: Count = 512
    """Map side, pixels."""
    channels: Count = 3
    """Of a map."""
    nf: Count = 64
    """Width of the first level."""
    ch_mult: tuple[Count, ...] = (1, 2, 2, 4, 4, 8)
    """Width of each level in units of `nf`; each level but the last halves the resolution."""
    res_blocks: Whole = 2
    """Residual blocks of each level."""
    attn_resolutions: tuple[Count, ...] = (16,)
    """Attention follows each residual block at these resolutions (counted after folding by `patch`)."""
    codebook_size: Count = 1024
    """Codes."""
    emb_dim: Count = 16
    """Width of a code, channels of the latent."""
    norm_groups: Count = 32
    """Groups of the group norms; must divide every width."""
    patch: Count = 1
    """Pixel block folded into channels; 1 is the published network."""
    final_activation: bool = False
    """Swish between last norm and last convolution; the published networks have none."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ch_mult", tuple(self.ch_mult))
        object.__setattr__(self, "attn_resolutions", tuple(self.attn_resolutions))
        fold = self.patch * 2 ** (len(self.ch_mult) - 1)
        if self.img_size % fold:
            raise ValueError(f"img_size must divide by patch * 2^(levels - 1) = {fold}, got {self.img_size}")
        bad = [m for m in self.ch_mult if self.nf * m % self.norm_groups]
        if bad or self.nf % self.norm_groups:
            raise ValueError(f"norm_groups {self.norm_groups} must divide every width nf * ch_mult, nf={self.nf}")

    @property
    def latent_size(self) -> int:
        """Side of the latent grid."""
        return self.img_size // self.patch // 2 ** (len(self.ch_mult) - 1)


class Quantised(NamedTuple):
    """What the quantiser answers; loss terms are separate so that a trainer weighs them."""

    latent: Tensor
    """(B, C, h, w): codes, with the gradient passed straight to z."""
    indices: Tensor
    """(B, h, w) int64."""
    commitment: Tensor
    """mean (sg[q] - z)^2: pulls the encoder to its codes."""
    codebook: Tensor
    """mean (q - sg[z])^2: pulls codes to the encoder."""
    perplexity: Tensor
    """exp(entropy) of code use within the batch."""
    mean_distance: Tensor
    """mean squared distance over all pairs of position and code."""


class VectorQuantizer(nn.Module):
    """Nearest code by squared distance at each position (van den Oord et al. 2017)."""

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, dim)
        nn.init.uniform_(self.embedding.weight, -1.0 / size, 1.0 / size)

    def distances(self, z: Tensor) -> Tensor:
        """(n, C) -> (n, codes) squared distances."""
        codes = self.embedding.weight
        return z.square().sum(1, keepdim=True) + codes.square().sum(1) - 2 * z @ codes.mT

    def forward(self, z: Tensor) -> Quantised:
        """z (B, C, h, w) -> see `Quantised`."""
        batch, dim, h, w = z.shape
        flat = z.permute(0, 2, 3, 1).reshape(-1, dim)
        distance = self.distances(flat)
        indices = distance.argmin(1)
        q = self.embedding(indices).view(batch, h, w, dim).permute(0, 3, 1, 2)
        share = torch.bincount(indices, minlength=len(self.embedding.weight)).to(z.dtype) / len(indices)
        return Quantised(
            latent=z + (q - z).detach(),
            indices=indices.view(batch, h, w),
            commitment=F.mse_loss(z, q.detach()),
            codebook=F.mse_loss(q, z.detach()),
            perplexity=torch.exp(-(share * (share + 1e-10).log()).sum()),
            mean_distance=distance.detach().mean(),
        )

    def nearest(self, z: Tensor) -> Tensor:
        """z (B, C, h, w) -> the codes that stand for it, same shape; no gradient bookkeeping."""
        batch, dim, h, w = z.shape
        flat = z.permute(0, 2, 3, 1).reshape(-1, dim)
        return self.embedding(self.distances(flat).argmin(1)).view(batch, h, w, dim).permute(0, 3, 1, 2)

    @torch.no_grad()
    def place(self, where: Tensor, vectors: Tensor) -> None:
        """Move the codes numbered `where` (n,) onto `vectors` (n, C): first placement and dead-code revival."""
        self.embedding.weight[where] = vectors.to(self.embedding.weight)


class Stack(nn.Module):
    """Blocks applied in order."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def _middle(width: int, groups: int) -> list[nn.Module]:
    return [ResBlock(width, width, groups), AttentionBlock(width, groups), ResBlock(width, width, groups)]


def _end(width: int, out: int, config: VQGANConfig) -> list[nn.Module]:
    activation: list[nn.Module] = [nn.SiLU()] if config.final_activation else []
    return [group_norm(width, config.norm_groups), *activation, nn.Conv2d(width, out, 3, padding=1)]


def encoder(config: VQGANConfig) -> Stack:
    """Folded map -> z: levels of residual blocks, halving between them; the middle trio; norm and convolution."""
    size, width, groups = config.img_size // config.patch, config.nf, config.norm_groups
    blocks: list[nn.Module] = [nn.Conv2d(config.channels * config.patch**2, width, 3, padding=1)]
    for level, multiple in enumerate(config.ch_mult):
        for _ in range(config.res_blocks):
            blocks.append(ResBlock(width, config.nf * multiple, groups))
            width = config.nf * multiple
            if size in config.attn_resolutions:
                blocks.append(AttentionBlock(width, groups))
        if level < len(config.ch_mult) - 1:
            blocks.append(Downsample(width))
            size //= 2
    return Stack([*blocks, *_middle(width, groups), *_end(width, config.emb_dim, config)])


def generator(config: VQGANConfig) -> Stack:
    """z -> folded map in 0..1: the encoder's levels in reverse."""
    size, groups = config.latent_size, config.norm_groups
    width = config.nf * config.ch_mult[-1]
    blocks: list[nn.Module] = [nn.Conv2d(config.emb_dim, width, 3, padding=1), *_middle(width, groups)]
    for level, multiple in reversed(list(enumerate(config.ch_mult))):
        for _ in range(config.res_blocks):
            blocks.append(ResBlock(width, config.nf * multiple, groups))
            width = config.nf * multiple
            if size in config.attn_resolutions:
                blocks.append(AttentionBlock(width, groups))
        if level:
            blocks.append(Upsample(width))
            size *= 2
    return Stack([*blocks, *_end(width, config.channels * config.patch**2, config), nn.Sigmoid()])


class VQAutoEncoder(nn.Module):
    """Encoder, codebook and generator of one kind of map."""

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder(config)
        self.quantize = VectorQuantizer(config.codebook_size, config.emb_dim)
        self.generator = generator(config)

    @property
    def last_weight(self) -> Tensor:
        """Weight of the last convolution: where the adaptive weight of the adversarial loss is measured."""
        return self.generator.blocks[-2].weight  # type: ignore[return-value]

    def encode(self, image: Tensor) -> Tensor:
        """image (B, 3, H, H) in 0..1 -> z (B, C, h, h), before quantisation: what the diffusion model works on."""
        patch = self.config.patch
        return self.encoder(F.pixel_unshuffle(image, patch) if patch > 1 else image)

    def decode(self, z: Tensor, *, quantise: bool = True) -> Tensor:
        """z (B, C, h, h) -> image (B, 3, H, H) in 0..1. Published: `quantise=True`."""
        image = self.generator(self.quantize.nearest(z) if quantise else z)
        return F.pixel_shuffle(image, self.config.patch) if self.config.patch > 1 else image

    def forward(self, image: Tensor, skip: Tensor | None = None) -> tuple[Tensor, Quantised]:
        """image (B, 3, H, H) -> (reconstruction, quantiser's answer).

        skip: (B,) bool, samples whose generator gets z itself instead of its codes, so that both ways decode well.
        """
        z = self.encode(image)
        with torch.autocast(z.device.type, enabled=False):  # codes are told apart in float32
            z = z.float()
            quantised = self.quantize(z)
        latent = quantised.latent if skip is None else torch.where(skip[:, None, None, None], z, quantised.latent)
        return self.decode(latent, quantise=False), quantised

    def save(self, folder: Path | str, **extra: Any) -> Path:
        """Write a checkpoint folder; `extra` (JSON) is kept beside the sizes and ignored on load."""
        config = {"vqgan": asdict(self.config), **extra}
        return save_checkpoint(folder, "textalker-vqgan", config, self.state_dict())

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "VQAutoEncoder":
        """Read a checkpoint folder. Raises InputError if it is none or does not fit."""
        config, tensors = load_checkpoint(folder, "textalker-vqgan")
        with usable(folder):
            sizes = settings(VQGANConfig, config["vqgan"], "vqgan")
        return built(lambda: cls(sizes), tensors, folder).eval()
