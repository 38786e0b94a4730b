"""Who turns audio into features before a training, and what its cache depends on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.audio.align import align
from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.audio.rates import RateRule
from parlante.core.files import model_folder
from parlante.training.features.cache import file_digest

GRID = 2
"""Features kept per frame."""
EncodeAudio = Callable[[NDArray[np.float32], int, float], Tensor]
"""Audio (N,) at 16 kHz, that goes `speed` times as fast as `count` frames do -> features (GRID count, F)."""


def phonetic_digest(folder: str) -> bytes:
    """Of the phonetic encoder in a folder; empty: of the shipped one."""
    from parlante.audio.encoders.phonetic import ASSET

    return file_digest(model_folder(Path(folder or ASSET)) / "model.safetensors")


def phonetic_encoding(folder: str, fps: float) -> EncodeAudio:
    """By the phonetic encoder in a folder; empty: by the shipped one."""
    from parlante.audio.encoders.phonetic import ASSET, PhoneticEncoder

    encoder = PhoneticEncoder.from_pretrained(folder or ASSET)

    def encode(audio: NDArray[np.float32], count: int, speed: float) -> Tensor:
        values = torch.from_numpy(encoder.encode(audio))[None]
        return align(values, GRID * count, fps=GRID * fps * speed, rate=encoder.rate)[0]

    return encode


def network_digest(name: str) -> bytes:
    """Of a speech network in a folder, or its hub name."""
    if Path(name).is_dir():
        return b"".join(file_digest(path) for path in sorted(Path(name).iterdir()) if path.is_file())
    return name.encode()


def network_encoding(name: str, fps: float) -> EncodeAudio:
    """By a speech network; its steps are repeated, for it looks around a frame by itself."""
    encoder = speech_network(name, fps)

    @torch.no_grad()
    def encode(audio: NDArray[np.float32], count: int, speed: float) -> Tensor:
        features = encoder(torch.from_numpy(audio)[None], None if speed == 1 else count)[0]
        features = features[torch.arange(count).clamp(max=len(features) - 1)]  # as long as the motion
        return features.repeat_interleave(GRID, 0)

    return encode


def speech_network(name: str, fps: float) -> SpeechEncoder:
    """By hub name or local folder, with a step a frame (FaceFormer's rule), frozen. Raises InputError, MissingExtra."""
    return SpeechEncoder.from_hub(name, RateRule(kind="aligned", fps=fps), frozen="all")
