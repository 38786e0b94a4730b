"""CodeTalker, stage 1: a codebook of facial motions (Xing et al., CVPR 2023, section 3.1).

    motion (B, T, M) -> encoder -> z (B, T', groups * code_dim) -> nearest codes -> decoder -> motion (B, T, M)

Encoder and decoder are mirror images: a convolution over time with instance norm, then Transformer blocks without a
mask. One class serves every released variant; the config says which: M, groups x code_dim per frame, the bias of the
output map (`output_bias`) and the linear maps around the codes (`latent_maps`). Parameter names are the authors'.

Two properties matter to whoever decodes: instance norm and attention let every frame of a clip act on every other one
(attention within `span`), and a clip needs at least two steps, because the norm of a single one is undefined.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parlante.core import InputError
from parlante.core.ranges import Amount, Count, Whole
from parlante.models.checkpoint import built, load_checkpoint, save_checkpoint, settings, usable
from parlante.models.codetalker.quantiser import Codes, MotionQuantizer
from parlante.models.components.causal_decoder import SPAN

KERNEL = 5
"""Frames under each convolution over time."""


@dataclass(frozen=True, kw_only=True)
class MotionAutoencoderConfig:
    """Sizes; the defaults are the published ones (VOCASET)."""

    motion_dim: int = 15069
    """Motion coordinates per frame, 3V for vertices."""
    width: Count = 1024
    """Width of the Transformer blocks."""
    layers: Count = 6
    """Transformer blocks (attention, then two linear maps) on each side."""
    heads: Count = 8
    """Attention heads; must divide `width`."""
    hidden: Count = 1536
    """Width inside the two linear maps of a block."""
    groups: Count = 16
    """Codes per frame."""
    code_dim: Count = 64
    """Width of a code."""
    codes: Count = 256
    """Entries of the codebook."""
    halvings: Whole = 0
    """The codes run 2^halvings times slower than the frames."""
    slope: Amount = 0.2
    """Of the leaky ReLU."""
    norm_affine: bool = False
    """Scale and shift after each instance norm."""
    output_bias: bool = True
    """Whether the last map has a bias."""
    latent_maps: bool = False
    """Linear maps between the widths of encoder, codes and decoder; without, width = groups * code_dim."""
    positions_by_item: bool = False
    """Reproduce the released code on batches: item i of a batch gets position vector i. Default: row 0 for all."""
    span: Count | None = SPAN
    """Clips up to so many steps attend without limits, as released; in longer ones each step sees at least half as many
    to either side, at a cost that grows with the length and not with its square. None: no limit."""

    def __post_init__(self) -> None:
        if self.heads < 1 or self.width % self.heads or self.width % 2:
            raise ValueError(f"width must be even and divide by heads, got {self.width} and {self.heads}")
        if self.span is not None and self.span < 2:
            raise ValueError(f"span must be at least 2 steps, or none for no limit, got {self.span}")
        if not self.latent_maps and self.latent_dim != self.width:
            raise ValueError(
                f"without latent_maps, width must be groups * code_dim = {self.latent_dim}, got {self.width}"
            )

    @property
    def latent_dim(self) -> int:
        """Width of one step of the encoder's output."""
        return self.groups * self.code_dim

    @property
    def stride(self) -> int:
        """Frames per step of codes."""
        return 2**self.halvings


def frames_kept(lengths: Tensor | None, frames: int) -> Tensor | None:
    """lengths (B,) -> (B, frames) bool, True for the frames that exist; None when all do."""
    return None if lengths is None else torch.arange(frames, device=lengths.device) < lengths[:, None]


class InstanceNorm(nn.Module):
    """Zero mean and unit variance over the true frames of each item and channel; x (B, C, T)."""

    def __init__(self, channels: int, *, affine: bool, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def moments(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, C, 1) mean and reciprocal deviation over the true frames."""
        if lengths is None:
            var, mean = torch.var_mean(x, 2, correction=0, keepdim=True)
        else:
            kept = frames_kept(lengths, x.shape[2])[:, None].to(x.dtype)  # type: ignore[index]
            count = lengths.to(x.dtype)[:, None, None]
            mean = (x * kept).sum(2, keepdim=True) / count
            var = ((x - mean).square() * kept).sum(2, keepdim=True) / count
        return mean, (var + self.eps).rsqrt()

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if x.shape[2] < 2 or (lengths is not None and int(lengths.min()) < 2):
            raise InputError("instance norm over time needs at least two steps, got one; use a longer clip")
        return self.scaled(x, *self.moments(x, lengths))

    def scaled(self, x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
        """x (B, C, T) normalised by given moments (B, C, 1)."""
        x = (x - mean) * scale
        return x if self.weight is None else x * self.weight[:, None] + self.bias[:, None]  # type: ignore[index]


class TimeConv(nn.Sequential):
    """Convolution over time (edge values repeated), leaky ReLU, instance norm: children 0, 1, 2. x (B, C, T)."""

    def __init__(self, config: MotionAutoencoderConfig, *, stride: int = 1, grow: bool = False) -> None:
        conv: nn.Module
        width, half = config.width, KERNEL // 2
        if grow:  # doubles the rate; beyond the ends there is nothing, not a repeated edge
            conv = nn.ConvTranspose1d(width, width, KERNEL, stride=2, padding=half, output_padding=1)
        else:
            conv = nn.Conv1d(width, width, KERNEL, stride=stride)
        norm = InstanceNorm(width, affine=config.norm_affine)
        super().__init__(conv, nn.LeakyReLU(config.slope), norm)
        self.stride, self.grow = stride, grow

    def lengths_after(self, lengths: Tensor | None) -> Tensor | None:
        """Number of steps that come out of `lengths` steps."""
        if lengths is None:
            return None
        return lengths * 2 if self.grow else (lengths - 1) // self.stride + 1

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.grow:
            kept = frames_kept(lengths, x.shape[2])
            x = x if kept is None else x * kept[:, None]
        elif lengths is None:
            x = F.pad(x, (KERNEL // 2, KERNEL // 2), "replicate")
        else:  # repeat each item's own last frame
            place = torch.arange(-(KERNEL // 2), x.shape[2] + KERNEL // 2, device=x.device).clamp(min=0)
            place = torch.minimum(place, lengths[:, None] - 1)  # (B, T + 4)
            x = x.gather(2, place[:, None].expand(-1, x.shape[1], -1))
        return self[2](self[1](self[0](x)), self.lengths_after(lengths))


class Attention(nn.Module):
    """Self-attention whose logits are divided by the square root of the *whole* width. x (B, T, C).

    Without a mask up to `span` steps. Beyond, pieces of span / 2 steps see themselves and as many steps to either side.
    """

    def __init__(self, width: int, heads: int, span: int | None) -> None:
        super().__init__()
        self.heads, self.scale, self.span = heads, width**-0.5, span
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Linear(width, width)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, heads, T, C / heads) each."""
        q, k, v = self.to_qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def look(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Answers (B, n, C) to queries (B, heads, n, .) over keys and values (B, heads, T, .); mask (..., n, T): what
        is seen (bool), or added to the logits."""
        seen = F.scaled_dot_product_attention(q, k, v, mask, scale=self.scale)
        return self.to_out(seen.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """kept (B, T) bool: steps that may be looked at."""
        mask = None if kept is None else kept[:, None, None]
        (q, k, v), frames = self.project(x), x.shape[1]
        if self.span is None or frames <= self.span:
            return self.look(q, k, v, mask)
        half = self.span // 2
        done = []
        for i in range(0, frames, half):
            near = slice(max(0, i - half), i + 2 * half)
            piece = None if mask is None else mask[..., near]
            if piece is not None:  # nothing but steps past the end: they may see each other, for a mean of none is none
                piece = piece | ~piece.any(-1, keepdim=True)
            done.append(self.look(q[:, :, i : i + half], k[:, :, near], v[:, :, near], piece))
        return torch.cat(done, 1)


class MLP(nn.Module):
    """Two linear maps with the tanh form of GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.l1 = nn.Linear(width, hidden)
        self.l2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.l2(F.gelu(self.l1(x), approximate="tanh"))


class PreNorm(nn.Module):
    """Layer norm, then `fn`."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = fn

    def forward(self, x: Tensor, *args: object) -> Tensor:
        return self.fn(self.norm(x), *args)


class Residual(nn.Module):
    """Named only to keep the authors' parameter names."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn


class Transformer(nn.Module):
    """Pre-norm blocks, no norm at the end. x (B, T, C)."""

    def __init__(self, config: MotionAutoencoderConfig) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for _ in range(config.layers):
            parts += [Attention(config.width, config.heads, config.span), MLP(config.width, config.hidden)]
        self.net = nn.ModuleList(Residual(PreNorm(config.width, part)) for part in parts)

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """kept (B, T) bool: frames that may be looked at."""
        for attend, think in self.blocks():
            x = x + attend(x, kept)
            x = x + think(x)
        return x

    def blocks(self) -> Iterator[tuple["PreNorm", "PreNorm"]]:
        """The two halves of each block, without their residual sums."""
        parts = [part.fn for part in self.net]
        return zip(parts[0::2], parts[1::2])  # type: ignore[arg-type]


class LinearEmbedding(nn.Module):
    """A linear map under the authors' name."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.net = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def position_rows(batch: int, width: int, *, by_item: bool, like: Tensor) -> Tensor:
    """(B or 1, 1, C): the vector added to every frame of an item.

    The table of sines and cosines is indexed by the place in the batch, never by time. Row 0, which every item has when
    clips come one by one, is (0, 1, 0, 1, ...). by_item: rows 0 to batch - 1, as the released code gives to a batch.
    """
    place = torch.arange(batch if by_item else 1, device=like.device, dtype=torch.float32)
    even = torch.arange(0, width, 2, device=like.device, dtype=torch.float32)
    angle = place[:, None] * torch.exp(even * (-math.log(10000.0) / width))  # single precision, like the authors' table
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, None].to(like.dtype)


class MotionEncoder(nn.Module):
    """Motion (B, T, M) -> latent (B, T / stride, groups * code_dim)."""

    def __init__(self, config: MotionAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.vertice_mapping = nn.Sequential(nn.Linear(config.motion_dim, width), nn.LeakyReLU(config.slope))
        first = TimeConv(config, stride=2 if config.halvings else 1)
        self.squasher = nn.ModuleList([first, *(TimeConv(config) for _ in range(1, config.halvings))])
        self.encoder_linear_embedding = LinearEmbedding(width, width)
        self.encoder_transformer = Transformer(config)
        if config.latent_maps:
            self.encoder_linear_embedding_post = LinearEmbedding(width, config.latent_dim)

    def forward(self, motion: Tensor, lengths: Tensor | None = None) -> Tensor:
        x = self.vertice_mapping(motion).mT  # (B, C, T)
        for i, conv in enumerate(self.squasher):
            x = conv(x, lengths)
            lengths = conv.lengths_after(lengths)  # type: ignore[operator]
            if i:
                x = F.max_pool1d(x, 2)
                lengths = None if lengths is None else lengths // 2
        x = self.encoder_linear_embedding(x.mT)  # (B, T', C)
        x = x + position_rows(len(x), self.config.width, by_item=self.config.positions_by_item, like=x)
        x = self.encoder_transformer(x, frames_kept(lengths, x.shape[1]))
        return self.encoder_linear_embedding_post(x) if self.config.latent_maps else x


class MotionDecoder(nn.Module):
    """Latent (B, T', groups * code_dim) -> motion (B, T' * stride, M)."""

    def __init__(self, config: MotionAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        if config.latent_maps:
            self.decoder_linear_embedding_pre = LinearEmbedding(config.latent_dim, width)
        first = TimeConv(config, grow=config.halvings > 0)
        self.expander = nn.ModuleList([first, *(TimeConv(config) for _ in range(1, config.halvings))])
        self.decoder_linear_embedding = LinearEmbedding(width, width)
        self.decoder_transformer = Transformer(config)
        self.vertice_map_reverse = nn.Linear(width, config.motion_dim, bias=config.output_bias)

    def widen(self, latent: Tensor) -> Tensor:
        """(..., groups * code_dim) -> (..., C)."""
        return self.decoder_linear_embedding_pre(latent) if self.config.latent_maps else latent

    def embed(self, x: Tensor) -> Tensor:
        """What the Transformer reads of normalised x (B, C, T): (B, T, C)."""
        x = self.decoder_linear_embedding(x.mT)
        return x + position_rows(len(x), self.config.width, by_item=self.config.positions_by_item, like=x)

    def hidden(self, latent: Tensor, lengths: Tensor | None = None) -> Tensor:
        """All but the output map: latent (B, T', .) -> (B, T, C). lengths in steps of codes."""
        x = self.widen(latent).mT
        for i, conv in enumerate(self.expander):
            x = conv(x, lengths)
            lengths = conv.lengths_after(lengths)  # type: ignore[operator]
            if i:
                x = x.repeat_interleave(2, 2)
                lengths = None if lengths is None else lengths * 2
        return self.decoder_transformer(self.embed(x), frames_kept(lengths, x.shape[2]))

    def forward(self, latent: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.vertice_map_reverse(self.hidden(latent, lengths))


class MotionAutoencoder(nn.Module):
    """Both sides and the codebook between them. `lengths` (B,) are true frames; whatever lies beyond has no effect."""

    def __init__(self, config: MotionAutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = MotionEncoder(config)
        self.decoder = MotionDecoder(config)
        self.quantize = MotionQuantizer(config.codes, config.code_dim)

    def steps(self, lengths: Tensor | None) -> Tensor | None:
        """Steps of codes of clips of `lengths` frames."""
        return None if lengths is None else lengths // self.config.stride

    def encode(self, motion: Tensor, lengths: Tensor | None = None) -> Tensor:
        """motion (B, T, M) -> latent (B, T', groups * code_dim), not yet quantised.

        Raises InputError unless the frame counts are multiples of `stride` that leave at least two steps.
        """
        stride = self.config.stride
        counts = [motion.shape[1], *([] if lengths is None else lengths.tolist())]
        bad = [n for n in counts if n % stride or n < 2 * stride]
        if bad:
            raise InputError(
                f"the motion autoencoder wants a multiple of {stride} and at least {2 * stride} frames, got {bad[0]}; "
                "cut or pad the clip"
            )
        return self.encoder(motion, lengths)

    def quantise(self, latent: Tensor, lengths: Tensor | None = None) -> Codes:
        """latent (B, T', groups * code_dim) -> its nearest codes, gradient passed straight through."""
        return self.quantize(latent, frames_kept(self.steps(lengths), latent.shape[1]))

    def decode(self, latent: Tensor, lengths: Tensor | None = None) -> Tensor:
        """latent (B, T', groups * code_dim) -> motion (B, T, M). Raises InputError for a single step."""
        return self.decoder(latent, self.steps(lengths))

    def decode_codes(self, indices: Tensor, lengths: Tensor | None = None) -> Tensor:
        """indices (B, T', groups) -> motion (B, T, M)."""
        return self.decode(self.quantize.vectors(indices), lengths)

    def forward(self, motion: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Codes]:
        """motion (B, T, M) -> (reconstruction (B, T, M), the quantiser's answer)."""
        codes = self.quantise(self.encode(motion, lengths), lengths)
        return self.decode(codes.latent, lengths), codes

    def save(self, folder: Path | str, **extra: Any) -> Path:
        """Write a checkpoint folder; `extra` (JSON) is kept beside the sizes and ignored on load."""
        config = {"autoencoder": asdict(self.config), **extra}
        return save_checkpoint(folder, "codetalker-autoencoder", config, self.state_dict(), half=False)

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "MotionAutoencoder":
        """Read a checkpoint folder. Raises InputError if it is none or does not fit."""
        config, tensors = load_checkpoint(folder, "codetalker-autoencoder")
        with usable(folder):
            sizes = settings(MotionAutoencoderConfig, config["autoencoder"], "autoencoder")
        return built(lambda: cls(sizes), tensors, folder).eval()


def autoencoder_loss(
    output: Tensor, motion: Tensor, codes: Codes, *, lengths: Tensor | None = None, commitment: float = 0.25
) -> Tensor:
    """mean |output - motion| + codebook + commitment * commitment term (CodeTalker, eq. 3), over the true frames."""
    error = (output - motion).abs()
    kept = frames_kept(lengths, motion.shape[1])
    return (error if kept is None else error[kept]).mean() + codes.codebook + commitment * codes.commitment
