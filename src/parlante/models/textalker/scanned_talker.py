"""TexTalkers that move scanned people: one trained here on scans, or the released one.

A person is a folder with `face.obj`, `face.png` and, where they are known, style pivots. The speech becomes latent
offsets, pivots are added, maps are decoded: motion maps are read at the vertices (on the grid that they are drawn on),
wrinkle maps colour the texture. What only one of the two kinds does is in `converted_talker.py` and
`trained_talker.py`.
"""

from abc import abstractmethod
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
from parlante.core.pictures import read_picture
from parlante.core.timing import num_frames
from parlante.geometry.mesh import Mesh, read_mesh
from parlante.geometry.uv.motion_map import MotionStats, offsets_from_maps
from parlante.geometry.uv.ratio import UNCHANGED, decode, encode
from parlante.geometry.uv.table import BakeTable, bake_table
from parlante.models.base_talker import BaseTalker
from parlante.models.talker import Abilities, Audio
from parlante.models.textalker.pivot_files import read_pivots
from parlante.models.textalker.vqgan import VQAutoEncoder

DECODE_FRAMES = 4
"""Frames decoded at a time; a published-size map takes hundreds of megabytes on its way."""
FACES = (("face.obj", "face.png"), ("Models/000001/face_aligned.obj", "Textures_512/000001/face.png"))
"""Mesh and picture of a person at rest within its folder: as the released script wants them, as TexTalk4D has them."""
WANTED = "a folder with face.obj and face.png of one person, or a person's folder of TexTalk4D"


class ScannedTalker(BaseTalker):
    """Two autoencoders of maps, and what makes latents of speech.

    motion, wrinkle: the autoencoders; stats: what motion maps are normalised by; published_maps: whether maps are drawn
    by the published rule; quantise: whether latents become codes before they are decoded.
    """

    def __init__(
        self,
        name: str,
        fps: float,
        motion: VQAutoEncoder,
        wrinkle: VQAutoEncoder,
        stats: MotionStats,
        *,
        published_maps: bool,
        quantise: bool,
        abilities: Abilities,
        checkpoint: str,
    ) -> None:
        self.name, self.fps, self.abilities = name, fps, abilities
        self.topology = None
        self.motion, self.wrinkle, self.stats = motion, wrinkle, stats
        self.published_maps, self.quantise = published_maps, quantise
        self.latent_shapes = [
            (c.emb_dim, c.latent_size, c.latent_size) for c in (self.motion.config, self.wrinkle.config)
        ]
        """(C, h, w) of motion and of wrinkles."""
        self.provenance: dict[str, Any] = {"model": name, "checkpoint_sha256": checkpoint}

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.motion.parameters()).device

    # -- what the two kinds do in their own way

    @abstractmethod
    def _latents(self, audio: Audio, style: Style, count: int, sampling: Sampling) -> Iterator[tuple[Tensor, Tensor]]:
        """Latents (n, C, h, w) of motion and of wrinkles, pivots included, of consecutive stretches of `count` frames
        or one less."""

    @abstractmethod
    def _metres(self, vertices: NDArray[np.float32]) -> float:
        """What the numbers of a mesh in a file are multiplied by."""

    def _unit(self, face: Identity) -> float:
        """What offsets in the unit of the motion maps are multiplied by for a face."""
        return 1.0

    # -- who speaks

    def face(self, wish: str | Identity | None = None, *, paint: bool = True) -> Identity:
        """The person in a folder (see `FACES`), with its pivots where there are some.

        Raises InputError for anything else.
        """
        if isinstance(wish, Identity):
            return wish
        if wish is None or not Path(wish).is_dir():
            raise InputError(
                f"name who speaks: --identity FOLDER, which holds face.obj, face.png and style pivots; got {wish}"
            )
        folder = Path(wish)
        mesh_file, picture = self._files(folder)
        mesh = read_mesh(mesh_file)
        if not len(mesh.uv_triangles):
            raise InputError(f"{mesh_file} has no texture coordinates; maps cannot be laid on it")
        own = self.folder_pivots(folder)
        facts = {"pivots": "given" if own is not None else self._without_pivots(folder.resolve().name)}
        scale = np.float32(self._metres(mesh.vertices))
        if scale != 1:
            facts["metres in a unit of the mesh"] = f"{scale:g}"
        neutral = mesh.vertices * scale
        skin = read_picture(picture)
        return Identity(
            folder.resolve().name, self._topology(mesh, mesh_file), neutral, skin, own_style=own, facts=facts
        )

    def _files(self, folder: Path) -> tuple[Path, Path]:
        """Mesh and picture of a person. Raises InputError where one is missing."""
        missing = FACES[0][0]
        for names in FACES:
            mesh, picture = (folder / name for name in names)
            if mesh.is_file() and picture.is_file():
                return mesh, picture
            if mesh.is_file():
                missing = names[1]
                break
        raise InputError(f"{folder} has no {missing}; wanted {WANTED}")

    def _topology(self, mesh: Mesh, source: Path) -> Topology:
        count = len(mesh.vertices)
        return Topology(f"mesh-{count}", count, mesh.triangles, mesh.uv, mesh.uv_triangles)

    def _without_pivots(self, name: str) -> str:
        """Which pivots a person without its own gets, in words."""
        return "of the face at rest"

    # -- styles

    def folder_pivots(self, folder: Path) -> Style | None:
        """The pivots beside a face, or none. Raises InputError for pivots of another size."""
        pivots = read_pivots(folder, dict(zip(("motion", "wrinkle"), self.latent_shapes, strict=True)))
        if pivots is None:
            return None
        checkpoint = str(self.provenance["checkpoint_sha256"])
        return Style(pivots["motion"], pivots["wrinkle"], folder.resolve().name, self.name, checkpoint)

    def folder_style(self, folder: Path) -> Style:
        """The style of the person in a folder: its pivots, or what `face` says without any. Raises InputError."""
        own = self.folder_pivots(folder)
        return own if own is not None else self.named_style(None, self.face(str(folder)))

    def check_style(self, style: Style) -> None:
        """Raises InputError for pivots of another shape."""
        for kind, shape in zip(("motion", "wrinkle"), self.latent_shapes, strict=True):
            if getattr(style, kind).shape != shape:
                got = getattr(style, kind).shape
                raise InputError(f"style {style.name!r} has a {kind} pivot of {got}, wanted {shape}")

    def style_at_rest(self, face: Identity) -> Style:
        """The latents of a face that never moves and of skin that never changes."""
        return Style(
            self._resting_motion(self._table(face.topology)), self._resting_wrinkle(), "of the face at rest", self.name
        )

    def _table(self, topology: Topology) -> BakeTable:
        return bake_table(topology, self.motion.config.img_size, reference=self.published_maps)

    # -- what is said

    @torch.no_grad()
    def _frames(self, audio: Audio, face: Identity, style: Style, sampling: Sampling) -> Iterator[FrameBlock]:
        """These models are left to decide about silence."""
        count, table = num_frames(len(audio), fps=self.fps), self._table(face.topology)
        scale = np.float32(sampling.motion_strength * self._unit(face))
        done, last = 0, None
        for motion, wrinkle in self._latents(audio, style, count, sampling):
            pieces = [latents[: count - done].split(DECODE_FRAMES) for latents in (motion, wrinkle)]
            for part, skin in zip(*pieces, strict=True):
                last = self._decoded(done, part, skin, table, scale, sampling)
                done += len(part)
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

    def _decoded(
        self, start: int, motion: Tensor, wrinkle: Tensor, table: BakeTable, scale: np.float32, sampling: Sampling
    ) -> FrameBlock:
        maps = self.motion.decode(motion, quantise=self.quantise).cpu()
        offsets = offsets_from_maps(maps, table, self.stats).numpy() * scale
        silence = np.zeros(len(offsets), np.float32)
        if not sampling.wrinkles:
            return FrameBlock(start, motion=offsets, silence=silence)
        ratio = self.wrinkle.decode(wrinkle, quantise=self.quantise).permute(0, 2, 3, 1).cpu().numpy()
        if sampling.wrinkle_strength != 1:
            ratio = encode(np.clip(decode(ratio), 1e-6, 1e3) ** sampling.wrinkle_strength)
        stored = np.clip(np.rint(255 * ratio), 0, 255).astype(np.uint8)
        return FrameBlock(start, motion=offsets, wrinkle=stored, silence=silence)

    @torch.no_grad()
    def _resting_wrinkle(self) -> NDArray[np.float32]:
        size = self.wrinkle.config.img_size
        unchanged = torch.full((1, 3, size, size), UNCHANGED, device=self.device)
        return self.wrinkle.encode(unchanged)[0].cpu().numpy()

    @torch.no_grad()
    def _resting_motion(self, table: BakeTable) -> NDArray[np.float32]:
        still = self.stats.normalise(torch.zeros(1, table.topology.num_vertices, 3))
        return self.motion.encode(table.bake(still).to(self.device))[0].cpu().numpy()
