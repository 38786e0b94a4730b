"""A family over the motion coordinates of the embedded head: its network, what stands around it, and its checkpoint.

The network takes phonetic features and moves the motion basis, so the whole model is a few megabytes. It makes motion
only. Wrinkles follow from it as creases of the moving skin (`head/skin_dynamics.py`), as deep as those of the person
whose wrinkle style is asked for. The folder is a checkpoint like any other; its config carries, beside the family's,
the `TalkerMetadata` under `embedded`.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.audio.align import align
from parlante.core import Identity, InputError, Style
from parlante.core.assets import ASSETS
from parlante.core.options import Sampling
from parlante.core.plugins import resolve
from parlante.core.timing import num_frames
from parlante.geometry.uv.ratio import encode
from parlante.head import load_head
from parlante.head.skin_dynamics import SkinDynamics
from parlante.head.speaker_profile import profile_of
from parlante.models.checkpoint import built, digest, load_checkpoint, model_name, save_checkpoint, settings, usable
from parlante.models.components.chunked_inference import Push, in_chunks
from parlante.models.components.motion_family import MotionFamily
from parlante.models.motion_basis import MotionBasis
from parlante.models.registry import family as find_family
from parlante.models.registry import shipped
from parlante.models.style_fitting import fit_style, spread_pieces
from parlante.models.talker import ExtractedStyle, StyleClip, unknown_name

VOICE_S = 10.0
"""Seconds of speech that the style of the voice is read from."""
WRINKLE_SIZE = 256
"""Edge of the wrinkle maps."""
FIT_FRAMES, FIT_PIECES = 120, 8
"""A style is fitted to at most so many pieces of so many frames, spread over the clips."""


@dataclass(frozen=True, kw_only=True)
class TalkerMetadata:
    """What stands around the network: the `embedded` part of the config."""

    frame_offsets: tuple[float, ...]
    """Seconds around a frame at which speech features are read."""
    subjects: tuple[str, ...]
    """Names of the one-hots."""
    fps: float = 30.0
    basis_scale: float
    """Of the motion basis that the weights were trained on; another one would be silent nonsense."""
    encoder: str = "phonetic"
    topology: str = "parlante"

    def __post_init__(self) -> None:
        for name in ("frame_offsets", "subjects"):
            object.__setattr__(self, name, tuple(getattr(self, name)))


class HeadNetwork:
    """A `HeadGenerator` (see `models.head_talker`) of a family on motion coordinates."""

    wrinkle_size: tuple[int, int] = (WRINKLE_SIZE, WRINKLE_SIZE)

    def __init__(
        self,
        family: str,
        network: Any,
        metadata: TalkerMetadata,
        checkpoint: str = "",
        basis: MotionBasis | None = None,
    ) -> None:
        self.family, self.metadata, self.checkpoint = family, metadata, checkpoint
        self.network: MotionFamily = network.eval()
        self.basis = basis or MotionBasis.load()

    @property
    def fps(self) -> float:
        """Motion frames per second."""
        return self.metadata.fps

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of known styles."""
        return self.metadata.subjects

    @property
    def solver_steps(self) -> int:
        """Most steps of its solver; 0: it has none."""
        return self.network.solver_steps

    @property
    def completes(self) -> bool:
        """No: there are no wrinkles."""
        return False

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    def to(self, device: torch.device | str) -> "HeadNetwork":
        """Itself, moved."""
        self.network.to(device)
        return self

    # -- styles

    @torch.no_grad()
    def embeddings(self) -> Tensor:
        """(N, D) of all subjects."""
        return self.network.style_embedding(torch.eye(len(self.styles), device=self.device))

    @torch.no_grad()
    def mean_embedding(self) -> Tensor:
        """(D,) of the even mixture of all subjects."""
        count = len(self.styles)
        return self.network.style_embedding(torch.full((1, count), 1 / count, device=self.device))[0]

    @torch.no_grad()
    def add_voice_style(self, embedding: Tensor, features: Tensor) -> Tensor:
        """Code (B, D) with the style of the voice added, where the family has one; features (B, T, A)."""
        voice = self.network.voice_style(features[:, : round(VOICE_S * self.fps)])
        return embedding if voice is None else embedding + voice

    def style(self, name: str | None) -> Style:
        """A known style, or the average of all. Raises InputError for an unknown name."""
        if name is not None and name not in self.styles:
            raise unknown_name("style", name, self.styles)
        embedding = self.mean_embedding() if name is None else self.embeddings()[self.styles.index(name)]
        return self._style(embedding, name or "mean")

    def check_style(self, style: Style) -> None:
        """Raises InputError for a style of another size."""
        if style.motion.shape != (self.network.config.width,):
            raise InputError(f"a style of {style.motion.size} numbers does not fit {self.family}; extract it with it")

    def _style(self, embedding: Tensor, name: str) -> Style:
        whose = name if name in self.styles else ""
        nothing = np.zeros(0, np.float32)
        return Style(embedding.cpu().numpy().copy(), nothing, name, self.family, self.checkpoint, wrinkle_name=whose)

    def extract(self, clips: Sequence[StyleClip], features: Sequence[Tensor], name: str) -> ExtractedStyle:
        """The style under which this model says the clips' speech as they do: a few seconds of search.

        features: phonetic features (1, S, F) of each clip.
        """
        pieces: list[tuple[Tensor, Tensor]] = []
        for clip, encoded in zip(clips, features, strict=True):
            frames = min(num_frames(len(clip.audio), fps=self.fps), len(clip.offsets))
            motion = torch.from_numpy(self.basis.encode(clip.offsets[:frames])).to(self.device)
            speech = self.features(encoded, 0, frames)[0]
            pieces += zip(speech.split(FIT_FRAMES), motion.split(FIT_FRAMES), strict=True)
        chosen = spread_pieces(pieces, FIT_FRAMES // 4, FIT_PIECES)
        lips = torch.from_numpy(self.basis.part(np.asarray(load_head().topology.regions["lips"]))).to(self.device)
        fit = fit_style(self.network, self.embeddings(), chosen, lips, add_voice_style=self.add_voice_style)
        facts: dict[str, float | str] = {"nearest known style": self.styles[fit.nearest]}
        facts |= {f"relative error, {what}": value for what, value in fit.errors.items()}
        seconds = sum(len(piece) for piece, _ in chosen) / self.fps
        return ExtractedStyle(self._style(fit.embedding, name), seconds, facts)

    # -- frames

    def features(self, encoded: Tensor, start: int, count: int) -> Tensor:
        """Phonetic features (B, S, F) at 50 Hz -> (B, count, F * offsets) at frames from `start` on."""
        offsets = [offset + start / self.fps for offset in self.metadata.frame_offsets]
        return align(encoded, count, fps=self.fps, frame_offsets=offsets)

    def frames(
        self, encoded: Tensor, count: int, face: Identity, style: Style, sampling: Sampling
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8] | None]]:
        """Phonetic features (1, S, F) of a recording -> (offsets (n, V, 3), wrinkle maps or none) of `count` frames."""
        paint = self._skin(face, style) if sampling.wrinkles else None
        embedding = torch.from_numpy(style.motion)[None].to(self.device)
        for coordinates in self.coordinates(encoded, count, embedding, sampling):
            offsets = self.basis.decode(coordinates.cpu().numpy()) * np.float32(sampling.motion_strength)
            wrinkle = None
            if paint is not None:
                strength = np.float32(sampling.wrinkle_strength)
                maps = paint.wrinkle(offsets) if strength == 1 else encode(paint.maps(offsets) ** strength)
                wrinkle = np.rint(255 * maps).astype(np.uint8)
            yield offsets, wrinkle

    @torch.no_grad()
    def coordinates(self, encoded: Tensor, count: int, embedding: Tensor, sampling: Sampling) -> Iterator[Tensor]:
        """Motion coordinates (n, R) of all frames in pieces, for one style embedding (1, D)."""
        embedding = self.add_voice_style(embedding, self.features(encoded, 0, min(count, round(VOICE_S * self.fps))))
        generator = torch.Generator().manual_seed(sampling.seed)
        own = {"generator": generator, "steps": sampling.steps} if self.solver_steps else {}

        def begin() -> Push:
            session = self.network.session(embedding, **own)
            return lambda features: session.push(features)[0]

        yield from in_chunks(begin, lambda start, size: self.features(encoded, start, size), count)

    def _skin(self, face: Identity, style: Style) -> SkinDynamics:
        head = load_head()
        owner = style.wrinkle_name if style.wrinkle_name in head.identity_names else face.name
        return SkinDynamics(head, face.name, WRINKLE_SIZE, round(profile_of(owner).wrinkle_depth, 3))

    # -- files

    def save(self, folder: Path | str) -> Path:
        """Write a checkpoint folder."""
        config = {"family": dataclasses.asdict(self.network.config), "embedded": dataclasses.asdict(self.metadata)}
        return save_checkpoint(folder, self.family, config, self.network.state_dict())

    @classmethod
    def from_pretrained(cls, folder: Path | str) -> "HeadNetwork":
        """The network in a folder, or a shipped one by its name. Raises InputError if it cannot be used."""
        folder = ASSETS / str(folder) if str(folder) in shipped() else Path(folder)
        family = model_name(folder)
        config, tensors = load_checkpoint(folder, family)
        if "embedded" not in config:
            raise InputError(f"{folder} is no model of the embedded head; load it with models.mesh_talker.MeshTalker")
        with usable(folder):
            metadata = settings(TalkerMetadata, config["embedded"], "embedded")
            sizes = settings(resolve(find_family(family).config), config["family"], "family")
        network = built(lambda: find_family(family).of_config(sizes), tensors, folder)
        basis = MotionBasis.load()
        if abs(basis.scale / metadata.basis_scale - 1) > 1e-4 or len(basis) != network.config.motion_dim:
            raise InputError(f"{folder} was trained on another motion basis than this version's; train it again")
        return cls(family, network.requires_grad_(False), metadata, digest(folder), basis)
