"""A converted TexTalker on a person of its own: a folder with `face.obj`, `face.png` and style pivots.

The speech becomes latent offsets, pivots are added, nearest codes are decoded: motion maps are read at the vertices (on
the grid that the published maps are drawn on), wrinkle maps colour the texture. The released network ignores pivots, so
without them the latents of the face at rest stand in; provenance says which.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.animation.released import LONG_S, SHORTEST, WINDOW_S
from parlante.animation.source import Request, Window, unknown_name
from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.core import Identity, InputError, Style, Topology
from parlante.core.timing import num_frames
from parlante.geometry.mesh import read_mesh
from parlante.geometry.uv.motion_map import offsets_from_maps
from parlante.geometry.uv.ratio import UNCHANGED, decode, encode
from parlante.geometry.uv.table import BakeTable, bake_table
from parlante.models.checkpoint import digest
from parlante.models.textalker.import_ import MODEL, ReleasedTexTalker
from parlante.models.textalker.pivot_files import read_pivots

STEPS = 20
"""Denoising steps where none are asked for; all of the schedule's are the published way."""
DECODE_FRAMES = 4
"""Frames decoded at a time; a published-size map takes hundreds of megabytes on its way."""


class ReleasedTexTalkerSource:
    """A `ReleasedTexTalker` as the pipeline sees it. Holds the speech that it listened to last."""

    style_names: tuple[str, ...] = ()

    def __init__(self, talker: ReleasedTexTalker, checkpoint: str = "") -> None:
        self.talker = talker
        self.fps = talker.diffusion.fps
        self.provenance: dict[str, Any] = {"model": MODEL, "checkpoint_sha256": checkpoint}
        self.max_steps = talker.diffusion.config.steps
        self._audio = torch.zeros(1, SHORTEST)
        self._frames = 0
        self._pivots: dict[str, NDArray[np.float32]] | None = None

    @classmethod
    def load(cls, folder: Path | str) -> "ReleasedTexTalkerSource":
        """From a folder that `parlante convert textalker` wrote. Raises InputError if it cannot be used."""
        return cls(ReleasedTexTalker.from_pretrained(folder), digest(folder))

    @property
    def wrinkle_size(self) -> tuple[int, int]:
        """(h, w) of the wrinkle maps."""
        size = self.talker.wrinkle.config.img_size
        return size, size

    def person(self, identity: str | Identity | None, *, paint: bool = True) -> Identity:
        """The person in a folder: `face.obj` with texture coordinates, `face.png`, and pivots where there are some.

        Raises InputError for anything else.
        """
        self._pivots = None
        if isinstance(identity, Identity):
            return identity
        if identity is None or not Path(identity).is_dir():
            raise InputError("name who speaks: --identity FOLDER, which holds face.obj, face.png and style pivots")
        folder = Path(identity)
        for name in ("face.obj", "face.png"):
            if not (folder / name).is_file():
                raise InputError(f"{folder} has no {name}; wanted face.obj and face.png of one person")
        mesh = read_mesh(folder / "face.obj")
        if not len(mesh.uv_triangles):
            raise InputError(f"{folder}/face.obj has no texture coordinates; maps cannot be laid on it")
        name = folder.resolve().name
        topology = Topology(
            f"mesh-{len(mesh.vertices)}", len(mesh.vertices), mesh.triangles, mesh.uv, mesh.uv_triangles
        )
        motion, wrinkle = self.talker.latents
        self._pivots = read_pivots(folder, {"motion": motion, "wrinkle": wrinkle})
        self.provenance["pivots"] = "of the face at rest" if self._pivots is None else "given"
        return Identity(name, topology, mesh.vertices, _picture(folder / "face.png"))

    def style(self, name: str | None) -> Style:
        """The pivots of the person who speaks; there are no others by name."""
        if name is not None or self._pivots is None:
            raise unknown_name("style", str(name), self.style_names)
        return Style(self._pivots["motion"], self._pivots["wrinkle"], "own", MODEL)

    def listen(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the speech (N,) at 16 kHz. The published model is left to decide about silence: (T,) zeros."""
        self._frames = num_frames(len(audio), fps=self.fps)
        samples = torch.from_numpy(np.array(audio, np.float32))
        self._audio = torch.nn.functional.pad(samples, (0, max(0, SHORTEST - len(samples))))[None]
        encoder = self.talker.diffusion.audio_encoder
        if isinstance(encoder, SpeechEncoder):
            encoder.config = replace(encoder.config, window_s=WINDOW_S if len(audio) > LONG_S * 16000 else None)
        return np.zeros(self._frames, np.float32)

    @torch.no_grad()
    def windows(self, request: Request) -> Iterator[Window]:
        """Frames of the speech last listened to."""
        talker = self.talker
        table = bake_table(request.identity.topology, talker.motion.config.img_size, published=True)
        pivots = self._both_pivots(request, table)
        dims = [talker.diffusion.config.motion_dim, talker.diffusion.config.wrinkle_dim]
        done, last = 0, None
        for offsets in self._offsets(request):
            for piece in offsets[: self._frames - done].split(DECODE_FRAMES):
                motion, wrinkle = (
                    part.unflatten(-1, shape) + pivot
                    for part, shape, pivot in zip(piece.split(dims, -1), talker.latents, pivots, strict=True)
                )
                last = self._decoded(motion, wrinkle, table, request)
                done += len(piece)
                yield last
        if last is None:
            raise InputError("the recording is too short for a single frame; give at least a tenth of a second")
        for _ in range(self._frames - done):  # what remains is less than a frame long: held
            yield Window(last.offsets[-1:], None if last.wrinkle is None else last.wrinkle[-1:])

    def _offsets(self, request: Request) -> Iterator[Tensor]:
        """(n, M + W) latent offsets of each window."""
        diffusion, config = self.talker.diffusion, self.talker.diffusion.config
        draws = torch.Generator().manual_seed(request.seed)
        start = torch.randn(1, config.frames, config.latent_dim, generator=draws)
        steps = min(request.steps or STEPS, config.steps)
        solver = "ancestral" if steps == config.steps else "ddim"

        def noise(step: int, like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=draws).to(like)

        for _, made in diffusion.generate(self._audio, start, steps=steps, solver=solver, noise=lambda _: noise):
            yield made[0]

    def _decoded(self, motion: Tensor, wrinkle: Tensor, table: BakeTable, request: Request) -> Window:
        talker = self.talker
        maps = talker.motion.decode(motion)
        offsets = offsets_from_maps(maps, table, talker.stats).numpy() * np.float32(request.motion_strength)
        if not request.texture:
            return Window(offsets, None)
        ratio = talker.wrinkle.decode(wrinkle).permute(0, 2, 3, 1).numpy()
        if request.wrinkle_strength != 1:
            ratio = encode(np.clip(decode(ratio), 1e-6, 1e3) ** request.wrinkle_strength)
        return Window(offsets, np.clip(np.rint(255 * ratio), 0, 255).astype(np.uint8))

    def _both_pivots(self, request: Request, table: BakeTable) -> list[Tensor]:
        """(C, h, w) of motion and wrinkles: as asked, the person's own, or the latents of a face that rests."""
        made = []
        wishes = {"motion": request.motion_style, "wrinkle": request.wrinkle_style}
        for (kind, wish), shape in zip(wishes.items(), self.talker.latents, strict=True):
            if isinstance(wish, Style):
                values = torch.from_numpy(np.array(getattr(wish, kind), np.float32))
                if tuple(values.shape) != shape:
                    raise InputError(f"style {wish.name!r} has a {kind} pivot of {tuple(values.shape)}, wanted {shape}")
                made.append(values)
            elif self._pivots is not None:
                made.append(torch.from_numpy(self._pivots[kind]))
            else:
                made.append(self._resting(kind, table))
        return made

    def _resting(self, kind: str, table: BakeTable) -> Tensor:
        if kind == "wrinkle":
            return self.talker.wrinkle.encode(torch.full((1, 3, *self.wrinkle_size), UNCHANGED))[0]
        still = self.talker.stats.normalise(torch.zeros(1, table.topology.num_vertices, 3))
        return self.talker.motion.encode(table.bake(still))[0]


def _picture(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as file:
            return np.asarray(file.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read {path} as a picture: {error}; give a PNG or JPEG") from error
