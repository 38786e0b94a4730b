"""A decoder layer whose frames each hear their own moment of the audio (TexTalker, section "alignment mask")."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def alignment_mask(tokens: int) -> Tensor:
    """(1 + tokens, tokens) bool, True = hidden: the leading time token hears all, frame i only audio frame i."""
    mask = torch.ones(1 + tokens, tokens, dtype=torch.bool)
    mask[0] = False
    mask[1:].fill_diagonal_(False)
    return mask


class AlignedDecoderLayer(nn.TransformerDecoderLayer):
    """torch's post-norm decoder layer, with cross-attention under `alignment_mask` computed as what it is.

    With one visible key, softmax gives it weight 1, so a frame's answer is that key's value after the output
    projection: a linear map. Only the leading time token attends for real. Equal to the masked attention (tested),
    in O(tokens) instead of O(tokens^2). Parameter names are torch's.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: int = 4, dropout: float = 0.1) -> None:
        super().__init__(width, heads, width * mlp_ratio, dropout, activation="gelu", batch_first=True)
        self.heads, self.rate = heads, dropout

    def forward(self, x: Tensor, audio: Tensor) -> Tensor:  # type: ignore[override]
        """x (B, 1 + T, D), time token first; audio (B, T, D) -> (B, 1 + T, D)."""
        x = self.norm1(x + self.dropout1(self._self(x)))
        x = self.norm2(x + self.dropout2(self._hear(x, audio)))
        y = self.linear2(self.dropout(F.gelu(self.linear1(x))))
        return self.norm3(x + self.dropout3(y))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, tokens, D / heads)

    def _self(self, x: Tensor) -> Tensor:
        attention = self.self_attn
        q, k, v = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, -1)
        rate = self.rate if self.training else 0.0
        y = F.scaled_dot_product_attention(self._split(q), self._split(k), self._split(v), dropout_p=rate)
        return attention.out_proj(y.transpose(1, 2).flatten(-2))

    def _hear(self, x: Tensor, audio: Tensor) -> Tensor:
        attention = self.multihead_attn
        (wq, wk, wv), (bq, bk, bv) = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        value = F.linear(audio, wv, bv)
        rate = self.rate if self.training else 0.0
        q, k = F.linear(x[:, :1], wq, bq), F.linear(audio, wk, bk)
        first = F.scaled_dot_product_attention(self._split(q), self._split(k), self._split(value), dropout_p=rate)
        if rate:  # dropout of the single attention weight of each head
            kept = F.dropout(value.new_ones(*value.shape[:2], self.heads, 1), rate)
            value = (value.unflatten(-1, (self.heads, -1)) * kept).flatten(-2)
        return attention.out_proj(torch.cat([first.transpose(1, 2).flatten(-2), value], 1))
