"""Losses that keep content and style apart, and speech and motion together: pure functions, one formula each.

After PTalker (Wang et al., ACM MM 2025). X, Y are sequences (B, T, D) whose numbers of steps may differ; H is the
memory of the content encoder, q and a the sequence and the code of the emotion encoder, C and M content and style of
the motion. The published script minimises orthogonal(H, q), orthogonal(C, M), info_nce(H, q), info_nce(C, M),
contrastive(H, C), kl(H, C) and an adversarial speaker classification of H.
"""

import itertools
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor


def stretch(sequence: Tensor, steps: int) -> Tensor:
    """`sequence` (B, T, D) at `steps` steps, each the mean of the span of time that it covers (adaptive pooling)."""
    if sequence.shape[1] == steps:
        return sequence
    return F.adaptive_avg_pool1d(sequence.transpose(1, 2), steps).transpose(1, 2)


def stretch_to_longer(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both sequences at the number of steps of the longer one."""
    steps = max(x.shape[1], y.shape[1])
    return stretch(x, steps), stretch(y, steps)


def orthogonal(x: Tensor, y: Tensor) -> Tensor:
    """|X^T Y|_F / B: zero when no feature of one sequence runs along a feature of the other."""
    x, y = stretch_to_longer(x, y)
    return (x.transpose(1, 2) @ y).norm() / len(x)


def info_nce(x: Tensor, y: Tensor, temperature: float = 0.1) -> Tensor:
    """Cross-entropy of the cosine similarities of all pairs' time means against the matching pairs.

    Needs at least two items: with one there is nothing to tell apart and the loss is zero, value and gradient, which
    is what the published training at batch 1 does.
    """
    x, y = stretch_to_longer(x, y)
    return info_nce_of_means(x.mean(1), y.mean(1), temperature)


def info_nce_of_means(x: Tensor, y: Tensor, temperature: float = 0.1) -> Tensor:
    """`info_nce` of codes (B, D) that are already means over time."""
    similarity = F.cosine_similarity(x[:, None], y[None], dim=-1) / temperature  # (B, B)
    return F.cross_entropy(similarity, torch.arange(len(x), device=x.device))


def contrastive(
    x: Tensor,
    y: Tensor,
    temperature: Tensor | float = 0.07,
    *,
    ratio: float = 0.15,
    margin: float = 0.7,
    scale: float = 1.5,
    shrink: float = 0.001,
    reference: bool = False,
) -> Tensor:
    """Top-k contrast in both directions: each step of X should match its own step of Y better than its k rivals.

    Both are cut to the shorter length L; k = max(1, round(ratio L)). With unit vectors and `s = X Y^T / temperature`,
    a direction costs `mean_t -scale (s[t,t] - log margin - logsumexp(s[t,t], k best others of row t))`; the two
    directions count half each, plus `shrink (|X|_F + |Y|_F)`, per item.
    reference: as the published code computes it. Rows are sorted and cut to their k best values v, the cost is
    `mean_{t<k} -scale (v[t,t] - log margin - logsumexp v[t])`: only the first k steps count, step t looks at its t-th
    best match instead of at its own moment, and the norms are taken over the whole batch.
    """
    steps = min(x.shape[1], y.shape[1])
    x, y = x[:, :steps], y[:, :steps]
    rivals = max(1, round(ratio * steps))
    similarity = F.normalize(x, dim=-1) @ F.normalize(y, dim=-1).transpose(1, 2) / temperature  # (B, L, L)
    direction = _ranked if reference else _matched
    both = direction(similarity, rivals) + direction(similarity.transpose(1, 2), rivals)
    offset = torch.log(torch.tensor(margin, dtype=x.dtype, device=x.device))
    norms = x.norm() + y.norm() if reference else (x.norm(dim=(1, 2)) + y.norm(dim=(1, 2))).mean()
    return -scale * (0.5 * both - offset) + shrink * norms


def _ranked(similarity: Tensor, rivals: int) -> Tensor:
    """Mean over the first k steps of v[t,t] - logsumexp v[t], v the k best values of each row."""
    best = similarity.topk(rivals, dim=-1).values[:, :rivals]  # (B, k, k)
    return (best.diagonal(dim1=1, dim2=2) - best.logsumexp(-1)).mean()


def _matched(similarity: Tensor, rivals: int) -> Tensor:
    """Mean over all steps of the log probability of the own moment among itself and its k nearest rivals."""
    own = similarity.diagonal(dim1=1, dim2=2)  # (B, L)
    if similarity.shape[1] == 1:
        return own.mean() * 0.0
    diagonal = torch.eye(similarity.shape[1], dtype=torch.bool, device=similarity.device)
    others = similarity.masked_fill(diagonal, -torch.inf).topk(min(rivals, similarity.shape[1] - 1), dim=-1).values
    return (own - torch.cat([own[..., None], others], -1).logsumexp(-1)).mean()


def kl(x: Tensor, y: Tensor, floor: float = 1e-6) -> Tensor:
    """KL divergence of two diagonal Gaussians, the time statistics of X and Y; sum over features, mean over items.

    Both are cut to the shorter length, which must be at least 2 (unbiased variances, plus `floor`).
    """
    steps = min(x.shape[1], y.shape[1])
    x, y = x[:, :steps], y[:, :steps]
    of_x, of_y = x.var(1) + floor, y.var(1) + floor
    apart = (x.mean(1) - y.mean(1)).square()
    return 0.5 * ((of_y / of_x).log() + (of_x + apart) / of_y - 1.0).sum(-1).mean()


def style_spread(codes: list[Tensor], kind: Literal["cosine", "l2"] = "cosine") -> Tensor:
    """Sum over all pairs of codes (B, D) of one subject of 1 - cosine, or of their mean squared difference."""
    if kind not in ("cosine", "l2"):
        raise ValueError(f"kind must be 'cosine' or 'l2', got {kind!r}")
    pairs = list(itertools.combinations(codes, 2))
    if kind == "l2":
        return torch.stack([F.mse_loss(a, b) for a, b in pairs]).sum()
    return torch.stack([1.0 - F.cosine_similarity(a, b, dim=-1).mean() for a, b in pairs]).sum()


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.factor * gradient, None


def reverse_gradient(x: Tensor, factor: float = 1.0) -> Tensor:
    """`x`; its gradient comes back times -factor (Ganin & Lempitsky 2015). Put before an adversary's classifier."""
    return _Reverse.apply(x, factor)
