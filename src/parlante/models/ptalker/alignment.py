"""Two alignments that PTalker's paper describes and its released code does not have. Both are off by default.

The paper names graph attention over the mesh for space and cross-attention for time; how they are wired here is ours.
Both end in a layer that starts at zero, so that switching one on does not disturb a model that was trained without it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SpatialAlignment(nn.Module):
    """Each vertex looks at its neighbours before the motion is embedded: one graph attention layer with a residual.

    Attention as in Velickovic et al., "Graph Attention Networks" (2018): logits leaky_relu(a_i . h_i + a_j . h_j) over
    the edges j -> i and i itself. Works on motions that are vertices, not on coefficients.
    """

    edges: Tensor

    def __init__(self, edges: int, width: int = 16, heads: int = 2) -> None:
        """edges: how many directed edges (j -> i) `connect` will bring; width: features per vertex, heads inside."""
        super().__init__()
        if width % heads:
            raise ValueError(f"heads must divide width, got width={width} and heads={heads}")
        self.heads = heads
        self.register_buffer("edges", torch.zeros(edges, 2, dtype=torch.long))
        self.lift = nn.Linear(3, width, bias=False)
        self.receiver = nn.Parameter(torch.randn(heads, width // heads) * (heads / width) ** 0.5)
        self.sender = nn.Parameter(torch.randn(heads, width // heads) * (heads / width) ** 0.5)
        self.lower = nn.Linear(width, 3)
        nn.init.zeros_(self.lower.weight)
        nn.init.zeros_(self.lower.bias)

    def connect(self, edges: Tensor) -> None:
        """Set the mesh: edges (E, 2) int, each from vertex [0] to vertex [1], in both directions where wanted."""
        if edges.shape != self.edges.shape:
            raise ValueError(f"edges must be {tuple(self.edges.shape)} as configured, got {tuple(edges.shape)}")
        self.edges.copy_(edges)

    def forward(self, vertices: Tensor) -> Tensor:
        """vertices (..., V, 3) displacements -> the same shape."""
        count = vertices.shape[-2]
        if int(self.edges.max()) >= count:
            raise ValueError(f"an edge names vertex {int(self.edges.max())}, but the motion has {count} vertices")
        itself = torch.arange(count, device=vertices.device)
        source, target = torch.cat([self.edges, itself[:, None].expand(-1, 2)]).unbind(1)  # (E + V,)
        h = self.lift(vertices).unflatten(-1, (self.heads, -1))  # (..., V, heads, d)
        send, receive = (h * self.sender).sum(-1), (h * self.receiver).sum(-1)  # (..., V, heads)
        logits = F.leaky_relu(send[..., source, :] + receive[..., target, :], 0.2)  # (..., E + V, heads)
        logits = logits - logits.amax(-2, keepdim=True).detach()
        share = logits.exp()
        total = torch.zeros_like(send).index_add(-2, target, share)
        mixed = torch.zeros_like(h).index_add(-3, target, share[..., None] * h[..., source, :, :])
        mixed = mixed / total.clamp(min=torch.finfo(total.dtype).tiny)[..., None]
        return vertices + self.lower(F.elu(mixed.flatten(-2)))


class TemporalAlignment(nn.Module):
    """Motion tokens ask the audio content of the last `window` frames, their own included: causal cross-attention.

    A learned number per head and distance lets it find the lag between a phone and its motion.
    """

    def __init__(self, width: int, window: int, heads: int = 4, steps_per_frame: int = 1, dropout: float = 0.1) -> None:
        super().__init__()
        self.window, self.heads, self.steps, self.rate = window, heads, steps_per_frame, dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.lag = nn.Parameter(torch.zeros(heads, window * steps_per_frame))
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    @property
    def history(self) -> int:
        """Memory steps before the first frame of a piece that its windows reach back to."""
        return (self.window - 1) * self.steps

    def key_windows(self, memory: Tensor, past: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, values (B, T, heads, n, d) and hidden (T, n) bool of each frame's window of n steps.

        memory (B, past + T * w, D), whose first `past` steps (at most `history`) belong to frames before these.
        """
        missing = self.history - past
        both = F.pad(self.key_value(memory), (0, 0, missing, 0)).unfold(1, self.window * self.steps, self.steps)
        keys, values = (part.unflatten(2, (self.heads, -1)).transpose(-1, -2) for part in both.chunk(2, 2))
        position = torch.arange(missing + memory.shape[1], device=memory.device)
        hidden = position.unfold(0, self.window * self.steps, self.steps) < missing
        return keys, values, hidden

    def attend(self, tokens: Tensor, keys: Tensor, values: Tensor, hidden: Tensor) -> Tensor:
        """tokens (B, T, D) with what their windows answer added; the rest as `key_windows` returns it."""
        q = self.query(tokens).unflatten(-1, (self.heads, 1, -1))  # (B, T, heads, 1, d)
        logits = (q * keys).sum(-1) / keys.shape[-1] ** 0.5 + self.lag
        share = logits.masked_fill(hidden[:, None], -torch.inf).softmax(-1)
        share = F.dropout(share, self.rate, self.training)
        return tokens + self.out((share[..., None] * values).sum(-2).flatten(-2))

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """tokens (B, T, D), memory (B, >= T * w, D) -> (B, T, D)."""
        return self.attend(tokens, *self.key_windows(memory[:, : tokens.shape[1] * self.steps]))
