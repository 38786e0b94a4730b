"""Wide networks, a few frames at a time, from rounded weights: what a step costs is reading them.

`Rounded` holds matrices the way `wide_kernel.py` reads them, one after the other in the order of use; `HalfPast` is
what a decoder remembers. Sums are in single precision. Half precision changes a random matrix by 0.02 % of its size,
bytes by 0.8 %.
"""

import functools
import importlib
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from parlante.models.components import causal_decoder as causal
from parlante.models.components.causal_decoder import CausalDecoder, attention_slopes
from parlante.models.components.kv_cache import Frames, Heard, first_seen
from parlante.models.cpu import skinny_matmul as rows

MOST = 64
"""Rows up to which halves are faster than BLAS in single precision."""
COARSE = 0.012
"""Share of a matrix that rounding to bytes may take."""
LEAST = 1e-30
"""Of a byte's unit: a bias divided by it must be finite, even beside a row of zeros."""
_turn = threading.Lock()


@functools.cache
def kernel() -> Any:
    """The compiled layers, or None without numba or on a processor where they do not pay."""
    try:
        simd = importlib.import_module("parlante.models.cpu.simd")
        return importlib.import_module("parlante.models.cpu.wide_kernel") if simd.wide_registers() else None
    except ModuleNotFoundError as absent:
        if absent.name not in ("numba", "llvmlite"):
            raise
        return None


@functools.cache
def multiplies_bytes() -> bool:
    """Whether torch multiplies bytes well: without instructions for it, sums of 16 bits overflow, or it takes fifty
    times as long."""
    if not (importlib.import_module("parlante.models.cpu.simd").counts() and torch.backends.mkldnn.is_available()):
        return False
    largest = torch.full((8, 64), 127, dtype=torch.int8)
    return bool((torch._int_mm(largest, largest.T) == 64 * 127**2).all())


@contextmanager
def one_thread() -> Iterator[None]:
    """torch's operators of this thread run alone: between compiled functions of one thread, waking others takes longer
    than they help, and they spin until they are needed again. Other threads keep what they have."""
    with _turn:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # also what threads begin with from now on: another one takes that back
        back = threading.Thread(target=torch.set_num_threads, args=(threads,))
        back.start()
        back.join()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def usable(sizes: Iterable[tuple[int, int]], matrices: Iterable[Tensor]) -> bool:
    """Whether `Rounded` can, and should, hold these: of wide networks, on the CPU, in single precision.

    sizes: width and heads of each network.
    """
    given, sizes = list(matrices), list(sizes)
    plain = all(x.device.type == "cpu" and x.dtype == torch.float32 for x in given)
    if not plain or any(width <= causal.WIDEST for width, _ in sizes) or kernel() is None:
        return False
    whole = [size for x in given for size in x.shape] + [width // heads for width, heads in sizes]
    return all(size % kernel().PANEL == 0 for size in whole)


def in_bytes(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers (out, in) int8, and what one of them means in each row, (out,)."""
    scale = (matrix.abs().amax(1) / 127).clamp(min=LEAST)
    return (matrix / scale[:, None]).round().to(torch.int8), scale


def coarse(matrix: Tensor) -> bool:
    """Whether bytes would round more than they do a random matrix: a few large weights in rows of small ones."""
    counts, scale = in_bytes(matrix)
    return bool((counts * scale[:, None] - matrix).norm() > COARSE * matrix.norm())


def times_bytes(x: Tensor, counts: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    """x (..., in), every row rounded to bytes, times counts (out, in) int8 of `scale` (out,) -> (..., out)."""
    given = x.reshape(-1, x.shape[-1])
    own = (given.abs().amax(1, keepdim=True) / 127).clamp(min=torch.finfo(x.dtype).tiny)
    whole = torch._int_mm((given / own).round_().to(torch.int8), counts.T)
    y = whole.to(x.dtype).mul_(own).mul_(scale)
    return (y if bias is None else y.add_(bias)).view(*x.shape[:-1], -1)


class Place(NamedTuple):
    """A matrix in `Rounded`."""

    start: int
    scale: Tensor
    """(out,), or (0,) of one in half precision."""
    matrix: Tensor


class Rounded(rows.Maps):
    """Matrices (out, in), some in half precision, then some in bytes, or all in half precision if one of those would
    be `coarse`. Others are left to `rows`."""

    def __init__(self, halves: Iterable[Tensor], counted: Iterable[Tensor]) -> None:
        halves, counted = [x.detach() for x in halves], [x.detach() for x in counted]
        if any(coarse(x) for x in counted):
            halves, counted = halves + counted, []
        sizes = [2 * x.numel() for x in halves] + [x.numel() for x in counted]
        starts = np.cumsum([0, *sizes])
        self.weights = np.empty(starts[-1], np.int8)
        """One after the other, (out / 64, in, 64) each."""
        self._places: dict[tuple[int, torch.Size], Place] = {}
        self._counts: dict[int, Tensor] = {}  # matrices in bytes (out, in) once more, where many rows wanted them
        for start, size, x in zip(starts, sizes, halves + counted):
            rounded, scale = in_bytes(x) if size == x.numel() else (x.half(), x.new_zeros(0))
            panels = rounded.unflatten(0, (-1, kernel().PANEL)).mT.contiguous().numpy()
            self.weights[start : start + size] = panels.reshape(-1).view(np.int8)
            self._places[x.data_ptr(), x.shape] = Place(int(start), scale, x)

    def stack(self, layers: list[tuple[Tensor, ...]]) -> tuple[Any, tuple[Any, ...]]:
        """Where the matrices of some layers begin (L, n), and their scales, n arrays (L, out) or (L, 0)."""
        found = [[self._places[x.data_ptr(), x.shape] for x in layer] for layer in layers]
        scales = tuple(stacked(place.scale for place in same) for same in zip(*found))
        return np.array([[place.start for place in layer] for layer in found]), scales

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """F.linear: x (..., in) -> (..., out)."""
        count, held = x.numel() // x.shape[-1], self._places.get((weight.data_ptr(), weight.shape))
        if held is None or not count or (count > MOST and not len(held.scale)):
            return super().linear(x, weight, bias)
        given, answer = room(x.reshape(count, -1)), np.zeros((full(count), len(weight)), np.float32)
        shift = np.zeros(len(weight), np.float32) if bias is None else bias.detach().numpy()
        kernel().product(self.weights, held.start, held.scale.numpy(), shift, given, answer, count)
        return torch.from_numpy(answer)[:count].view(*x.shape[:-1], -1)

    def counts(self, weight: Tensor) -> tuple[Tensor, Tensor] | None:
        """As `in_bytes`, of a matrix that is kept so."""
        held = self._places.get((weight.data_ptr(), weight.shape))
        if held is None or not len(held.scale):
            return None
        if held.start not in self._counts:
            self._counts[held.start] = in_bytes(held.matrix)[0]
        return self._counts[held.start], held.scale


class Rougher(rows.Maps):
    """For many rows at once: they are rounded to bytes, too, where torch `multiplies_bytes` several times faster than
    the weights as they are."""

    def __init__(self, maps: Rounded) -> None:
        self.maps = maps

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """F.linear: x (..., in) -> (..., out)."""
        if not multiplies_bytes():
            return super().linear(x, weight, bias)
        held = self.maps.counts(weight)
        return self.maps.linear(x, weight, bias) if held is None else times_bytes(x, *held, bias)


def full(count: int) -> int:
    """Rows that hold `count` and whatever fills up a turn of the kernels."""
    return count + kernel().MANY


def room(x: Tensor) -> Any:
    """x (n, D) as an array with rows to spare."""
    padded = np.zeros((full(len(x)), x.shape[1]), np.float32)
    padded[: len(x)] = x.detach().float().numpy()
    return padded


def stacked(parts: Iterable[Tensor]) -> Any:
    """Tensors of one shape as one array."""
    return torch.stack([part.detach() for part in parts]).numpy()


class HalfPast(Frames):
    """Keys and values of all layers, (2, L, B, H, capacity, D / H) in half precision."""

    def __init__(self, layers: int, batch: int, heads: int, width: int, span: int | None) -> None:
        super().__init__(4, span, torch.empty(2, layers, batch, heads, 0, width // heads, dtype=torch.float16))

    def arrays(self) -> tuple[Any, Any]:
        """Keys, values, (L, B, H, capacity, D / H, 2) int8 each, for the kernels."""
        keys, values = self.room.view(torch.int8).unflatten(-1, (-1, 2)).numpy()
        return keys, values


def layer_matrices(decoder: CausalDecoder) -> list[tuple[Tensor, ...]]:
    """Of each layer, in the order of use."""
    layers: Any = decoder.layers
    own = [(x.self_attn.in_proj_weight, x.self_attn.out_proj.weight) for x in layers]
    return [(*both, x.linear1.weight, x.linear2.weight) for both, x in zip(own, layers)]


class RoundedDecoder:
    """`CausalDecoder.block` on rounded weights, and what it remembers: frame after frame of `batch` items."""

    def __init__(self, decoder: CausalDecoder, maps: Rounded, batch: int) -> None:
        layers: Any = list(decoder.layers)
        self.decoder, self.maps, self.length = decoder, maps, 0
        self.past = HalfPast(len(layers), batch, decoder.heads, decoder.width, decoder.span)
        self._at, self._scales = maps.stack(layer_matrices(decoder))
        self._biases = (
            stacked(x.self_attn.in_proj_bias for x in layers),
            stacked(x.self_attn.out_proj.bias for x in layers),
            stacked(x.linear1.bias for x in layers),
            stacked(x.linear2.bias for x in layers),
        )
        norms = [torch.stack([n.weight, n.bias]) for x in layers for n in (x.norm1, x.norm2, x.norm3)]
        self._norms = stacked(norms).reshape(len(layers), 3, 2, -1)
        self._fade = np.zeros((decoder.heads, 0), np.float32)

    def rewind(self, length: int) -> None:
        """Forget the frames from `length` on; for those of the last `block`."""
        self.length = length

    def block(self, tokens: Tensor, heard: Heard, t: int) -> Tensor:
        """tokens (B, n, D) of the next frames, which hear frames t.. of `heard` -> (B, n, D)."""
        batch, count = tokens.shape[:2]
        place = self.past.reserve(self.length, count)
        newest = np.arange(self.length, self.length + count)
        first = np.array([first_seen(int(frame), self.decoder.span) for frame in newest])
        near = (newest <= newest[:, None]) & (newest >= first[:, None])
        x = room(tokens.flatten(0, 1))
        given = (
            self.maps.weights,
            self._at,
            self._scales,
            self._biases,
            self._norms,
            self.past.arrays(),
            self._fading(),
        )
        kernel().decode(x, *given, answers(heard, self.decoder), t, near, first - self.past.first, place, batch)
        self.length += count
        return torch.from_numpy(x)[: batch * count].view(batch, count, -1)

    def _fading(self) -> Any:
        """What is added to a head's logits by age, (H, capacity)."""
        capacity = self.past.room.shape[4]
        if self._fade.shape[1] < capacity:
            age = np.arange(capacity) // self.decoder.period
            self._fade = (-np.array(attention_slopes(self.decoder.heads))[:, None] * age).astype(np.float32)
        return self._fade


def answers(heard: Heard, decoder: CausalDecoder) -> tuple[Any, ...]:
    """Cross-attention as `CausalLayer.folded` prepares it; float32 arrays (L, B, T, ...)."""
    if heard.folded is not None:
        rise, offset, base, change = (part.detach().float().contiguous().numpy() for part in heard.folded)
        return rise, offset, base, change
    assert heard.answers is not None
    base = heard.answers.detach().float().contiguous().numpy()
    none = np.zeros((*base.shape[:3], 0, decoder.heads, base.shape[3]), np.float32)
    return none, none[..., 0], base, none
