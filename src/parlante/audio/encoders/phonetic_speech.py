"""The shipped phonetic encoder behind the call of a speech encoder: no download, no `transformers`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from parlante.audio.align import align
from parlante.audio.encoders.phonetic import DIM, SAMPLE_RATE, STEP, PhoneticEncoder
from parlante.audio.rates import RateRule
from parlante.core import InputError

PIECE_S = 60.0


class PhoneticSpeechEncoder(nn.Module):
    """Phonetic features read at the times of motion frames: audio (B, N) at 16 kHz -> (B, S, dim).

    Step j is at j / (fps * steps_per_frame) seconds, features are read at each of `frame_offsets` (seconds)
    beside it, dim = 56 * len(frame_offsets). The encoder is frozen and ships with the package, so its weights stay out
    of the state dict.
    """

    def __init__(self, *, fps: float = 30.0, steps_per_frame: int = 1, frame_offsets: Sequence[float] = (0.0,)) -> None:
        super().__init__()
        if not fps > 0 or steps_per_frame < 1 or not frame_offsets:
            raise InputError(
                f"phonetic encoder: fps={fps} and steps_per_frame={steps_per_frame} must be positive, "
                f"frame_offsets={tuple(frame_offsets)} must name one offset at least"
            )
        self.fps, self.steps_per_frame, self.frame_offsets = float(fps), int(steps_per_frame), tuple(frame_offsets)
        self.phonetic = PhoneticEncoder.from_pretrained().requires_grad_(False)
        self._register_state_dict_hook(_drop_weights)
        self.register_load_state_dict_pre_hook(_keep_weights)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> "PhoneticSpeechEncoder":
        """From the fields of a config file; older files say `taps`. Raises InputError on unknown ones."""
        fields = {"frame_offsets" if key == "taps" else key: value for key, value in spec.items()}
        try:
            return cls(**fields)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"phonetic speech encoder: {error}") from None

    @property
    def dim(self) -> int:
        """Width of a step."""
        return DIM * len(self.frame_offsets)

    @property
    def rate(self) -> RateRule:
        """The rule that counts steps and frames."""
        return RateRule(kind="aligned", fps=self.fps * self.steps_per_frame, steps_per_frame=self.steps_per_frame)

    def steps(self, samples: int, frames: int | None = None) -> int:
        """S for N samples."""
        return (int(samples / SAMPLE_RATE * self.fps) if frames is None else frames) * self.steps_per_frame

    def spec(self) -> dict[str, Any]:
        """What `load_speech_encoder` needs to build this again."""
        return {
            "encoder": "phonetic",
            "fps": self.fps,
            "steps_per_frame": self.steps_per_frame,
            "frame_offsets": list(self.frame_offsets),
        }

    def train(self, mode: bool = True) -> "PhoneticSpeechEncoder":
        """The encoder is frozen and stays in evaluation mode."""
        super().train(False)
        return self

    @torch.no_grad()
    def forward(
        self,
        audio: Tensor,
        frames: int | Sequence[int] | Tensor | None = None,
        lengths: Sequence[int] | Tensor | None = None,
        *,
        window_s: float | None = None,
    ) -> Tensor:
        """audio (B, N) mono at 16 kHz -> (B, S, dim); `frames`, `lengths` and errors as for SpeechEncoder.

        `window_s` changes nothing: this encoder sees a second at a time anyway.
        """
        if audio.ndim != 2:
            raise ValueError(f"audio must be (B, N), got {tuple(audio.shape)}; add a batch axis with [None]")
        count = len(audio)
        sizes = [audio.shape[1]] * count if lengths is None else [int(n) for n in lengths]
        each = [frames] * count if frames is None or isinstance(frames, int) else [int(f) for f in frames]
        if len({*sizes}) == 1 and len({*each}) == 1:
            return self._clip(audio[:, : sizes[0]], each[0])
        clips = [self._clip(audio[i : i + 1, : sizes[i]], each[i])[0] for i in range(count)]
        return nn.utils.rnn.pad_sequence(clips, batch_first=True)

    def _clip(self, audio: Tensor, frames: int | None) -> Tensor:
        steps = self.steps(audio.shape[1], frames)
        if audio.shape[1] < STEP or steps < 1:
            raise InputError(
                f"the audio is too short: {audio.shape[1]} samples at 16 kHz make no frame at {self.fps:g} fps; "
                "use at least 0.1 s of audio"
            )
        dtype = self.phonetic.out.weight.dtype
        if audio.shape[1] > PIECE_S * SAMPLE_RATE:
            pieces = [torch.from_numpy(self.phonetic.encode(clip.float().cpu().numpy())) for clip in audio]
            features = torch.stack(pieces).to(audio.device, dtype)
        else:
            features = self.phonetic(audio.to(dtype))
        return align(features, steps, fps=self.fps * self.steps_per_frame, frame_offsets=self.frame_offsets)


def _drop_weights(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    for name in [name for name in state if name.startswith(prefix + "phonetic.")]:
        del state[name]


def _keep_weights(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    phonetic: Any = module.phonetic
    for name, value in phonetic.state_dict().items():
        state.setdefault(f"{prefix}phonetic.{name}", value)
