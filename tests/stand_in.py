"""A stand-in talker that performs known curves, so that the pipeline can be judged exactly and quickly."""

from collections.abc import Iterator

import numpy as np

from parlante.animation.source import Request, Window
from parlante.core.timing import num_frames
from parlante.head import load_head
from parlante.head.arkit import INDEX


class StandIn:
    """Opens and closes the mouth at 2 Hz where there is sound; its curves are known."""

    fps = 30.0
    wrinkle_size = (8, 8)
    max_steps = 1000
    provenance = {"model": "stand-in", "checkpoint_sha256": "0" * 64}  # noqa: RUF012

    def __init__(self, piece: int = 37) -> None:
        self.style_names = tuple(load_head().identity_names)
        self.piece = piece
        self.requests: list[Request] = []

    def listen(self, audio: np.ndarray) -> np.ndarray:
        self.frames = num_frames(len(audio))
        starts = (np.arange(self.frames) * 16000 // 30).astype(int)
        self.silence = np.array([np.abs(audio[s : s + 533]).max(initial=0) < 0.01 for s in starts], np.float32)
        return self.silence

    def curves(self) -> np.ndarray:
        time = np.arange(self.frames) / 30
        curves = np.zeros((self.frames, 52), np.float32)
        curves[:, INDEX["jawOpen"]] = 0.3 + 0.25 * np.sin(2 * np.pi * 2 * time)
        curves[:, INDEX["mouthSmileLeft"]] = 0.2
        curves[:, INDEX["browInnerUp"]] = 0.4
        curves[:, INDEX["eyeBlinkLeft"]] = 0.5
        return curves

    def windows(self, request: Request) -> Iterator[Window]:
        self.requests.append(request)
        basis = load_head().shapes(request.identity.name)
        curves = self.curves()
        for start in range(0, self.frames, self.piece):
            part = curves[start : start + self.piece] * request.motion_strength
            offsets = np.tensordot(part, basis, 1).astype(np.float32)
            wrinkle = np.full((len(part), 8, 8, 3), 118, np.uint8) if request.texture else None
            yield Window(offsets, wrinkle)


def spoken(seconds: float, rate: int = 16000, silent_after: float | None = None) -> np.ndarray:
    """A buzz that pulses like syllables."""
    time = np.arange(round(seconds * rate)) / rate
    voice = np.sign(np.sin(2 * np.pi * 110 * time)) * 0.2 * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * time))
    if silent_after is not None:
        voice[time > silent_after] = 0
    return voice.astype(np.float32)
