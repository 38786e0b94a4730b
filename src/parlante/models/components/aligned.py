"""A decoder layer whose frames each attend to their own moment of the audio (TexTalker, section "alignment mask")."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def alignment_mask(tokens: int) -> Tensor:
    """(1 + tokens, tokens) bool, True = hidden: the time token attends to all, frame i only to audio frame i."""
    mask = torch.ones(1 + tokens, tokens, dtype=torch.bool)
    mask[0] = False
    mask[1:].fill_diagonal_(False)
    return mask


class AlignedMemory(NamedTuple):
    """What one layer needs of the audio; it depends on no frame, so that all denoising steps of a window share it."""

    keys: Tensor
    """(B, heads, T, D / heads), for the time token."""
    values: Tensor
    """(B, heads, T, D / heads), for the time token."""
    outputs: Tensor
    """(B, T, D) the output of each frame, whose one key is its own moment."""


class AlignedDecoderLayer(nn.TransformerDecoderLayer):
    """torch's post-norm decoder layer, with cross-attention under `alignment_mask` computed as what it is.

    With one visible key, softmax gives it weight 1, so a frame's output is that key's value after the output
    projection: a linear map. Only the leading time token attends for real. Equal to the masked attention (tested),
    in O(tokens) instead of O(tokens^2). Parameter names are torch's.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: int = 4, dropout: float = 0.1) -> None:
        super().__init__(width, heads, width * mlp_ratio, dropout, activation="gelu", batch_first=True)
        self.heads, self.rate = heads, dropout

    def encode_memory(self, audio: Tensor) -> AlignedMemory:
        """audio (B, T, D) -> what `forward` needs of it."""
        attention = self.multihead_attn
        width = audio.shape[-1]
        weight, bias = attention.in_proj_weight[width:], attention.in_proj_bias[width:]
        key, value = F.linear(audio, weight, bias).chunk(2, -1)
        alone = value
        if self.training and self.rate:  # dropout of the single attention weight of each head
            kept = F.dropout(value.new_ones(*value.shape[:2], self.heads, 1), self.rate)
            alone = (value.unflatten(-1, (self.heads, -1)) * kept).flatten(-2)
        return AlignedMemory(self._split(key), self._split(value), attention.out_proj(alone))

    def forward(self, x: Tensor, audio: Tensor | AlignedMemory, last: int | None = None) -> Tensor:  # type: ignore[override]
        """x (B, 1 + T, D), time token first; audio (B, T, D) or what `encode_memory` made of it -> (B, 1 + T, D).

        last: compute only the answers of so many last tokens, (B, last, D); all tokens are still attended to.
        """
        memory = audio if isinstance(audio, AlignedMemory) else self.encode_memory(audio)
        y = x if last is None else x[:, -last:]
        y = self.norm1(y + self.dropout1(self._self(x, y)))
        speech = memory.outputs[:, -last:] if last is not None else self._with_time(y, memory)
        y = self.norm2(y + self.dropout2(speech))
        z = self.linear2(self.dropout(F.gelu(self.linear1(y))))
        return self.norm3(y + self.dropout3(z))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, tokens, D / heads)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rate = self.rate if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, dropout_p=rate).transpose(1, 2).flatten(-2)

    def _self(self, x: Tensor, asking: Tensor) -> Tensor:
        attention = self.self_attn
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        if asking is x:
            q, k, v = F.linear(x, weight, bias).chunk(3, -1)
        else:
            width = x.shape[-1]
            q = F.linear(asking, weight[:width], bias[:width])
            k, v = F.linear(x, weight[width:], bias[width:]).chunk(2, -1)
        return attention.out_proj(self._attend(self._split(q), self._split(k), self._split(v)))

    def _with_time(self, x: Tensor, memory: AlignedMemory) -> Tensor:
        attention = self.multihead_attn
        width = x.shape[-1]
        q = F.linear(x[:, :1], attention.in_proj_weight[:width], attention.in_proj_bias[:width])
        first = attention.out_proj(self._attend(self._split(q), memory.keys, memory.values))
        return torch.cat([first, memory.outputs], 1)
