"""A folder for compositing: `frames/000000.png ...`, `audio.wav`, `curves.csv` (Live Link) and `albedo.png`."""

import wave
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from parlante.core import atomic_folder
from parlante.core.options import Picture
from parlante.export.frames import AnimationInfo, FrameBlock
from parlante.export.livelink_csv import LiveLinkCsv
from parlante.export.mp4 import pictures, renderer_for
from parlante.export.obj import save_png
from parlante.export.sink import FileSink


class FolderSink(FileSink):
    """Sink for a folder. It appears under its name when it is complete."""

    def __init__(self, path: Path, take: AnimationInfo, picture: Picture) -> None:
        super().__init__(path, take)
        self._picture = picture

    def _open(self, stack: ExitStack) -> None:
        self._folder = stack.enter_context(atomic_folder(self.path))
        (self._folder / "frames").mkdir()
        self._renderer = stack.enter_context(renderer_for(self._take, self._picture))
        self._curves = None
        if self._take.weight_names:
            self._curves = stack.enter_context(LiveLinkCsv(self._folder / "curves.csv", self._take))
        write_wav(self._folder / "audio.wav", self._take.audio, self._take.sample_rate)
        if self._take.albedo is not None:
            save_png(self._take.albedo, self._folder / "albedo.png")

    def write(self, chunk: FrameBlock) -> None:
        """Draw and store."""
        for number, frame in enumerate(pictures(self._renderer, chunk), chunk.start):
            save_png(frame, self._folder / "frames" / f"{number:06d}.png")
        if self._curves is not None:
            self._curves.write(chunk)


def write_wav(path: Path, audio: NDArray[np.float32], sample_rate: int) -> None:
    """Mono 16-bit PCM, in pieces."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        for start in range(0, len(audio), 1 << 20):
            piece = np.clip(audio[start : start + (1 << 20)], -1.0, 1.0)
            file.writeframes(np.rint(piece * 32767).astype("<i2").tobytes())
