"""A folder of synthetic speech with phone times, from which the phonetic encoder is trained.

`audio.npy` (N,) int16 at 16 kHz; `phones.npy` (M,) uint8 numbers into PHONES and `curves.npy` (M, K) float16, both at
100 per second, the label m standing at (m + 0.5) / 100 s; `index.json` lists where each utterance begins in both, its
voice and its text. Weights are those of `parlante.synth.articulation` for the average speaker, in the columns
WEIGHT_NAMES: ARKit weights, then how much the lips are pressed together (p b m) and the lower lip is at the teeth
(f v), 0..1.
"""

import contextlib
import json
import multiprocessing
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parlante.audio.phones import PHONES, Phone, Utterance
from parlante.core import InputError, atomic_path
from parlante.core.arrays import read_npy
from parlante.core.typed import read_json
from parlante.head.arkit import INDEX
from parlante.synth.articulation import articulate
from parlante.synth.text import sentences
from parlante.synth.voice import random_voice, speak_many
from parlante.synth.voice_natural import FOREIGN

LABEL_RATE = 100
WEIGHT_NAMES = (
    *("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthStretchLeft", "mouthUpperUpLeft"),
    *("mouthLowerDownLeft", "mouthRollLower", "mouthPressLeft", "tongueOut", "jawForward"),
    *("closed", "bitten"),
)
_BATCH = 40
_ONSETS = tuple("b b p p m m f v w w t d k g n l r s sh ch y h pl br fr st sw tr kw gr sm sp bl pr th z j".split())  # noqa: SIM905
_NUCLEI = tuple("a e i o u oo ee ay ow oi ar or er ou ea ai".split())  # noqa: SIM905
_CODAS = tuple("   p b m m f v t d k n n l s sh th ng st mp nd ks ps ft lm bz pt".split(" "))  # noqa: SIM905


def nonsense(rng: np.random.Generator) -> str:
    """A phrase of made-up words: any sound beside any other, in the spelling of most Latin alphabets."""
    words = []
    for _ in range(rng.integers(3, 9)):
        parts = []
        for _ in range(rng.integers(1, 4)):
            parts += [_ONSETS[rng.integers(len(_ONSETS))], _NUCLEI[rng.integers(len(_NUCLEI))]]
        words.append("".join(parts) + _CODAS[rng.integers(len(_CODAS))])
        if rng.random() < 0.08:
            words[-1] += ","
    return " ".join(words) + "."


def labels(phones: tuple[Phone, ...], duration: float) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Phone numbers (M,) and weights (M, K) of one utterance, at LABEL_RATE."""
    times = (np.arange(int(duration * LABEL_RATE)) + 0.5) / LABEL_RATE
    ends = np.array([phone.end for phone in phones])
    numbers = np.array([PHONES.index(phone.symbol) for phone in phones], np.uint8)
    which = np.minimum(np.searchsorted(ends, times, side="right"), len(phones) - 1)
    weights = articulate(phones, times)[:, [INDEX[name] for name in WEIGHT_NAMES if name in INDEX]]
    closed = contact(phones, times, "pbm")
    bitten = contact(phones, times, "fv") * (1 - closed)
    return numbers[which], np.column_stack([weights, closed, bitten]).astype(np.float16)


def contact(phones: tuple[Phone, ...], times: NDArray[np.float64], members: str) -> NDArray[np.float64]:
    """(T,) 1 over the middle of each phone of `members`, falling smoothly to 0 in about 60 ms on either side."""
    result = np.zeros(len(times))
    for phone in phones:
        if phone.symbol in members:
            middle, length = phone.start + 0.46 * (phone.end - phone.start), phone.end - phone.start
            outside = np.abs(times - middle) - max(0.42 * length, 0.0175)
            x = np.clip(1 - outside / 0.06, 0, 1)
            result = np.maximum(result, x * x * (3 - 2 * x))
    return result


def relabel(folder: Path | str) -> None:
    """Write `curves.npy` anew from `phones.npy`, after the articulation has changed."""
    folder = Path(folder)
    index = read_json(folder / "index.json", "a speech corpus written with write_corpus")
    numbers = read_npy(folder / "phones.npy")
    weights = []
    for row in index["utterances"]:
        mine = numbers[row["label"] : row["label"] + row["labels"]]
        edges = np.concatenate([[0], np.flatnonzero(np.diff(mine)) + 1, [len(mine)]])
        phones = tuple(Phone(PHONES[mine[a]], a / LABEL_RATE, b / LABEL_RATE) for a, b in pairwise(edges.tolist()))
        weights.append(labels(phones, (len(mine) + 0.5) / LABEL_RATE)[1])
    with atomic_path(folder / "curves.npy") as path:
        np.save(path, np.concatenate(weights))
    with atomic_path(folder / "index.json") as path:
        path.write_text(json.dumps(index | {"curves": WEIGHT_NAMES}))


def write_corpus(
    folder: Path | str,
    *,
    hours: float = 4.0,
    seed: int = 0,
    natural: float = 0.35,
    foreign: float = 0.15,
    made_up: float = 0.3,
    voices: tuple[str, ...] = (),
    workers: int = 1,
) -> None:
    """Write the corpus; the same arguments on the same machine write the same bytes.

    `natural`, `foreign`, `made_up`: shares of Flite/Festival voices, of other languages, of nonsense phrases;
    `voices`: use these in turn instead of random ones.
    Raises InputError if `folder` already holds a corpus, or anything else.
    """
    folder = Path(folder)
    if (folder / "index.json").exists():
        raise InputError(f"{folder} already holds a corpus; give another folder")
    ours = ("audio.npy", "phones.npy", "curves.npy")  # of a run that was cut off
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in there if name not in ours and not name.startswith(".")]
    if others:
        raise InputError(f"{folder} holds {others[0]} and is no corpus of synthetic speech; give a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    audio: list[NDArray[np.int16]] = []
    phones: list[NDArray[np.uint8]] = []
    weights: list[NDArray[np.float16]] = []
    rows: list[dict[str, Any]] = []
    samples = frames = 0
    tasks = ((seed, number, natural, foreign, made_up, voices) for number in range(10**9))
    for batch in _map(_speak_batch, tasks, workers):
        for voice, text, wave, number, found in batch:
            rows.append({"sample": samples, "samples": len(wave), "label": frames, "labels": len(number)})
            rows[-1] |= {"voice": voice, "text": text}
            samples, frames = samples + len(wave), frames + len(number)
            audio.append(wave)
            phones.append(number)
            weights.append(found)
        if samples >= hours * 3600 * 16000:
            break
    for name, parts in (("audio", audio), ("phones", phones), ("curves", weights)):
        with atomic_path(folder / f"{name}.npy") as path:
            np.save(path, np.concatenate(parts))
    with atomic_path(folder / "index.json") as path:
        path.write_text(
            json.dumps({"phones": PHONES, "curves": WEIGHT_NAMES, "label_rate": LABEL_RATE, "utterances": rows})
        )


def _map(function: Any, tasks: Iterator[Any], workers: int) -> Iterator[Any]:
    if workers <= 1:
        yield from map(function, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        while True:
            yield from pool.map(function, [next(tasks) for _ in range(4 * workers)], chunksize=1)


def _speak_batch(task: tuple[int, int, float, float, float, tuple[str, ...]]) -> list[tuple[str, str, Any, Any, Any]]:
    seed, number, natural, foreign, made_up, voices = task
    rng = np.random.default_rng([seed, number])
    lines = sentences(_BATCH, seed=int(rng.integers(2**31)))
    jobs = []
    for place, line in enumerate(lines):
        voice = voices[place % len(voices)] if voices else random_voice(rng, natural, foreign)
        engine, speaker = voice.split("/")[:2]
        english = speaker.startswith("en") if engine == "espeak" else speaker not in FOREIGN
        strange = rng.random() < made_up or not english
        jobs.append((nonsense(rng) if strange else line, voice))
    spoken = speak_many([job for job in jobs if job[1].startswith("espeak")])
    for job in jobs:
        if not job[1].startswith("espeak"):
            with contextlib.suppress(InputError):  # Festival's languages cannot spell every made-up word
                spoken += speak_many([job])
    return [_row(utterance) for utterance in spoken]


def _row(utterance: Utterance) -> tuple[str, str, NDArray[np.int16], NDArray[np.uint8], NDArray[np.float16]]:
    wave = np.round(np.clip(utterance.audio, -1, 1) * 32767).astype(np.int16)
    number, weights = labels(utterance.phones, len(wave) / utterance.sample_rate)
    return utterance.voice, utterance.text, wave, number, weights
