"""CodeTalker's first training: a codebook of motions, on prepared motion coordinates.

It minimises the errors of `MotionScheme` beside the codebook terms; codes that nothing uses are moved onto what the
encoder says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from parlante.core import InputError
from parlante.core.ranges import Amount, Share, Whole
from parlante.models.codetalker.autoencoder import MotionAutoencoder, MotionAutoencoderConfig
from parlante.training.engine.corpora import ANY
from parlante.training.engine.loop import fit
from parlante.training.engine.processes import all_together, same_everywhere
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.schema import Section
from parlante.training.engine.stage import Recipe, Stage
from parlante.training.features.cache import StoredClip
from parlante.training.features.motion_data import MotionDataConfig
from parlante.training.features.motion_store import MotionStore
from parlante.training.schemes.autoregressive import open_motion
from parlante.training.schemes.motion_scheme import MotionScheme, MotionSchemeConfig, Stretches


@dataclass(frozen=True, kw_only=True)
class CodebookConfig:
    """The `codebook:` part of a stage-1 recipe."""

    commitment: Amount = 0.25
    """Weight of the term that pulls the encoder to its codes."""
    codebook: Amount = 1.0
    """Weight of the term that pulls the codes to the encoder."""
    revive_every: Whole = 50
    """Steps between revivals of unused codes; 0 switches it off."""
    alive: Share = 0.05
    """A code is unused below this share of the even rate."""


class AutoencoderScheme(MotionScheme):
    """Stage 1 on stretches of motion; audio plays no part."""

    network: MotionAutoencoder
    usage: Tensor

    def __init__(
        self,
        model: MotionAutoencoder,
        store: MotionStore,
        loop: LoopConfig,
        own: MotionSchemeConfig,
        codebook: CodebookConfig,
    ) -> None:
        super().__init__("codetalker", model, store, loop, own)
        self.codebook = codebook
        self.register_buffer("usage", torch.full((model.config.codes,), 1.0 / model.config.codes))
        self._last: tuple[Tensor, Tensor] | None = None

    def losses(self, batch: Stretches) -> dict[str, Tensor]:
        """Errors of the reconstruction, relative to their variances, and the codebook terms, relative to that of z."""
        model = self.network
        if self.steps_done == 0 and self.part == 0:
            latent = model.encode(batch.motion).detach()
            self._place(torch.arange(len(self.usage), device=latent.device), latent)
        moved, codes = model(batch.motion)
        values = self.judge(moved, batch.motion)
        own = self.codebook
        quantised = own.commitment * codes.commitment + own.codebook * codes.codebook
        self._last = (codes.indices.detach(), codes.latent.detach())
        extra = {"commitment": codes.commitment, "perplexity": codes.perplexity}
        return values | extra | {"loss": values["loss"] + quantised}

    def after_step(self, step: int, batch: Stretches) -> dict[str, float]:
        """Count the use of codes; revive those that nothing uses."""
        assert self._last is not None
        size = len(self.usage)
        used = all_together(torch.bincount(self._last[0].flatten(), minlength=size).to(self.usage))
        self.usage.lerp_(used / used.sum(), 0.05)
        dead = self.usage < self.codebook.alive / size
        every = self.codebook.revive_every
        if every and step % every == every - 1 and dead.any() and step < 0.8 * self.loop.max_steps:
            with torch.no_grad():
                self._place(dead.nonzero()[:, 0], self.network.encode(batch.motion))
        return {"alive": 1 - dead.float().mean().item()}

    @torch.no_grad()
    def _place(self, codes: Tensor, latent: Tensor) -> None:
        """Put codes onto vectors that the encoder gave, drawn at random."""
        assert self.ema is not None
        weight = self.network.quantize.embedding.weight
        vectors = latent.reshape(-1, weight.shape[1])
        drawn = vectors[torch.randint(len(vectors), (len(codes),), device=vectors.device)]
        drawn = same_everywhere(drawn + 0.01 * vectors.std(0) * torch.randn_like(drawn))
        weight[codes] = drawn
        self.ema.state["quantize.embedding.weight"][codes] = drawn
        self.usage[codes] = 1.0 / len(self.usage)

    def spoken(self, clips: list[StoredClip]) -> Iterator[tuple[StoredClip, str, Tensor]]:
        """Reconstructions know no style: each clip once. The mean face of an unseen subject is everybody's."""
        yield from zip(clips, [clip.subject for clip in clips], self.generate(clips), strict=True)

    def generate(
        self, clips: list[StoredClip], codes: Tensor | None = None, styles: Sequence[str] | None = None
    ) -> list[Tensor]:
        """Reconstructions of clips, (T, R) each; frames that do not fill a step of codes are repeated from the last."""
        made = []
        for clip in clips:
            truth = self.truth(clip)
            frames, stride = len(truth), self.network.config.stride
            full = max(2, -(-frames // stride)) * stride
            padded = torch.cat([truth, truth[-1:].expand(full - frames, -1)])
            made.append(self.network(padded[None].to(self.lips.device))[0][0, :frames].cpu())
        return made

    def export(self, folder: Path, figures: dict[str, float]) -> None:
        """Write a `MotionAutoencoder`, for stage 2."""
        self.network.save(folder, basis_scale=float(self.store.basis.scale), figures=figures)


def stage() -> Stage:
    """The stage `codetalker_autoencoder`."""
    sections = {
        "data": Section(MotionDataConfig),
        "model": Section(MotionAutoencoderConfig, without=("motion_dim",)),
        "scheme": Section(MotionSchemeConfig),
        "codebook": Section(CodebookConfig),
        "loop": Section(LoopConfig),
    }
    about = "CodeTalker (CVPR 2023), stage 1: the codebook of motions."
    return Stage(name="codetalker_autoencoder", about=about, sections=sections, train=_train, corpora=ANY)


def _train(recipe: Recipe, run_dir: Path) -> AutoencoderScheme:
    if recipe["data"].finetune:
        raise InputError("stage 1 reads no audio; leave out data.finetune, which is for stage 2")
    if recipe["scheme"].whole:
        raise InputError("stage 1 learns stretches of motion; leave out scheme.whole")
    store, own = open_motion(recipe)
    try:
        model = MotionAutoencoder(MotionAutoencoderConfig(motion_dim=len(store.basis), **recipe["model"]))
    except (TypeError, ValueError) as error:
        raise InputError(f"the recipe's model cannot be used: {error}") from error
    if own.frames % model.config.stride:
        raise InputError(f"scheme.frames must be a multiple of {model.config.stride}, got {own.frames}")
    return fit(AutoencoderScheme(model, store, recipe["loop"], own, recipe["codebook"]), run_dir)
