"""Training of the diffusion model on prepared latents (TexTalker, section 4; two-window scheme as published).

An item is two consecutive windows of a subject. Either may be cut short; window 1 starts from the learnt past, window 2
from the true end of window 1. The loss is the squared error of clean coordinates. Ours: components count by a power of
their variance, frame-to-frame differences and the lips (through a linear probe, mm) count extra, the past is blurred a
little so that generated pasts are no surprise, and the network reads the pivots.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from parlante import losses
from parlante.core import InputError
from parlante.core.ranges import Amount, Count, Share
from parlante.data.open import open_with_weights
from parlante.models.textalker.model import TexTalker
from parlante.models.textalker.vqgan import VQAutoEncoder
from parlante.training.engine.corpora import SYNTHTALK
from parlante.training.engine.loop import fit
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.scheme import Scheme, one_clip, validation_clips
from parlante.training.engine.stage import Recipe, Stage
from parlante.training.features.cache import StoredClip
from parlante.training.features.latents import LatentDataConfig, LatentStore, prepare
from parlante.training.schemes.diffusion_talker import KINDS, diffusion_sections, talker_around
from parlante.training.schemes.two_windows import Draws, Pair, estimate_pair


@dataclass(frozen=True, kw_only=True)
class DiffusionTrainingConfig:
    """The `scheme:` part of a recipe."""

    batch: Count = 16
    """Items of two windows each."""
    cut_first: Share = 0.3
    """Chance that a batch's first windows are cut short."""
    cut_second: Share = 0.4
    """Chance that a batch's second windows are cut short."""
    audio_dropout: Share = 0.1
    """Chance that an item's new frames lose their audio, for guidance."""
    completion: Share = 0.0
    """Chance that a window's motion, or its wrinkles, is shown without noise: the network learns to complete a face of
    which one half is known (`models/textalker/completion.py`)."""
    outputs: Literal["both", "motion", "wrinkle"] = "both"
    """both, motion or wrinkle (ablation: one kind alone)."""
    variance_power: Amount = 0.5
    """A component counts by its variance to this power."""
    motion_share: Share = 0.6
    """Of motion in the squared error; the rest is wrinkles."""
    velocity: Amount = 1.0
    """Weight of the squared error of frame-to-frame differences."""
    lips: Amount = 1.0
    """Weight of the lips' squared error over their variance."""
    lip_velocity: Amount = 1.0
    """Weight of the squared error of the lips' frame-to-frame differences."""
    past_noise: Amount = 0.15
    """Largest deviation of the noise added to true pasts."""
    style_noise: Amount = 0.1
    """Deviation of the noise added to the style vectors."""
    clean_share: Share = 0.25
    """Share of clips whose audio is not augmented."""
    check_clips: Count = 12
    """Validation clips."""

    def __post_init__(self) -> None:
        if self.completion and self.outputs != "both":
            raise ValueError(f"completion must be 0 unless both kinds are made, got {self.completion}")


class Pairs(NamedTuple):
    """A batch of two-window items."""

    coordinates: Tensor
    """(B, 2 L, M + W)."""
    features: Tensor
    """(B, 2 L, F)."""
    style: Tensor | None
    """(B, S)."""
    kept: Tensor
    """(B, 2 L) 1 up to each window's cut."""


class DiffusionScheme(Scheme):
    """The denoiser on prepared latents."""

    talker: TexTalker
    weight: Tensor
    probe: Tensor
    styles: Tensor | None

    def __init__(self, talker: TexTalker, store: LatentStore, loop: LoopConfig, own: DiffusionTrainingConfig) -> None:
        super().__init__(loop)
        self.__dict__["talker"] = talker  # the frozen rest of the model: not this module's to train or save
        self.network, self.store, self.own = talker.diffusion, store, own
        sizes = talker.config.denoiser
        counts = [len(store.bases[kind].scale) for kind in KINDS]
        first = 0 if sizes.motion_dim else counts[0]
        self.columns = slice(first, first + sizes.latent_dim)
        """Which of the store's coordinates this model makes."""
        made = [kind for kind in KINDS if own.outputs in ("both", kind)]
        powers = [store.bases[kind].scale.square().pow(own.variance_power) for kind in made]
        parts = {"motion": own.motion_share, "wrinkle": 1 - own.motion_share}
        shares = [sizes.latent_dim * (parts[kind] if len(made) > 1 else 1.0) for kind in made]
        weight = torch.cat([share * power / power.sum() for share, power in zip(shares, powers, strict=True)])
        self.register_buffer("weight", weight, persistent=False)
        probe = store.lip_probe
        # whitened motion coordinates: the variance of the lips is the probe's squared norm
        self.register_buffer("probe", probe / probe.square().sum().div(probe.shape[1]).sqrt(), persistent=False)
        vectors = talker.style_vector(store.pivots["motion"], store.pivots["wrinkle"])
        self.register_buffer("styles", vectors, persistent=False)
        self.streams: dict[int, np.ndarray] = {}
        for number, subject in enumerate(store.subjects):
            clips = [
                (clip.start, clip.frames) for clip in store.clips if clip.subject == subject and clip.split == "train"
            ]
            if clips:
                self.streams[number] = np.array(clips)
        if not self.streams:
            raise InputError("the corpus has no training clips; write a larger one")
        self.held_out()  # so that a corpus without any is named before the training
        self.lengths = np.array([clips[:, 1].sum() for clips in self.streams.values()], float)

    # -- data

    def _stretch(self, rng: np.random.Generator, length: int) -> tuple[int, np.ndarray, np.ndarray]:
        """(subject, frame numbers (length,), view of each): clips of one subject end to end."""
        subject = int(rng.choice(list(self.streams), p=self.lengths / self.lengths.sum()))
        clips = self.streams[subject]
        augmented = self.store.config.num_augmentations
        frames: list[np.ndarray] = []
        views: list[np.ndarray] = []
        total = 0
        while total < length:
            start, count = clips[rng.integers(len(clips))]
            skip = 0 if total else int(rng.integers(count)) if rng.random() < 0.7 else 0
            clean = augmented == 0 or rng.random() < self.own.clean_share
            frames.append(np.arange(start + skip, start + count))
            views.append(np.full(count - skip, 0 if clean else int(rng.integers(1, augmented + 1))))
            total += count - skip
        return subject, np.concatenate(frames)[:length], np.concatenate(views)[:length]

    def batch(self, step: int) -> Pairs:
        """Two windows for each of `batch` items."""
        rng = np.random.default_rng([self.loop.seed, step])
        length = self.talker.config.denoiser.frames
        items = [self._stretch(rng, 2 * length) for _ in range(self.own.batch)]
        subjects, frames, chosen = zip(*items, strict=True)
        at, views = np.stack(frames), np.stack(chosen)
        kept = torch.ones(self.own.batch, 2 * length)
        for window, chance in enumerate((self.own.cut_first, self.own.cut_second)):
            if rng.random() < chance:
                ends = rng.integers(1, length, size=self.own.batch)
                kept[:, window * length : (window + 1) * length] = torch.from_numpy(
                    (np.arange(length) < ends[:, None]).astype(np.float32)
                )
        style = None
        if self.styles is not None:
            noise = rng.standard_normal((self.own.batch, self.styles.shape[1]))
            style = self.styles[torch.tensor(subjects)].cpu() + self.own.style_noise * torch.from_numpy(noise).float()
        return Pairs(
            torch.from_numpy(np.asarray(self.store.coordinates[at], np.float32)[..., self.columns]),
            torch.from_numpy(np.asarray(self.store.features[views, at], np.float32)),
            style,
            kept,
        )

    # -- losses

    def losses(self, batch: Pairs) -> dict[str, Tensor]:
        """Both windows in one call of the network."""
        model, own = self.talker.diffusion, self.own
        sizes = model.config
        length, previous = sizes.frames, sizes.previous
        audio = model.audio_feature_map(batch.features)  # uncut, for the past
        cut = model.audio_feature_map(batch.features * batch.kept[..., None])
        end = batch.coordinates[:, length - previous : length]
        blur = own.past_noise * torch.rand(len(end), 1, 1, device=end.device)
        shown = end + blur * torch.randn_like(end)
        pair = Pair(batch.coordinates, cut, audio[:, length - previous : length].detach(), batch.kept, shown)
        draws = Draws.of(model, pair, own.audio_dropout, own.completion)
        answer, truth, counted = estimate_pair(model, pair, draws, batch.style)
        values = {"x0": losses.masked_mse(answer, truth, counted, self.weight)}
        total = values["x0"]
        if own.velocity:
            values["velocity"] = losses.velocity_mse(answer, truth, counted, self.weight)
            total = total + own.velocity * values["velocity"]
        if own.lips and sizes.motion_dim:
            lips, true_lips = (x[..., : sizes.motion_dim] @ self.probe for x in (answer, truth))
            values["lips"] = losses.masked_mse(lips, true_lips, counted)
            values["lip_velocity"] = losses.velocity_mse(lips, true_lips, counted)
            total = total + own.lips * values["lips"] + own.lip_velocity * values["lip_velocity"]
        return values | {"loss": total}

    # -- validation

    def validate(self) -> dict[str, float]:
        """Generate validation clips as `animate` would: mean lip error in mm, beside that of the mean face."""
        sizes = self.talker.config.denoiser
        probe = self.store.lip_probe.to(self.probe.device)
        error, still, square, frames, moves = 0.0, 0.0, 0.0, 0, [0.0, 0.0]
        for clip in self.chosen():
            coordinates = torch.from_numpy(np.asarray(self.store.coordinates[clip.span], np.float32))
            truth = coordinates.to(probe.device)[:, self.columns]
            answer = self.generate(clip)
            for number, each in enumerate((answer, truth)):
                moves[number] += (each - each.mean(0)).square().sum().item()
            if sizes.motion_dim:
                lips, true_lips = ((x[:, : sizes.motion_dim] @ probe).unflatten(-1, (-1, 3)) for x in (answer, truth))
                error += (lips - true_lips).norm(dim=-1).mean(-1).sum().item()
                still += true_lips.norm(dim=-1).mean(-1).sum().item()
            square += (answer - truth).square().mean(-1).sum().item()
            frames += len(truth)
        figures = {"coordinates_mse": square / frames}
        if sizes.motion_dim:
            figures = {"lip_mm": error / frames, "lip_mm_mean_face": still / frames} | figures
        return figures | {"motion_spread": (moves[0] / max(moves[1], 1e-12)) ** 0.5}

    def export(self, folder: Path, figures: dict[str, float]) -> None:
        """Write the whole talker."""
        self.talker.eval().cpu().save(folder)

    def held_out(self) -> list[StoredClip]:
        """Validation clips, see `validation_clips`."""
        return validation_clips(self.store.clips, one_clip=self.loop.one_clip)

    def chosen(self) -> list[StoredClip]:
        """At most `check_clips` of them, spread evenly."""
        clips = self.held_out()
        return clips[:: max(1, len(clips) // self.own.check_clips)][: self.own.check_clips]

    def judged(self) -> list[str]:
        """Names of the clips that `validate` judges."""
        return [clip.key for clip in self.chosen()]

    def generate(self, clip: StoredClip) -> Tensor:
        """(T, M + W) coordinates that the model makes of a clip's clean audio in its subject's style."""
        config = self.talker.config
        features = torch.from_numpy(np.asarray(self.store.features[0, clip.span], np.float32))[None]
        style = None if self.styles is None else self.styles[[self.store.subjects.index(clip.subject)]]
        generator = torch.Generator().manual_seed(clip.start)
        windows = self.talker.windows(features.to(self.probe.device), style, config.steps, config.guidance, generator)
        return torch.cat([x for _, x in windows], 1)[0]

    def sample(self, stem: Path) -> None:
        """The motion that was encoded and the model's, decoded to vertices, side by side with their audio."""
        if not self.talker.config.denoiser.motion_dim:
            return
        from parlante.geometry.uv import bake_table
        from parlante.head import load_head
        from parlante.training.engine.samples import SECONDS, side_by_side

        clip, head = self.held_out()[0], load_head()
        shown = open_with_weights(self.store.config.corpus)[clip.number]
        frames = min(clip.frames, round(SECONDS * 30))
        span, count = slice(clip.start, clip.start + frames), self.talker.config.denoiser.motion_dim
        truth = torch.from_numpy(np.asarray(self.store.coordinates[span], np.float32))
        pivot = self.store.pivots["motion"][self.store.subjects.index(clip.subject)]
        table = bake_table(head.topology, self.talker.config.motion.img_size)
        motions = []
        for each in (truth, self.generate(clip)[:frames].cpu()):
            z = self.store.bases["motion"].decode(each[:, :count]).unflatten(1, pivot.shape) + pivot
            maps = torch.cat([self.talker.decode_motion(part.to(self.probe.device)).cpu() for part in z.split(16)])
            motions.append(self.store.stats.denormalise(table.sample(maps.contiguous(), 1)).numpy())
        side_by_side(stem.with_suffix(".mp4"), head.identity(shown.face), motions, shown.audio)


def build_talker(
    sizes: dict[str, Any], inference: dict[str, Any], store: LatentStore, own: DiffusionTrainingConfig
) -> TexTalker:
    """The untrained talker of a recipe around its trained autoencoders, bases and pivots."""
    data = store.config
    one_hot = data.origin == "mean"
    models = {kind: VQAutoEncoder.from_pretrained(getattr(data, kind)) for kind in KINDS}
    named = [name for name in store.subjects if one_hot or not _repeat(name)]
    rows = [store.subjects.index(name) for name in named]
    style_dims = tuple(0 if one_hot else len(store.bases[f"{kind}_style"].scale) for kind in KINDS)
    dims = {f"{kind}_dim": len(store.bases[kind].scale) if own.outputs in ("both", kind) else 0 for kind in KINDS}
    talker = talker_around(
        models,
        pivots={kind: store.pivots[kind][rows] for kind in KINDS},
        bases={name if name.endswith("_style") else f"{name}_basis": basis for name, basis in store.bases.items()},
        denoiser=dims | {"style_dim": len(named) if one_hot else sum(style_dims)} | sizes,
        config={
            "feature_dim": store.features.shape[-1] // len(data.frame_offsets),
            "stats": store.stats.to_dict(),
            "style_dims": style_dims,
            "style_input": "one_hot" if one_hot else "pivots",
            "frame_offsets": data.frame_offsets,
            "styles": tuple(named),
            "trained_completion": own.completion > 0,
            **inference,
        },
    )
    talker.requires_grad_(False)
    talker.diffusion.requires_grad_(True)
    return talker


def _repeat(name: str) -> bool:
    """Whether a subject wears a face that another one wore before it (`NAME-2`)."""
    return name.rpartition("-")[2].isdigit() and "-" in name


def stage() -> Stage:
    """The stage `latent_diffusion`."""
    about = "TexTalker (CVPR 2025), small size: diffusion of latents in a linear basis, on kept speech features."
    sections = diffusion_sections(LatentDataConfig, DiffusionTrainingConfig)
    corpora = SYNTHTALK.otherwise("scans go through parlante encode and recipes/textalker/diffusion_paper.yaml")
    return Stage(name="latent_diffusion", about=about, sections=sections, train=_train, corpora=corpora)


def _train(recipe: Recipe, run_dir: Path) -> DiffusionScheme:
    data, loop, own = recipe["data"], recipe["loop"], recipe["scheme"]
    if loop.threads:
        torch.set_num_threads(loop.threads)
    if not loop.one_clip:
        validation_clips(open_with_weights(data.corpus).clips)  # before hours of preparation
    store = prepare(data)
    if loop.one_clip:
        store = replace(store, clips=one_clip(store.clips, lambda clip: clip.split == "train"))
    torch.manual_seed(loop.seed)
    talker = build_talker(recipe["model"], recipe["inference"], store, own)
    return fit(DiffusionScheme(talker, store, loop, own), run_dir)
