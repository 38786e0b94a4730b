"""Style pivots from a few seconds of animation with its audio. Ours; the paper averages all the latents of a person.

A short clip's mean latents say more about its sentence than about its speaker. What the model itself expects the
sentence to add to a pivot is taken off first; what then remains of the speech is noise of known directions and size
(the basis of latents was fitted to speech), against which the estimate is shrunk towards where known pivots lie.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from parlante.models.textalker.model import TexTalker

KINDS = ("motion", "wrinkle")
ROUNDS = 2
"""The expectation depends on the style: it reads the mean pivot first, then the estimate."""
TRUST = 0.7
"""How much of the expected part of a sentence is taken off: predictions err, too. This and the next two were chosen on
SynthTalk's validation sentences."""
NEW = 0.3
"""Share of a person's difference from the mean that may point anywhere (over as many directions as the bases have); the
rest is spread as the known persons' is."""
REPEAT = 0.03
"""Seconds: the mean over a clip of s seconds varies by the variance of single frames times this over s."""


@dataclass(frozen=True, eq=False)
class ClipMeans:
    """A clip as the estimate sees it."""

    features: Tensor
    """(S, D) speech features."""
    frames: int
    """Frames of the clip."""
    motion: Tensor
    """(C, h, w) mean latent."""
    wrinkle: Tensor | None
    """(C, h, w) mean latent, or none where wrinkles are unknown."""


@torch.inference_mode()
def clip_pivots(
    talker: TexTalker, clips: Sequence[ClipMeans], known: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Motion pivot and wrinkle pivot (C, h, w) of the person in `clips`; the known mean where wrinkles are unknown.

    known: pivots (N, C, h, w) each of other persons, default those of the talker. Raises ValueError without clips.
    """
    if not clips:
        raise ValueError("at least one clip is needed")
    known = known or (talker.motion_pivots, talker.wrinkle_pivots)
    weights = [clip.frames for clip in clips]
    measured = [(clip.wrinkle, clip.frames) for clip in clips if clip.wrinkle is not None]
    centre = [pivots.mean(0) for pivots in known]
    plain = [
        _average([clip.motion for clip in clips], weights),
        _average([z for z, _ in measured], [n for _, n in measured]) if measured else centre[1],
    ]
    if talker.config.style_input == "one_hot":  # what it makes does not start from pivots
        return plain[0], plain[1]
    guess = centre
    for _ in range(ROUNDS):
        expected = [_expected(talker, clip, guess) for clip in clips]
        guess = [plain[0] - TRUST * _average([e[0] for e in expected], weights), guess[1]]
        if measured:
            averages = [e[1] for e, clip in zip(expected, clips, strict=True) if clip.wrinkle is not None]
            guess[1] = plain[1] - TRUST * _average(averages, [n for _, n in measured])
    return _shrunk(talker, guess, known, (sum(weights), sum(n for _, n in measured)))


def posterior(observed: Tensor, known: Tensor, noise: Tensor, own: Tensor) -> Tensor:
    """The expected pivot (D,) given it plus noise: linear, minimum mean squared error (Wiener).

    observed (D,); known (N, D): pivots are spread as these are, and each number by `own` (D,), a variance, besides;
    noise (K, D): the noise's covariance is noise^T noise.
    """
    mean = known.mean(0)
    spread = (known - mean) / len(known) ** 0.5
    factors = torch.cat([spread, noise])  # covariance of the observation: diag(own) + factors^T factors
    own = own.clamp(min=1e-12)
    offset = (observed - mean) / own
    inner = torch.eye(len(factors)).to(factors) + (factors / own) @ factors.mT
    explained = offset - (factors.mT @ torch.linalg.solve(inner, factors @ offset)) / own
    return mean + spread.mT @ (spread @ explained) + own * explained


def _shrunk(
    talker: TexTalker, guess: Sequence[Tensor], known: Sequence[Tensor], frames: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Both pivots (those with frames) estimated together: who wrinkles like this mostly moves like that."""
    used = [part for part, count in enumerate(frames) if count]
    bases = [basis for part in used if (basis := talker.basis(KINDS[part])) is not None]
    made = list(guess)
    if len(bases) < len(used):  # nothing is known of the noise
        return made[0], made[1]
    rate = REPEAT * talker.config.fps
    noise = [
        (rate / frames[part]) ** 0.5 * basis.scale[:, None] * basis.components
        for part, basis in zip(used, bases, strict=True)
    ]
    directions = sum(len(n) for n in noise)
    own = []
    for part in used:
        others = known[part].flatten(1)
        total = (others - others.mean(0)).square().sum() / len(others)
        own.append((NEW * total / directions).expand(others.shape[1]))
    flat = torch.cat([guess[part].flatten() for part in used])
    others = torch.cat([known[part].flatten(1) for part in used], 1)
    others = others.mean(0) + (1 - NEW) ** 0.5 * (others - others.mean(0))
    found = posterior(flat, others, torch.block_diag(*noise), torch.cat(own))
    for part, value in zip(used, found.split([guess[part].numel() for part in used]), strict=True):
        made[part] = value.view_as(guess[part])
    return made[0], made[1]


def _average(values: Sequence[Tensor], weights: Sequence[int]) -> Tensor:
    shares = torch.tensor(weights, dtype=torch.float32) / sum(weights)
    return torch.einsum("n,n...->...", shares.to(values[0]), torch.stack(list(values)))


def _expected(talker: TexTalker, clip: ClipMeans, pivots: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean offsets (C, h, w) from the pivots that the talker gives this audio in their style."""
    from parlante.core import Style

    style = Style(pivots[0].cpu().numpy(), pivots[1].cpu().numpy())
    generator = torch.Generator().manual_seed(0)
    sums = [torch.zeros_like(p) for p in pivots]
    for window in talker.latents(clip.features[None], style, clip.frames, generator=generator):
        for total, z in zip(sums, (window.motion[0], window.wrinkle[0]), strict=True):
            total += z.sum(0)
    return sums[0] / clip.frames - pivots[0], sums[1] / clip.frames - pivots[1]
