"""A VQGAN on a CPU at a fraction of the cost: the same network with the same numbers (float32 rounding), rearranged.

- 3 x 3 convolutions by Winograd's algorithm, an upsampling folded into the one that follows it (`blocks/winograd.py`);
- group norm, swish and residual sums inside those convolutions, instead of passes over maps of 64 MB;
- the last convolution, 64 channels to 3, as one matrix product and a sum of shifted taps;
- frames side by side on the cores; small maps (16 x 16) of many frames at once;
- in bfloat16 by the plain modules where the processor multiplies bfloat16 (`precision="auto"`).

Inference only. Weights are rearranged at the first use: make a new object after changing them, or use `fast_vqgan`.
"""

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from parlante.models.components.conv2d import ResBlock, Upsample
from parlante.models.cpu.winograd import LANES, Affine, WinogradConv, channel_sums
from parlante.models.textalker.vqgan import Stack, VQAutoEncoder

Precision = Literal["float32", "bfloat16", "auto"]
SMALL = 16
"""Maps up to this side are done by the plain modules, all frames at once."""
BATCH = 8
"""Frames in flight: the small maps are computed for so many at a time."""


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 numbers itself (AVX-512 BF16 or AMX)."""
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(check() for check in checks if check is not None)


class FastVQGAN:
    """Encoder and decoder of a `VQAutoEncoder` for inference; off the CPU, in bfloat16 and where sizes do not suit it
    (`fast` is False), the plain modules are called."""

    def __init__(self, model: VQAutoEncoder, *, precision: Precision = "float32") -> None:
        """Raises ValueError for an unknown precision."""
        if precision not in ("float32", "bfloat16", "auto"):
            raise ValueError(f"precision must be float32, bfloat16 or auto, got {precision!r}")
        weight = model.last_weight
        on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32
        self.config = model.config
        half = precision == "bfloat16" or (precision == "auto" and on_cpu and has_bfloat16())
        self.dtype = torch.bfloat16 if half else torch.float32
        self.quantize = model.quantize
        self._plain = model
        if half:
            self._plain = copy.deepcopy(model).eval().requires_grad_(False)
            self._plain.encoder.to(torch.bfloat16)
            self._plain.generator.to(torch.bfloat16)
        c = self.config
        suits = c.img_size // c.patch > SMALL and c.latent_size % 4 == 0 and c.nf % LANES == 0
        self.fast = on_cpu and not half and suits

    @cached_property
    def _encoder(self) -> "_Rearranged":
        return _Rearranged(self._plain.encoder, self.config.img_size // self.config.patch)

    @cached_property
    def _generator(self) -> "_Rearranged":
        return _Rearranged(self._plain.generator, self.config.latent_size)

    @torch.inference_mode()
    def encode(self, image: Tensor) -> Tensor:
        """image (B, 3, H, H) in 0..1 -> z (B, C, h, h), as `VQAutoEncoder.encode`."""
        patch = self.config.patch
        folded = nn.functional.pixel_unshuffle(image, patch) if patch > 1 else image
        return self._encoder(folded) if self._here(folded) else self._as_it_is(self._plain.encoder, folded)

    @torch.inference_mode()
    def decode(self, z: Tensor, *, quantise: bool = True) -> Tensor:
        """z (B, C, h, h) -> image (B, 3, H, H) in 0..1, as `VQAutoEncoder.decode`."""
        latent = self.quantize.nearest(z) if quantise else z
        here = self._here(latent)
        image = self._generator(latent) if here else self._as_it_is(self._plain.generator, latent)
        return nn.functional.pixel_shuffle(image, self.config.patch) if self.config.patch > 1 else image

    def _here(self, x: Tensor) -> bool:
        return self.fast and x.device.type == "cpu"

    def _as_it_is(self, plain: Stack, x: Tensor) -> Tensor:
        x = x.to(self.dtype).contiguous(memory_format=torch.channels_last)
        return torch.cat([plain(piece).float().contiguous() for piece in x.split(BATCH)])


def fast_vqgan(model: VQAutoEncoder) -> FastVQGAN:
    """The `FastVQGAN` of a model, kept with it until its weights are changed in place, replaced or moved."""
    state = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in model.parameters())
    kept = model.__dict__.get("_fast_vqgan")
    if kept is None or kept[0] != state:
        kept = model.__dict__["_fast_vqgan"] = (state, FastVQGAN(model))
    return kept[1]


class _Workspace:
    """Buffers of one thread that are used again and again: fresh memory of this size costs as much as a norm."""

    def __init__(self) -> None:
        self.free: list[Tensor] = []

    def take(self, *shape: int) -> Tensor:
        size = int(np.prod(shape))
        fitting = [k for k, buffer in enumerate(self.free) if len(buffer) >= size]
        if not fitting:
            return torch.empty(shape)
        buffer = self.free.pop(min(fitting, key=lambda k: len(self.free[k])))
        return buffer[:size].view(shape)

    def give(self, used: Tensor) -> None:
        self.free.append(torch.empty(0).set_(used.untyped_storage()))


class _Map:
    """A map between two steps: pixels (H, W, C) in a workspace buffer, and its channel sums if they are known."""

    def __init__(self, image: Tensor, sums: NDArray[np.float64] | None = None) -> None:
        self.image, self._sums = image, sums

    @property
    def sums(self) -> NDArray[np.float64]:
        if self._sums is None:
            self._sums = channel_sums(self.image)
        return self._sums

    def norm(self, norm: nn.GroupNorm, *, active: bool) -> Affine:
        height, width, _ = self.image.shape
        return Affine.of(norm, self.sums, height * width, active=active)


class _Residual:
    """`ResBlock`, in place where widths agree."""

    def __init__(self, block: ResBlock) -> None:
        self.block = block
        self.first, self.second = WinogradConv(block.conv1), WinogradConv(block.conv2)
        self.matrix: Tensor | None = None
        if hasattr(block, "conv_out"):
            self.matrix = block.conv_out.weight[:, :, 0, 0].mT.contiguous()
            self.bias = block.conv_out.bias

    def __call__(self, x: _Map, work: _Workspace) -> _Map:
        height, width, channels = x.image.shape
        middle, sums = self.first(
            x.image, x.norm(self.block.norm1, active=True), work.take(height, width, self.first.out_channels)
        )
        out = x.image
        if self.matrix is not None:
            out = work.take(height, width, self.second.out_channels)
            flat = out.view(height * width, -1)
            assert self.bias is not None
            torch.addmm(self.bias, x.image.view(height * width, channels), self.matrix, out=flat)
            work.give(x.image)
        norm = _Map(middle, sums).norm(self.block.norm2, active=True)
        out, sums = self.second(middle, norm, out, added=out)
        work.give(middle)
        return _Map(out, sums)


class _Grow:
    """`Upsample`."""

    def __init__(self, block: Upsample) -> None:
        self.conv = WinogradConv(block.conv, grow=True)
        width = self.conv.in_channels
        self.unchanged = Affine(torch.ones(width), torch.zeros(width), active=False)

    def __call__(self, x: _Map, work: _Workspace) -> _Map:
        height, width, _ = x.image.shape
        out, sums = self.conv(x.image, self.unchanged, work.take(2 * height, 2 * width, self.conv.out_channels))
        work.give(x.image)
        return _Map(out, sums)


class _Finish:
    """The last norm and convolution: what each pixel gives to its nine neighbours, then the sum of what each gets."""

    def __init__(self, norm: nn.GroupNorm, conv: nn.Conv2d, *, active: bool) -> None:
        assert conv.bias is not None
        self.norm, self.active = norm, active
        self.matrix = conv.weight.permute(1, 2, 3, 0).flatten(1).contiguous()  # (C, 9 C')
        self.bias = conv.bias

    def __call__(self, x: _Map, work: _Workspace) -> Tensor:
        from parlante.models.cpu.winograd_kernels import sum_taps

        height, width, channels = x.image.shape
        norm = x.norm(self.norm, active=self.active)
        flat = x.image.view(height * width, channels)
        taps = work.take(height * width, self.matrix.shape[1])
        if self.active:
            torch.mm(nn.functional.silu(torch.addcmul(norm.shift, flat, norm.scale)), self.matrix, out=taps)
        else:
            torch.addmm(norm.shift @ self.matrix, flat, norm.scale[:, None] * self.matrix, out=taps)
        out = torch.empty(len(self.bias), height, width)
        sum_taps(taps.view(height, width, -1).numpy(), self.bias.numpy(), out.numpy())
        work.give(taps)
        work.give(x.image)
        return out[None]


class _Plain:
    """Any other block, as it is."""

    def __init__(self, block: nn.Module) -> None:
        self.block = block

    def __call__(self, x: _Map, work: _Workspace) -> _Map:
        made = self.block(x.image.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
        out = work.take(*made.shape)
        out.copy_(made)
        work.give(x.image)
        return _Map(out)


class _Rearranged:
    """A `Stack` in three parts: small maps of all frames, large maps frame by frame, small maps again."""

    def __init__(self, stack: Stack, side: int) -> None:
        blocks = list(stack.blocks)
        sizes = [side]  # of every block's input, and of the result
        for block in blocks:
            halves = any(isinstance(m, nn.Conv2d) and m.stride == (2, 2) for m in block.modules())
            sizes.append(sizes[-1] * 2 if isinstance(block, Upsample) else sizes[-1] // 2 if halves else sizes[-1])
        large = [k for k in range(len(blocks)) if max(sizes[k], sizes[k + 1]) > SMALL and sizes[k] % 4 == 0]
        first, last = (large[0], large[-1] + 1) if large else (len(blocks), len(blocks))
        self.before, self.after = nn.Sequential(*blocks[:first]), nn.Sequential(*blocks[last:])
        self.steps, self.end, rest = _plan(blocks[first:last])
        self.after = nn.Sequential(*rest, *self.after)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', h', w')."""
        return torch.cat([self._batch(piece) for piece in x.split(BATCH)])

    def _batch(self, x: Tensor) -> Tensor:
        x = self.before(x.contiguous(memory_format=torch.channels_last))
        threads = torch.get_num_threads()
        if threads == 1 or len(x) == 1:
            made = self._several(x)
        else:
            with ThreadPoolExecutor(min(threads, len(x))) as pool:
                made = torch.cat(list(pool.map(self._alone, x.tensor_split(min(threads, len(x))))))
            torch.set_num_threads(threads)
        return self.after(made).contiguous()

    @torch.inference_mode()
    def _alone(self, frames: Tensor) -> Tensor:
        torch.set_num_threads(1)  # of this thread; the caller's number is set again when all are done
        return self._several(frames)

    def _several(self, frames: Tensor) -> Tensor:
        work = _Workspace()
        return torch.cat([self._one(frame, work) for frame in frames])

    def _one(self, frame: Tensor, work: _Workspace) -> Tensor:
        image = work.take(*frame.shape[1:], frame.shape[0])
        image.copy_(frame.permute(1, 2, 0))
        x = _Map(image)
        for step in self.steps:
            x = step(x, work)
        if self.end is not None:
            return self.end(x, work)
        made = x.image.permute(2, 0, 1)[None].clone(memory_format=torch.channels_last)
        work.give(x.image)
        return made


def _plan(blocks: list[nn.Module]) -> tuple[list[Callable[[_Map, _Workspace], _Map]], _Finish | None, list[nn.Module]]:
    """Steps that do what the blocks do, an end if they end in a convolution to few channels, and blocks left over."""
    steps: list[Callable[[_Map, _Workspace], _Map]] = []
    for k, block in enumerate(blocks):
        following = [b for b in blocks[k + 1 : k + 3] if not isinstance(b, nn.SiLU)]
        if isinstance(block, ResBlock) and WinogradConv.fits(block.conv1) and WinogradConv.fits(block.conv2):
            steps.append(_Residual(block))
        elif isinstance(block, Upsample) and WinogradConv.fits(block.conv):
            steps.append(_Grow(block))
        elif isinstance(block, nn.GroupNorm) and following and isinstance(following[0], nn.Conv2d):
            active = isinstance(blocks[k + 1], nn.SiLU)
            return steps, _Finish(block, following[0], active=active), blocks[k + 2 + active :]
        else:
            steps.append(_Plain(block))
    return steps, None, []
