"""CodeTalker's two trainings on prepared motion coordinates: the codebook of motions, then speech to codes.

Stage 1 minimises the errors of `AutoregressiveScheme` beside the codebook terms; codes that nothing uses are moved onto
what the encoder says. Stage 2 keeps stage 1 frozen and adds the distance to the codes of the true motion; its past is
partly the model's own, as in the other small models.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parlante.audio.encoders.transformers import SpeechEncoder
from parlante.core import InputError, atomic_path
from parlante.models.codetalker.autoencoder import MotionAutoencoder, MotionAutoencoderConfig
from parlante.models.codetalker.model import CodeTalker, talker_loss
from parlante.models.registry import build
from parlante.training.engine.processes import all_together, first_process, same_everywhere
from parlante.training.engine.recipe import LoopConfig, section
from parlante.training.engine.run import fit
from parlante.training.features.motion_store import MotionDataConfig, MotionStore
from parlante.training.schemes.autoregressive import (
    AutoregressiveConfig,
    AutoregressiveScheme,
    Stretches,
    export,
    opened,
)
from parlante.training.schemes.finetuning import Listener, trained_along


@dataclass(frozen=True, kw_only=True)
class CodebookConfig:
    """The `codebook:` part of a stage-1 recipe."""

    commitment: float = 0.25
    codebook: float = 1.0
    revive_every: int = 50
    """Steps between revivals of unused codes; 0 switches it off."""
    alive: float = 0.05
    """A code is unused below this share of the even rate."""


class AutoencoderScheme(AutoregressiveScheme):
    """Stage 1 on stretches of motion; the sound is not heard."""

    network: MotionAutoencoder
    usage: Tensor

    def __init__(
        self,
        model: MotionAutoencoder,
        store: MotionStore,
        loop: LoopConfig,
        own: AutoregressiveConfig,
        codebook: CodebookConfig,
    ) -> None:
        super().__init__(model, store, loop, own)
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

    def perform(self, clips: list[dict[str, Any]], codes: Tensor | None = None) -> list[Tensor]:
        """Reconstructions of clips, (T, R) each; frames that do not fill a step of codes are repeated from the last."""
        made = []
        for clip in clips:
            truth = torch.from_numpy(self.store.motion[clip["start"] : clip["start"] + clip["frames"]])
            frames, stride = len(truth), self.network.config.stride
            full = max(2, -(-frames // stride)) * stride
            padded = torch.cat([truth, truth[-1:].expand(full - frames, -1)])
            made.append(self.network(padded[None].to(self.lips.device))[0][0, :frames].cpu())
        return made


class CodeTalkerScheme(AutoregressiveScheme):
    """Stage 2: the published losses, each relative to the variance of what it judges, and those of the lips."""

    network: CodeTalker | Listener
    spread: Tensor

    def __init__(
        self,
        model: CodeTalker,
        store: MotionStore,
        loop: LoopConfig,
        own: AutoregressiveConfig,
        speech: SpeechEncoder | None = None,
    ) -> None:
        super().__init__(model, store, loop, own, speech)
        self.register_buffer("spread", model.autoencoder.quantize.embedding.weight.var().clone(), persistent=False)

    def losses(self, batch: Stretches) -> dict[str, Tensor]:
        """Teacher forcing on a past that is partly the model's own."""
        model, batch = self.family, self.heard(batch)
        past = batch.motion
        code = self.codes(batch.subjects, batch.features)
        share = self.share()
        if share > 0:
            with torch.no_grad():
                guess = model(batch.features, past, code, batch.lengths)
            past = torch.where(torch.rand(*past.shape[:2], 1, device=past.device) < share, guess, past)
        taught = model.teach(batch.features, batch.motion, code, batch.lengths, past=self.blurred(past))
        values = self.judge(taught.motion, batch.motion, batch.lengths)
        coded = talker_loss(taught, batch.motion, batch.lengths)[1] / self.spread
        return values | {"codes": coded, "loss": values["loss"] + coded}


def _figures(scheme: AutoregressiveScheme, run_dir: Path) -> dict[str, float]:
    scheme.cpu()
    with torch.no_grad():
        figures = scheme.validate()
    with atomic_path(run_dir / "figures.json") as path:
        path.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def autoencoder(config: dict[str, Any], run_dir: Path) -> None:
    """Stage 1 (`stage: codetalker_autoencoder`): writes `run_dir/export`, a `MotionAutoencoder`, and figures.json."""
    codebook = section(CodebookConfig, config, "codebook")
    if section(MotionDataConfig, config, "data").finetune:
        raise InputError("stage 1 hears nothing; leave out data.finetune, which is for stage 2")
    store, loop, own = opened(config)
    sizes = {**config, "model": {"motion_dim": len(store.basis), **(config.get("model") or {})}}
    model = MotionAutoencoder(section(MotionAutoencoderConfig, sizes, "model"))
    if own.whole:
        raise InputError("stage 1 learns stretches of motion; leave out scheme.whole")
    if own.frames % model.config.stride:
        raise InputError(f"scheme.frames must be a multiple of {model.config.stride}, got {own.frames}")
    scheme = AutoencoderScheme(model, store, loop, own, codebook)
    fit(scheme, run_dir)
    if not first_process():
        return
    figures = _figures(scheme, run_dir)
    model.save(run_dir / "export", basis_scale=float(store.basis.scale), figures=figures)


def main(config: dict[str, Any], run_dir: Path) -> None:
    """Stage 2 (`stage: codetalker`): `model.autoencoder` is the export of stage 1. Writes `run_dir/export`."""
    sizes = dict(config.get("model") or {})
    folder = sizes.pop("autoencoder", None)
    if not isinstance(folder, str):
        raise InputError("the recipe needs the export of stage 1: --set model.autoencoder=FOLDER")
    first = MotionAutoencoder.from_pretrained(folder)
    store, loop, own = opened(config)
    speech = trained_along(store, sizes.get("steps_per_frame", 1))
    torch.manual_seed(loop.seed)
    if first.config.motion_dim != len(store.basis):
        raise InputError(f"{folder} codes {first.config.motion_dim} coordinates, the basis has {len(store.basis)}")
    common = {
        "motion_dim": len(store.basis),
        "audio_dim": store.features.shape[-1] * len(own.taps) if speech is None else speech.dim,
        "subjects": len(store.subjects()),
        "steps_per_frame": 1,
        "period": round(store.fps),
        "autoencoder": asdict(first.config),
    }
    model = build("codetalker", common | sizes)
    assert isinstance(model, CodeTalker)
    model.autoencoder.load_state_dict(first.state_dict())
    scheme = CodeTalkerScheme(model, store, loop, own, speech)
    fit(scheme, run_dir)
    if not first_process():
        return
    _figures(scheme, run_dir)
    export("codetalker", model, store, own, run_dir / "export", speech)
