"""Training of the published talker: speech encoder and denoiser together, on an encoded corpus (TexTalker, CVPR 2025).

The scheme is the published one (`two_windows`), loss included. Options of our own, off by default: a denoiser that
reads the pivots; models of one kind alone and one-hot styles for the ablations. One process per device; every process
draws batches of its own.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from parlante.core import InputError
from parlante.core.ranges import Count, Share
from parlante.core.timing import SAMPLE_RATE
from parlante.models.textalker.latent_basis import LinearBasis
from parlante.models.textalker.model import TexTalker
from parlante.models.textalker.scanned_people import save_people
from parlante.models.textalker.speech_diffusion import SpeechLatentDiffusion, speech_config
from parlante.models.textalker.vqgan import VQAutoEncoder
from parlante.training.engine.corpora import ANY
from parlante.training.engine.loop import fit
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.scheme import Scheme, one_clip
from parlante.training.engine.stage import Recipe, Stage
from parlante.training.features.encoded import EncodedClip, EncodedCorpus
from parlante.training.schemes.diffusion_talker import KINDS, diffusion_sections, talker_around
from parlante.training.schemes.two_windows import (
    Answer,
    Draws,
    Pair,
    encode_pair,
    estimate_pair,
    first_sample,
    kept_frames,
    published_loss,
)

log = logging.getLogger("parlante.training")


@dataclass(frozen=True, kw_only=True)
class SpeechDiffusionDataConfig:
    """The `data:` part of a recipe."""

    corpus: str
    """Folder written by `parlante prepare` or `parlante synth`."""
    encoded: str
    """Folder that `parlante encode` made of it."""
    motion: str
    """Checkpoint folder of the motion autoencoder."""
    wrinkle: str
    """Checkpoint folder of the wrinkle autoencoder."""
    speech: str = "TencentGameMate/chinese-hubert-base"
    """Hub name or folder of the speech network that training starts from; empty: random weights of the base size."""


@dataclass(frozen=True, kw_only=True)
class SpeechDiffusionConfig:
    """The `scheme:` part of a recipe; the defaults are the published ones."""

    batch: Count = 8
    """Items of two windows, per device."""
    cut_first: Share = 0.3
    """Chance that a batch's first windows are cut short."""
    cut_second: Share = 0.4
    """Chance that a batch's second windows are cut short."""
    audio_dropout: Share = 0.1
    """Chance that an item's new frames lose their audio, for guidance."""
    outputs: Literal["both", "motion", "wrinkle"] = "both"
    """both, motion or wrinkle (ablation: one kind alone)."""
    style_condition: Literal["none", "pivots", "one_hot"] = "none"
    """none: as published, the denoiser does not know whom to move like; pivots: it reads them; one_hot (ablation)."""
    style_dims: tuple[Count, Count] = (32, 32)
    """Principal coordinates of the pivots that `style_condition: pivots` reads."""
    check_items: Count = 8
    """Items of held-out speech that the validation loss is measured on."""


class Items(NamedTuple):
    """A batch: two consecutive windows of each item."""

    latents: Tensor
    """(B, 2 L, M + W) offsets."""
    audio: Tensor
    """(B, N)."""
    first: Tensor | None
    """(B,) frames that window 1 keeps, or none for all."""
    second: Tensor | None
    subject: Tensor
    """(B,) int64."""


class SpeechDiffusionScheme(Scheme):
    """Speech encoder and denoiser on an encoded corpus."""

    talker: TexTalker
    styles: Tensor | None

    def __init__(self, talker: TexTalker, corpus: EncodedCorpus, loop: LoopConfig, own: SpeechDiffusionConfig) -> None:
        super().__init__(loop)
        assert isinstance(talker.diffusion, SpeechLatentDiffusion)
        self.__dict__["talker"] = talker  # the frozen rest of the model: not this module's to train or save
        self.network: SpeechLatentDiffusion = talker.diffusion
        self.own, self.corpus = own, corpus
        vectors = talker.style_vector(corpus.pivots["motion"], corpus.pivots["wrinkle"])
        self.register_buffer("styles", vectors, persistent=False)
        self.made = KINDS if own.outputs == "both" else (own.outputs,)
        shared = talker.config.style_input == "one_hot"
        every = corpus.pivots
        self.origins = {k: every[k].mean(0).expand_as(every[k]) if shared else every[k] for k in self.made}
        training = [clip for clip in corpus.clips if clip.split == "train"]
        kept = [clip for clip in corpus.clips if clip.split == "val"]
        if loop.one_clip:
            training = kept = one_clip(training, lambda clip: len(self._room(clip)) > 0)
        elif not kept:  # test clips are for tests: every twentieth training clip is for validation
            usable = [clip for clip in training if len(self._room(clip))]
            kept = usable[::20] if len(usable) > 1 else []
            training = [clip for clip in training if clip not in kept]
        self.starts = {"train": self._starts(training), "val": self._starts(kept)}
        if not self.starts["train"]:
            raise InputError(f"no training clip is as long as two windows of {self.network.config.frames} frames")
        if not self.starts["val"]:
            raise InputError(
                f"no validation clip is as long as two windows of {self.network.config.frames} frames; give some "
                "longer clips the split val, or train on more than one long clip"
            )

    def _room(self, clip: EncodedClip) -> range:
        """Frames of a clip (never the neutral one) where an item may begin."""
        usable = min(clip.frames, int(clip.samples // SAMPLE_RATE * self.corpus.fps))  # whole seconds, as published
        return range(clip.first, usable - 2 * self.network.config.frames)

    def _starts(self, clips: list[EncodedClip]) -> dict[int, list[tuple[EncodedClip, range]]]:
        """Subject -> its clips that are long enough, and the frames where items may begin."""
        found: dict[int, list[tuple[EncodedClip, range]]] = {}
        for clip in clips:
            if len(room := self._room(clip)):
                found.setdefault(clip.subject, []).append((clip, room))
        return found

    # -- data

    def _item(self, clip: EncodedClip, start: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(offsets (2 L, M + W), audio (N,)) of the windows that begin at a frame of a clip."""
        count, samples = 2 * self.network.config.frames, 2 * self.network.window_samples
        latents = self.corpus.latents(clip, start, count)
        origins = {kind: self.origins[kind][clip.subject].numpy() for kind in self.made}
        parts = [(latents[kind] - origin).reshape(count, -1) for kind, origin in origins.items()]
        at = first_sample(start, round(self.corpus.fps))
        audio = self.corpus.audio(clip)[at : at + samples]
        return np.concatenate(parts, 1), np.pad(audio, (0, samples - len(audio)))

    def items(self, rng: np.random.Generator, count: int, split: str = "train") -> Items:
        """Subjects uniformly, then a first frame of any of its clips uniformly; cuts as published."""
        length, starts = self.network.config.frames, self.starts[split]
        chosen, latents, audio = [], [], []
        for _ in range(count):
            number = int(rng.choice(list(starts)))
            at = int(rng.integers(sum(len(room) for _, room in starts[number])))
            for clip, room in starts[number]:
                if at < len(room):
                    made, samples = self._item(clip, room[at])
                    break
                at -= len(room)
            chosen.append(number)
            latents.append(made)
            audio.append(samples)
        cuts = [
            torch.from_numpy(rng.integers(1, length, size=count)) if rng.random() < chance else None
            for chance in (self.own.cut_first, self.own.cut_second)
        ]
        waves = torch.from_numpy(np.stack(audio))
        return Items(torch.from_numpy(np.stack(latents)), waves, cuts[0], cuts[1], torch.tensor(chosen))

    def batch(self, step: int) -> Items:
        """The items of a step."""
        return self.items(np.random.default_rng([self.loop.seed, step]), self.own.batch)

    # -- losses

    def losses(self, batch: Items) -> dict[str, Tensor]:
        """The published loss."""
        return {"loss": published_loss(self._answer(batch))}

    def _answer(self, batch: Items) -> Answer:
        model = self.network
        features, past_audio = encode_pair(model, batch.audio, batch.first, batch.second)
        kept = kept_frames(model.config.frames, batch.first, batch.second, len(batch.audio)).to(features)
        pair = Pair(batch.latents, features, past_audio, kept)
        style = None if self.styles is None else self.styles[batch.subject]
        return estimate_pair(model, pair, Draws.of(model, pair, self.own.audio_dropout), style)

    def export(self, folder: Path, figures: dict[str, float]) -> None:
        """Write the whole talker, and the people of the corpus, who speak by name."""
        self.talker.eval().cpu().save(folder)
        people = []
        for name in self.corpus.names:
            try:
                people.append(replace(self.corpus.source.identity(name), name=name))
            except InputError as error:
                log.warning("the export lacks the face of %s: %s", name, error)
        save_people(folder, people)

    def judged(self) -> list[str]:
        """Names of the clips that items of `validate` are drawn from."""
        return [clip.key for found in self.starts["val"].values() for clip, _ in found]

    def validate(self) -> dict[str, float]:
        """The loss of held-out items, with the same cuts and draws every time, and how much the estimates move."""
        rng = np.random.default_rng([self.loop.seed, 1])
        total, moves, count = 0.0, [0.0, 0.0], -(-self.own.check_items // self.own.batch)
        with torch.random.fork_rng():
            torch.manual_seed(self.loop.seed)
            for _ in range(count):
                batch = self.items(rng, self.own.batch, "val")
                moved = [None if x is None else x.to(self.device) for x in batch]
                answer = self._answer(Items(*moved))  # type: ignore[arg-type]
                total += published_loss(answer).item()
                for number, each in enumerate((answer.estimate, answer.truth)):
                    new = each[:, self.network.config.previous :]
                    moves[number] += (new - new.mean(1, keepdim=True)).square().sum().item()
        return {"loss": total / count, "motion_spread": (moves[0] / max(moves[1], 1e-12)) ** 0.5}


def build_talker(
    data: SpeechDiffusionDataConfig, own: SpeechDiffusionConfig, sizes: dict[str, Any], inference: dict[str, Any]
) -> tuple[TexTalker, EncodedCorpus]:
    """The untrained talker of a recipe around its trained autoencoders, and its corpus. Raises InputError."""
    corpus = EncodedCorpus(data.encoded, data.corpus)
    models = {kind: VQAutoEncoder.from_pretrained(getattr(data, kind)) for kind in KINDS}
    for kind, model in models.items():
        shape = (model.config.emb_dim, model.config.latent_size, model.config.latent_size)
        if corpus.shape(kind) != shape:
            raise InputError(f"{data.encoded} holds {kind} latents {corpus.shape(kind)}, the autoencoder makes {shape}")
    trained = sorted({clip.subject for clip in corpus.clips if clip.split == "train"}) or [0]
    bases = {}
    style_dims = (0, 0)
    if own.style_condition == "pivots":
        counts = [max(1, min(n, len(trained) - 1)) for n in own.style_dims]
        bases = {
            f"{kind}_style": LinearBasis.fit(corpus.pivots[kind][trained].flatten(1), n)
            for kind, n in zip(KINDS, counts, strict=True)
        }
        style_dims = tuple(len(basis.scale) for basis in bases.values())  # type: ignore[assignment]
    one_hot = own.style_condition == "one_hot"
    dims = {f"{k}_dim": int(np.prod(corpus.shape(k))) if own.outputs in ("both", k) else 0 for k in KINDS}
    speech = _speech(data, corpus.fps)
    talker = talker_around(
        models,
        corpus.pivots,
        bases,
        denoiser=dims | {"style_dim": len(corpus.names) if one_hot else sum(style_dims)} | sizes,
        config={
            "feature_dim": speech.dim,
            "stats": corpus.stats,
            "style_dims": style_dims,
            "style_input": "one_hot" if one_hot else "pivots",
            "frame_offsets": (),
            "speech": speech.config.to_dict(),
            "fps": corpus.fps,
            "styles": corpus.names,
            **inference,
        },
    )
    for part in (talker.motion, talker.wrinkle):
        part.requires_grad_(False)
    assert isinstance(talker.diffusion, SpeechLatentDiffusion)
    talker.diffusion.audio_encoder.load_state_dict(speech.state_dict())
    return talker, corpus


def _speech(data: SpeechDiffusionDataConfig, fps: float) -> Any:
    from parlante.audio.encoders.transformers import SpeechEncoder

    plain = speech_config(fps=fps)
    if not data.speech:
        return SpeechEncoder(plain)
    fields = {k: v for k, v in plain.to_dict().items() if k not in ("network", "rate")}
    return SpeechEncoder.from_hub(data.speech, plain.rate, **fields)


def stage() -> Stage:
    """The stage `speech_diffusion`."""
    about = "TexTalker (CVPR 2025) as published: speech encoder and denoiser, on an encoded corpus."
    sections = diffusion_sections(SpeechDiffusionDataConfig, SpeechDiffusionConfig)
    return Stage(name="speech_diffusion", about=about, sections=sections, train=_train, corpora=ANY)


def _train(recipe: Recipe, run_dir: Path) -> SpeechDiffusionScheme:
    loop, own = recipe["loop"], recipe["scheme"]
    if loop.threads:
        torch.set_num_threads(loop.threads)
    torch.manual_seed(loop.seed)
    talker, corpus = build_talker(recipe["data"], own, recipe["model"], recipe["inference"])
    return fit(SpeechDiffusionScheme(talker, corpus, loop, own), run_dir)
