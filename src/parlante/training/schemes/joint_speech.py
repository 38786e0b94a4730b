"""Speech networks that are trained along with a family, as the authors of the small models train theirs.

The convolutions stay as they are, dropout and SpecAugment are as the network's own config says. Every clip is heard by
itself, stretched onto its frames by the rate rule (FaceFormer, Fan et al. 2022).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.audio.rates import FEATURE_RATE, RateRule
from parlante.core import InputError
from parlante.training.features.motion_store import MotionStore


class Heard(NamedTuple):
    """What a batch of sounds says."""

    features: Tensor
    """(B, T * steps per frame, A)."""
    lengths: Tensor
    """(B,) frames that it lasts for."""


class Listener(nn.Module):
    """A family and the network that hears for it; the family's `forward` is untouched."""

    def __init__(self, family: nn.Module, speech: SpeechEncoder) -> None:
        super().__init__()
        self.family, self.speech = family, speech

    def hear(self, sound: Tensor, samples: Tensor, frames: Tensor) -> Heard:
        """sound (B, N) at 16 kHz, of which samples (B,) count, for frames (B,). In full precision."""
        sizes = [int(n) for n in samples]
        wanted = [int(n) for n in frames]
        steps = [self.speech.steps(n, count) // self.speech.steps_per_frame for n, count in zip(sizes, wanted)]
        heard = self.speech(sound, wanted, sizes).float()
        return Heard(heard, torch.tensor(steps, device=frames.device).minimum(frames))

    @torch.no_grad()
    def hear_clip(self, sound: Tensor, frames: int) -> Tensor:
        """As a stored talker hears a whole clip: sound (N,) -> features (frames * steps per frame, A)."""
        heard: Tensor = self.speech(sound[None])[0]
        return heard[torch.arange(frames * self.speech.steps_per_frame).clamp(max=len(heard) - 1)]


def rate_rule(fps: float, steps_per_frame: int) -> RateRule:
    """The published rule of a model that hears so many steps a frame: 2 at 25 frames per second are BIWI's pairs."""
    if steps_per_frame == 2 and 2 * fps == FEATURE_RATE:
        return RateRule(kind="pairs", steps_per_frame=2)
    return RateRule(kind="aligned", fps=steps_per_frame * fps, steps_per_frame=steps_per_frame)


def trained_along(store: MotionStore, steps_per_frame: int) -> SpeechEncoder | None:
    """The speech network of a store to be trained along, or none. Raises InputError, MissingExtra."""
    if not isinstance(steps_per_frame, int) or steps_per_frame < 1:
        raise InputError(f"model.steps_per_frame must be a whole number from 1 on, got {steps_per_frame!r}")
    if store.sound is None:
        if steps_per_frame != 1:
            raise InputError(
                f"features that are kept have one step a frame, got model.steps_per_frame={steps_per_frame}; leave it "
                "out, or train the speech network along with data.finetune=true"
            )
        return None
    rule = rate_rule(store.fps, steps_per_frame)
    return SpeechEncoder.from_hub(store.network, rule, frozen="convolutions").train()
