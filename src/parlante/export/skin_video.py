"""The skin of every frame as video with audio: a moving texture for hosts that play video on a material.

The picture is the albedo in the mesh's texture layout, wrinkles multiplied in. `parlante texture` writes the same as
pictures, at up to 8K and with normals.
"""

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from parlante.core import InputError
from parlante.export.frames import AnimationInfo, FrameBlock
from parlante.export.sink import FileSink
from parlante.geometry.uv.ratio import apply_ratio

LARGEST = 2048
"""Pixels; larger skins are halved until they fit."""


class SkinVideoSink(FileSink):
    """Sink for `.skin.mp4` and `.skin.webm`. Raises InputError if the animation has no skin."""

    def __init__(self, path: Path, info: AnimationInfo) -> None:
        if info.albedo is None:
            raise InputError(f"cannot write {path}: the animation has no skin; animate it without --no-texture")
        super().__init__(path, info)
        albedo = info.albedo[: info.albedo.shape[0] // 2 * 2, : info.albedo.shape[1] // 2 * 2]
        while max(albedo.shape) > LARGEST:
            half = albedo.reshape(albedo.shape[0] // 2, 2, albedo.shape[1] // 2, 2, 3).mean(axis=(1, 3))
            albedo = np.rint(half).astype(np.uint8)[: half.shape[0] // 2 * 2, : half.shape[1] // 2 * 2]
        self._albedo = np.ascontiguousarray(albedo)

    def begin(self, stack: ExitStack) -> None:
        from parlante.render import VideoWriter

        height, width = self._albedo.shape[:2]
        audio = self.info.audio if len(self.info.audio) else None
        self._video = stack.enter_context(
            VideoWriter(self.path, self.info.fps, (width, height), audio, self.info.sample_rate)
        )

    def write(self, block: FrameBlock) -> None:
        """Colour and encode."""
        for k in range(len(block)):
            picture = self._albedo
            if block.wrinkle is not None:
                picture = apply_ratio(self._albedo, block.wrinkle[k])
            self._video.write(picture)
