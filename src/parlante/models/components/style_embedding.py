"""The gated style embedding of TalkingStyle (and PTalker's identity style)."""

import torch.nn.functional as F
from torch import Tensor, nn


class ScalarAttention(nn.Module):
    """The authors' four-wide "attention" over the entries of an embedding.

    It was meant to let the entries attend to each other, but its layer expects the sequence first, so each entry is a
    sequence of its own: softmax over one key is 1, and what remains is one scalar function applied to every entry,

        f(e) = head(norm(out_proj(W (Wv e) + b)))     with W, b the value third of the attention's input projection.

    Wq, Wk and the query and key thirds never matter.
    """

    def __init__(self, width: int = 4, heads: int = 4, dropout: float = 0.1) -> None:
        super().__init__()
        self.rate = dropout
        self.attention = nn.MultiheadAttention(width, heads, dropout)
        self.Wq, self.Wk, self.Wv = nn.Linear(1, width), nn.Linear(1, width), nn.Linear(1, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """f of every entry: (...) -> (...)."""
        width = self.norm.normalized_shape[0]
        weight, bias = self.attention.in_proj_weight[2 * width :], self.attention.in_proj_bias[2 * width :]
        value = F.linear(self.Wv(x[..., None]), weight, bias)
        value = F.dropout(value, self.rate, self.training)  # of the one attention weight: heads are one entry wide
        return self.head(self.norm(self.attention.out_proj(value)))[..., 0]

    def across_batch(self, query: Tensor, x: Tensor) -> Tensor:
        """What the published code makes of several items: for each entry, items attend to each other; (B, D) twice."""
        query, x = query[..., None], x[..., None]  # (B as sequence, D as batch, 1)
        seen, _ = self.attention(self.Wq(query), self.Wk(x), self.Wv(x), need_weights=False)
        return self.head(self.norm(seen))[..., 0]


class StyleEncoder(nn.Module):
    """s = relu(W k + f(e_k)) for speaker k: a linear style gated by a learned embedding. Never negative."""

    def __init__(self, subjects: int, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.rate = dropout
        self.obj_vector = nn.Linear(subjects, width, bias=False)
        self.my_obj_vector = nn.Embedding(subjects, width)
        self.attention = ScalarAttention(dropout=dropout)

    def forward(self, weights: Tensor, *, reference: bool = False) -> Tensor:
        """weights (B, N), one-hot or a mixture -> (B, D).

        A mixture blends the speakers' codes before the rectification, so it moves evenly from one to the other.
        `reference`: the embedding is that of the largest weight alone, and the items of a batch attend to each other.
        """
        linear = self.obj_vector(weights)
        if reference:
            gate = self.attention.across_batch(linear, self.my_obj_vector(weights.argmax(-1)))
        else:
            gate = weights @ self.attention(self.my_obj_vector.weight)
        return F.relu(linear + F.dropout(gate, self.rate, self.training))
