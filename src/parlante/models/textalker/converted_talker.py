"""The TexTalker that its authors released, on a person of its own: a folder with `face.obj`, `face.png` and pivots.

The released network ignores pivots, so without them the latents of the face at rest stand in; provenance says which.
Meshes in files are taken in the unit of the released statistics; an `Identity` is in metres.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.core import Identity, Style
from parlante.core.options import Sampling
from parlante.models.checkpoint import digest
from parlante.models.mesh_talker import LONG_S, SHORTEST, WINDOW_S, at_least
from parlante.models.talker import Abilities, Audio, unknown_name
from parlante.models.textalker.import_ import MODEL, ConvertedTexTalker
from parlante.models.textalker.scanned_talker import ScannedTalker

STEPS = 20
"""Denoising steps where none are asked for; all of the schedule's are the published way."""
METRES_PER_UNIT = 0.1
"""Of the meshes that it was trained on; inferred, see `data.datasets.textalk4d`."""


def load(folder: Path | str, device: torch.device | str = "cpu") -> "ConvertedTalker":
    """From a folder that `parlante convert textalker` wrote. Raises InputError if it cannot be used."""
    return ConvertedTalker(ConvertedTexTalker.from_pretrained(folder).to(device), digest(folder))


class ConvertedTalker(ScannedTalker):
    """A `ConvertedTexTalker` and scanned people."""

    def __init__(self, network: ConvertedTexTalker, checkpoint: str = "") -> None:
        self.network = network
        size = network.wrinkle.config.img_size
        super().__init__(
            MODEL,
            network.diffusion.fps,
            network.motion,
            network.wrinkle,
            network.stats,
            published_maps=True,
            quantise=True,
            abilities=Abilities(wrinkle_size=(size, size), solver_steps=network.diffusion.config.steps, own_faces=True),
            checkpoint=checkpoint,
        )

    def _metres(self, vertices: NDArray[np.float32]) -> float:
        """Files keep their numbers."""
        return 1.0

    def _unit(self, face: Identity) -> float:
        """Faces from folders, which say where their pivots are from, are in the unit of the statistics."""
        return 1.0 if "pivots" in face.facts else METRES_PER_UNIT

    def named_style(self, name: str | None, face: Identity | None = None) -> Style:
        """The pivots beside `face`, or the latents of that face at rest; there are no others by name."""
        if name is not None or face is None:
            raise unknown_name("style", str(name), ())
        return face.own_style if face.own_style is not None else self.style_at_rest(face)

    def _latents(self, audio: Audio, style: Style, count: int, sampling: Sampling) -> Iterator[tuple[Tensor, Tensor]]:
        """The published windows."""
        diffusion, config = self.network.diffusion, self.network.diffusion.config
        pivots = [
            torch.from_numpy(np.array(part, np.float32)).to(self.device) for part in (style.motion, style.wrinkle)
        ]
        draws = torch.Generator().manual_seed(sampling.seed)
        start = torch.randn(1, config.frames, config.latent_dim, generator=draws).to(self.device)
        steps = min(sampling.steps or STEPS, config.steps)
        solver = "ancestral" if steps == config.steps else "ddim"
        speech = at_least(audio, SHORTEST).to(self.device)
        window_s = WINDOW_S if len(audio) > LONG_S * 16000 else None

        def noise(step: int, like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=draws).to(like)

        windows = diffusion.generate(
            speech, start, steps=steps, solver=solver, noise=lambda _: noise, window_s=window_s
        )
        for _, made in windows:
            parts = made[0].split([config.motion_dim, config.wrinkle_dim], -1)
            motion, wrinkle = (
                part.unflatten(-1, shape) + pivot
                for part, shape, pivot in zip(parts, self.latent_shapes, pivots, strict=True)
            )
            yield motion, wrinkle
