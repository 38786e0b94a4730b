"""TexTalker (CVPR 2025) at any size: speech features in, motion maps and wrinkle maps out, window after window.

    features --align--> frames --denoiser--> offsets from the style pivots --+ pivots--> latents --generators--> maps

Ours, beside the small sizes: the linear basis of latents (`basis.py`), the pivots as an input of the denoiser, a
few-step deterministic sampler, fresh noise for each window, and a short cross-fade where windows meet.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from parlante.audio.align import align
from parlante.core import InputError, Style
from parlante.core.assets import ASSETS
from parlante.core.ranges import Amount, Count, Whole
from parlante.core.timing import SAMPLE_RATE
from parlante.models.checkpoint import built, load_checkpoint, save_checkpoint, settings, usable
from parlante.models.textalker.denoiser import DenoiserConfig
from parlante.models.textalker.diffusion import LatentDiffusion, Past
from parlante.models.textalker.latent_basis import LinearBasis
from parlante.models.textalker.sampling import check_solver
from parlante.models.textalker.vqgan import VQAutoEncoder, VQGANConfig

if TYPE_CHECKING:
    from parlante.models.textalker.speech_diffusion import SpeechLatentDiffusion

ASSET = ASSETS / "textalker"


@dataclass(frozen=True, kw_only=True)
class TexTalkerConfig:
    """Everything but the weights."""

    motion: VQGANConfig
    wrinkle: VQGANConfig
    denoiser: DenoiserConfig
    feature_dim: int
    """Width of the speech features."""
    stats: dict[str, list[float]]
    """`MotionStats.to_dict()`: what motion maps are normalised by, metres."""
    style_dims: tuple[int, int] = (0, 0)
    """Numbers that describe the motion pivot and the wrinkle pivot to the denoiser; their sum is its `style_dim`."""
    style_input: str = "pivots"
    """pivots: latents are offsets from a style's pivots, which the denoiser may read. one_hot (an ablation): they
    are offsets from the mean of all pivots, and the denoiser reads which of `styles` it is."""
    feature_rate: float = 50.0
    fps: float = 30.0
    frame_offsets: tuple[float, ...] = (0.0,)
    """Seconds around a frame at which features are read; none: features come one per frame, taken as they are."""
    speech: dict[str, Any] | None = None
    """`SpeechConfig.to_dict()` of a speech network inside the model, as published; none: features are given."""
    overlap: Whole = 6
    """Frames that two windows both make and that are cross-faded; 0 is the published way."""
    quantise: bool = False
    """Whether latents are replaced by their nearest codes before decoding; the published way is True."""
    steps: Count = 8
    """Denoising steps at inference."""
    solver: str = "ddim"
    """One of `sampling.SOLVERS`."""
    spacing: str = "even"
    """Of few steps: even, or quadratic, which comes closer to all steps."""
    same_noise: bool = False
    """Whether every window starts from the same noise, the published way."""
    guidance: Amount = 1.15
    """Weight of the audio at inference; 1: as trained, above: exaggerated."""
    styles: tuple[str, ...] = field(default=())
    """Names of the stored pivots."""
    trained_completion: bool = False
    """Whether the denoiser met known motion and known wrinkles without noise in training, and so
    `completion.py` gives them."""

    def __post_init__(self) -> None:
        for name in ("style_dims", "frame_offsets", "styles"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.style_input not in ("pivots", "one_hot"):
            raise ValueError(f"style_input must be pivots or one_hot, got {self.style_input!r}")
        one_hot, numbers = self.style_input == "one_hot", sum(self.style_dims)
        if (len(self.styles) if one_hot else numbers) != self.denoiser.style_dim or (one_hot and numbers):
            raise ValueError(
                f"style_dims {self.style_dims} do not fit the denoiser's {self.denoiser.style_dim} numbers"
            )
        if not 0 <= self.overlap < self.denoiser.frames - self.denoiser.previous:
            raise ValueError(f"overlap must be below frames - previous, got {self.overlap}")
        check_solver(self.solver, self.steps, self.denoiser.steps, self.spacing)


class LatentWindow(NamedTuple):
    """Finished latents of some frames, pivots included."""

    start: int
    """Number of the first frame."""
    motion: Tensor
    """(B, T, C, h, w)."""
    wrinkle: Tensor
    """(B, T, C, h, w)."""


class MapWindow(NamedTuple):
    """Finished maps of some frames, 0..1."""

    start: int
    motion: Tensor
    """(B, T, 3, H, H); `parlante.geometry.uv.offsets_from_maps` turns them into vertex offsets."""
    wrinkle: Tensor | None
    """(B, T, 3, H', H')."""


class TexTalker(nn.Module):
    """Two autoencoders, the diffusion model between speech and their latents, and the pivots of known styles."""

    motion_pivots: Tensor
    wrinkle_pivots: Tensor
    motion_basis: LinearBasis | None
    wrinkle_basis: LinearBasis | None
    motion_style: LinearBasis | None
    wrinkle_style: LinearBasis | None

    def __init__(self, config: TexTalkerConfig) -> None:
        super().__init__()
        self.config = config
        self.motion = VQAutoEncoder(config.motion)
        self.wrinkle = VQAutoEncoder(config.wrinkle)
        self.diffusion = self._diffusion(config)
        self.shapes = [(c.emb_dim, c.latent_size, c.latent_size) for c in (config.motion, config.wrinkle)]
        dims = [c * h * w for c, h, w in self.shapes]
        for name, dim, count, style in zip(
            ("motion", "wrinkle"),
            dims,
            (config.denoiser.motion_dim, config.denoiser.wrinkle_dim),
            config.style_dims,
            strict=True,
        ):
            # none: the latents themselves, as published
            self.add_module(f"{name}_basis", LinearBasis(dim, count) if 0 < count < dim else None)
            self.add_module(f"{name}_style", LinearBasis(dim, style) if style else None)
        self.register_buffer("motion_pivots", torch.zeros(len(config.styles), *self.shapes[0]))
        self.register_buffer("wrinkle_pivots", torch.zeros(len(config.styles), *self.shapes[1]))

    @staticmethod
    def _diffusion(config: TexTalkerConfig) -> LatentDiffusion:
        if config.speech is None:
            return LatentDiffusion(config.denoiser, config.feature_dim * max(1, len(config.frame_offsets)))
        from parlante.audio.encoders.transformers import SpeechConfig
        from parlante.models.textalker.speech_diffusion import SpeechLatentDiffusion

        model = SpeechLatentDiffusion(config.denoiser, SpeechConfig.from_dict(config.speech))
        if model.audio_encoder.dim != config.feature_dim or config.frame_offsets:
            raise ValueError(
                f"a model with its own speech network has feature_dim {model.audio_encoder.dim}, no frame_offsets"
            )
        return model

    # -- styles

    def style(self, name: str) -> Style:
        """The stored pivots of a name. Raises InputError for an unknown one."""
        if name not in self.config.styles:
            raise InputError(f"no style named {name!r}; known: {', '.join(self.config.styles) or 'none'}")
        at = self.config.styles.index(name)
        return Style(self.motion_pivots[at].cpu().numpy(), self.wrinkle_pivots[at].cpu().numpy(), name)

    def style_vector(self, motion_pivot: Tensor, wrinkle_pivot: Tensor) -> Tensor | None:
        """Pivots (B, C, h, w) -> (B, style_dim), what the denoiser reads of them; None if it has no style input.

        With `style_input` one_hot: the known style whose pivots are nearest.
        """
        if self.config.style_input == "one_hot":
            given = torch.cat([motion_pivot.flatten(1), wrinkle_pivot.flatten(1)], 1)
            known = torch.cat([self.motion_pivots.flatten(1), self.wrinkle_pivots.flatten(1)], 1)
            return nn.functional.one_hot(torch.cdist(given, known).argmin(1), len(known)).to(given.dtype)
        parts = [
            style.encode(pivot.flatten(1))
            for style, pivot in ((self.motion_style, motion_pivot), (self.wrinkle_style, wrinkle_pivot))
            if style is not None
        ]
        return torch.cat(parts, -1).clamp(-4.0, 4.0) if parts else None

    # -- latents

    def basis(self, kind: str) -> LinearBasis | None:
        """What coordinates of latents of a kind, `motion` or `wrinkle`, belong to; none: the latents themselves."""
        return {"motion": self.motion_basis, "wrinkle": self.wrinkle_basis}[kind]

    def offsets(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, M + W) -> offsets from the pivots, (B, T, C, h, w) each; zero for what the model does not make."""
        split = coordinates.split([self.config.denoiser.motion_dim, self.config.denoiser.wrinkle_dim], -1)
        made = []
        for name, part, shape in zip(("motion", "wrinkle"), split, self.shapes, strict=True):
            if not part.shape[-1]:  # this model does not make it: the face keeps its pivot
                made.append(part.new_zeros(*part.shape[:2], *shape))
                continue
            basis = self.basis(name)
            made.append((basis.decode(part) if basis is not None else part).unflatten(-1, shape))
        return made[0], made[1]

    @torch.inference_mode()
    def encode_audio(self, audio: Tensor, num_frames: int, *, window_s: float | None = None) -> Tensor:
        """audio (B, N) mono at 16 kHz -> features (B, num_frames, D) for `latents`, by the model's own speech network.

        window_s: seconds that its transformer sees at once; none: all. Raises InputError if it has none.
        """
        if self.config.speech is None:
            raise InputError("this TexTalker has no speech network; give it the features it was trained on")
        diffusion = cast("SpeechLatentDiffusion", self.diffusion)
        missing = math.ceil(num_frames * SAMPLE_RATE / self.config.fps) - audio.shape[1]
        padded = nn.functional.pad(audio, (0, max(0, missing)))
        return diffusion.encode_audio(padded, num_frames, window_s=window_s)

    @torch.inference_mode()
    def latents(
        self,
        features: Tensor,
        style: Style | Sequence[Style],
        num_frames: int,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        generator: torch.Generator | None = None,
        solver: str | None = None,
    ) -> Iterator[LatentWindow]:
        """Latents of `num_frames` frames, window after window; memory does not grow with their number.

        features (B, S, D) at `config.feature_rate` (one per frame without `frame_offsets`); style: one for all, or one
        per batch entry; steps, guidance, solver: default the config's; generator: all randomness. Raises ValueError if
        features do not fit the model, InputError for a solver that cannot be.
        """
        if features.ndim != 3 or features.shape[-1] != self.config.feature_dim:
            raise ValueError(f"features must be (B, S, {self.config.feature_dim}), got {tuple(features.shape)}")
        steps = self.config.steps if steps is None else steps
        guidance = self.config.guidance if guidance is None else guidance
        batch, device = len(features), self.motion_pivots.device
        styles = [style] * batch if isinstance(style, Style) else list(style)
        pivots = [
            torch.from_numpy(np.stack([np.asarray(getattr(s, kind), np.float32) for s in styles])).to(device)
            for kind in ("motion", "wrinkle")
        ]
        style_condition = self.style_vector(*pivots)
        alike = self.config.style_input == "one_hot"
        origins = [self.motion_pivots.mean(0)[None], self.wrinkle_pivots.mean(0)[None]] if alike else pivots
        for start, made in self.windows(
            self.per_frame(features.to(device), num_frames), style_condition, steps, guidance, generator, solver=solver
        ):
            motion, wrinkle = self.offsets(made)
            yield LatentWindow(start, motion + origins[0][:, None], wrinkle + origins[1][:, None])

    def per_frame(self, features: Tensor, num_frames: int) -> Tensor:
        """Features (B, S, D) as in `latents` -> those of each frame, (B, num_frames, D').

        Raises ValueError where features should come one per frame and do not.
        """
        c = self.config
        if c.frame_offsets:
            return align(features, num_frames, fps=c.fps, rate=c.feature_rate, frame_offsets=c.frame_offsets)
        if features.shape[1] != num_frames:
            raise ValueError(f"this model takes one feature per frame, got {features.shape[1]} for {num_frames}")
        return features

    def windows(
        self,
        features: Tensor,
        style_condition: Tensor | None,
        steps: int,
        guidance: float,
        generator: torch.Generator | None = None,
        *,
        solver: str | None = None,
    ) -> Iterator[tuple[int, Tensor]]:
        """(first frame, finished coordinates (B, T, M + W)) of consecutive stretches.

        features (B, T, D) at the frames' own times; style_condition (B, S) from `style_vector`.
        """
        solver = solver or self.config.solver
        check_solver(solver, steps, self.config.denoiser.steps, self.config.spacing)
        sizes, overlap = self.config.denoiser, self.config.overlap
        batch, num_frames = features.shape[:2]
        length, previous = sizes.frames, sizes.previous
        past: Past | None = None
        held: Tensor | None = None  # this window's opening, as the last window made it
        noise: Tensor | None = None

        def draw(step: int, like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=generator).to(like)

        for start in range(0, num_frames, length - overlap):
            piece = features[:, start : start + length]
            real = piece.shape[1]
            piece = nn.functional.pad(piece, (0, 0, 0, length - real))
            audio = self.diffusion.audio_feature_map(piece)
            indicator = (torch.arange(length, device=piece.device) < real).to(piece.dtype).expand(batch, -1)
            if noise is None or not self.config.same_noise:
                noise = torch.randn(batch, length, sizes.latent_dim, generator=generator).to(piece)
            made = self.diffusion.sample(
                audio,
                past,
                indicator,
                noise,
                steps=steps,
                style=style_condition,
                guidance=guidance,
                solver=solver,
                spacing=self.config.spacing,
                noise=draw,
            )
            if held is not None:
                share = torch.arange(1, overlap + 1, device=made.device)[:, None] / (overlap + 1)
                made = torch.cat([torch.lerp(held, made[:, :overlap], share), made[:, overlap:]], 1)
            done = real if start + real >= num_frames else length - overlap
            yield start, made[:, :done]
            if start + done >= num_frames:
                return
            past = Past(made[:, done - previous : done], audio[:, done - previous : done])
            held = made[:, done:] if overlap else None

    # -- maps

    @torch.inference_mode()
    def decode_motion(self, z: Tensor, chunk: int = 32) -> Tensor:
        """Latents (T, C, h, w) -> motion maps (T, 3, H, H), 0..1."""
        return self._decode(self.motion, z, chunk)

    @torch.inference_mode()
    def decode_wrinkle(self, z: Tensor, chunk: int = 16) -> Tensor:
        """Latents (T, C, h, w) -> wrinkle maps (T, 3, H', H'), 0..1."""
        return self._decode(self.wrinkle, z, chunk)

    def _decode(self, model: VQAutoEncoder, z: Tensor, chunk: int) -> Tensor:
        pieces = z.contiguous(memory_format=torch.channels_last).split(chunk)
        return torch.cat([model.decode(piece, quantise=self.config.quantise).contiguous() for piece in pieces])

    def generate(
        self,
        features: Tensor,
        style: Style | Sequence[Style],
        num_frames: int,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        generator: torch.Generator | None = None,
        wrinkles: bool = True,
        solver: str | None = None,
    ) -> Iterator[MapWindow]:
        """Maps of `num_frames` frames, window after window; arguments as for `latents`."""
        windows = self.latents(
            features, style, num_frames, steps=steps, guidance=guidance, generator=generator, solver=solver
        )
        for window in windows:
            batch = len(window.motion)
            motion = self.decode_motion(window.motion.flatten(0, 1)).unflatten(0, (batch, -1))
            wrinkle = None
            if wrinkles:
                wrinkle = self.decode_wrinkle(window.wrinkle.flatten(0, 1)).unflatten(0, (batch, -1))
            yield MapWindow(window.start, motion, wrinkle)

    # -- files

    def save(self, folder: Path | str) -> Path:
        """Write a checkpoint folder (large tensors in half precision)."""
        return save_checkpoint(folder, "textalker", asdict(self.config), self.state_dict())

    @classmethod
    def from_pretrained(cls, folder: Path | str = ASSET) -> "TexTalker":
        """Read a checkpoint folder (default: the shipped one). Raises InputError if it is none or does not fit."""
        config, tensors = load_checkpoint(folder, "textalker")
        with usable(folder):
            sizes = settings(TexTalkerConfig, config, "config")
        model = built(lambda: cls(sizes), tensors, folder)
        model.eval().requires_grad_(False)
        for part in (model.motion, model.wrinkle):
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model
