"""A converted TexTalker on a person of its own: a folder with `face.obj`, `face.png` and style pivots.

The speech becomes latent offsets, pivots are added, nearest codes are decoded: motion maps are read at the vertices (on
the grid that the published maps are drawn on), wrinkle maps colour the texture. The released network ignores pivots, so
without them the latents of the face at rest stand in; provenance says which.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.core import Identity, InputError, Style, Topology
from parlante.core.frames import FrameBlock
from parlante.core.options import Sampling
from parlante.core.timing import num_frames
from parlante.geometry.mesh import read_mesh
from parlante.geometry.uv.motion_map import offsets_from_maps
from parlante.geometry.uv.ratio import UNCHANGED, decode, encode
from parlante.geometry.uv.table import BakeTable, bake_table
from parlante.models.base_talker import BaseTalker
from parlante.models.checkpoint import digest
from parlante.models.mesh_talker import LONG_S, SHORTEST, WINDOW_S, at_least
from parlante.models.talker import Abilities, Audio, unknown_name
from parlante.models.textalker.import_ import MODEL, ConvertedTexTalker
from parlante.models.textalker.pivot_files import read_pivots

STEPS = 20
"""Denoising steps where none are asked for; all of the schedule's are the published way."""
DECODE_FRAMES = 4
"""Frames decoded at a time; a published-size map takes hundreds of megabytes on its way."""


def load(folder: Path | str, device: torch.device | str = "cpu") -> "ScannedTalker":
    """From a folder that `parlante convert textalker` wrote. Raises InputError if it cannot be used."""
    return ScannedTalker(ConvertedTexTalker.from_pretrained(folder).to(device), digest(folder))


class ScannedTalker(BaseTalker):
    """A `ConvertedTexTalker` and scanned people."""

    topology = None

    def __init__(self, network: ConvertedTexTalker, checkpoint: str = "") -> None:
        self.network, self.name, self.fps = network, MODEL, network.diffusion.fps
        size = network.wrinkle.config.img_size
        self.abilities = Abilities(
            wrinkle_size=(size, size), solver_steps=network.diffusion.config.steps, own_faces=True
        )
        self.provenance: dict[str, Any] = {"model": MODEL, "checkpoint_sha256": checkpoint}

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def face(self, wish: str | Identity | None = None, *, paint: bool = True) -> Identity:
        """The person in a folder: `face.obj` with texture coordinates, `face.png`, and pivots where there are some.

        Raises InputError for anything else.
        """
        if isinstance(wish, Identity):
            return wish
        if wish is None or not Path(wish).is_dir():
            raise InputError("name who speaks: --identity FOLDER, which holds face.obj, face.png and style pivots")
        folder = Path(wish)
        for name in ("face.obj", "face.png"):
            if not (folder / name).is_file():
                raise InputError(f"{folder} has no {name}; wanted face.obj and face.png of one person")
        mesh = read_mesh(folder / "face.obj")
        if not len(mesh.uv_triangles):
            raise InputError(f"{folder}/face.obj has no texture coordinates; maps cannot be laid on it")
        count = len(mesh.vertices)
        topology = Topology(f"mesh-{count}", count, mesh.triangles, mesh.uv, mesh.uv_triangles)
        motion, wrinkle = self.network.latents
        pivots = read_pivots(folder, {"motion": motion, "wrinkle": wrinkle})
        own = None if pivots is None else Style(pivots["motion"], pivots["wrinkle"], "own", MODEL)
        name = folder.resolve().name
        facts = {"pivots": "of the face at rest" if own is None else "given"}
        return Identity(name, topology, mesh.vertices, _picture(folder / "face.png"), own_style=own, facts=facts)

    def named_style(self, name: str | None, face: Identity | None = None) -> Style:
        """The pivots beside `face`, or the latents of that face at rest; there are no others by name."""
        if name is not None or face is None:
            raise unknown_name("style", str(name), ())
        if face.own_style is not None:
            return face.own_style
        table = self._table(face)
        return Style(self._resting_motion(table), self._resting_wrinkle(), "of the face at rest", MODEL)

    def check_style(self, style: Style) -> None:
        """Raises InputError for pivots of another shape."""
        for kind, shape in zip(("motion", "wrinkle"), self.network.latents, strict=True):
            if getattr(style, kind).shape != shape:
                got = getattr(style, kind).shape
                raise InputError(f"style {style.name!r} has a {kind} pivot of {got}, wanted {shape}")

    def _table(self, face: Identity) -> BakeTable:
        return bake_table(face.topology, self.network.motion.config.img_size, reference=True)

    @torch.no_grad()
    def _frames(self, audio: Audio, face: Identity, style: Style, sampling: Sampling) -> Iterator[FrameBlock]:
        """Published models are left to decide about silence."""
        network, count, table = self.network, num_frames(len(audio), fps=self.fps), self._table(face)
        pivots = [
            torch.from_numpy(np.array(part, np.float32)).to(self.device) for part in (style.motion, style.wrinkle)
        ]
        dims = [network.diffusion.config.motion_dim, network.diffusion.config.wrinkle_dim]
        done, last = 0, None
        for offsets in self._offsets(audio, sampling):
            for piece in offsets[: count - done].split(DECODE_FRAMES):
                motion, wrinkle = (
                    part.unflatten(-1, shape) + pivot
                    for part, shape, pivot in zip(piece.split(dims, -1), network.latents, pivots, strict=True)
                )
                last = self._decoded(done, motion, wrinkle, table, sampling)
                done += len(piece)
                yield last
        if last is None:
            raise InputError("the recording is too short for a single frame; give at least a tenth of a second")
        for start in range(done, count):  # what remains is less than a frame long: held
            yield FrameBlock(
                start,
                motion=None if last.motion is None else last.motion[-1:],
                wrinkle=None if last.wrinkle is None else last.wrinkle[-1:],
                silence=np.zeros(1, np.float32),
            )

    def _offsets(self, audio: Audio, sampling: Sampling) -> Iterator[Tensor]:
        """(n, M + W) latent offsets of each window."""
        diffusion, config = self.network.diffusion, self.network.diffusion.config
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
            yield made[0]

    def _decoded(self, start: int, motion: Tensor, wrinkle: Tensor, table: BakeTable, sampling: Sampling) -> FrameBlock:
        network = self.network
        maps = network.motion.decode(motion).cpu()
        offsets = offsets_from_maps(maps, table, network.stats).numpy() * np.float32(sampling.motion_strength)
        silence = np.zeros(len(offsets), np.float32)
        if not sampling.wrinkles:
            return FrameBlock(start, motion=offsets, silence=silence)
        ratio = network.wrinkle.decode(wrinkle).permute(0, 2, 3, 1).cpu().numpy()
        if sampling.wrinkle_strength != 1:
            ratio = encode(np.clip(decode(ratio), 1e-6, 1e3) ** sampling.wrinkle_strength)
        stored = np.clip(np.rint(255 * ratio), 0, 255).astype(np.uint8)
        return FrameBlock(start, motion=offsets, wrinkle=stored, silence=silence)

    @torch.no_grad()
    def _resting_wrinkle(self) -> NDArray[np.float32]:
        size = self.network.wrinkle.config.img_size
        unchanged = torch.full((1, 3, size, size), UNCHANGED, device=self.device)
        return self.network.wrinkle.encode(unchanged)[0].cpu().numpy()

    @torch.no_grad()
    def _resting_motion(self, table: BakeTable) -> NDArray[np.float32]:
        still = self.network.stats.normalise(torch.zeros(1, table.topology.num_vertices, 3))
        return self.network.motion.encode(table.bake(still).to(self.device))[0].cpu().numpy()


def _picture(path: Path) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(path) as file:
            return np.asarray(file.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read {path} as a picture: {error}; give a PNG or JPEG") from error
