"""Video with audio, rendered and encoded frame by frame."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from parlante.core.options import Picture
from parlante.export.frames import AnimationInfo, FrameBlock
from parlante.export.sink import FileSink

if TYPE_CHECKING:
    from parlante.render import Renderer


class Mp4Sink(FileSink):
    """Sink for `.mp4` and `.webm`. The audio is written in step with the pictures."""

    def __init__(self, path: Path, info: AnimationInfo, picture: Picture) -> None:
        super().__init__(path, info)
        self._picture = picture

    def begin(self, stack: ExitStack) -> None:
        from parlante.render import VideoWriter

        info, size = self.info, self._picture.size
        self._renderer = stack.enter_context(renderer_for(info, self._picture))
        self._video = stack.enter_context(
            VideoWriter(self.path, info.fps, size, audio=info.audio, sample_rate=info.sample_rate)
        )

    def write(self, block: FrameBlock) -> None:
        """Draw and encode."""
        for frame in pictures(self._renderer, block):
            self._video.write(frame)


def renderer_for(info: AnimationInfo, picture: Picture) -> "Renderer":
    """A renderer of this animation's head."""
    from parlante.render import Renderer

    poses = None
    if info.shapes is not None:  # every shape at once shows all the skin that can come to light
        wanted = ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "mouthFunnel")
        rows = [info.weight_names.index(name) for name in wanted if name in info.weight_names]
        poses = info.neutral[None] + info.shapes[rows]
    return Renderer(
        info.topology,
        info.neutral,
        size=picture.size,
        view=picture.view,
        albedo=info.albedo if picture.texture else None,
        sample_poses=poses,
        pivot=info.pivot if any(info.pivot) else None,
    )


def pictures(renderer: "Renderer", block: FrameBlock) -> Iterator[NDArray[np.uint8]]:
    """The frames of a block, one at a time."""
    for k in range(len(block)):
        yield renderer.draw(
            block.vertices[k],
            wrinkle=None if block.wrinkle is None else block.wrinkle[k],
            head_pose=None if block.head_pose is None else block.head_pose[k],
        )
