"""The published two-window training scheme (TexTalker, "training of the diffusion model"), one function per part.

An item is two consecutive windows of L frames. Either may be cut short at a frame of its own: what follows is silence
in the audio, zeros in the latents, 0 in the indicator, and does not count. Window 1 follows the learnt start; window 2
follows the true end of window 1, and its estimate of that past counts too.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from parlante import losses
from parlante.core.timing import SAMPLE_RATE
from parlante.models.textalker.diffusion import LatentDiffusion, Past
from parlante.models.textalker.speech_diffusion import SpeechLatentDiffusion


class Pair(NamedTuple):
    """A batch of items as the network meets them."""

    latents: Tensor
    """(B, 2 L, M + W) offsets from the pivots, uncut."""
    features: Tensor
    """(B, 2 L, D) mapped audio features of each window, cut."""
    past_audio: Tensor
    """(B, P, D) uncut mapped features of the end of window 1; no gradient."""
    kept: Tensor
    """(B, 2 L) 1 up to each window's cut."""
    past_latents: Tensor | None = None
    """(B, P, M + W) what window 2 is shown of window 1; none: the truth."""


class Draws(NamedTuple):
    """Everything random in one pass over both windows, window 1 of all items first."""

    step: Tensor
    """(2 B,) diffusion steps in 1..T."""
    noise: Tensor
    """(2 B, L, M + W) standard normal."""
    audio_dropout: Tensor
    """(2 B,) bool, new frames that lose their audio."""
    completion: Tensor | None = None
    """(2 B, M + W) bool, numbers shown without noise: motion, wrinkles or nothing."""

    @classmethod
    def of(cls, model: LatentDiffusion, pair: Pair, audio_dropout: float, completion: float = 0.0) -> "Draws":
        """Fresh draws from torch's random numbers; audio_dropout, completion: chances of each window."""
        count, device, sizes = 2 * len(pair.latents), pair.latents.device, model.config
        step = torch.randint(1, sizes.steps + 1, (count,), device=device)
        lost = torch.rand(count, device=device) < audio_dropout
        noise = torch.randn(count, sizes.frames, sizes.latent_dim, device=device)
        if not completion:
            return cls(step, noise, lost)
        chance = torch.rand(count, 1, device=device) / completion  # below 1/2 motion, below 1 wrinkles
        motion = torch.arange(sizes.latent_dim, device=device) < sizes.motion_dim
        return cls(step, noise, lost, torch.where(motion, chance < 0.5, (chance >= 0.5) & (chance < 1)))


class Answer(NamedTuple):
    """Estimates of both windows, previous frames included; window 1 of all items first."""

    estimate: Tensor
    """(2 B, P + L, M + W)."""
    truth: Tensor
    """(2 B, P + L, M + W)."""
    counted: Tensor
    """(2 B, P + L) 1 for frames that count in the loss."""


def kept_frames(frames: int, first: Tensor | None, second: Tensor | None, batch: int) -> Tensor:
    """(B, 2 L) 1 for frames before each window's cut; first, second: (B,) numbers of kept frames, or none for all."""
    whole = torch.full((batch,), frames)
    ends = torch.stack([whole if end is None else end.cpu() for end in (first, second)], 1)
    return (torch.arange(frames) < ends[..., None]).flatten(1).float()


def silence_after(audio: Tensor, ends: Tensor, fps: float) -> Tensor:
    """audio (B, N) with zeros from sample round(end * 16000 / fps) of each item on; ends (B,) frames."""
    last = (ends * (SAMPLE_RATE / fps)).round()
    return audio * (torch.arange(audio.shape[1], device=audio.device) < last[:, None].to(audio.device))


def encode_pair(
    model: SpeechLatentDiffusion, audio: Tensor, first: Tensor | None, second: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(features of both windows, cut (B, 2 L, D), uncut ones of window 1's end (B, P, D)) from audio (B, N).

    Both windows are encoded together; a window that is cut is encoded again, window 1 alone, window 2 after the uncut
    window 1.
    """
    sizes = model.config
    length, samples = sizes.frames, audio.shape[1] // 2
    whole = model.features(audio, 2 * length)
    one, two = whole[:, :length], whole[:, length:]
    if first is not None:
        one = model.features(silence_after(audio[:, :samples], first, model.fps), length)
    if second is not None:
        cut = silence_after(audio[:, samples:], second, model.fps)
        two = model.features(torch.cat([audio[:, :samples], cut], 1), 2 * length)[:, length:]
    return torch.cat([one, two], 1), whole[:, length - sizes.previous : length].detach()


def estimate_pair(model: LatentDiffusion, pair: Pair, draws: Draws, style: Tensor | None = None) -> Answer:
    """Both windows in one call of the network; style (B, S) if it has that input."""
    sizes = model.config
    length, previous, count = sizes.frames, sizes.previous, len(pair.latents)
    end = pair.latents[:, length - previous : length]
    start = model.start(count)
    shown = end if pair.past_latents is None else pair.past_latents
    past = Past(torch.cat([start.latents, shown]), torch.cat([start.audio, pair.past_audio]))
    indicator = torch.cat(pair.kept.chunk(2, 1))
    clean = torch.cat(pair.latents.chunk(2, 1)) * indicator[..., None]
    features = torch.cat(pair.features.chunk(2, 1))
    twice = None if style is None else style.repeat(2, 1)
    estimate = model(
        clean, features, past, indicator, draws.step, draws.noise, draws.audio_dropout, twice, draws.completion
    )
    truth = torch.cat([torch.cat([torch.zeros_like(end), end]), clean], 1)
    known = clean.new_zeros(2 * count, previous)
    known[count:] = 1.0
    return Answer(estimate, truth, torch.cat([known, indicator], 1))


def published_loss(answer: Answer) -> Tensor:
    """Mean squared error over window 1's frames plus the same over window 2's, its past included."""
    halves = zip(answer.estimate.chunk(2), answer.truth.chunk(2), answer.counted.chunk(2), strict=True)
    return sum((losses.masked_mse(*half) for half in halves), start=answer.estimate.new_zeros(()))


def first_sample(frame: int, fps: int = 30) -> int:
    """Audio sample at which frame number `frame` (0-based) starts: whole seconds first, the rest rounded down."""
    return SAMPLE_RATE * (frame // fps) + int(frame % fps * (SAMPLE_RATE / fps))
