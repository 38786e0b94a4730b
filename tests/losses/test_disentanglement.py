"""The disentangling losses say what their names say."""

import math

import pytest
import torch
from torch import Tensor

from parlante.losses import disentanglement as apart


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def test_orthogonal_is_zero_for_features_that_never_meet() -> None:
    x = draw(2, 8, 3)
    y = draw(2, 8, 4)
    y = y - x @ torch.linalg.lstsq(x, y).solution
    assert apart.orthogonal(x, y) < 1e-9
    assert apart.orthogonal(x, x) > 1.0


def test_the_shorter_sequence_is_stretched() -> None:
    x = draw(1, 4, 3)
    assert torch.equal(apart.stretch(x, 8), x.repeat_interleave(2, 1))
    y = draw(1, 8, 3)
    assert apart.orthogonal(x, y) == apart.orthogonal(x.repeat_interleave(2, 1), y)


def matched_by_hand(x: Tensor, y: Tensor, temperature: float) -> float:
    """The contrastive loss of one item (T, D), one step at a time."""
    steps = min(len(x), len(y))
    rivals = max(1, round(0.15 * steps))
    total = 0.0
    for a, b in ((x, y), (y, x)):
        for t in range(steps):
            row = [float(torch.cosine_similarity(a[t], b[u], dim=0)) / temperature for u in range(steps)]
            others = sorted((s for u, s in enumerate(row) if u != t), reverse=True)[:rivals]
            chance = sum(math.exp(s) for s in [row[t], *others])
            total -= 1.5 * (row[t] - math.log(0.7) - math.log(chance)) / (2 * steps)
    return total + 0.001 * float(x[:steps].norm() + y[:steps].norm())


def test_contrastive_equals_the_sum_by_hand() -> None:
    x, y = draw(2, 9, 4), draw(2, 7, 4)
    ours = apart.contrastive(x, y, 0.3)
    wanted = sum(matched_by_hand(a, b, 0.3) for a, b in zip(x, y)) / 2
    assert abs(float(ours) - wanted) < 1e-10


def test_contrastive_prefers_the_right_moment() -> None:
    x = draw(1, 20, 8)
    late = torch.cat([x[:, :3], x[:, 3:].roll(5, 1)], 1)
    assert apart.contrastive(x, late) > apart.contrastive(x, x) + 1.0
    published = [apart.contrastive(x, y, reference=True) for y in (x, late)]
    assert torch.isclose(*published), "it looks at ranks and at the first k steps, not at moments"


def test_kl_is_zero_between_equal_statistics_only() -> None:
    x = draw(2, 30, 4)
    assert apart.kl(x, x.flip(1)).abs() < 1e-9
    assert apart.kl(x, x + 1.0) > 0.5
    assert apart.kl(x, 2 * x) > 0.1


def test_info_nce_needs_company() -> None:
    x, y = draw(1, 6, 4).requires_grad_(), draw(1, 6, 4)
    alone = apart.info_nce(x, y)
    alone.backward()
    assert alone == 0 and x.grad is not None and not x.grad.any()
    many = draw(5, 6, 4)
    assert apart.info_nce(many, many) < apart.info_nce(many, many.roll(1, 0))


def test_gradients_come_back_reversed() -> None:
    x = draw(3, 2).requires_grad_()
    (apart.reverse_gradient(x, 0.5) * 4.0).sum().backward()
    assert x.grad is not None and torch.equal(x.grad, torch.full_like(x, -2.0))


def test_style_spread() -> None:
    a = draw(2, 5)
    assert apart.style_spread([a, 2 * a, 3 * a]).abs() < 1e-12
    assert torch.isclose(apart.style_spread([a, a, a + 1.0], "l2"), torch.tensor(2.0, dtype=a.dtype))
    with pytest.raises(ValueError, match="cosine"):
        apart.style_spread([a, a], "l1")  # type: ignore[arg-type]
