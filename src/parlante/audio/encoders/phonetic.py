"""The phonetic encoder: what a mouth needs to know of speech, 50 times a second.

A small convolutional network on level-invariant log-mels, trained on synthetic voices with exact phone times and known
mouth movement. It sees about half a second of audio around each feature, so any length streams in pieces with a bounded
look-ahead, and pieces give the numbers of the whole.

    >>> encoder = PhoneticEncoder.from_pretrained()
    >>> features = encoder(torch.zeros(1, 16000))  # (1, 50, 56); feature s is centred at (s + 0.5) / 50 s
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from parlante.audio.logmel import LogMel, running_normalise
from parlante.audio.prosody import voicing_and_pitch
from parlante.core import InputError, atomic_path
from parlante.core.assets import ASSETS
from parlante.core.files import model_folder
from parlante.core.ranges import Count
from parlante.core.typed import read_header

SAMPLE_RATE = 16000
RATE = 50
"""Features per second."""
STEP = SAMPLE_RATE // RATE
PHONE_COUNT = 40
"""Silence and the 39 phones, in the order of `parlante.audio.phones.PHONES`."""
WEIGHT_SCALES = {
    "jawOpen": 0.45, "mouthClose": 0.14, "mouthFunnel": 0.5, "mouthPucker": 0.8, "mouthStretchLeft": 0.25,
    "mouthUpperUpLeft": 0.2, "mouthLowerDownLeft": 0.16, "mouthRollLower": 0.45, "mouthPressLeft": 0.18,
    "tongueOut": 0.3, "jawForward": 0.15,
}  # fmt: skip
"""Mouth weights (ARKit names) that the encoder predicts, and the weight that counts as 1 in the features."""
GATES = ("closed", "bitten")
"""Chance that the lips are pressed together (p b m), and that the lower lip meets the teeth (f v)."""
PROSODY = ("loudness", "voicing", "pitch")
FEATURES: dict[str, slice] = {
    "phones": slice(0, 40),
    "weights": slice(40, 51),
    "gates": slice(51, 53),
    "prosody": slice(53, 56),
}
"""Where each group lies in a feature. phones: posteriors; weights: weight / WEIGHT_SCALES; gates: probabilities;
prosody: log energy above its running mean (2.5 nepers), voicing 0..1, pitch in octaves above 150 Hz (0: unvoiced)."""
DIM = 56
CONTEXT_PAST, CONTEXT_FUTURE = 160, 48
"""Features of context on either side that make a piece equal to the whole."""
ASSET = ASSETS / "phonetic"


@dataclass(frozen=True, kw_only=True)
class PhoneticConfig:
    """The network's size."""

    bands: Count = 64
    """Mel bands; a multiple of 4."""
    stem: Count = 24
    """Channels of the spectral convolutions."""
    width: Count = 256
    """Width of the residual blocks."""
    expansion: Count = 2
    """Hidden width of a block, in widths."""
    kernel: Count = 7
    """Taps of the depthwise convolutions, odd."""
    dilations: tuple[Count, ...] = (1, 2, 1, 2, 1, 1)
    """One block each; with `kernel` this is the receptive field."""

    def __post_init__(self) -> None:
        reach = sum(self.dilations) * (self.kernel // 2)
        if reach > 30:
            raise ValueError(f"dilations reach {reach} features to each side, the streaming context allows 30")
        if self.bands % 4 or self.kernel % 2 == 0:
            raise ValueError(f"bands must be a multiple of 4 and kernel odd, got {self.bands} and {self.kernel}")


@dataclass(frozen=True)
class Head:
    """`config.json` of an encoder's folder."""

    config: PhoneticConfig


class Heads(NamedTuple):
    """Raw outputs: phones (B, S, 40) logits, weights (B, S, 11), gates (B, S, 2) logits."""

    phones: Tensor
    weights: Tensor
    gates: Tensor


class Block(nn.Module):
    """x + scale * mlp(norm(depthwise(x))) on (B, S, width) (ConvNeXt, Liu et al. 2022)."""

    def __init__(self, width: int, kernel: int, dilation: int, expansion: int) -> None:
        super().__init__()
        pad = dilation * (kernel // 2)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=pad, dilation=dilation, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * expansion)
        self.down = nn.Linear(width * expansion, width)
        self.scale = nn.Parameter(torch.full((width,), 0.2))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x.mT).mT
        return x + self.scale * self.down(F.gelu(self.up(self.norm(y))))


class PhoneticEncoder(nn.Module):
    """Waveform to features (see FEATURES)."""

    rate = RATE
    dim = DIM

    def __init__(self, config: PhoneticConfig | None = None) -> None:
        super().__init__()
        self.config = config or PhoneticConfig()
        c = self.config
        self.logmel = LogMel(c.bands)
        self.low = nn.Conv2d(1, c.stem, 3, stride=(1, 2), padding=1)  # (time, frequency)
        self.high = nn.Conv2d(c.stem, c.stem, (4, 3), stride=2, padding=1)
        self.enter = nn.Linear(c.stem * (c.bands // 4), c.width)
        self.blocks = nn.ModuleList(Block(c.width, c.kernel, d, c.expansion) for d in c.dilations)
        self.norm = nn.LayerNorm(c.width)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(c.width, PHONE_COUNT + len(WEIGHT_SCALES) + len(GATES))

    def heads(self, mels: Tensor) -> Heads:
        """Outputs for normalised log-mels (B, 2 S, bands)."""
        x = F.gelu(self.low(mels[:, None]))  # (B, stem, 2 S, bands / 2)
        x = F.gelu(self.high(x))  # (B, stem, S, bands / 4)
        x = self.enter(x.transpose(1, 2).flatten(2))
        for block in self.blocks:
            x = block(x)
        x = self.out(self.drop(self.norm(x)))
        return Heads(*x.split([PHONE_COUNT, len(WEIGHT_SCALES), len(GATES)], -1))

    def forward(self, waveform: Tensor) -> Tensor:
        """waveform (B, N) -1..1 at 16 kHz -> features (B, N // 320, 56). Raises ValueError on another shape."""
        if waveform.ndim != 2:
            raise ValueError(f"waveform must be (B, N), got {tuple(waveform.shape)}; add a batch axis with [None]")
        count = waveform.shape[1] // STEP
        if count == 0:
            return waveform.new_zeros(len(waveform), 0, DIM)
        waveform = waveform[:, : count * STEP]
        mels, loudness = running_normalise(self.logmel(waveform))
        out = self.heads(mels)
        voicing, pitch = voicing_and_pitch(waveform)
        loudness = loudness.unflatten(1, (count, 2)).mean(-1).clamp(-3, 1)
        return torch.cat(
            [
                out.phones.softmax(-1),
                out.weights.clamp(-0.25, 1.5),
                out.gates.sigmoid(),
                torch.stack([loudness, voicing, pitch], -1),
            ],
            -1,
        )

    @torch.no_grad()
    def encode(self, audio: NDArray[np.float32], piece_s: float = 20.0) -> NDArray[np.float32]:
        """Features (S, 56) of mono audio (N,) at 16 kHz, any length, in pieces of bounded memory."""
        size = int(piece_s * SAMPLE_RATE)
        blocks = (audio[at : at + size] for at in range(0, max(len(audio), 1), size))
        parts = list(self.iter_features(blocks, piece_s))
        return np.concatenate(parts) if parts else np.zeros((0, DIM), np.float32)

    @torch.no_grad()
    def iter_features(
        self, blocks: Iterable[NDArray[np.float32]], piece_s: float = 2.0
    ) -> Iterator[NDArray[np.float32]]:
        """Features of a stream: pieces (s, 56) whose concatenation equals the features of the whole.

        `blocks` are mono samples at 16 kHz of any lengths. Memory stays flat; a piece is given once the audio up to
        0.96 s past its end has come.
        """
        piece = max(1, round(piece_s * RATE))
        buffer = np.zeros(0, np.float32)
        first = done = 0  # feature number of the buffer's start, and of the next to give

        def run(until: int) -> NDArray[np.float32]:
            nonlocal buffer, first, done
            end = min(until + CONTEXT_FUTURE, first + len(buffer) // STEP)
            audio = torch.from_numpy(buffer[: (end - first) * STEP])[None].to(self.out.weight.device)
            result = self(audio)[0, done - first : until - first].float().cpu().numpy()
            done = until
            drop = max(0, done - CONTEXT_PAST - first)
            buffer, first = buffer[drop * STEP :].copy(), first + drop
            return np.asarray(result)

        for block in blocks:
            buffer = np.concatenate([buffer, np.asarray(block, np.float32)])
            while first + len(buffer) // STEP >= done + piece + CONTEXT_FUTURE:
                yield run(done + piece)
        total = first + len(buffer) // STEP
        while done < total:
            yield run(min(done + piece, total))

    def save_pretrained(self, folder: Path | str, **facts: Any) -> None:
        """Write `config.json` and `model.safetensors` (half precision)."""
        folder = Path(folder)
        weights = {name: value.detach().cpu().half().contiguous() for name, value in self.state_dict().items()}
        with atomic_path(folder / "model.safetensors") as path:
            save_file(weights, path)
        config = {"model": "phonetic", "config": asdict(self.config), "rate": RATE, "dim": DIM, **facts}
        with atomic_path(folder / "config.json") as path:
            path.write_text(json.dumps(config, indent=1) + "\n")

    @classmethod
    def from_pretrained(cls, folder: Path | str = ASSET) -> "PhoneticEncoder":
        """The encoder in `folder` (the shipped one by default), in evaluation mode. Raises InputError if unreadable."""
        folder = model_folder(Path(folder))
        try:
            head: Head = read_header(Head, folder / "config.json", "a phonetic encoder that parlante train exported")
            encoder = cls(head.config)
            weights = {name: value.float() for name, value in load_file(folder / "model.safetensors").items()}
            encoder.load_state_dict(weights)
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, AttributeError, SafetensorError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"cannot load a phonetic encoder from {folder}: {error}") from error
        return encoder.eval()
