"""Training of the phonetic encoder on a folder of synthetic speech (`parlante.synth.voice_corpus`).

Each example is a stretch of speech by one or several speakers with pauses, recoloured, sped up or slowed down, and
re-recorded at random (`parlante.audio.augment`). The network learns phones, mouth curves and lip gates together; lip
closures weigh more, because they are rare and everybody sees when they are missed.
"""

import csv
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from parlante.audio.augment import breath, coloured_noise, recolour, record
from parlante.audio.encoders.phonetic import (
    CURVE_SCALES,
    GATES,
    RATE,
    SAMPLE_RATE,
    STEP,
    Heads,
    PhoneticConfig,
    PhoneticEncoder,
)
from parlante.audio.logmel import running_normalise
from parlante.core import InputError, atomic_path

_COLUMNS = (*CURVE_SCALES, *GATES)
_CLOSED, _BITTEN = _COLUMNS.index("closed"), _COLUMNS.index("bitten")


@dataclass(frozen=True, kw_only=True)
class PhoneticTraining:
    """Everything about a run but the network's size."""

    corpus: str
    """Folder written by `parlante.synth.voice_corpus.write_corpus`; made on the spot where it is missing."""
    more: tuple[str, ...] = ()
    """Further folders, drawn from together with `corpus`."""
    valid: str = ""
    """Folder of the same kind with speakers that `corpus` lacks, or nothing."""
    hours: float = 3.6
    """Speech in a corpus made on the spot."""
    steps: int = 2600
    """Updates."""
    batch: int = 16
    """Examples in an update."""
    seconds: float = 4.0
    """Length of an example."""
    learning_rate: float = 2e-3
    """Highest; reached after 100 updates and lowered along a cosine to a hundredth."""
    weight_decay: float = 0.02
    """AdamW's."""
    average: float = 0.998
    """Decay of the running average of the weights, which is what is saved."""
    strength: float = 1.0
    """Of the augmentation."""
    closure_weight: float = 3.0
    """Extra weight of frames with pressed lips in the loss of the curves."""
    checkpoint_every: int = 100
    """Updates between checkpoints and validations."""
    threads: int = 1
    """Processor threads."""
    seed: int = 0
    """Of weights and examples."""
    start_from: str = ""
    """Folder of an encoder to continue from with fresh optimiser state, or nothing."""


class Corpus:
    """The arrays of a corpus folder, memory-mapped. `join` puts folders in one."""

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)
        try:
            index = json.loads((folder / "index.json").read_text())
            arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
                for name in ("audio", "phones", "curves")
            }
        except (OSError, ValueError) as error:
            raise InputError(f"no speech corpus in {folder}: {error}; write one with write_corpus") from error
        self.names: list[str] = index["phones"]
        self.rate: float = index["label_rate"]
        self.rows: list[dict[str, Any]] = [row | arrays for row in index["utterances"]]
        if tuple(index["curves"]) != _COLUMNS:
            raise InputError(f"{folder} has curves {index['curves']}, wanted {list(_COLUMNS)}; write it anew")
        self.scale = np.array([*CURVE_SCALES.values(), 1, 1], np.float32)

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


def make_batch(corpus: Corpus, config: PhoneticTraining, step: int) -> Batch:
    """The examples of update `step`: a function of the seed and the step alone."""
    rngs = [np.random.default_rng([config.seed, step, number]) for number in range(config.batch)]
    waves, phones, curves = zip(*(make_example(corpus, rng, config.seconds, config.strength) for rng in rngs))
    return Batch(*(torch.from_numpy(np.stack(parts)) for parts in (waves, phones, curves)))


def distort_throat(mels: Tensor, generator: torch.Generator) -> Tensor:
    """Other throats: stretch each example's mel axis (B, M, bands) by 0.9..1.12."""
    count, frames, bands = mels.shape
    factor = torch.empty(count, 1).uniform_(0.9, 1.12, generator=generator)
    position = (torch.arange(bands) * factor).clamp(max=bands - 1)  # (B, bands)
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
        return (at >= start) & (at < start + length) & (torch.rand(count, 1, generator=generator) < chance)

    return mels.masked_fill(stretch(bands, bands // 6, 0.5)[:, None] | stretch(frames, 8, 0.3)[..., None], 0.0)


def phonetic_loss(
    out: Heads, phones: Tensor, curves: Tensor, names: list[str], closure_weight: float
) -> dict[str, Tensor]:
    """Named parts and their sum `loss`."""
    closed, bitten = curves[..., _CLOSED], curves[..., _BITTEN]
    weights = torch.tensor([2.0 if name in "pbm" else 1.4 if name in "fvw" else 1.0 for name in names])
    phone = F.cross_entropy(out.phones.flatten(0, 1), phones.flatten(), weights, label_smoothing=0.05)
    focus = 1 + closure_weight * closed + bitten
    difference = F.smooth_l1_loss(out.curves, curves[..., : len(CURVE_SCALES)], reduction="none", beta=0.1).mean(-1)
    curve = (difference * focus).sum() / focus.sum()
    aim = curves[..., len(CURVE_SCALES) :].clamp(0, 1)
    gate = F.binary_cross_entropy_with_logits(out.gates, aim, pos_weight=torch.tensor([2.0, 2.0]))
    return {"loss": 0.5 * phone + 4 * curve + gate, "phone": phone, "curve": curve, "gate": gate}


@torch.no_grad()
def validate(encoder: PhoneticEncoder, corpus: Corpus, limit: int = 150) -> dict[str, float]:
    """Frame accuracy of phones, and the area under the curve of `closed`, on clean speech of unseen speakers."""
    right = total = 0
    scores: list[NDArray[np.float32]] = []
    pressed: list[NDArray[np.bool_]] = []
    for row in corpus.rows[:limit]:
        out = encoder(torch.from_numpy(corpus.wave(row))[None])[0].numpy()
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
    return {"valid_accuracy": right / max(total, 1), "valid_closure_auc": float(area)}


def main(config: dict[str, Any], run_dir: Path | str) -> Path:
    """Train from plain values (`network:` for PhoneticConfig, the rest for PhoneticTraining); returns `run_dir/model`.

    Writes `log.csv`, `last.ckpt` and `model/` under `run_dir`, and resumes from `last.ckpt` where it exists.
    Raises InputError for unknown settings or an unusable corpus.
    """
    run_dir = Path(run_dir)
    values = {key: value for key, value in config.items() if key != "stage"}
    network = dict(values.pop("network", {}))
    values["more"] = tuple(values.get("more", ()))
    if "dilations" in network:
        network["dilations"] = tuple(network["dilations"])
    try:
        settings, size = PhoneticTraining(**values), PhoneticConfig(**network)
    except (TypeError, ValueError) as error:
        raise InputError(f"phonetic training: {error}; see recipes/phonetic.yaml") from error
    torch.set_num_threads(settings.threads)
    for folder, voices in ((settings.corpus, ()), (settings.valid, ("flite/slt/1.0/0", "festival/slt_hts/1.0"))):
        if folder and not (Path(folder) / "index.json").exists():
            from parlante.synth.voice_corpus import write_corpus

            write_corpus(folder, hours=0.1 if voices else settings.hours, seed=settings.seed + 1, voices=voices)
    corpus = Corpus(settings.corpus)
    for further in settings.more:
        corpus.join(Corpus(further))
    valid = Corpus(settings.valid) if settings.valid else None
    return _Run(settings, size, corpus, valid, run_dir).run()


class _Run:
    """State of one training: what `last.ckpt` holds."""

    def __init__(
        self, settings: PhoneticTraining, size: PhoneticConfig, corpus: Corpus, valid: Corpus | None, folder: Path
    ) -> None:
        torch.manual_seed(settings.seed)
        self.settings, self.corpus, self.valid, self.folder = settings, corpus, valid, folder
        self.model = PhoneticEncoder(size)
        if settings.start_from:
            self.model.load_state_dict(PhoneticEncoder.from_pretrained(settings.start_from).state_dict())
        self.average = PhoneticEncoder(size).eval()
        self.average.load_state_dict(self.model.state_dict())
        decay = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [{"params": decay, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.98))
        self.step = 0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "last.ckpt").exists():
            state = torch.load(folder / "last.ckpt", weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])

    def run(self) -> Path:
        settings, every = self.settings, self.settings.checkpoint_every
        started, first = time.monotonic(), self.step
        sums: dict[str, float] = {}
        bar = tqdm(total=settings.steps, initial=first, desc="phonetic", unit=" steps", disable=None)
        while self.step < settings.steps:
            parts = self.update()
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + value
            self.step += 1
            bar.update()
            if self.step % every == 0 or self.step == settings.steps:
                count = min(self.step - first, (self.step - 1) % every + 1)
                row = {"step": self.step, "seconds": round(time.monotonic() - started, 1)}
                row |= {name: round(value / count, 5) for name, value in sums.items()}
                if self.valid is not None:
                    row |= {name: round(value, 4) for name, value in validate(self.average, self.valid).items()}
                self.save(row)
                sums = {}
        bar.close()
        return self.folder / "model"

    def update(self) -> dict[str, float]:
        """One step of the optimiser; returns the parts of the loss."""
        settings = self.settings
        warm = min(1.0, (self.step + 1) / 100)
        rate = warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.step / settings.steps)))
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        torch.manual_seed(settings.seed * 1_000_003 + self.step)  # dropout
        batch = make_batch(self.corpus, settings, self.step)
        self.model.train()
        with torch.no_grad():
            mels = self.model.logmel(batch.waveform)
            mels, _ = running_normalise(distort_throat(mels, generator))
            mels = hide(mels, generator)
        parts = phonetic_loss(
            self.model.heads(mels), batch.phones, batch.curves, self.corpus.names, settings.closure_weight
        )
        self.optimizer.zero_grad(set_to_none=True)
        parts["loss"].backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        decay = min(settings.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.model.parameters()):
                slow.lerp_(fast, 1 - decay)
        return {name: float(value.detach()) for name, value in parts.items()}

    def save(self, row: dict[str, Any]) -> None:
        log = self.folder / "log.csv"
        fresh = not log.exists()
        with log.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow(row)
        state = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        with atomic_path(self.folder / "last.ckpt") as path:
            torch.save(state, path)
        facts = {key: value for key, value in row.items() if key.startswith("valid")}
        training = {
            key: value for key, value in asdict(self.settings).items() if key not in ("corpus", "more", "valid")
        }
        self.average.save_pretrained(self.folder / "model", step=self.step, training=training, **facts)
