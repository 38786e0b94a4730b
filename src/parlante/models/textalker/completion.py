"""Wrinkles for a known motion, or motion for known wrinkles, from the joint diffusion model as it was trained.

Replacement sampling (RePaint: Lugmayr et al. 2022; "replacement method": Ho et al. 2022): at every level of noise the
known half of the state is the known half itself, noised to that level, and only the other half is taken from the
network's answer. Ours is its stochastic form: the whole estimate meets fresh noise before each step, so that what the
first, nearly blind, steps guessed wrong is not carried along. A model trained to complete faces
(`TexTalkerConfig.trained_completion`) gets the known half without noise. Audio may be missing: then the network gets
the null feature that it knows from audio dropout.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from parlante.core import Style
from parlante.models.textalker.diffusion import Past
from parlante.models.textalker.model import LatentWindow, TexTalker

STEPS = 8
"""Levels of noise; `benchmarks/completion.py` measures others."""
KINDS = ("motion", "wrinkle")


@torch.inference_mode()
def complete_latents(
    talker: TexTalker,
    kind: str,
    known: Tensor,
    style: Style,
    features: Tensor | None = None,
    *,
    steps: int = STEPS,
    generator: torch.Generator | None = None,
) -> Iterator[LatentWindow]:
    """Both latents of all frames, window after window, where one of them is known.

    kind: motion or wrinkle, which is known; known (T, C, h, w) its latents, pivots included, as `encode` of the
    autoencoder makes them; style: whose pivots; features (1, S, D) of the speech as for `TexTalker.latents`, or
    none; steps: levels of noise; generator: all randomness. In the result the known half comes back as the basis of
    latents can say it. Raises ValueError for another kind or shape, or a model that makes only one of the two.
    """
    if kind not in KINDS:
        raise ValueError(f"known must be motion or wrinkle, got {kind!r}")
    shape = talker.shapes[KINDS.index(kind)]
    if known.shape[1:] != shape:
        raise ValueError(f"{kind} latents must be (T, {', '.join(map(str, shape))}), got {tuple(known.shape)}")
    device, sizes = talker.motion_pivots.device, talker.config.denoiser
    if not (sizes.motion_dim and sizes.wrinkle_dim):
        raise ValueError("this model makes motion or wrinkles alone; conditioning one on the other needs the joint one")
    audio = None if features is None else talker.per_frame(features.to(device), len(known))
    pivots = [torch.from_numpy(np.asarray(getattr(style, k), np.float32)).to(device)[None] for k in KINDS]
    style_condition = talker.style_vector(*pivots)
    if talker.config.style_input == "one_hot":
        pivots = [talker.motion_pivots.mean(0)[None], talker.wrinkle_pivots.mean(0)[None]]
    own = slice(0, sizes.motion_dim) if kind == "motion" else slice(sizes.motion_dim, None)
    mask = torch.zeros(sizes.latent_dim, dtype=torch.bool, device=device)
    mask[own] = True
    offsets = (known.to(device) - pivots[KINDS.index(kind)]).flatten(1)
    basis = talker.basis(kind)
    clean = torch.zeros(1, len(known), sizes.latent_dim, device=device)
    clean[0, :, own] = offsets if basis is None else basis.encode(offsets)
    for start, made in _windows(talker, clean, mask, audio, style_condition, steps, generator):
        motion, wrinkle = talker.offsets(made)
        yield LatentWindow(start, motion + pivots[0][:, None], wrinkle + pivots[1][:, None])


def _windows(
    talker: TexTalker,
    clean: Tensor,
    mask: Tensor,
    features: Tensor | None,
    style_condition: Tensor | None,
    steps: int,
    generator: torch.Generator | None,
) -> Iterator[tuple[int, Tensor]]:
    """(first frame, coordinates (1, T, M + W)) of consecutive stretches, joined as `TexTalker.windows` joins them."""
    model, sizes, overlap = talker.diffusion, talker.config.denoiser, talker.config.overlap
    num_frames, length, previous = clean.shape[1], sizes.frames, sizes.previous
    past, held = model.start(1), None
    for start in range(0, num_frames, length - overlap):
        piece = clean[:, start : start + length]
        real = piece.shape[1]
        piece = nn.functional.pad(piece, (0, 0, 0, length - real))
        indicator = (torch.arange(length, device=clean.device) < real).to(clean.dtype)[None]
        if features is None:
            audio = model.null_audio_feat.expand(1, length, -1)
        else:
            own = features[:, start : start + length].to(clean)
            audio = model.audio_feature_map(nn.functional.pad(own, (0, 0, 0, length - real)))
        made = complete(talker, piece, mask, audio, past, indicator, style_condition, steps, generator)
        if held is not None:
            share = torch.arange(1, overlap + 1, device=made.device)[:, None] / (overlap + 1)
            made = torch.cat([torch.lerp(held, made[:, :overlap], share), made[:, overlap:]], 1)
        done = real if start + real >= num_frames else length - overlap
        yield start, made[:, :done]
        if start + done >= num_frames:
            return
        past = Past(made[:, done - previous : done], audio[:, done - previous : done])
        held = made[:, done:] if overlap else None


def complete(
    talker: TexTalker,
    clean: Tensor,
    mask: Tensor,
    audio: Tensor,
    past: Past,
    indicator: Tensor,
    style_condition: Tensor | None,
    steps: int = STEPS,
    generator: torch.Generator | None = None,
) -> Tensor:
    """One window (B, L, M + W) whose numbers under `mask` (M + W,) are those of `clean` (B, L, M + W).

    audio (B, L, D) mapped features; past, indicator and style_condition (there: style) as in
    `LatentDiffusion.estimate`. At each of `steps` evenly spaced levels t: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e
    with fresh e, where x_0 is the last estimate (nothing, at the first) outside the mask and `clean` inside; `clean`
    itself with `trained_completion`.
    """
    table = talker.diffusion.diffusion_sched
    estimate = torch.where(mask, clean, 0.0)
    for number, step in enumerate(table.few(steps)):
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        bar = table.alpha_bars[step]
        noisy = bar.sqrt() * estimate + (1 - bar).sqrt() * noise
        if number == 0:
            noisy = torch.where(mask, noisy, noise)
        if talker.config.trained_completion:
            noisy = torch.where(mask, clean, noisy)
        answer = talker.diffusion.estimate(noisy, audio, past, indicator, step, style=style_condition)
        estimate = torch.where(mask, clean, answer)
    return estimate
