"""An animation's textures at full size: every frame's albedo, and on request its normals and displacement.

Frames are made and compressed in stripes of rows, side by side on all cores, so memory does not grow with length, and
for PNG hardly with size. Every picture appears whole or not at all; a run that was cut short can be resumed.
"""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from parlante.core import InputError, Topology, atomic_path
from parlante.core.frames import AnimationInfo
from parlante.core.options import TextureMaps
from parlante.export.png import PngWriter, compress_stripe
from parlante.geometry.uv.upsample import STRIPE, UpsampledFrame, Upsampler, normal_rows, relief
from parlante.render.shading import BUMP

DISPLACEMENT_RANGE_MM = 2.0
"""Displacement 65535 stands for about this many millimetres outwards, 1 for as many inwards, 32768 for none."""
LARGEST_VIDEO = 4096
"""Edge in pixels beyond which no H.264 level reaches."""
VIDEOS = (".mp4", ".webm")
Item = TypeVar("Item")
Result = TypeVar("Result")


def write_textures(
    output: Path | str,
    upsampler: Upsampler,
    frames: Iterable[tuple[int, NDArray[Any]]],
    info: AnimationInfo,
    maps: TextureMaps | None = None,
    progress: Callable[[], object] = lambda: None,
) -> None:
    """Write numbered frames to `output`.

    output: a video (.mp4, .webm) or a folder, which receives colour/000000.png ..., normal/ and displacement/ as asked,
    and textures.json with the numbers that say how to read them. upsampler: of the albedo. frames: (number, wrinkle
    map), consecutive, one at a time. info: fps, the shape that sets the scale of normals, the audio of these frames.
    progress: called after each frame. Raises InputError for outputs that cannot be written.
    """
    maps, output = maps or TextureMaps(), Path(output)
    with ThreadPoolExecutor(maps.workers) as pool:
        if output.suffix.lower() in VIDEOS:
            _write_video(output, upsampler, frames, info, maps, pool, progress)
        else:
            _Folder(output, upsampler, info, maps, pool, progress).write(frames)


def check_texture_output(output: Path | str, size: tuple[int, int], maps: TextureMaps) -> None:
    """Raises InputError if textures of (height, width) cannot be written to `output`. Cheap: call it before work."""
    path = Path(output)
    suffix = path.suffix.lower()
    if suffix in VIDEOS:
        if max(size) > LARGEST_VIDEO:
            raise InputError(
                f"video of {size[1]} x {size[0]} pixels is beyond every H.264 level; "
                f"write a folder of pictures, or give --size {LARGEST_VIDEO} or less"
            )
        if maps.normal or maps.displacement or maps.jpeg:
            raise InputError(f"{path} holds colour only; write normals, displacement or JPEG to a folder")
    elif suffix and not path.is_dir():
        raise InputError(f"cannot write textures to {path}: choose .mp4, .webm or a folder/")
    elif path.exists() and not path.is_dir():
        raise InputError(f"cannot write {path}/: it is a file; choose another name")
    elif path.exists() and any(path.iterdir()) and not maps.resume:
        raise InputError(f"cannot write {path}/: it is not empty; choose another name, or --resume to go on with it")


class _Piece(NamedTuple):
    """A stripe of one frame."""

    number: int
    start: int
    stop: int
    frame: UpsampledFrame


class _Folder:
    """The pictures of an animation, in folders by kind."""

    def __init__(
        self,
        path: Path,
        upsampler: Upsampler,
        info: AnimationInfo,
        maps: TextureMaps,
        pool: ThreadPoolExecutor,
        progress: Callable[[], object],
    ) -> None:
        self.path, self.up, self.maps = path, upsampler, maps
        self.fps, self.pool, self.progress = info.fps, pool, progress
        scale = metres_per_uv(info.topology, info.neutral)
        self.texel = (scale / upsampler.width, scale / upsampler.height)
        self.bump = maps.depth * BUMP
        self._still: dict[int, dict[str, Any]] = {}
        """What stripes are made into where nothing moves, by first row; they are compressed once."""

    def write(self, frames: Iterable[tuple[int, NDArray[Any]]]) -> None:
        self._describe()
        saving: deque[Future[None]] = deque()
        with ExitStack() as stack:
            for piece, made in _ahead(self.pool, self._make, self._pieces(frames), 2 * self.maps.workers):
                if piece.start == 0:
                    stack.close()
                    writers = self._open(stack, piece.number)
                    canvas = np.empty_like(self.up.albedo) if self.maps.jpeg else None
                for kind, writer in writers.items():
                    writer.write(made[kind])
                if canvas is not None:
                    canvas[piece.start : piece.stop] = made["colour"]
                if piece.stop == self.up.height:
                    stack.close()
                    if canvas is not None:
                        saving.append(self.pool.submit(_save_jpeg, canvas, self._name("colour", piece.number)))
                        if len(saving) > 1:
                            saving.popleft().result()
                    self.progress()
        for future in saving:
            future.result()

    def _pieces(self, frames: Iterable[tuple[int, NDArray[Any]]]) -> Iterator[_Piece]:
        for number, wrinkle in frames:
            if self.maps.resume and all(self._name(kind, number).exists() for kind in self.maps.kinds):
                self.progress()
                continue
            frame = self.up.frame(wrinkle)
            for start in range(0, self.up.height, STRIPE):
                yield _Piece(number, start, min(start + STRIPE, self.up.height), frame)

    def _make(self, piece: _Piece) -> dict[str, Any]:
        """Every kind of picture for one stripe: compressed, or pixels for JPEG."""
        start, stop, maps = piece.start, piece.stop, self.maps
        moved = piece.frame.moved(max(start - 1, 0), min(stop + 1, self.up.height))
        if not moved and start in self._still:
            return self._still[start]
        solid = maps.normal or maps.displacement
        first, last = (max(start - 1, 0), min(stop + 1, self.up.height)) if solid else (start, stop)
        ratio = piece.frame.ratio(first, last)
        colours = piece.frame.colours(start, stop, ratio[start - first : stop - first])
        made: dict[str, Any] = {"colour": colours if maps.jpeg else compress_stripe(colours)}
        if solid:
            height = np.float32(self.bump) * relief(ratio)
            if maps.normal:
                made["normal"] = compress_stripe(normal_rows(height, start, stop, self.texel))
            if maps.displacement:
                steps = height[start - first : stop - first] * np.float32(32767e3 / DISPLACEMENT_RANGE_MM)
                stored = np.clip(np.rint(32768 + steps), 0, 65535).astype(np.uint16)
                made["displacement"] = compress_stripe(stored)
        if not moved:
            self._still[start] = made
        return made

    def _open(self, stack: ExitStack, number: int) -> dict[str, PngWriter]:
        writers = {}
        for kind in self.maps.kinds:
            if kind == "colour" and self.maps.jpeg:
                continue
            form = (1, 16) if kind == "displacement" else (3, 8)
            partial = stack.enter_context(atomic_path(self._name(kind, number)))
            size = (self.up.height, self.up.width)
            writers[kind] = stack.enter_context(PngWriter(partial, size, *form))
        return writers

    def _name(self, kind: str, number: int) -> Path:
        suffix = ".jpg" if kind == "colour" and self.maps.jpeg else ".png"
        return self.path / kind / f"{number:06d}{suffix}"

    def _describe(self) -> None:
        facts: dict[str, Any] = {"fps": self.fps, "width": self.up.width, "height": self.up.height}
        if self.maps.normal:
            facts["normal"] = "tangent space, x along u, y along v (up), (128, 128, 255) is flat"
            facts["texel_mm"] = [1000 * size for size in self.texel]
        if self.maps.displacement:
            facts["displacement_mm"] = f"(value - 32768) / 32767 * {DISPLACEMENT_RANGE_MM:g}, outwards"
        with atomic_path(self.path / "textures.json") as partial:
            partial.write_text(json.dumps(facts, indent=1) + "\n")


def _write_video(
    path: Path,
    upsampler: Upsampler,
    frames: Iterable[tuple[int, NDArray[Any]]],
    info: AnimationInfo,
    maps: TextureMaps,
    pool: ThreadPoolExecutor,
    progress: Callable[[], object],
) -> None:
    from parlante.render import VideoWriter

    height, width = upsampler.height // 2 * 2, upsampler.width // 2 * 2
    canvas = np.empty_like(upsampler.albedo)
    starts = range(0, upsampler.height, STRIPE)
    with ExitStack() as stack:
        audio = info.audio if len(info.audio) else None
        video = stack.enter_context(VideoWriter(path, info.fps, (width, height), audio, info.sample_rate))
        for _, wrinkle in frames:
            frame = upsampler.frame(wrinkle)

            def fill(start: int, frame: UpsampledFrame = frame) -> None:
                stop = min(start + STRIPE, upsampler.height)
                canvas[start:stop] = frame.colours(start, stop)

            for _ in pool.map(fill, starts):
                pass
            video.write(canvas[:height, :width])
            progress()


def metres_per_uv(topology: Topology, vertices: NDArray[np.floating]) -> float:
    """Length on the skin that one unit of u or v covers, the median over triangles of sqrt(area / UV area)."""

    def areas(corners: NDArray[np.floating]) -> NDArray[np.floating]:
        a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        square = (a * a).sum(-1) * (b * b).sum(-1) - (a * b).sum(-1) ** 2
        return np.sqrt(np.maximum(square, 0))

    solid = areas(vertices[topology.triangles].astype(np.float64))
    laid = areas(topology.uv[topology.uv_triangles].astype(np.float64))
    good = (laid > 1e-12) & (solid > 1e-14)
    return float(np.sqrt(np.median(solid[good] / laid[good]))) if good.any() else 1.0


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], most: int
) -> Iterator[tuple[Item, Result]]:
    """Each item with its result, in order, computed at most `most` ahead."""
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > most:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def _save_jpeg(pixels: NDArray[np.uint8], path: Path) -> None:
    from PIL import Image

    with atomic_path(path) as partial:
        Image.fromarray(pixels).save(partial, format="JPEG", quality=95, subsampling=0)
