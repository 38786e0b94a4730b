"""Speech networks that are trained along with a family, as the authors of the small models train theirs.

The convolutions stay as they are, dropout and SpecAugment are as the network's own config says. Every clip is encoded
by itself, stretched onto its frames by the rate rule (FaceFormer, Fan et al. 2022).
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.audio.rates import FEATURE_RATE, RateRule, change_rate
from parlante.core import InputError
from parlante.training.features.motion_store import MotionStore


class EncodedAudio(NamedTuple):
    """A batch of audio as features."""

    features: Tensor
    """(B, T * steps per frame, A)."""
    lengths: Tensor
    """(B,) frames that it lasts for."""


class JointSpeechModel(nn.Module):
    """A family and the speech networks that are trained with it; the family's `forward` is untouched."""

    def __init__(
        self,
        family: nn.Module,
        speech: SpeechEncoder,
        voice: SpeechEncoder | None = None,
        *,
        rate: RateRule | None = None,
    ) -> None:
        """voice: a second network, of the voice's style (PTalker). rate: change of the features' rate after the speech
        network (FaceDiffuser); none: its own rule suffices."""
        super().__init__()
        self.family, self.speech, self.voice, self.rate = family, speech, voice, rate

    def encode_audio(self, audio: Tensor, samples: Tensor, frames: Tensor) -> EncodedAudio:
        """audio (B, N) at 16 kHz, of which samples (B,) count, for frames (B,). In full precision."""
        sizes = [int(n) for n in samples]
        wanted = [int(n) for n in frames]
        if self.rate is None:
            per_frame = self.speech.steps_per_frame
            steps = [self.speech.steps(n, count) for n, count in zip(sizes, wanted, strict=True)]
            features = self.speech(audio, wanted, sizes).float()
        else:
            per_frame = self.rate.steps_per_frame
            hidden = self.speech(audio, lengths=sizes).float()
            clips = [
                change_rate(one[None, : self.speech.steps(n)], self.rate, count)[0]
                for one, n, count in zip(hidden, sizes, wanted, strict=True)
            ]
            steps, features = [len(clip) for clip in clips], nn.utils.rnn.pad_sequence(clips, batch_first=True)
        lasting = torch.tensor([n // per_frame for n in steps], device=frames.device)
        return EncodedAudio(features, lasting.minimum(frames))

    @torch.no_grad()
    def encode_clip(self, audio: Tensor, frames: int) -> Tensor:
        """As a stored talker encodes a whole clip: audio (N,) -> features (frames * steps per frame, A)."""
        features: Tensor = self.speech(audio[None])[0]
        return features[torch.arange(frames * self.speech.steps_per_frame).clamp(max=len(features) - 1)]


def rate_rule(fps: float, steps_per_frame: int) -> RateRule:
    """The published rule of a model that reads so many steps a frame: 2 at 25 frames per second are BIWI's pairs."""
    if steps_per_frame == 2 and 2 * fps == FEATURE_RATE:
        return RateRule(kind="pairs", steps_per_frame=2)
    return RateRule(kind="aligned", fps=steps_per_frame * fps, steps_per_frame=steps_per_frame)


def speech_to_train(store: MotionStore, steps_per_frame: int) -> SpeechEncoder | None:
    """The speech network that is trained along, where the store holds audio for it. Raises InputError, MissingExtra."""
    if steps_per_frame < 1:
        raise InputError(f"model.steps_per_frame must be a whole number from 1 on, got {steps_per_frame}")
    if store.audio is None:
        if steps_per_frame != 1:
            raise InputError(
                f"features that are kept have one step a frame, got model.steps_per_frame={steps_per_frame}; leave it "
                "out, or train the speech network along with data.finetune=true"
            )
        return None
    rule = rate_rule(store.fps, steps_per_frame)
    return SpeechEncoder.from_hub(store.config.encoder, rule, frozen="convolutions").train()
