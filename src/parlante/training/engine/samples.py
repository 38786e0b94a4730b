"""What a run shows of itself while it trains: a video of truth and prediction side by side, or a sheet of maps."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.core import Identity
from parlante.core.timing import FPS, SAMPLE_RATE

SECONDS = 4.0
"""Length of a sample video."""


def side_by_side(
    path: Path,
    identity: Identity,
    offsets: list[NDArray[np.float32]],
    audio: NDArray[np.float32],
    *,
    size: int = 256,
    seconds: float = SECONDS,
    fps: float = FPS,
) -> None:
    """Video of one face moving by several offsets (T, V, 3) metres at once, from left to right, with its audio."""
    from parlante.render import Renderer, VideoWriter

    frames = min(round(seconds * fps), *(len(each) for each in offsets))
    wave = np.asarray(audio, np.float32)[: round(frames / fps * SAMPLE_RATE)]
    with (
        Renderer(identity.topology, identity.neutral, size=size, albedo=identity.albedo) as renderer,
        VideoWriter(path, fps, (size * len(offsets), size), wave, SAMPLE_RATE) as video,
    ):
        for frame in range(frames):
            pictures = [renderer.draw(identity.neutral + each[frame]) for each in offsets]
            video.write(np.concatenate(pictures, 1))


def map_sheet(path: Path, truth: Tensor, made: Tensor, count: int = 6) -> None:
    """Picture of maps (N, 3, H, H), the true ones above what is made of them."""
    from parlante.render import contact_sheet, save_png

    chosen = np.unique(np.linspace(0, len(truth) - 1, count).astype(int))
    rows: list[Any] = [
        (each[k].detach().float().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        for each in (truth, made)
        for k in chosen
    ]
    save_png(contact_sheet(rows, columns=len(chosen)), path)
