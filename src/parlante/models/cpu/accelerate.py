"""Where hand-written kernels stand in for torch's operators. `benchmarks/kernels.py` measures what they gain.

A kernel stays only where shipped talkers are at least 1.3 times as fast with it. One does: the autoregressive loop of
narrow causal decoders (FaceFormer, TalkingStyle, PTalker), where calling an operator costs more than its work.
"""

import functools
import importlib
from typing import Any

import torch
from torch import Tensor

from parlante.models.components.causal_decoder import CausalDecoder, attention_slopes
from parlante.models.components.kv_cache import EncodedMemory, KVCache

ENABLED = True
"""False: torch's operators do everything; the same numbers up to the order of sums."""
WIDEST = 512
"""Past this width the work outweighs the calls."""
BLOCK = 512
"""Frames in one compiled run: their past shares one piece of storage."""


def accelerate(decoder: CausalDecoder) -> "CompiledRollout | None":
    """A compiled loop for this decoder's weights as they are now, or none where torch does the work: on other devices,
    in training, for wide decoders, without numba."""
    weight: Tensor = decoder.layers[0].norm1.weight  # type: ignore[assignment,union-attr]
    plain = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)
    if not (ENABLED and plain and decoder.width <= WIDEST and not decoder.training and _kernels() is not None):
        return None
    return CompiledRollout(decoder)


@functools.cache
def _kernels() -> Any:
    """The compiled functions, or none without numba."""
    try:
        return importlib.import_module("parlante.models.cpu.causal_kernels")
    except ModuleNotFoundError as absent:
        if absent.name != "numba":
            raise
        return None


class CompiledRollout:
    """Frames in sequence, each fed back, in one compiled run per `BLOCK`."""

    def __init__(self, decoder: CausalDecoder) -> None:
        self._weights = _packed(decoder)
        self._period = decoder.period
        slopes = torch.tensor(attention_slopes(decoder.heads), dtype=torch.float64)
        self._slopes, self._span = slopes, 1 << 40 if decoder.span is None else decoder.span

    def __call__(
        self,
        token: Tensor,
        style: Tensor,
        feedback: tuple[Tensor, Tensor],
        positions: Tensor,
        memory: EncodedMemory,
        cache: KVCache,
        lengths: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """All frames of `memory` -> hidden frames (B, T, D) and the next token (B, D); `cache` moves on.

        token, style (B, D); feedback as from `fuse_feedback`; positions (T, D); lengths (B,): frames wanted of each
        item, the others stay zero.
        """
        frames, width = positions.shape
        hidden, token = token.new_zeros(len(token), frames, width), token.contiguous().clone()
        counts = torch.full((len(token),), frames) if lengths is None else lengths.cpu().clamp(max=frames)
        own = (token, style.detach(), feedback[0].detach().mT, feedback[1].detach(), positions, counts.long())
        arrays = tuple(part.contiguous().numpy() for part in own)
        for first in range(0, frames, BLOCK):
            last = min(first + BLOCK, frames)
            cache.reserve(last - first)
            place = cache.length - cache.origin
            given = self._weights, *self._cached(cache), _memory_arrays(memory, cache)
            _kernels().rollout(*arrays, *given, first, last, place, 1e-5, hidden.numpy())
            cache.length += last - first
        return hidden, token

    def _cached(self, cache: KVCache) -> tuple[Any, ...]:
        """The past, with the ages of the frames before the last place of its capacity, and how attention fades."""
        ages = torch.arange(cache.keys.shape[-1]).flip(0).div(self._period, rounding_mode="floor").to(cache.keys)
        fading = self._slopes.to(cache.keys.dtype).numpy(), self._span
        return (cache.keys.numpy(), cache.values.numpy(), ages.numpy()), fading


def _memory_arrays(memory: EncodedMemory, cache: KVCache) -> tuple[Any, ...]:
    none4, none5 = cache.keys.new_zeros(0, 0, 0, 0), cache.keys.new_zeros(0, 0, 0, 0, 0)
    given = (memory.outputs, none4), (memory.keys, none5), (memory.values, none5)
    return tuple((none if part is None else part).detach().contiguous().numpy() for part, none in given)


def _packed(decoder: CausalDecoder) -> tuple[Any, ...]:
    """Weights stacked over layers, matrices as (L, in, out), with 1 / sqrt(D / H) taken into the queries."""
    layers: Any = decoder.layers
    width, scale = decoder.width, (decoder.width // decoder.heads) ** -0.5
    scaled = torch.ones(3 * width, dtype=layers[0].norm1.weight.dtype)
    scaled[:width] = scale
    own = [layer.self_attn for layer in layers]
    other = [layer.multihead_attn for layer in layers]

    def matrices(parts: list[Tensor]) -> Any:
        return torch.stack([part.detach() for part in parts]).mT.contiguous().numpy()

    def vectors(parts: list[Tensor]) -> Any:
        return torch.stack([part.detach() for part in parts]).contiguous().numpy()

    norms = [torch.stack([torch.stack([n.weight, n.bias]) for n in (x.norm1, x.norm2, x.norm3)]) for x in layers]
    return (
        matrices([x.in_proj_weight * scaled[:, None] for x in own]),
        vectors([x.in_proj_bias * scaled for x in own]),
        matrices([x.out_proj.weight for x in own]),
        vectors([x.out_proj.bias for x in own]),
        matrices([x.in_proj_weight[:width] * scale for x in other]),
        vectors([x.in_proj_bias[:width] * scale for x in other]),
        matrices([x.out_proj.weight for x in other]),
        vectors([x.out_proj.bias for x in other]),
        matrices([x.linear1.weight for x in layers]),
        vectors([x.linear1.bias for x in layers]),
        matrices([x.linear2.weight for x in layers]),
        vectors([x.linear2.bias for x in layers]),
        vectors(norms),
    )
