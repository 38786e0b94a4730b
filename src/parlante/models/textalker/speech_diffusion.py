"""The published talker from waveform to latent offsets: HuBERT at 60 steps a second, and the diffusion model.

State-dict keys are those of the released `textalker.pth`. Between waveform and denoiser:

    audio -> HuBERT (60 steps a second) -> mean of neighbouring pairs (30) -> `audio_feature_map`

Long recordings are made window after window; each window's end is the next one's past.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from parlante.audio.encoders.transformers import SAMPLE_RATE, SpeechConfig, SpeechEncoder
from parlante.audio.rates import RateRule
from parlante.models.textalker.denoiser import DenoiserConfig
from parlante.models.textalker.diffusion import LatentDiffusion, Past
from parlante.models.textalker.sampling import Noise

STEPS_PER_FRAME = 2
"""HuBERT steps of one frame."""
HUBERT_BASE: dict[str, Any] = {"model_type": "hubert"}
"""transformers' defaults are the base network: 12 layers, 768 wide."""
TRAINED_SPEECH = ("encoder.pos_conv_embed.", "encoder.layer_norm.", "masked_spec_embed")
"""What of the speech network the published training adapts."""


def speech_config(network: Mapping[str, Any] = HUBERT_BASE, fps: float = 30.0) -> SpeechConfig:
    """The published front end: no normalisation, mirrored edges, audio longer than its frames squeezed into them."""
    rate = RateRule(kind="centred", fps=STEPS_PER_FRAME * fps, steps_per_frame=STEPS_PER_FRAME, keep_fps=fps)
    return SpeechConfig(network=dict(network), rate=rate, normalise=False, pad=True, frozen="convolutions")


class SpeechLatentDiffusion(LatentDiffusion):
    """`LatentDiffusion` with the speech encoder that it was trained with."""

    def __init__(self, config: DenoiserConfig, speech: SpeechConfig | None = None) -> None:
        """Raises MissingExtra without transformers."""
        encoder = SpeechEncoder(speech or speech_config())
        super().__init__(config, encoder.dim)
        self.audio_encoder = encoder
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(name.startswith(TRAINED_SPEECH))

    @property
    def fps(self) -> float:
        """Motion frames per second."""
        return self.audio_encoder.config.rate.frame_rate

    @property
    def window_samples(self) -> int:
        """Audio samples of one window of L frames."""
        return round(self.config.frames * SAMPLE_RATE / self.fps)

    def encode_audio(self, audio: Tensor, frames: int, *, window_s: float | None = None) -> Tensor:
        """audio (B, N) mono at 16 kHz -> one feature per frame, (B, frames, 768), before `audio_feature_map`.

        window_s: seconds that the transformer sees at once; none: the whole recording.
        """
        hidden = self.audio_encoder(audio, frames, window_s=window_s)
        return hidden.unflatten(1, (frames, STEPS_PER_FRAME)).mean(2)

    def features(self, audio: Tensor, frames: int, *, window_s: float | None = None) -> Tensor:
        """audio (B, N) -> mapped features (B, frames, D)."""
        return self.audio_feature_map(self.encode_audio(audio, frames, window_s=window_s))

    @torch.no_grad()
    def generate(
        self,
        audio: Tensor,
        start: Callable[[int], Tensor] | Tensor,
        *,
        steps: int | None = None,
        solver: str = "ancestral",
        guidance: float | None = 1.0,
        style: Tensor | None = None,
        noise: Callable[[int], Noise] | None = None,
        window_s: float | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """(first frame, offsets from the pivots (B, T, M + W)) of each window, as the published script makes them.

        audio (B, N) at 16 kHz; start (B, L, M + W) is x_T of every window (the published way), or a function from the
        window's number to it; steps: default all; noise: window's number -> draws of the `ancestral` solver.
        The whole recording is encoded at once, or `window_s` seconds at a time. Frames: int(N / 16000 * fps). Raises
        InputError if that is none.
        """
        length, previous = self.config.frames, self.config.previous
        samples = audio.shape[1]
        frames = int(samples / SAMPLE_RATE * self.fps)
        count = max(1, math.ceil(frames / length))
        missing = max(0, count * self.window_samples - samples)
        padded = math.ceil(missing / (SAMPLE_RATE / self.fps))
        encoded = self.features(F.pad(audio, (0, missing)), count * length, window_s=window_s)
        real = (torch.arange(count * length, device=audio.device) < count * length - padded).to(encoded.dtype)
        past: Past | None = None
        for number in range(count):
            span = slice(number * length, (number + 1) * length)
            piece = encoded[:, span]
            made = self.sample(
                piece,
                past,
                real[span].expand(len(audio), -1),
                start if isinstance(start, Tensor) else start(number),
                steps=self.config.steps if steps is None else steps,
                solver=solver,
                guidance=guidance,
                style=style,
                noise=noise(number) if noise else None,
            )
            past = Past(made[:, -previous:], piece[:, -previous:])
            yield number * length, made[:, : int(real[span].sum())]
