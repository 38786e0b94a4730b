"""Style pivots from short clips, on a toy whose persons are known."""

from typing import Any

import numpy as np
import pytest
import torch

from parlante.core import Style
from parlante.models.textalker.clip_pivots import ROUNDS, TRUST, ClipMeans, clip_pivots, posterior
from parlante.models.textalker.latent_basis import LinearBasis
from parlante.models.textalker.model import LatentWindow

SHAPE = (2, 3, 3)
DIM = 18


class _Config:
    style_input, fps = "pivots", 30.0


class _Toy:
    """Says: pivot + sound * (a + the pivot's own loudness); sound is (frames, 1)."""

    config = _Config()

    def __init__(self, seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.motion_pivots = torch.randn(12, *SHAPE, generator=draw)
        self.wrinkle_pivots = torch.randn(12, *SHAPE, generator=draw)
        self.ways = torch.randn(2, *SHAPE, generator=draw)
        self.bases: dict[str, LinearBasis] = {}

    def basis(self, kind: str) -> LinearBasis | None:
        return self.bases.get(kind)

    def said(self, sound: torch.Tensor, pivots: Any) -> list[torch.Tensor]:
        return [
            torch.as_tensor(p) + sound[:, :, None, None] * way * (1 + 0.2 * torch.as_tensor(p).mean())
            for p, way in zip(pivots, self.ways, strict=True)
        ]

    def latents(self, features: torch.Tensor, style: Style, frames: int, **_: object) -> list[LatentWindow]:
        motion, wrinkle = self.said(features[0, :frames], (style.motion, style.wrinkle))
        half = frames // 2
        spans = [slice(0, half), slice(half, frames)]
        return [LatentWindow(span.start, motion[None, span], wrinkle[None, span]) for span in spans]


def _clip(toy: _Toy, pivots: Any, sound: torch.Tensor, wrinkles: bool = True) -> ClipMeans:
    motion, wrinkle = toy.said(sound, pivots)
    return ClipMeans(sound, len(sound), motion.mean(0), wrinkle.mean(0) if wrinkles else None)


def test_what_the_sentence_adds_is_taken_off() -> None:
    """A loud sentence moves the mean; of the true pivots there remains what TRUST leaves of it."""
    toy: Any = _Toy()
    truth = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(5))
    clips = [_clip(toy, truth, torch.full((n, 1), loud)) for n, loud in ((20, 2.0), (40, 3.0))]
    found = clip_pivots(toy, clips)
    loudness = (20 * 2.0 + 40 * 3.0) / 60
    for k, (pivot, true, known) in enumerate(zip(found, truth, (toy.motion_pivots, toy.wrinkle_pivots), strict=True)):
        said = loudness * toy.ways[k]
        guess = known.mean(0)
        for _ in range(ROUNDS):
            guess = true + said * (1 + 0.2 * true.mean()) - TRUST * said * (1 + 0.2 * guess.mean())
        torch.testing.assert_close(pivot, guess, atol=1e-5, rtol=1e-5)
        plain = true + said * (1 + 0.2 * true.mean())
        assert (pivot - true).norm() < 0.5 * (plain - true).norm()


def test_silence_says_the_pivot_itself() -> None:
    toy: Any = _Toy()
    truth = (toy.motion_pivots[3], toy.wrinkle_pivots[4])
    for pivot, true in zip(clip_pivots(toy, [_clip(toy, truth, torch.zeros(10, 1))]), truth, strict=True):
        torch.testing.assert_close(pivot, true, atol=1e-5, rtol=1e-5)


def test_without_wrinkles_the_known_mean_and_without_clips_an_error() -> None:
    toy: Any = _Toy()
    known = (toy.motion_pivots[:5], toy.wrinkle_pivots[:5])
    clip = _clip(toy, (toy.motion_pivots[3], toy.wrinkle_pivots[4]), torch.zeros(10, 1), wrinkles=False)
    motion, wrinkle = clip_pivots(toy, [clip], known)
    torch.testing.assert_close(wrinkle, known[1].mean(0))
    torch.testing.assert_close(motion, toy.motion_pivots[3], atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="clip"):
        clip_pivots(toy, [])


def _problem(seed: int = 0, persons: int = 400) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    known = torch.randn(persons, 4, generator=draw) @ torch.randn(4, DIM, generator=draw) + 2
    noise = torch.randn(5, DIM, generator=draw)
    return known, noise, torch.full((DIM,), 0.05), torch.randn(persons, 5, generator=draw) @ noise


def test_the_posterior_is_the_dense_formula() -> None:
    known, noise, own, _ = _problem()
    observed = known[0] + 0.7
    centred = (known - known.mean(0)).double()
    prior = centred.T @ centred / len(known) + torch.diag(own.double())
    both = prior + noise.double().T @ noise.double()
    expected = known.mean(0).double() + prior @ torch.linalg.solve(both, observed.double() - known.mean(0).double())
    torch.testing.assert_close(posterior(observed, known, noise, own).double(), expected, atol=2e-4, rtol=2e-4)


def test_the_posterior_is_nearer_to_strangers_than_what_was_observed() -> None:
    known, noise, own, errors = _problem()
    draw = torch.Generator().manual_seed(9)
    strangers = known[200:] + own.sqrt() * torch.randn(200, DIM, generator=draw)
    observed = strangers + errors[200:]
    found = torch.stack([posterior(o, known[:200], noise, own) for o in observed])
    mean = known[:200].mean(0)
    error = (found - strangers).square().sum()
    assert error < 0.5 * min((observed - strangers).square().sum(), (mean - strangers).square().sum())


def test_no_noise_changes_nothing_and_much_of_it_leaves_the_mean() -> None:
    known, noise, own, _ = _problem()
    observed = known[3] + 0.5
    torch.testing.assert_close(posterior(observed, known, 0 * noise, own), observed, atol=1e-3, rtol=1e-3)
    everywhere = 1e4 * torch.eye(DIM)
    torch.testing.assert_close(posterior(observed, known, everywhere, own), known.mean(0), atol=1e-2, rtol=1e-2)


def test_a_longer_clip_is_believed_more() -> None:
    """With a basis of speech, the estimate moves from the known mean towards the clip as the clip grows."""
    toy: Any = _Toy()
    for name in ("motion", "wrinkle"):
        basis = LinearBasis(DIM, 4)
        torch.nn.init.orthogonal_(basis.components)
        basis.scale.fill_(30.0)
        toy.bases[name] = basis
    truth = (toy.motion_pivots[3], toy.wrinkle_pivots[3])
    distances = []
    for frames in (10, 100, 10_000):
        motion, _ = clip_pivots(toy, [_clip(toy, truth, torch.zeros(frames, 1))])
        distances.append(float((motion - truth[0]).norm()))
    assert distances == sorted(distances, reverse=True) and distances[-1] < 0.3 * distances[0]
    assert np.isfinite(distances).all()
