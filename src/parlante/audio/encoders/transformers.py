"""Speech encoders: audio in, hidden states at the rate of a motion model out.

`SpeechEncoder` is a wav2vec 2.0, HuBERT or WavLM network whose rate is changed between its convolutions and its
transformer, as FaceFormer (Fan et al. 2022, arXiv:2112.05329) and its successors do. Weights keep the names that the
authors' checkpoints give them: `feature_extractor.*`, `feature_projection.*`, `encoder.*`, `masked_spec_embed`.

    >>> encoder = SpeechEncoder.from_hub("facebook/hubert-large-ls960-ft", rule=RateRule(kind="aligned", fps=30.0))
    >>> encoder(torch.zeros(1, 16000)).shape  # doctest: +SKIP
    torch.Size([1, 29, 1024])
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from parlante.audio.encoders import networks as speech_network
from parlante.audio.encoders.convolve import convolve, feature_count, pad_edges, padding
from parlante.audio.encoders.networks import infer_config
from parlante.audio.encoders.phonetic_speech import PhoneticSpeechEncoder
from parlante.audio.encoders.weight_norm import to_new
from parlante.audio.rates import RateRule, change_rate
from parlante.core import InputError
from parlante.core.typed import Mistyped, typed

__all__ = [
    "SPEECH_ENCODERS", "PhoneticSpeechEncoder", "SpeechConfig", "SpeechEncoder", "infer_config", "load_speech_encoder",
    "normalise", "time_spans",
]  # fmt: skip

SAMPLE_RATE = 16000
Frames = int | Sequence[int] | Tensor | None


@dataclass(frozen=True, kw_only=True)
class SpeechConfig:
    """All that the function of a speech encoder depends on, besides its weights."""

    network: dict[str, Any] = field(default_factory=lambda: {"model_type": "wav2vec2"})
    """`model_type` (wav2vec2, hubert, wavlm) and fields of the transformers config of that name."""
    rate: RateRule = field(default_factory=RateRule)
    """The change of rate between convolutions and transformer."""
    normalise: bool = True
    """Bring every clip to zero mean and unit variance first."""
    pad: bool = False
    """Mirror a few samples at both ends so that N samples make N // 320 features."""
    frozen: Literal["none", "convolutions", "all"] = "convolutions"
    """What training leaves alone; with "all" dropout and masking are off too."""
    window_s: float | None = None
    """Longest stretch of audio, in seconds, that the transformer sees at once outside training; None: the whole clip,
    as published, at a cost that grows with its square."""
    context_s: float = 5.0
    """Audio on either side of a window that is used and not kept."""

    def __post_init__(self) -> None:
        if self.frozen not in ("none", "convolutions", "all"):
            raise InputError(f"speech encoder: frozen is {self.frozen!r}, wanted none, convolutions or all")
        if (self.window_s is not None and not self.window_s > 0) or self.context_s < 0:
            raise InputError(f"speech encoder: window_s={self.window_s}, context_s={self.context_s} must be positive")

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "SpeechConfig":
        """From a config file's fields. Raises InputError on unknown ones."""
        try:
            made: SpeechConfig = typed(cls, {**fields, "rate": RateRule.from_dict(fields.get("rate", {}))}, closed=True)
        except (TypeError, Mistyped) as error:
            raise InputError(f"speech encoder config: {error}") from None
        return made

    def to_dict(self) -> dict[str, Any]:
        """Fields for a config file."""
        return {**self.__dict__, "rate": self.rate.to_dict()}


class SpeechEncoder(nn.Module):
    """audio (B, N) at 16 kHz -> hidden states (B, S, dim)."""

    def __init__(self, config: SpeechConfig, *, built: nn.Module | None = None) -> None:
        """A network with fresh weights, or around a `built` transformers model. Raises MissingExtra, InputError."""
        super().__init__()
        self.config = config
        model: Any = built if built is not None else speech_network.build(config.network)
        self.settings = model.config
        if getattr(model, "masked_spec_embed", None) is not None:
            self.masked_spec_embed = nn.Parameter(model.masked_spec_embed.detach().clone())
        else:
            self.register_parameter("masked_spec_embed", None)
        self.feature_extractor: nn.Module = model.feature_extractor
        self.feature_projection: nn.Module = model.feature_projection
        self.encoder: nn.Module = model.encoder
        self.feature_extractor.requires_grad_(config.frozen == "none")
        if config.frozen == "all":
            self.requires_grad_(False)
            self.eval()
        self.register_load_state_dict_pre_hook(_accept_both_spellings)

    @classmethod
    def from_config(
        cls,
        network: Mapping[str, Any],
        rule: RateRule | None = None,
        *,
        state: Mapping[str, Tensor] | None = None,
        **fields: Any,
    ) -> "SpeechEncoder":
        """From a network config and, where given, a checkpoint's weights (no prefix, either weight-norm spelling).

        `fields` are further ones of SpeechConfig. `masked_spec_embed` may be absent: only training uses it. Weights of
        half precision become single. Raises InputError listing missing and unexpected weights.
        """
        config = SpeechConfig(network=dict(network), rate=rule or RateRule(), **fields)
        if state is None:
            return cls(config).eval()
        with torch.device("meta"):  # random weights of a large network would take half a minute
            encoder = cls(config)
        try:
            weights = {name: _own(value) for name, value in to_new(state).items()}
            if encoder.masked_spec_embed is not None:
                weights.setdefault("masked_spec_embed", torch.rand(encoder.dim))
            encoder.load_state_dict(weights, strict=True, assign=True)
        except (RuntimeError, ValueError) as error:
            raise InputError(f"these weights do not fit the speech network: {' '.join(str(error).split())}") from error
        return encoder.eval()

    @classmethod
    def from_hub(
        cls, name: str | Path, rule: RateRule | None = None, *, local_files_only: bool = False, **fields: Any
    ) -> "SpeechEncoder":
        """A pretrained network by hub name or local folder, in evaluation mode. Raises InputError, MissingExtra."""
        model: Any = speech_network.fetch(name, local_files_only=local_files_only)
        network = speech_network.describe(model.config)
        return cls(SpeechConfig(network=network, rate=rule or RateRule(), **fields), built=model).eval()

    @property
    def dim(self) -> int:
        """Width of a hidden state."""
        return int(self.settings.hidden_size)

    @property
    def steps_per_frame(self) -> int:
        """Hidden states that belong to one motion frame."""
        return self.config.rate.steps_per_frame

    def steps(self, samples: int, frames: int | None = None) -> int:
        """S for N samples (a clip on its own)."""
        samples += 2 * padding(samples) if self.config.pad else 0
        return self.config.rate.steps(feature_count(samples, self.settings), frames)

    def spec(self) -> dict[str, Any]:
        """What `load_speech_encoder` needs to build this again, without weights."""
        return {"encoder": "network", **self.config.to_dict()}

    def train(self, mode: bool = True) -> "SpeechEncoder":
        """Training mode; an encoder that is frozen as a whole stays in evaluation mode."""
        super().train(mode and self.config.frozen != "all")
        return self

    def forward(
        self,
        audio: Tensor,
        frames: Frames = None,
        lengths: Sequence[int] | Tensor | None = None,
        *,
        normalised: bool = False,
        window_s: float | None = None,
    ) -> Tensor:
        """audio (B, N) mono at 16 kHz -> (B, S, dim).

        `normalised`: the audio has zero mean and unit variance already and is taken as it is. `window_s`: longest
        stretch that the transformer sees at once, in seconds, outside training; none: the config's.

        `frames` motion frames per clip (one number or B) go to the rate rule. `lengths` (B,) true samples per clip in a
        padded batch: every clip gets the numbers that it gets alone, padding of the result is zero, S is the longest.
        Raises InputError on a clip too short for one step and ValueError on another shape.
        """
        if audio.ndim != 2:
            raise ValueError(f"audio must be (B, N), got {tuple(audio.shape)}; add a batch axis with [None]")
        count = len(audio)
        sizes = [audio.shape[1]] * count if lengths is None else [int(n) for n in lengths]
        wanted = [None] * count if frames is None else [int(f) for f in _per_clip(frames, count)]
        if len(sizes) != count or max(sizes) > audio.shape[1] or min(sizes) < 0:
            raise ValueError(f"lengths {sizes} do not fit audio {tuple(audio.shape)}")
        if len({*sizes}) == 1 and len({*wanted}) == 1:
            features = self.local_features(audio[:, : sizes[0]], wanted[0], normalised=normalised)
            mask = None
        else:
            clips = [
                self.local_features(audio[i : i + 1, : sizes[i]], wanted[i], normalised=normalised)[0]
                for i in range(count)
            ]
            features = nn.utils.rnn.pad_sequence(clips, batch_first=True)
            mask = _mask([len(clip) for clip in clips], features.device)
        return self.contextual_features(features, mask, window_s)

    def local_features(self, audio: Tensor, frames: int | None = None, *, normalised: bool = False) -> Tensor:
        """Convolution features after the change of rate: audio (B, N), clips of equal length -> (B, S, C)."""
        if self.config.normalise and not normalised and audio.shape[1]:
            audio = normalise(audio)
        if self.config.pad:
            audio = pad_edges(audio)
        return change_rate(convolve(self.feature_extractor, self.settings, audio).mT, self.config.rate, frames)

    def contextual_features(
        self, features: Tensor, mask: Tensor | None = None, window_s: float | None = None
    ) -> Tensor:
        """Projection, time masking in training, transformer: (B, S, C), mask (B, S) True = audio -> (B, S, dim)."""
        hidden = self.feature_projection(features)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        if self.training and self.masked_spec_embed is not None and getattr(self.settings, "apply_spec_augment", True):
            lengths = [hidden.shape[1]] * len(hidden) if mask is None else mask.sum(1).tolist()
            hidden = torch.where(self._spans(lengths, hidden)[..., None], self.masked_spec_embed.to(hidden), hidden)
        if mask is not None:
            hidden = hidden * mask[..., None]
        size = self.config.window_s if window_s is None else window_s
        out = self._transform(hidden, mask) if self.training else self._windows(hidden, mask, size)
        return out if mask is None else out * mask[..., None]

    def _spans(self, lengths: Sequence[int], hidden: Tensor) -> Tensor:
        s = self.settings
        spans = [
            time_spans(n, hidden.shape[1], s.mask_time_prob, s.mask_time_length, s.mask_time_min_masks) for n in lengths
        ]
        return torch.stack(spans).to(hidden.device)

    def _transform(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        return self.encoder(hidden, attention_mask=mask).last_hidden_state

    def _windows(self, hidden: Tensor, mask: Tensor | None, window_s: float | None) -> Tensor:
        """Stretches of `window_s` seconds (none: all), each with `context_s` of audio on either side, not kept."""
        if window_s is None:
            return self._transform(hidden, mask)
        size = max(1, round(window_s * self.config.rate.fps))
        context = round(self.config.context_s * self.config.rate.fps)
        total = hidden.shape[1]
        if total <= size + 2 * context:
            return self._transform(hidden, mask)
        kept = []
        for first in range(0, total, size):
            left, right = max(0, first - context), min(total, first + size + context)
            part = None if mask is None else mask[:, left:right]
            if (
                part is not None and not part.any(1).all()
            ):  # a clip that has ended: any one step keeps attention defined
                part = part | (~part.any(1))[:, None]
            kept.append(self._transform(hidden[:, left:right], part)[:, first - left : first - left + size])
        return torch.cat(kept, 1)


def normalise(audio: Tensor) -> Tensor:
    """(x - mean) / sqrt(var + 1e-7) over each clip, population variance: (B, N) -> (B, N)."""
    variance, mean = torch.var_mean(audio, -1, correction=0, keepdim=True)
    return (audio - mean) / (variance + 1e-7).sqrt()


def time_spans(length: int, total: int, share: float, span: int, least: int) -> Tensor:
    """Which steps SpecAugment hides (Park et al. 2019): (total,) bool, only among the first `length`.

    About share * length / span stretches of `span` steps, at least `least`, with starts that differ; where they cannot
    fit, fewer.
    """
    hidden = torch.zeros(total, dtype=torch.bool)
    if share <= 0 or length < span:
        return hidden
    count = max(int(share * length / span + torch.rand(()).item()), least)
    count = min(count, length // span)
    for start in torch.randperm(length - span + 1)[:count].tolist():
        hidden[start : start + span] = True
    return hidden


def _mask(lengths: Sequence[int], device: torch.device) -> Tensor | None:
    size = torch.tensor(lengths, device=device)
    mask = torch.arange(max(lengths), device=device) < size[:, None]
    return None if mask.all() else mask


def _per_clip(frames: int | Sequence[int] | Tensor, count: int) -> Sequence[int]:
    each = [frames] * count if isinstance(frames, int) else [int(f) for f in frames]
    if len(each) != count:
        raise ValueError(f"{len(each)} frame counts for {count} clips")
    return each


def _own(value: Tensor) -> Tensor:
    """A copy that does not share memory with the checkpoint, at least in single precision."""
    return value.detach().to(torch.promote_types(value.dtype, torch.float32), copy=True)


def _accept_both_spellings(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    mine = {k: v for k, v in state.items() if k.startswith(prefix)}
    for name in mine:
        del state[name]
    state.update(to_new(mine))


def _from_network(spec: Mapping[str, Any], state: Mapping[str, Tensor] | None) -> SpeechEncoder:
    config = dict(SpeechConfig.from_dict(spec).__dict__)
    return SpeechEncoder.from_config(config.pop("network"), config.pop("rate"), state=state, **config)


def _from_hub(spec: Mapping[str, Any], state: Mapping[str, Tensor] | None) -> SpeechEncoder:
    fields = dict(spec)
    name = fields.pop("name", None)
    if name is None:
        raise InputError(f"speech encoder {fields}: a hub encoder needs name=, a hub name or a local folder")
    encoder = SpeechEncoder.from_hub(name, RateRule.from_dict(fields.pop("rate", {})), **fields)
    if state is not None:
        encoder.load_state_dict(dict(state))
    return encoder


def _phonetic(spec: Mapping[str, Any], state: Mapping[str, Tensor] | None) -> PhoneticSpeechEncoder:
    return PhoneticSpeechEncoder.from_spec(spec)


SPEECH_ENCODERS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Tensor] | None], nn.Module]] = {
    "network": _from_network,
    "hub": _from_hub,
    "phonetic": _phonetic,
}
"""Name -> constructor from the other fields of a spec and the weights, if any."""


def load_speech_encoder(
    spec: Mapping[str, Any] | str, *, state: Mapping[str, Tensor] | None = None, **fields: Any
) -> nn.Module:
    """A speech encoder in evaluation mode; its call is `encoder(audio, frames=None, lengths=None) -> (B, S, dim)`.

    A string is "phonetic" (shipped with the package), a hub name or a local folder. A dict has `encoder`: "phonetic",
    "hub" (with `name`), or "network" (with a `network` config), and that encoder's fields; `fields` are added. `state`
    are weights without prefix; with them a network is built without first drawing random ones. Raises InputError, and
    MissingExtra without `transformers`.
    """
    if isinstance(spec, str):
        spec = {"encoder": "phonetic"} if spec == "phonetic" else {"encoder": "hub", "name": spec}
    rest = {**spec, **fields}
    kind = rest.pop("encoder", None)
    if kind not in SPEECH_ENCODERS:
        raise InputError(f"speech encoder {kind!r} is not known, wanted one of {', '.join(sorted(SPEECH_ENCODERS))}")
    return SPEECH_ENCODERS[kind](rest, state)
