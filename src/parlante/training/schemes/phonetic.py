"""Training of the phonetic encoder on a folder of synthetic speech (`parlante.synth.voice_corpus`).

Each example is a stretch of speech by one or several speakers with pauses, recoloured, sped up or slowed down, and
re-recorded at random (`parlante.audio.augment`). The network learns phones, mouth curves and lip gates together; lip
closures weigh more, because they are rare and everybody sees when they are missed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from parlante.audio.augment import breath, coloured_noise, recolour, record
from parlante.audio.encoders.phonetic import (
    GATES,
    RATE,
    SAMPLE_RATE,
    STEP,
    WEIGHT_SCALES,
    Heads,
    PhoneticConfig,
    PhoneticEncoder,
)
from parlante.audio.logmel import running_normalise
from parlante.core import InputError
from parlante.core.arrays import read_npy
from parlante.core.ranges import Amount, Count, Positive, Share
from parlante.core.typed import read_header
from parlante.training.engine.loop import fit
from parlante.training.engine.processes import one_at_a_time
from parlante.training.engine.recipe import LoopConfig
from parlante.training.engine.schema import Section
from parlante.training.engine.scheme import Scheme
from parlante.training.engine.stage import Recipe, Stage

_COLUMNS = (*WEIGHT_SCALES, *GATES)
VALID_VOICES = ("flite/slt/1.0/0", "festival/slt_hts/1.0")
"""Who speaks in a validation corpus that is made on the spot."""
_CLOSED, _BITTEN = _COLUMNS.index("closed"), _COLUMNS.index("bitten")


@dataclass(frozen=True, kw_only=True)
class PhoneticDataConfig:
    """The `data:` part of a recipe."""

    corpus: str
    """Folder written by `parlante.synth.voice_corpus.write_corpus`; made on the spot where it is missing."""
    more: tuple[str, ...] = ()
    """Further folders, drawn from together with `corpus`."""
    valid: str = ""
    """Folder of the same kind with speakers that `corpus` lacks; empty: no validation."""
    hours: Positive = 3.6
    """Speech in a corpus made on the spot."""
    seconds: Positive = 4.0
    """Length of an example."""
    strength: Amount = 1.0
    """Of the augmentation."""


@dataclass(frozen=True, kw_only=True)
class PhoneticSchemeConfig:
    """The `scheme:` part of a recipe."""

    batch: Count = 16
    """Examples of a batch."""
    weight_decay: Amount = 0.02
    """AdamW's."""
    closure_weight: Amount = 3.0
    """Extra weight of frames with pressed lips in the loss of the curves."""
    start_from: str = ""
    """Folder of an encoder to continue from with fresh optimiser state; empty: random weights."""


@dataclass(frozen=True, kw_only=True)
class PhoneticLoopConfig(LoopConfig):
    """The `loop:` part, with this training's own defaults."""

    max_steps: Count = 2600
    """Steps of the optimiser."""
    lr: Amount = 2e-3
    """Learning rate, after the warm-up."""
    final_lr: Amount = 0.01
    """Learning rate at the end, as a share of `lr` (cosine)."""
    ema: Share = 0.998
    """Decay of the running average of the weights, which is what is validated and exported."""
    log_every: Count = 100
    """Steps between rows of metrics.csv."""
    save_every: Count = 100
    """Steps between checkpoints."""
    validate_every: Count = 100
    """Steps between validations."""
    threads: Count | None = 1
    """CPU threads."""


@dataclass(frozen=True)
class _Index:
    phones: list[str]
    label_rate: Positive
    utterances: list[dict[str, Any]]
    curves: list[str]


class Corpus:
    """The arrays of a corpus folder, memory-mapped. `join` puts folders in one."""

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)
        index = read_header(_Index, folder / "index.json", "a speech corpus written with write_corpus")
        arrays = {name: read_npy(folder / f"{name}.npy", mapped=True) for name in ("audio", "phones", "curves")}
        self.names: list[str] = index.phones
        self.rate: float = index.label_rate
        self.rows: list[dict[str, Any]] = [row | arrays for row in index.utterances]
        if tuple(index.curves) != _COLUMNS:
            raise InputError(f"{folder} has curves {index.curves}, wanted {list(_COLUMNS)}; write it anew")
        self.scale = np.array([*WEIGHT_SCALES.values(), 1, 1], np.float32)

    def join(self, other: "Corpus") -> None:
        """Add the utterances of another folder."""
        self.rows = self.rows + other.rows

    def wave(self, row: Mapping[str, Any]) -> NDArray[np.float32]:
        """(N,) of one utterance."""
        return np.asarray(row["audio"][row["sample"] : row["sample"] + row["samples"]] / 32768.0, np.float32)

    def targets(
        self, row: Mapping[str, Any], times: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Phones (T,) and scaled curves (T, K) at `times` seconds of the utterance; silence outside it."""
        at = times * self.rate - 0.5
        near = np.round(at).astype(np.int64)
        inside = (near >= 0) & (near < row["labels"])
        near = near.clip(0, row["labels"] - 1) + row["label"]
        low = np.floor(at).astype(np.int64)
        part = (at - low)[:, None].astype(np.float32)
        first = np.clip(low, 0, row["labels"] - 1) + row["label"]
        second = np.clip(low + 1, 0, row["labels"] - 1) + row["label"]
        curves = row["curves"][first].astype(np.float32) * (1 - part) + row["curves"][second].astype(np.float32) * part
        curves = curves / self.scale * inside[:, None]
        return np.where(inside, row["phones"][near], 0).astype(np.int64), curves


class Batch(NamedTuple):
    """waveform (B, N), phones (B, S) int64, curves (B, S, 13): 11 scaled weights and the two gates."""

    waveform: Tensor
    phones: Tensor
    curves: Tensor


def make_example(
    corpus: Corpus, rng: np.random.Generator, seconds: float, strength: float
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Speech (N,), phones (S,) and curves (S, K) of one random stretch."""
    count = round(seconds * RATE)
    size = count * STEP
    wave = np.zeros(size, np.float32)
    phones = np.zeros(count, np.int64)
    curves = np.zeros((count, len(_COLUMNS)), np.float32)
    centres = (np.arange(count) + 0.5) / RATE
    at = 0 if rng.random() < 0.5 else int(rng.exponential(0.5) * SAMPLE_RATE)
    if at > 4800 and rng.random() < 0.3:
        wave[:at] = breath(len(wave[:at]), rng) * np.float32(0.1 * 10 ** (rng.uniform(-24, 0) / 20))
    opening = True
    while at < size:
        row = corpus.rows[rng.integers(len(corpus.rows))]
        speech, speed = recolour(corpus.wave(row), rng, speed=rng.uniform(0.85, 1.18), tilt=strength)
        speech *= np.float32(10 ** (rng.uniform(-8, 0) / 20))
        skip = int(rng.uniform(0, 0.6) * len(speech)) if opening and at == 0 else 0
        opening = False
        piece = speech[skip : skip + size - at].copy()
        edge = min(160, len(piece))
        if skip:
            piece[:edge] *= np.linspace(0, 1, edge, dtype=np.float32)
        wave[at : at + len(piece)] += piece
        start = (at - skip) / SAMPLE_RATE  # where this utterance's own zero lies
        ends = start + row["samples"] / SAMPLE_RATE / speed
        here = (centres >= at / SAMPLE_RATE) & (centres < ends)
        phones[here], curves[here] = corpus.targets(row, (centres[here] - start) * speed)
        at += len(piece)
        pause = int((rng.exponential(0.25) if rng.random() < 0.85 else rng.uniform(0.5, 3.0)) * SAMPLE_RATE)
        if rng.random() < 0.4:
            gap = wave[at : at + pause]
            gap += breath(len(gap), rng) * np.float32(0.1 * 10 ** (rng.uniform(-24, 0) / 20))
        at += pause
    if rng.random() < 0.02:  # nothing but noise
        wave, phones, curves = np.zeros_like(wave), np.zeros_like(phones), np.zeros_like(curves)
    babble = None
    if rng.random() < 0.3:
        babble = np.zeros(size, np.float32)
        for _ in range(rng.integers(3, 7)):
            other = corpus.wave(corpus.rows[rng.integers(len(corpus.rows))])
            babble += np.resize(other, size)
    if not wave.any():
        return 10 ** (rng.uniform(-80, -25) / 20) * coloured_noise(size, rng), phones, curves
    return record(wave, rng, babble, strength=strength), phones, curves


def make_batch(corpus: Corpus, data: PhoneticDataConfig, count: int, seed: int, step: int) -> Batch:
    """`count` examples: a function of the seed and the step alone."""
    rngs = [np.random.default_rng([seed, step, number]) for number in range(count)]
    waves, phones, curves = zip(*(make_example(corpus, rng, data.seconds, data.strength) for rng in rngs))
    return Batch(*(torch.from_numpy(np.stack(parts)) for parts in (waves, phones, curves)))


def distort_throat(mels: Tensor, generator: torch.Generator) -> Tensor:
    """Other throats: stretch each example's mel axis (B, M, bands) by 0.9..1.12."""
    count, frames, bands = mels.shape
    factor = torch.empty(count, 1).uniform_(0.9, 1.12, generator=generator)
    position = (torch.arange(bands) * factor).to(mels.device).clamp(max=bands - 1)  # (B, bands)
    low = position.floor().long().clamp(max=bands - 2)
    part = (position - low)[:, None]
    first = mels.gather(2, low[:, None].expand(-1, frames, -1))
    second = mels.gather(2, low[:, None].expand(-1, frames, -1) + 1)
    return first + (second - first) * part


def hide(mels: Tensor, generator: torch.Generator) -> Tensor:
    """Hide a band in half of the examples and a moment in a third."""
    count, frames, bands = mels.shape

    def stretch(size: int, longest: int, chance: float) -> Tensor:
        length = torch.randint(0, longest, (count, 1), generator=generator)
        start = (torch.rand(count, 1, generator=generator) * (size - length)).long()
        at = torch.arange(size)
        hidden = (at >= start) & (at < start + length) & (torch.rand(count, 1, generator=generator) < chance)
        return hidden.to(mels.device)

    return mels.masked_fill(stretch(bands, bands // 6, 0.5)[:, None] | stretch(frames, 8, 0.3)[..., None], 0.0)


def phonetic_loss(
    out: Heads, phones: Tensor, curves: Tensor, names: list[str], closure_weight: float
) -> dict[str, Tensor]:
    """Named parts and their sum `loss`."""
    closed, bitten = curves[..., _CLOSED], curves[..., _BITTEN]
    weights = curves.new_tensor([2.0 if name in "pbm" else 1.4 if name in "fvw" else 1.0 for name in names])
    phone = F.cross_entropy(out.phones.flatten(0, 1), phones.flatten(), weights, label_smoothing=0.05)
    focus = 1 + closure_weight * closed + bitten
    difference = F.smooth_l1_loss(out.weights, curves[..., : len(WEIGHT_SCALES)], reduction="none", beta=0.1).mean(-1)
    curve = (difference * focus).sum() / focus.sum()
    aim = curves[..., len(WEIGHT_SCALES) :].clamp(0, 1)
    gate = F.binary_cross_entropy_with_logits(out.gates, aim, pos_weight=curves.new_tensor([2.0, 2.0]))
    return {"loss": 0.5 * phone + 4 * curve + gate, "phone": phone, "curve": curve, "gate": gate}


@torch.no_grad()
def phonetic_figures(encoder: PhoneticEncoder, corpus: Corpus, limit: int = 150) -> dict[str, float]:
    """Frame accuracy of phones, and the area under the curve of `closed`, on clean speech of unseen speakers."""
    device = next(encoder.parameters()).device
    right = total = 0
    scores: list[NDArray[np.float32]] = []
    pressed: list[NDArray[np.bool_]] = []
    for row in corpus.rows[:limit]:
        out = encoder(torch.from_numpy(corpus.wave(row))[None].to(device))[0].cpu().numpy()
        phones, curves = corpus.targets(row, (np.arange(len(out)) + 0.5) / RATE)
        right += int((out[:, :40].argmax(1) == phones).sum())
        total += len(out)
        speech = phones > 0
        scores.append(out[speech, 51])
        pressed.append(curves[speech, _CLOSED] > 0.7)
    score, truth = np.concatenate(scores), np.concatenate(pressed)
    ranks = score.argsort().argsort()
    positive = int(truth.sum())
    area = (ranks[truth].sum() - positive * (positive - 1) / 2) / max(positive * (len(truth) - positive), 1)
    return {"accuracy": right / max(total, 1), "closure_auc": float(area)}


class PhoneticScheme(Scheme):
    """The encoder on synthetic speech."""

    network: PhoneticEncoder

    def __init__(
        self,
        encoder: PhoneticEncoder,
        data: PhoneticDataConfig,
        own: PhoneticSchemeConfig,
        loop: LoopConfig,
        corpus: Corpus,
        valid: Corpus | None = None,
    ) -> None:
        super().__init__(loop)
        self.network, self.data, self.own = encoder, data, own
        self.corpus, self.valid = corpus, valid

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """AdamW; biases and norms do not decay."""
        decay = [p for p in self.network.parameters() if p.ndim > 1]
        plain = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": self.own.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        return [torch.optim.AdamW(groups, lr=self.loop.lr, betas=(0.9, 0.98))]

    def batch(self, step: int) -> Batch:
        """The examples of a step."""
        return make_batch(self.corpus, self.data, self.own.batch, self.loop.seed, step)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Phones, curves and gates of speech whose throats and moments are distorted and hidden."""
        generator = torch.Generator().manual_seed(torch.initial_seed())  # the loop seeds by the step
        with torch.no_grad():
            mels = self.network.logmel(batch.waveform)
            mels, _ = running_normalise(distort_throat(mels, generator))
            mels = hide(mels, generator)
        out = self.network.heads(mels)
        return phonetic_loss(out, batch.phones, batch.curves, self.corpus.names, self.own.closure_weight)

    def validate(self) -> dict[str, float]:
        """On clean speech of unseen speakers."""
        return {} if self.valid is None else phonetic_figures(self.network, self.valid)

    def export(self, folder: Path, figures: dict[str, float]) -> None:
        """Write the encoder."""
        training = asdict(self.own) | {"seconds": self.data.seconds, "strength": self.data.strength}
        self.network.save_pretrained(folder, step=self.steps_done, training=training, figures=figures)


def stage() -> Stage:
    """The stage `phonetic`."""
    sections = {
        "data": Section(PhoneticDataConfig),
        "model": Section(PhoneticConfig),
        "scheme": Section(PhoneticSchemeConfig),
        "loop": Section(PhoneticLoopConfig),
    }
    about = "The shipped speech encoder: phones, mouth curves and lip gates of synthetic speech."
    return Stage(name="phonetic", about=about, sections=sections, train=_train)


def _train(recipe: Recipe, run_dir: Path) -> PhoneticScheme:
    data, own, loop = recipe["data"], recipe["scheme"], recipe["loop"]
    if loop.threads:
        torch.set_num_threads(loop.threads)
    corpus = _corpus(data.corpus, loop.seed, hours=data.hours)
    for further in data.more:
        corpus.join(Corpus(further))
    valid = _corpus(data.valid, loop.seed, hours=0.1, voices=VALID_VOICES) if data.valid else None
    if loop.one_clip:
        corpus.rows, valid = corpus.rows[:1], None
    torch.manual_seed(loop.seed)
    encoder = PhoneticEncoder(recipe["model"])
    if own.start_from:
        encoder.load_state_dict(PhoneticEncoder.from_pretrained(own.start_from).state_dict())
    return fit(PhoneticScheme(encoder, data, own, loop, corpus, valid), run_dir)


def _corpus(folder: str, seed: int, hours: float, voices: tuple[str, ...] = ()) -> Corpus:
    """A corpus folder, which is written where it is missing."""
    with one_at_a_time(Path(folder)):
        if not (Path(folder) / "index.json").exists():
            from parlante.synth.voice_corpus import write_corpus

            write_corpus(folder, hours=hours, seed=seed + 1, voices=voices)
    return Corpus(folder)
