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

    def __init__(self, path: Path, info: AnimationInfo, picture: Picture) -> None:
        super().__init__(path, info)
        self._picture = picture

    def begin(self, stack: ExitStack) -> None:
        self._folder = stack.enter_context(atomic_folder(self.path))
        (self._folder / "frames").mkdir()
        self._renderer = stack.enter_context(renderer_for(self.info, self._picture))
        self._csv = None
        if self.info.weight_names:
            self._csv = stack.enter_context(LiveLinkCsv(self._folder / "curves.csv", self.info))
        write_wav(self._folder / "audio.wav", self.info.audio, self.info.sample_rate)
        if self.info.albedo is not None:
            save_png(self.info.albedo, self._folder / "albedo.png")

    def write(self, block: FrameBlock) -> None:
        """Draw and store."""
        for number, frame in enumerate(pictures(self._renderer, block), block.start):
            save_png(frame, self._folder / "frames" / f"{number:06d}.png")
        if self._csv is not None:
            self._csv.write(block)


def write_wav(path: Path, audio: NDArray[np.float32], sample_rate: int) -> None:
    """Mono 16-bit PCM, in pieces."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        for start in range(0, len(audio), 1 << 20):
            piece = np.clip(audio[start : start + (1 << 20)], -1.0, 1.0)
            file.writeframes(np.rint(piece * 32767).astype("<i2").tobytes())
