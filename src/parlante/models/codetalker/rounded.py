"""What CodeTalker's loop needs of its weights, prepared once: folded maps, and all that it reads in bytes.

A frame of the published sizes reads 390 or 590 MB in single precision, and reading is what it costs. In bytes it is a
quarter; the weights themselves stay, and the final decoding uses them. Only the last map before the nearest codes is
kept in half precision.
"""

import functools
import importlib
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from parlante.models.codetalker.autoencoder import MLP, Attention, MotionDecoder
from parlante.models.codetalker.quantiser import MotionQuantizer
from parlante.models.components.incremental_decoder import fold
from parlante.models.cpu import wide
from parlante.models.cpu.skinny_matmul import EXACT, Maps

if TYPE_CHECKING:
    from parlante.models.codetalker.model import CodeTalker


def kernel() -> Any:
    """What is compiled between the products; there where `wide.Rounded` is."""
    return importlib.import_module("parlante.models.codetalker.loop_kernel")


class RoundedBlocks:
    """Stage 1's Transformer on new frames before a frozen past, from rounded weights, and that past."""

    def __init__(self, decoder: MotionDecoder, maps: wide.Rounded, batch: int, span: int | None) -> None:
        blocks = list(decoder.decoder_transformer.blocks())
        self.maps = maps
        self.past = wide.HalfPast(len(blocks), batch, decoder.config.heads, decoder.config.width, span)
        parts = [(cast(Attention, attend.fn), cast(MLP, think.fn)) for attend, think in blocks]
        self._at, self._scales = maps.stack([block_matrices(*part) for part in parts])
        none = torch.zeros(3 * decoder.config.width)
        self._biases = (
            wide.stacked(none for _ in parts),
            wide.stacked(attention.to_out.bias for attention, _ in parts),
            wide.stacked(mlp.l1.bias for _, mlp in parts),
            wide.stacked(mlp.l2.bias for _, mlp in parts),
        )
        norms = [torch.stack([part.norm.weight, part.norm.bias]) for block in blocks for part in block]
        self._norms = wide.stacked(norms).reshape(len(blocks), 2, 2, -1)

    def write(self, number: int, start: int, first: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep keys and values (B, heads, T, .) of a block for frames `start`..; all from `first` on."""
        place = self.past.reserve(start, k.shape[2])
        past = self.past.room[:, number]
        for kept, new in zip(past, (k, v)):
            kept[:, :, place : place + k.shape[2]] = new
        keys, values = past[:, :, :, place - start + first : place].to(k.dtype)
        return torch.cat([keys, k], 2), torch.cat([values, v], 2)

    def block(self, x: Tensor, frozen: int, oldest: Tensor, near: Tensor) -> Tensor:
        """x (B, n, C) of the frames from `frozen` on; each sees those from `oldest` (n,) on and rows `near` (n, n)."""
        batch, count = x.shape[:2]
        place = self.past.reserve(frozen, count)
        y, seen = wide.room(x.flatten(0, 1)), (oldest - self.past.first).numpy()
        given = (self.maps.weights, self._at, self._scales, self._biases, self._norms, self.past.arrays())
        wide.kernel().transform(y, *given, near.numpy(), seen, place, batch)
        return torch.from_numpy(y)[: batch * count].view(batch, count, -1)


def nearest_codes(quantizer: MotionQuantizer, z: Tensor) -> Tensor:
    """`MotionQuantizer.nearest_codes`."""
    codes, groups = quantizer.embedding.weight.detach().numpy(), z.shape[-1] // quantizer.embedding.embedding_dim
    found = np.empty(z.numel() // codes.shape[1], np.int64)
    kernel().nearest(z.reshape(-1, codes.shape[1]).numpy(), codes, found)
    return torch.from_numpy(found).view(*z.shape[:-1], groups)


def block_matrices(attention: Attention, maps: MLP) -> tuple[Tensor, ...]:
    """In the order of use."""
    return attention.to_qkv.weight, attention.to_out.weight, maps.l1.weight, maps.l2.weight


@dataclass
class LoopWeights:
    """What `CodeRollout` reads; M is the width of the mesh, which none of it has."""

    matrix: Tensor
    """(D, C): `vertice_map` after `vertice_map_reverse`."""
    offset: Tensor
    """(D,)."""
    taps: Tensor
    """`MotionDecoder.taps`."""
    halved: list[Tensor]
    """What `maps` keep in half precision."""
    counted: list[Tensor]
    """What they keep in bytes."""

    @functools.cached_property
    def maps(self) -> Maps:
        """`wide.Rounded`, made when first wanted, or the weights themselves where that is of no use."""
        return wide.Rounded(self.halved, self.counted) if self.counted else EXACT

    @classmethod
    def of(cls, model: "CodeTalker") -> "LoopWeights":
        """Prepared anew."""
        decoder = model.autoencoder.decoder
        with torch.no_grad():
            matrix, offset = fold(decoder.vertice_map_reverse, model.vertice_map)
        taps = decoder.taps()
        counted = [x for layer in wide.layer_matrices(model.transformer_decoder) for x in layer]
        if decoder.config.latent_maps:
            counted.append(decoder.decoder_linear_embedding_pre.net.weight)
        counted += [taps, decoder.decoder_linear_embedding.net.weight]
        for attend, think in decoder.decoder_transformer.blocks():
            counted += block_matrices(cast(Attention, attend.fn), cast(MLP, think.fn))
        counted.append(matrix)
        sizes = [(config.width, config.heads) for config in (model.config, decoder.config)]
        halved = [model.feat_map.weight]
        usable = wide.usable(sizes, halved + counted)
        return cls(matrix, offset, taps, halved if usable else [], counted if usable else [])


_prepared: "weakref.WeakKeyDictionary[nn.Module, tuple[Any, LoopWeights]]" = weakref.WeakKeyDictionary()


def loop_weights(model: "CodeTalker") -> LoopWeights:
    """`LoopWeights.of` a model, made again only when a parameter has been changed or replaced.

    Changes through `.data`, which torch does not count, are not seen.
    """
    stamp = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in model.parameters())
    held = _prepared.get(model)
    if held is None or held[0] != stamp:
        held = _prepared[model] = stamp, LoopWeights.of(model)
    return held[1]
