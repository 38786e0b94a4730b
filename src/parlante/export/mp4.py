"""Video with sound, rendered and encoded frame by frame."""

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
    """Sink for `.mp4` and `.webm`. The sound is written in step with the pictures."""

    def __init__(self, path: Path, take: AnimationInfo, picture: Picture) -> None:
        super().__init__(path, take)
        self._picture = picture

    def _open(self, stack: ExitStack) -> None:
        from parlante.render import VideoWriter

        take, size = self._take, self._picture.size
        self._renderer = stack.enter_context(renderer_for(take, self._picture))
        self._video = stack.enter_context(
            VideoWriter(self.path, take.fps, size, audio=take.audio, sample_rate=take.sample_rate)
        )

    def write(self, chunk: FrameBlock) -> None:
        """Draw and encode."""
        for frame in pictures(self._renderer, chunk):
            self._video.write(frame)


def renderer_for(take: AnimationInfo, picture: Picture) -> "Renderer":
    """A renderer of this take's head."""
    from parlante.render import Renderer

    poses = None
    if take.shapes is not None:  # every shape at once shows all the skin that can come to light
        wanted = ("eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "mouthFunnel")
        rows = [take.weight_names.index(name) for name in wanted if name in take.weight_names]
        poses = take.neutral[None] + take.shapes[rows]
    return Renderer(
        take.topology,
        take.neutral,
        size=picture.size,
        view=picture.view,
        albedo=take.albedo if picture.texture else None,
        sample_poses=poses,
        pivot=take.pivot if any(take.pivot) else None,
    )


def pictures(renderer: "Renderer", chunk: FrameBlock) -> Iterator[NDArray[np.uint8]]:
    """The frames of a chunk, one at a time."""
    for k in range(len(chunk)):
        yield renderer.draw(
            chunk.vertices[k],
            wrinkle=None if chunk.wrinkle is None else chunk.wrinkle[k],
            head_pose=None if chunk.head_pose is None else chunk.head_pose[k],
        )
